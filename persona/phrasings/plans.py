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
from persona.phrasings.replies import SEX, fields_of, noun, number
from persona.phrasings.surfaces import Filled, Values, fill

MOST_STEPS = 4
FIRST = "@1"
"""Stands for the most probable answer of the first step."""
COMPARED = ("probability", "entropy")
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
    """What sets each call apart from the others: what it asks, or a value that is its own."""
    if len({call.target for call in calls}) > 1:
        return [noun(call.target[0]) for call in calls]
    if len({call.event_value for call in calls}) > 1:
        return [str(call.event_value) for call in calls]
    if len({call.text for call in calls}) > 1:
        return [str(call.text) for call in calls]
    found = []
    for call in calls:
        others = {b for other in calls if other is not call for b in other.given}
        own = [b.value for b in call.given if b not in others]
        found.append(", ".join(SEX[v][1] if v in SEX else v for v in own) or noun(call.target[0]))
    return found


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
    """Every reply that tells what every call found, under these goals."""
    calibrated, brief = "calibrated" in goals, "brief" in goals
    items = []
    for call, summary, label in zip(calls, summaries, labels(calls), strict=True):
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
