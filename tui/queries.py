"""`candor query`: what `tools.query.run_query` returns, as text or as JSON lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from core_model import corpora, notation
from core_model.anonymity import CORPUS, HIDDEN, KEPT, RUN, anonymised, posterior, told_of_author
from core_model.core import Answer, Core, Distribution, Estimate
from core_model.corpora import schema
from core_model.errors import CandorError, InvalidQuery
from core_model.graph import Schema, Variable
from core_model.joint_writing import Written, write_jointly
from core_model.notation import Draw, Probability
from core_model.planning import plan
from tools import joint
from tui.render import chart, estimate_lines, plain, printable, wrap_muted

WIDTH = 88
ESTIMATES = 3
"""Values of what a text is about that are listed behind a sentence."""
LISTED = 8
"""Values of a variable that are listed; of more, the first and the last."""
KEYS = {"query": str, "data": str, "top": int, "method": str, "seed": int}
Run = Callable[[str, str | None, int | None, str, int], dict[str, Any]]
"""query, data, top, method, seed -> the result as JSON."""


def as_text(result: dict[str, Any]) -> str:
    """A result as its card: bars with numbers, or a row for each estimate."""
    if "estimates" in result:
        estimates = [
            Estimate(e["method"], e["value"], e["stderr"], e["n"], e.get("unit", ""))
            for e in result["estimates"]
        ]
        probability = isinstance(notation.parse(result["query"]), Probability)
        return plain([*_head(result), *estimate_lines(estimates, probability, WIDTH)])
    every = result.get("methods", [result])
    model = next((d for d in every if d["method"] != "data"), None)
    data = next((d for d in every if d["method"] == "data"), None)
    found = [_distribution(result["query"], each) if each else None for each in (model, data)]
    shown = found[0] or found[1]
    assert shown is not None
    rows = len(shown.answers)
    notes = [line for each in every for line in wrap_muted(_note(each), WIDTH)]
    if any(len(answer.value) > 60 for answer in shown.answers):
        body = "\n\n".join(printable(answer.value) for answer in shown.answers)
        return f"{plain(_head(result))}\n{body}\n\n{plain(notes)}"
    lines = chart(found[0], found[1], WIDTH, rows) if rows else []
    return plain([*_head(result), *lines, (), *notes])


def _note(found: dict[str, Any]) -> str:
    """How a distribution was found, and what it comes to as a whole."""
    listed, entropy = f"{found['listed_mass']:.1%}", f"{found['entropy_nats']:.3f} nats"
    error, n = found.get("entropy_stderr", 0.0), found.get("n", 0)
    return (
        f"{found['method']} · listed {listed} · entropy {entropy}"
        + (f" ± {error:.2g}" if error else "")
        + (f" · n = {n:,}" if n else "")
    )


def _head(result: dict[str, Any]) -> list[Any]:
    return [*wrap_muted(result["query"], WIDTH), ()]


def _distribution(query: str, found: dict[str, Any]) -> Distribution:
    return Distribution(
        query=query,
        method=found["method"],
        answers=tuple(Answer(a["value"], a["probability"]) for a in found["answers"]),
        listed_mass=found["listed_mass"],
        entropy_nats=found["entropy_nats"],
        entropy_stderr=found.get("entropy_stderr", 0.0),
        n=found.get("n", 0),
    )


def run_batch(
    lines: Iterable[str],
    run: Run,
    defaults: dict[str, Any],
    failure: Callable[[BaseException], str],
    write: Callable[[str], None],
) -> None:
    """One JSON result a line, in order, `{"error": …}` where one fails."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            result = run_line(line, run, defaults)
        except Exception as error:
            result = {"error": failure(error), "line": number}
        write(json.dumps(result) + "\n")


def run_line(line: str, run: Run, defaults: dict[str, Any]) -> dict[str, Any]:
    """Answer one line `{"query", "data"?, "top"?, "method"?, "seed"?}`; raises CandorError."""
    try:
        asked = json.loads(line)
    except ValueError as error:
        raise CandorError(f"This line is not JSON: {error}.") from error
    if not isinstance(asked, dict) or "query" not in asked:
        raise CandorError('Each line must be an object with "query", as {"query": "names: sex"}.')
    for key, value in asked.items():
        if key not in KEYS:
            raise CandorError(f"Unknown key '{key[:40]}'. A line may have: {', '.join(KEYS)}.")
        wanted = KEYS[key]
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise CandorError(f"'{key}' must be of type {wanted.__name__}.")
    settings = defaults | {key: value for key, value in asked.items() if value is not None}
    return run(
        settings["query"],
        settings.get("data"),
        settings.get("top"),
        settings.get("method") or "exact",
        settings.get("seed") or 0,
    )


