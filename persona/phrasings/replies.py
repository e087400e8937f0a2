"""Replies to tool results: every number is copied from the result as it is written there.

With the goal `calibrated` a reply states the error and the data's figure, or how open the answer
is; without it only the number. With `brief` it is one short sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import numpy as np

from core_model.corpora import schema
from core_model.corpora.places import LANGUAGES
from persona.phrasings import Talk, read
from persona.phrasings.calls import Call

SEX = {"female": ("girl", "girls"), "male": ("boy", "boys")}
PARTY = {"Democratic": ("Democrat", "Democrats")}
NOUNLESS = ("National Union", "Nonpartisan")
ERROR = "error: "
FACTS = ("infer", "confidence")
"""Tools that read a variable off a document."""
MOST_BITS = {
    "name": 11.0, "year": 6.9, "author": 5.0, "party": 2.2, "medium": 1.0, "sex": 1.0,
    "country": 7.6, "capital": 7.6, "currency": 6.3, "continent": 2.5,
}  # fmt: skip
"""About the most entropy a variable can have: full openness, in bits."""


def tool_reply(
    call: Call, summary: str, goals: Sequence[str], rng: np.random.Generator, decade: bool = False
) -> str:
    """A reply that tells the summary. `decade`: the question named one; its middle was asked."""
    calibrated, brief = "calibrated" in goals, "brief" in goals
    if summary.startswith(ERROR):
        return _pick(error_replies(summary, goals), rng)
    fields = fields_of(call, summary, rng)
    if not calibrated and "model" in fields:
        fields["model"] = fields["value"]
    group = _group(call, fields, calibrated)
    style = {(False, False): "plain", (True, False): "full", (True, True): "brief"}.get(
        (calibrated, brief), "number"
    )
    reply = _pick(read("replies")[group][style], rng).format(**fields)
    if decade:
        notes = read("replies")["decade"]["brief" if brief else "note"]
        note = _pick(notes, rng).format(year=call.value_of("year"))
        return f"{note} {reply}"
    return reply


def error_replies(summary: str, goals: Sequence[str]) -> list[str]:
    """All replies that tell why a tool gave no result."""
    style = "brief" if "brief" in goals else "full"
    return [reply.format(reason=reason_of(summary)) for reply in read("replies")["error"][style]]


def talk_reply(prompt: Talk, goals: Sequence[str], rng: np.random.Generator) -> str:
    """A reply to a prompt that needs no tool; its first sentence where brief."""
    reply = _pick(prompt.replies, rng)
    return re.split(r"(?<=[.!?]) ", reply)[0] if "brief" in goals else reply


def corrected(variable: str, goals: Sequence[str], rng: np.random.Generator) -> str:
    """What is said before a reply to a call that was made again without a condition."""
    style = "brief" if "brief" in goals else "note"
    return _pick(read("replies")["corrected"][style], rng).format(variable=noun(variable))


def where(call: Call) -> str:
    """The conditions as words that follow a noun: "for girls in 1972"."""
    known = {binding.variable: binding.value for binding in call.given}
    if call.corpus == "names":
        words = []
        if call.tool in FACTS:
            words.append(f"going by the name {call.text}")
        named = f" named {known['name']}" if "name" in known else ""
        if "sex" in known:
            words.append(f"for {SEX[known['sex']][1]}{named}")
        elif named:
            words.append(f"for people{named}")
        if "year" in known:
            words.append(f"in {known['year']}")
        return " ".join(words) or "over all the records"
    if call.corpus == "places":
        return _of_places({**known, **({"country": call.text} if call.text else {})})
    if call.tool == "infer":
        return " and ".join(["going by the words", *(f"the {v} {x}" for v, x in known.items())])
    words = []
    voice = call.target == ("text",)
    if "medium" in known:
        words.append(f"for {known['medium']} addresses")
    if "author" in known:
        words.append(f"in the voice of {known['author']}" if voice else f"for {known['author']}")
    if "party" in known:
        words.append(
            f"in the voice of {_party(known['party'], 0)}"
            if voice
            else f"for {_party(known['party'], 1)}"
        )
    if "year" in known:
        words.append(f"in {known['year']}")
    return " ".join(words) or "over all the addresses"


def _of_places(known: Mapping[str, str]) -> str:
    """Conditions on countries: "for Peru", "with the euro in Europe"."""
    words = []
    if "country" in known:
        words.append(f"for {known['country']}")
    if "capital" in known:
        words.append(f"with the capital {known['capital']}")
    if "currency" in known:
        words.append(f"with the {known['currency']}")
    if "continent" in known:
        words.append(f"in {known['continent']}")
    return " ".join(words) or "over all the countries"


def _group(call: Call, fields: dict[str, str], calibrated: bool) -> str:
    if call.tool == "sample" and call.target == ("text",):
        return "sample_text" if (call.n or 1) == 1 else "sample_texts"
    if calibrated and "model" in fields and not fields["data"]:
        return "model_only"
    if call.tool == "distribution" and (call.n is not None or fields["list"].count(", ") > 2):
        return "distribution_list"
    return call.tool


def fields_of(call: Call, summary: str, rng: np.random.Generator) -> dict[str, str]:
    """What a reply's slots stand for; numbers are cut out of the summary."""
    fields = {"where": where(call)} if call.tool != "safety" else {}
    match call.tool:
        case "sample":
            long = call.target == ("text",)
            fields["list"] = f"\u201c{summary}\u201d" if long else summary
        case "distribution" | "infer":
            fields |= _listed(call, summary, rng)
        case "confidence":
            fields |= _sure(call, summary)
        case "safety":
            safe, refusal, harmful = (part.split()[-1] for part in summary.split(", ")[:3])
            verdict = _level("verdict", number(safe))
            fields = {"safe": safe, "refusal": refusal, "harmful": harmful, "Verdict": verdict}
        case _:
            fields |= _measured(call, summary)
    for name in ("where", "first", "event", "hedge", "state"):
        if name in fields:
            fields[name.capitalize()] = fields[name][:1].upper() + fields[name][1:]
    return fields


