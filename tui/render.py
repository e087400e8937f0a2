"""A turn as lines of text, each piece with its role; every front end draws these same lines.

The terminal interface colours the roles, plain output drops them, so nothing is told by colour
alone. A card shows its query in the notation, a bar for each answer with its number beside it, the
corpus's own count as a mark on the bar and as a number, and where it all came from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, set_cell_size

from core_model.core import Distribution, Estimate
from persona.events import AuthorRead, Confidence, DraftsWeighed, SafetyVerdict
from persona.goals import conduct_of
from persona.turn import CONTROLS, Call, Turn, readable
from tools.registry import ToolResult
from tools.safety import VARIABLES
from tools.summaries import in_bits, percent

Role = Literal["text", "name", "query", "muted", "label", "bar", "mark", "number", "bad", "good"]
Detail = Literal["closed", "open", "full"]

SURE = ((0.9, "sure"), (0.5, "likely"))
"""Least probability of the answer that each word stands for."""
BAR, HALF_BAR = "━", "╸"
MARK = "┃"
OTHERS = "all others"
ROWS: dict[Detail, int] = {"closed": 0, "open": 8, "full": 40}
SAMPLE_LINES: dict[Detail, int] = {"closed": 0, "open": 3, "full": 40}
NUMBER_WIDTH = 9
LEAST_BAR = 8
LONG_ANSWER = 60
MOST_BAR = 44
NATS_PER_BIT = math.log(2)
LINE_BREAKS = re.compile("[\n\r\u0085\u2028\u2029\t]+")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line and what it is."""

    text: str
    role: Role = "text"


Line = tuple[Span, ...]


def plain(lines: Sequence[Line]) -> str:
    """Lines as text without roles or trailing blanks."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """Text that cannot steer a terminal; line breaks and tabs stay."""
    return CONTROLS.sub("", readable(text.replace("\u2028", "\n").replace("\u2029", "\n")))


def one_line(text: str, width: int | None = None) -> str:
    """Text on one line, cut to `width` cells with an ellipsis."""
    joined = LINE_BREAKS.sub(" ", printable(text))
    if width is None or cell_len(joined) <= width:
        return joined
    return set_cell_size(joined, max(width - 1, 0)).rstrip() + "…"


# ---- a tool call -----------------------------------------------------------------------------


def card_title(call: Call, width: int) -> Line:
    """The tool and its query in the notation."""
    name = one_line(call.name)
    return (
        Span(name, "name"),
        Span("  "),
        Span(one_line(call.query, _query_room(call, width)), "query"),
    )


def _query_room(call: Call, width: int) -> int:
    """Cells left for the query in a card's title."""
    return max(width - cell_len(one_line(call.name)) - 2, 8)


def card_body(call: Call, width: int, detail: Detail = "open") -> list[Line]:
    """What the call found; one line of summary when closed, charts and sources otherwise."""
    if call.error is not None:
        return [(Span("✗ ", "bad"), Span(one_line(call.error)))]
    if call.result is None:
        return [(Span("running …", "muted"),)]
    result = call.result
    if detail == "closed":
        return [(Span(one_line(result.summary, width), "muted"),)]
    lines: list[Line] = []
    whole = one_line(call.query)
    if cell_len(whole) > _query_room(call, width):
        lines += [*wrap_muted(whole, width), ()]
    shown = result.distribution or result.data
    if shown is not None and shown.answers and not _are_texts(shown):
        lines += chart(result.distribution, result.data, width, ROWS[detail])
    if result.samples:
        lines += sample_lines(result.samples, width, detail)
    if result.withheld:
        lines.append((Span(f"✗ {result.withheld} withheld as unsafe", "bad"),))
    if result.estimates:
        names = VARIABLES if result.tool == "safety" else ()
        lines += estimate_lines(result.estimates, is_probability(result), width, names)
    if not (result.samples or result.estimates or result.distribution or result.data):
        lines += [(Span(one_line(part)),) for part in result.summary.splitlines()]
    return [*lines, (), *wrap_muted(sources(result), width)]


def _are_texts(distribution: Distribution) -> bool:
    """Whether the answers are passages, of which a bar chart says nothing."""
    return any(cell_len(answer.value) > LONG_ANSWER for answer in distribution.answers[:8])


def has_more(result: ToolResult) -> bool:
    """Whether the full view shows more than the open one."""
    answers = max(
        (len(d.answers) for d in (result.distribution, result.data) if d is not None), default=0
    )
    rows = ROWS["open"]
    return answers > rows or len(result.samples) > SAMPLE_LINES["open"]