def written(
    core: Core, query_text: str, about: str, sentences: int, seed: int, as_json: bool
) -> Iterator[str]:
    """A text as it is written, with what it is about behind each sentence; or events as JSON."""
    query = joint.resolve(notation.parse(query_text))
    steps = plan(query) if isinstance(query, Draw) else []
    if len(steps) != 1:
        raise InvalidQuery("One relation is written: 'speeches: text | author=Abraham Lincoln'.")
    rng = np.random.default_rng(seed)
    for event in write_jointly(core, steps[0].bind(()), about, rng, sentences):
        if isinstance(event, Written):
            yield json.dumps({"text": event.text}) + "\n" if as_json else printable(event.text)
            continue
        shares = {a.value: a.probability for a in event.estimate.top(ESTIMATES).answers}
        if as_json:
            line = {"sentences": event.sentences, "drawn": event.drawn, about: shares}
            yield json.dumps(line) + "\n"
        else:
            listed = ", ".join(f"{value} {share:.0%}" for value, share in shares.items())
            yield ("\n" if event.sentences else "") + f"[{about}: {listed}]\n"


def corpora_listed() -> str:
    """Every corpus: what it holds, its variables, and a query to try."""
    return "\n".join(map(_corpus_in_short, corpora.known()))


def _corpus_in_short(name: str) -> str:
    try:
        found = schema(name)
    except CandorError as error:  # some are fetched when they are first asked for
        return f"{name}\n    {error.message}\n"
    return "\n".join((*_corpus_head(found), f"    {', '.join(found.names)}", _example(found), ""))


def corpus_in_full(name: str) -> str:
    """One corpus with each of its variables; raises UnknownName."""
    found = schema(name)
    width = max(map(len, found.names))
    rows = (f"    {v.name:<{width}}  {v.doc}{_values(v)}".rstrip() for v in found.variables)
    read = f"    A relation reads the {found.document}." if found.document else ""
    return "\n".join((*_corpus_head(found), *rows, *([read] if read else []), _example(found), ""))


def _corpus_head(found: Schema) -> tuple[str, str]:
    return found.corpus, f"    {found.doc}"


def _values(variable: Variable) -> str:
    if variable.kind != "closed":
        return ""
    if len(variable.values) <= LISTED:
        return f" ({', '.join(variable.values)})"
    return f" ({variable.values[0]} … {variable.values[-1]}, {len(variable.values)} values)"


def _example(found: Schema) -> str:
    query, document = found.example
    data = f" --data {shlex.quote(document)}" if document else ""
    return f"    candor query {shlex.quote(query)}{data}"


def anonymous(core: Core, passage: str, seed: int, as_json: bool) -> str:
    """A passage written anew, with what both tell of their author; or its drafts as JSON."""
    before = told_of_author(posterior(core, HIDDEN, passage), posterior(core, HIDDEN))
    drafts = anonymised(core, passage, np.random.default_rng(seed))
    if as_json:
        return json.dumps({"told": before, "drafts": [asdict(draft) for draft in drafts]}) + "\n"
    best = drafts[0]
    shares = posterior(core, KEPT, best.text)
    topic = schema(CORPUS).variable(KEPT).values[int(shares.argmax())]
    warning = ""
    if best.told >= before:
        warning = "! It tells no less than the passage did. Another --seed may do better.\n"
    elif best.copied > RUN:
        warning = "! Every draft repeats words of the passage. Another --seed may do better.\n"
    told = (
        f"tells {best.told:.2f} nats of its author, the passage {before:.2f} · about {topic} "
        f"{shares.max():.0%} · at most {best.copied} words of the passage in a row"
    )
    return f"{printable(best.text)}\n\n{plain(wrap_muted(told, WIDTH))}\n{warning}"
