"""Questions that need several calls: their wordings, the calls they lead to, and what is replied.

Later calls may take their argument from the first one's result. A reply tells the results one by
one, each by what sets its call apart; where they are numbers of one kind, which is greatest is
worked out (`order`) and not left to the author.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from core_model.notation import Binding
from persona.phrasings import Words, read
from persona.phrasings.calls import DEFAULT_SAMPLES, Call
from persona.phrasings.replies import ERROR, SEX, fields_of, noun, number, reason_of
from persona.phrasings.surfaces import Filled, Values, fill

MOST_STEPS = 4
FIRST = "@1"
"""Stands for the most probable answer of the first step."""
COMPARED = ("probability", "entropy")
SHORT_WORDS = 4
"""A text of more words is named by so many of its first ones."""
FILL_TRIES = 40


@dataclass(frozen=True, slots=True)
class Plan(Words):
    """A wording of a question, and its calls as the file has them."""

    corpus: str
    steps: tuple[dict[str, Any], ...]


@cache
def plans() -> tuple[Plan, ...]:
    """All questions that need several calls."""
    return tuple(
        Plan(group["name"], text, group["corpus"], tuple(group["steps"]))
        for group in read("plans")["plan"]
        for text in group["texts"]
    )


def fill_plan(plan: Plan, values: Values, rng: np.random.Generator) -> Filled:
    """A plan's wording with values in its slots; two of a kind are never the same."""
    for _ in range(FILL_TRIES):
        filled = fill(plan, plan.corpus, values, rng)
        of_kind: dict[str, list[str]] = {}
        for key, value in filled.bound.items():
            if key.rstrip("0123456789") == "n":
                continue  # as many girls as boys is a question, too
            of_kind.setdefault(key.rstrip("0123456789"), []).append(value)
        if all(len(set(found)) == len(found) for found in of_kind.values()):
            return filled
    raise ValueError(f"No two different values for '{plan.text}'.")


def call_at(plan: Plan, place: int, filled: Filled, first: str | None) -> Call:
    """The call of one step; `first` is the most probable answer of the first, once it is there."""
    step = plan.steps[place]
    bound = filled.bound
    given = []
    for key in step.get("given", ()):
        variable, _, constant = key.partition("=")
        value = constant or bound.get(variable)
        if value is not None:
            given.append(Binding(variable.rstrip("0123456789"), value))
    document = step.get("document")
    text = first if document == FIRST else bound.get(document) if document else None
    n = int(bound[step["n"]]) if "n" in step else None
    if step["tool"] == "sample" and n is None:
        n = DEFAULT_SAMPLES
    event = bound[step["event"]] if "event" in step else None
    return Call(step["tool"], plan.corpus, (step["target"],), event, tuple(given), text, n)


def first_answer(summary: str) -> str | None:
    """The most probable answer that a result lists."""
    found = re.match(r"(.+?) [<>]?[\d.]+%(?:, .*)?; entropy", summary)
    return found[1] if found else None


def labels(calls: Sequence[Call]) -> list[str]:
    """What sets each call apart from the others, all different; none where nothing does so.

    What it asks, what it asks about, or the conditions that are its own; else all of these that
    differ.
    """
    conditions = []
    for call in calls:
        others = {b for other in calls if other is not call for b in other.given}
        own = [b.value for b in call.given if b not in others]
        conditions.append(", ".join(SEX[v][1] if v in SEX else v for v in own))
    nouns = [" and ".join(map(noun, call.target)) for call in calls]
    kinds = (
        nouns,
        [call.event_value or "" for call in calls],
        [_document(call) for call in calls],
        [own or of for own, of in zip(conditions, nouns, strict=True)],
    )
    for found in kinds:
        if all(found) and len(set(found)) == len(calls):
            return list(found)
    given = [", ".join(b.value for b in call.given) for call in calls]
    differing = [kind for kind in (kinds[1], kinds[2], given, nouns) if len(set(kind)) > 1]
    parts = zip(*differing, strict=True) if differing else [()] * len(calls)
    joined = [", ".join(filter(None, p)) or of for p, of in zip(parts, nouns, strict=True)]
    return joined if len(set(joined)) == len(calls) else []


def _document(call: Call) -> str:
    """The text that a call reads: a name or a country, or how a passage begins, without digits."""
    if call.text is None:
        return ""
    words = call.text.split()
    if len(words) <= SHORT_WORDS and not re.search(r"\d", call.text):
        return call.text
    begin = [word for word in words if not re.search(r"\d", word)][:SHORT_WORDS]
    return f"\u201c{' '.join(begin)} …\u201d"


def order(calls: Sequence[Call], summaries: Sequence[str]) -> str | None:
    """The labels of calls by the size of the numbers they found.

    None where they found none, and where the two greatest are alike: equal as they are written, or
    nearer to each other than their errors.
    """
    alike = {(call.tool, call.target) for call in calls}
    if len(calls) < 2 or len(alike) > 1 or calls[0].tool not in COMPARED:
        return None
    if any(not summary.startswith("model ") for summary in summaries):
        return None
    sizes, errors = zip(*(_model(summary) for summary in summaries), strict=True)
    named = labels(calls)
    if not named:
        return None
    ordered = sorted(range(len(calls)), key=lambda i: -sizes[i])
    first, second = ordered[:2]
    if sizes[first] - sizes[second] <= np.hypot(errors[first], errors[second]):
        return None
    return " > ".join(named[i] for i in ordered)


def _model(summary: str) -> tuple[float, float]:
    """The model's number in a result and its error."""
    value, _, error = summary.split("; ")[0].partition(" ± ")
    return number(value), number(error)


def plan_replies(
    calls: Sequence[Call], summaries: Sequence[str], goals: Sequence[str],
    rng: np.random.Generator,
) -> list[str]:  # fmt: skip
    """Every reply that tells what every call found, or why it did not, under these goals.

    None where the calls can't be told apart, or one judged a reply's safety.
    """
    calibrated, brief = "calibrated" in goals, "brief" in goals
    named = labels(calls)
    if not named or any(not call.target for call in calls):
        return []
    items = []
    for call, summary, label in zip(calls, summaries, named, strict=True):
        if summary.startswith(ERROR):
            items.append(f"{label}: {reason_of(summary)}")
            continue
        fields = fields_of(call, summary, rng) | {"label": label}
        if "first" in fields:
            kind = "answers"
        elif "list" in fields:
            kind = "draws"
        else:
            kind = "number" if fields["data"] else "model_only"
        items.append(read("plans")["items"][kind][0 if calibrated else 1].format(**fields))
    ordered = order(calls, summaries)
    most = ordered.split(" > ")[0] if ordered else ""
    told = "; ".join(items)
    frames = read("plans")["replies"]["compared" if ordered else "each"]
    words = {"items": told, "Items": _capital(told), "most": most, "Most": _capital(most)}
    return [str(frame).format(**words) for frame in frames["brief" if brief else "full"]]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