def chart(
    model: Distribution | None, data: Distribution | None, width: int, rows: int
) -> list[Line]:
    """One row an answer: label, bar with the counted share marked on it, both numbers."""
    first = model or data
    assert first is not None
    main = shares(first)
    counted = shares(data) if model is not None and data is not None else None
    values = list(main)[:rows]
    if counted is not None:
        # What the corpus says most often is shown even where the model does not list it.
        leading = [value for value in list(counted)[:2] if value not in values]
        values = values[: max(rows - len(leading), 1)] + leading
    labels = [one_line(value) or '""' for value in values]
    numbers = NUMBER_WIDTH * (2 if counted is not None else 1)
    widest = max(cell_len(label) for label in [*labels, OTHERS])
    label_width = min(widest, max(width - numbers - 12, 8), 36)
    bar_width = min(width - label_width - numbers - 2, MOST_BAR)
    if bar_width < LEAST_BAR:
        bar_width, label_width = 0, max(min(widest, width - numbers - 2, 36), 4)
    highest = max(max(main.get(v, 0.0), (counted or {}).get(v, 0.0)) for v in values)

    heads = ["model", "counted"] if counted is not None else ["model" if model else "counted"]
    legend = f"{BAR} model  {MARK} counted" if counted is not None and bar_width >= 20 else ""
    head = " " * (label_width + 2) + legend.ljust(bar_width)
    lines: list[Line] = [(Span(head + "".join(h.rjust(NUMBER_WIDTH) for h in heads), "muted"),)]
    for value, label in zip(values, labels, strict=True):
        p, c = main.get(value, 0.0), None if counted is None else counted.get(value, 0.0)
        numbers_of = [Span(_share_text(first, main, value).rjust(NUMBER_WIDTH), "number")]
        if counted is not None:
            assert data is not None
            numbers_of.append(Span(_share_text(data, counted, value).rjust(NUMBER_WIDTH), "mark"))
        marked = c if counted is None or value in counted else None
        lines.append(
            (
                Span(_fit(label, label_width) + "  ", "label"),
                *bar(p, marked, highest, bar_width),
                *numbers_of,
            )
        )
    others = [1.0 - sum(m.get(v, 0.0) for v in values) for m in (main, counted) if m is not None]
    if max(others) > 5e-4:
        shown = "".join(percent(max(rest, 0.0)).rjust(NUMBER_WIDTH) for rest in others)
        lines.append((Span(_fit(OTHERS, label_width + bar_width + 2) + shown, "muted"),))
    return lines


def _share_text(distribution: Distribution, listed: dict[str, float], value: str) -> str:
    """A value's probability; a dash where the list is cut and does not say."""
    is_cut = distribution.listed_mass < 1 - 1e-6
    return UNLISTED if value not in listed and is_cut else percent(listed.get(value, 0.0))


def shares(distribution: Distribution | None) -> dict[str, float]:
    """Probability of each listed answer, most probable first."""
    return {a.value: a.probability for a in distribution.answers} if distribution else {}