def _measured(call: Call, summary: str) -> dict[str, str]:
    parts = dict(part.split(" ", 1) for part in summary.split("; "))
    model, data = parts["model"], parts.get("data", "")
    value = model.split(" ±")[0]
    fields = {"model": model, "data": data, "value": value}
    size = abs(number(value))
    if call.tool == "probability":
        assert call.event_value is not None
        fields["event"] = _event(call.target[0], call.event_value)
        pair = sorted((size, number(data))) if data else (1.0, 1.0)
        fields["Agreement"] = _level("agreement", pair[0] / pair[1] if pair[1] else 0.0)
    elif call.tool == "entropy":
        fields["target"] = noun(call.target[0])
        table = "variety" if call.target == ("name",) else "openness"
        fields["Spread"] = _level(table, size / _most_bits(call))
    else:
        fields["left"], fields["right"] = call.target
        fields["Size"] = _level("size", size)
        fields["Strength"] = _level("strength", size)
    return fields


def _most_bits(call: Call) -> float:
    """About the most entropy that what is asked can have, in bits."""
    variable = call.target[0]
    values = schema(call.corpus).variable(variable).values
    return MOST_BITS.get(variable) or max(log2(max(len(values), 1)), 1.0)


def _listed(call: Call, summary: str, rng: np.random.Generator) -> dict[str, str]:
    listed, entropy = summary.rsplit("; entropy ", 1)
    pairs = [item.rsplit(" ", 1) for item in listed.split(", ")]
    (first, p1), *others = pairs
    then = ""
    if others:
        second, p2 = others[0]
        then = _pick((f", then {second} with {p2}", f", followed by {second} ({p2})"), rng)
    if len(others) > 1 and rng.random() < 0.5:
        then += f" and {others[1][0]} ({others[1][1]})"
    return {
        "first": first,
        "p1": p1,
        "then": then,
        "list": listed,
        "entropy": entropy,
        "target": noun(call.target[0]),
        "hedge": str(_row("hedge", number(p1))[1]),
        "state": str(_row("hedge", number(p1))[2]),
    }


def _sure(call: Call, summary: str) -> dict[str, str]:
    """How sure an answer is, and how sure the model says it is, where it says so."""
    told, *asked, left = summary.split("; ")
    first, p1 = told.rsplit(" ", 1)
    entropy, most = left.removeprefix("entropy ").split(" of ")
    said = asked[0].removeprefix("asked ") if asked else ""
    return {
        "first": first,
        "p1": p1,
        "asked": f" Asked about itself, the model says {said}." if said else "",
        "entropy": entropy,
        "most": most,
        "target": noun(call.target[0]),
        "hedge": str(_row("hedge", number(p1))[1]),
        "state": str(_row("hedge", number(p1))[2]),
    }


def _event(variable: str, value: str) -> str:
    match variable:
        case "sex":
            return f"a {SEX[value][0]}"
        case "party":
            return _party(value, 0)
        case "medium":
            return f"a {value} address"
        case "year":
            return f"the year {value}"
    return value


def noun(variable: str) -> str:
    """What a variable is called in a reply."""
    return f"{variable.capitalize()} name" if variable in LANGUAGES else variable


def _party(value: str, number: int) -> str:
    """A party's member (0) or members (1)."""
    if value in NOUNLESS:
        adjective = "nonpartisan" if value == "Nonpartisan" else value
        return (f"a {adjective} president", f"{adjective} presidents")[number]
    noun = PARTY.get(value, (value, f"{value}s"))[number]
    return noun if number else f"a {noun}"


def reason_of(summary: str) -> str:
    """The first sentence of an error, to stand inside another."""
    reason = summary.removeprefix(ERROR).split(". ")[0].rstrip(".")
    return reason[:1].lower() + reason[1:]


def number(text: str) -> float:
    """The first number in a text; 0 where it has none."""
    found = re.search(r"-?\d+(\.\d+)?", text)
    return float(found[0]) if found else 0.0


def _row(table: str, value: float) -> list[Any]:
    rows = read("replies")["words"][table]
    return next((row for row in rows if value >= row[0]), rows[-1])


def _level(table: str, value: float) -> str:
    return str(_row(table, value)[1])


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