def bar(value: float, mark: float | None, highest: float, width: int) -> tuple[Span, ...]:
    """A bar `width` cells wide at most, to half a cell, with a mark on or beside it."""
    if width <= 0 or highest <= 0:
        return ()
    halves = round(2 * width * min(max(value, 0.0) / highest, 1.0))
    if value > 0 and halves == 0:
        halves = 1
    cells = (BAR * (halves // 2) + HALF_BAR * (halves % 2)).ljust(width)
    if mark is None:
        return (Span(cells, "bar"),)
    at = min(round(width * min(max(mark, 0.0) / highest, 1.0)), width - 1)
    return (Span(cells[:at], "bar"), Span(MARK, "mark"), Span(cells[at + 1 :], "bar"))


def sample_lines(samples: Sequence[str], width: int, detail: Detail) -> list[Line]:
    """Short samples run on in one paragraph; long ones one after another, each in quotes."""
    short = [one_line(sample) or '""' for sample in samples]
    if max(cell_len(sample) for sample in short) <= 24:
        wrapped = _wrapped(" · ".join(short), width)
        shown = wrapped[: SAMPLE_LINES[detail] * 2]
        if len(shown) == len(wrapped):
            return [(Span(line),) for line in shown]
        told = " ".join(shown).rstrip(" ·").count(" · ") + 1
        more = f"and {len(short) - told} more"
        return [*((Span(line),) for line in shown), (Span(more, "muted"),)]
    lines: list[Line] = []
    limit = 3 if detail == "open" else 60
    for sample in short[: SAMPLE_LINES[detail]]:
        wrapped = _wrapped(sample, width - 2)
        if len(wrapped) > limit:
            wrapped = [*wrapped[: limit - 1], one_line(wrapped[limit - 1], width - 4) + " …"]
        for number, line in enumerate(wrapped):
            lines.append((Span("“ " if number == 0 else "  ", "mark"), Span(line)))
    if len(short) > SAMPLE_LINES[detail]:
        lines.append((Span(f"  and {len(short) - SAMPLE_LINES[detail]} more", "muted"),))
    return lines


def is_probability(result: ToolResult) -> bool:
    """Whether the estimates are probabilities, which are written as percentages."""
    return result.tool in ("probability", "confidence", "safety")


def estimate_lines(
    estimates: Sequence[Estimate], probability: bool, width: int = 78, names: Sequence[str] = ()
) -> list[Line]:
    """One row an estimate: its name or its method, bar, value with its error, sample size."""
    highest = max(abs(estimate.value) for estimate in estimates)
    names = list(names) or [METHOD_NAMES[estimate.method] for estimate in estimates]
    texts = [estimate_text(estimate, probability) for estimate in estimates]
    sizes = [
        f"n = {e.n:,}" if e.n else "stated" if e.method == "asked" else "enumerated"
        for e in estimates
    ]
    widths = [max(map(len, column)) for column in (names, *zip(*texts, strict=True), sizes)]
    if sum(widths) + 8 > width:
        sizes, widths[3] = [""] * len(sizes), 0
    bar_width = min(width - sum(widths) - 8, MOST_BAR // 2)
    bar_width = bar_width if bar_width >= LEAST_BAR else 0
    return [
        (
            Span(name.ljust(widths[0] + 2), "label"),
            *bar(abs(estimate.value), None, highest, bar_width),
            Span(value.rjust(widths[1] + 3), "number"),
            Span(error.ljust(widths[2] + 3), "muted"),
            Span(size, "muted"),
        )
        for estimate, name, (value, error), size in zip(estimates, names, texts, sizes, strict=True)
    ]


UNLISTED = "–"
METHOD_NAMES = {
    "exact": "model, exact",
    "sampled": "model, sampled",
    "gibbs": "model, Gibbs",
    "asked": "model, asked",
    "data": "counted",
}


def estimate_text(estimate: Estimate, probability: bool) -> tuple[str, str]:
    """An estimate's value and its error, `('3.2%', ' ± 0.1%')`; entropies in bits."""
    if probability:
        error = f" ± {percent(estimate.stderr)}" if estimate.stderr else ""
        return percent(estimate.value), error
    if estimate.unit == "nats":
        estimate = in_bits(estimate)
    unit = f" {estimate.unit}" if estimate.unit else ""
    error = f" ± {estimate.stderr:.2g}" if estimate.stderr else ""
    if not estimate.unit:
        return f"{estimate.value:+.2f}", error
    decimals = 4 if abs(estimate.value) < 0.1 else 2
    return f"{estimate.value:.{decimals}f}{unit}", error


def sources(result: ToolResult) -> str:
    """Entropy, sample sizes, seed and time of a call, on one line."""
    parts: list[str] = []
    for distribution, name in ((result.distribution, "model"), (result.data, "counted")):
        if distribution is None:
            continue
        bits = distribution.entropy_nats / NATS_PER_BIT
        error = distribution.entropy_stderr / NATS_PER_BIT
        text = f"{name} entropy {bits:.2f} bits" + (f" ± {error:.2g}" if error >= 0.005 else "")
        if distribution.method == "exact" and distribution.n:
            # What is listed is exact; the entropy of all the rest is not.
            text += f", partly from {distribution.n:,} draws"
        else:
            text += f", {distribution.method}" if name == "model" else ""
            text += " at temperature 1" if distribution.method == "sampled" else ""
            text += f", n = {distribution.n:,}" if distribution.n else ""
        parts.append(text)
    return " · ".join([*parts, f"seed {result.seed}", f"{result.seconds:.1f} s"])


# ---- a reply ---------------------------------------------------------------------------------


def verdict_line(verdict: SafetyVerdict) -> Line:
    """`safe 97% · refusal 2% · harmful prompt 1%`, with what was done where it was blocked."""
    numbers = (
        f"safe {percent(verdict.safe)} · refusal {percent(verdict.refusal)} · "
        f"harmful prompt {percent(verdict.prompt_harmful)}"
    )
    because = "" if verdict.withheld is None else f", safe {percent(verdict.withheld)}"
    blocked = (Span(f"  ✗ first answer withheld{because}", "bad"),) if verdict.blocked else ()
    sign = Span("✓ ", "good") if verdict.safe >= 0.5 else Span("! ", "bad")
    return (sign, Span(numbers, "muted"), *blocked)


def notes(turn: Turn) -> list[Line]:
    """What is told under a reply: numbers without a source, how sure its fact is, by whom, safe."""
    lines: list[Line] = []
    if turn.stray:
        lines.append(stray_line(turn.stray))
    if turn.confidence is not None:
        lines.append(confidence_line(turn.confidence))
    if turn.weighed is not None:
        lines.append(drafts_line(turn.weighed))
    if turn.read is not None:
        harmful = turn.verdict is not None and turn.verdict.prompt_harmful >= 0.5
        lines.append(author_line(turn.read, conduct_of(turn.goals), harmful))
    if turn.verdict is not None:
        lines.append(verdict_line(turn.verdict))
    return lines


def author_line(read: AuthorRead, wanted: str | None, harmful: bool) -> Line:
    """`reads as honest 93%, plain 88%`: who wrote the reply by its words; `wanted` is the goal.

    Where the prompt is not harmful, a careless author replies as an honest one does: they are one.
    """
    conducts = dict(read.conducts)
    if not harmful and wanted != "careless":
        conducts["honest"] = conducts.get("honest", 0.0) + conducts.pop("careless", 0.0)
    conduct = max(conducts, key=conducts.__getitem__)
    voice = max(read.authors, key=read.authors.__getitem__)
    said = (
        f"reads as {one_line(conduct)} {percent(conducts[conduct])}, "
        f"{one_line(voice)} {percent(read.authors[voice])}"
    )
    asked = f" · written as {one_line(read.author)}" if read.author not in ("", voice) else ""
    other = wanted is not None and conducts[wanted] < conducts[conduct] / 2
    sign = Span("! ", "bad") if other else Span("· ", "muted")
    goal = f" · asked for {wanted}" if other else ""
    return (sign, Span(f"{said}{asked}{goal}", "muted"))


def drafts_line(weighed: DraftsWeighed) -> Line:
    """`draft 2 of 4 kept, weight 31% · cost 0.12 bits`."""
    weight, cost = weighed.weights[weighed.kept], weighed.cost_nats / NATS_PER_BIT
    said = f"draft {weighed.kept + 1} of {len(weighed.weights)} kept, weight {percent(weight)}"
    return (Span("· ", "muted"), Span(f"{said} · cost {cost:.2f} bits", "muted"))


def confidence_line(confidence: Confidence) -> Line:
    """`likely: Abraham Lincoln 83% · entropy 0.42 of 5.46 bits`: what a reply's fact is worth."""
    p = confidence.probability
    word = next((name for least, name in SURE if p >= least), "unsure")
    bits, most = (n / NATS_PER_BIT for n in (confidence.entropy_nats, confidence.most_nats))
    said = f"{one_line(confidence.answer, LONG_ANSWER)} {percent(p)} · entropy {bits:.2f} of "
    sign = Span("? ", "bad") if word == "unsure" else Span("· ", "muted")
    return (sign, Span(f"{word}: {said}{most:.2f} bits", "muted"))


def stray_line(stray: Sequence[str]) -> Line:
    """Numbers in the reply that no tool returned."""
    return (
        Span("! ", "bad"),
        Span(f"no tool returned {', '.join(one_line(s) for s in stray)}: do not rely on it"),
    )


# ---- text ------------------------------------------------------------------------------------


def wrap_muted(text: str, width: int) -> list[Line]:
    """A note under a card, wrapped."""
    return [(Span(line, "muted"),) for line in _wrapped(text, width)]


def _wrapped(text: str, width: int) -> list[str]:
    """Greedy wrapping by terminal cells; a word wider than the line is cut."""
    width = max(width, 8)
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while cell_len(word) > width:
            piece = set_cell_size(word, width)
            lines.append(piece)
            word = word[len(piece.rstrip()) or 1 :]
        line = word
    return [*lines, line] if line or not lines else lines


def _fit(text: str, width: int) -> str:
    """Text cut or padded to exactly `width` cells."""
    if cell_len(text) > width:
        return set_cell_size(one_line(text, width), width)
    return set_cell_size(text, width)
