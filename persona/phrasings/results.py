"""Made-up tool results: plausible numbers in the tools' own spelling, never the true ones.

A reply is learnt from these so that its numbers can only come from the result before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core_model.core import Answer, Distribution, Estimate
from core_model.corpora import schema
from core_model.errors import UnknownName
from core_model.notation import Binding
from persona.phrasings import read
from persona.phrasings.calls import DEFAULT_SAMPLES, DEFAULT_TOP, Call
from persona.phrasings.replies import FACTS
from persona.phrasings.surfaces import Values, authors, excerpt
from tools import summaries

EXACT_SHARE = 0.55
NO_DATA_SHARE = 0.05
ERROR_SHARE = 0.06
INFER_LISTED = 3
KNOWN_SHARE = 0.5
"""Facts of a country of which the model is made to be all but certain."""
RARE, UNCOUNTED_SHARE = 0.01, 0.3
"""Of what is rarer than that, how much the data do not have at all."""
KIND_SHARE = 0.7
"""Of the verdicts on a reply that seems to do harm, those that tell what kind it is."""
STATED_SHARE = 0.8
"""Of how sure an answer is, how often the model also says it of itself."""
PARTY_VALUES = tuple(read("surfaces")["weights"]["party"])


def made_up(call: Call, values: Values, rng: np.random.Generator) -> str:
    """The summary a tool might give for this call, or a line that starts with `error: `."""
    missing = unlisted(call)
    if missing is not None:
        return missing
    if call.tool in ("probability", "distribution", "sample") and rng.random() < ERROR_SHARE:
        error = _error(call, rng)
        if error is not None:
            return error
    match call.tool:
        case "probability":
            return summaries.probability(*_pair(_chance(call, rng), rng))
        case "entropy":
            top = {
                "name": 11.0,
                "year": 6.5,
                "author": 4.5,
                "party": 2.2,
                "capital": 5.0,
                "currency": 5.0,
            }
            most = top.get(call.target[0], 1.0)
            return summaries.entropy(*_pair(most * rng.beta(3, 1.5), rng, "bits"))
        case "mutual_information":
            return summaries.mutual_information(*_pair(2 ** rng.normal(-3, 2.5), rng, "bits"))
        case "correlation":
            value = float(np.clip(rng.normal(0, 0.4), -0.98, 0.98))
            return summaries.correlation(*_pair(value, rng))
        case "confidence":
            return _how_sure(call, values, rng)
        case "safety":
            return _verdicts(rng)
        case "sample":
            n = call.n or DEFAULT_SAMPLES
            if call.target == ("text",):
                return summaries.samples([excerpt(values.passage(rng), rng)])
            if call.corpus == "places":
                return summaries.samples([values.place(rng)[call.target[0]] for _ in range(n)])
            return summaries.samples([values.name(rng) for _ in range(n)])
    return _listed(call, values, rng)


def _verdicts(rng: np.random.Generator) -> str:
    """Verdicts on a reply, with a kind of harm where the tool would tell it, or not learnt it."""
    safe = float(rng.beta(4, 1) if rng.random() < 0.7 else rng.beta(1, 4))
    refusal, harmful = float(rng.beta(0.5, 4)), float(rng.beta(0.5, 4))
    kind = None
    if (safe < 0.5 or harmful >= 0.5) and rng.random() < KIND_SHARE:
        kinds = schema("safety").variable("category").values
        kind = (str(rng.choice(kinds)), float(rng.uniform(1 / len(kinds), 1)))
    return summaries.safety(safe, refusal, harmful, kind)


def _listed(call: Call, values: Values, rng: np.random.Generator) -> str:
    candidates = _candidates(call, values, rng)
    wanted = INFER_LISTED if call.tool == "infer" else call.n or DEFAULT_TOP
    shown = candidates[:wanted]
    is_list = call.corpus == "places" and call.tool == "distribution" and len(candidates) > 10
    many = call.target[0] in ("name", "year") or is_list
    first = float(rng.beta(1.2, 20) if many else rng.beta(2, 1.2))
    if call.corpus == "places" and not many and rng.random() < KNOWN_SHARE:
        first = 1 - float(10 ** rng.uniform(-4, -1))
    shares = [first]
    for _ in shown[1:]:
        left = shares[-1] if many else min(shares[-1], 1 - sum(shares))
        shares.append(left * float(rng.uniform(0.6, 0.98) if many else rng.beta(2, 1.5)))
    if not many and len(candidates) == 2:
        shares = [max(first, 1 - first), min(first, 1 - first)]
    most = {"name": 11.0, "year": 6.8}.get(call.target[0], 6.0 if is_list else None)
    bits = most * (1 - first) ** 2 if most else -sum(p * np.log2(p) for p in shares if p > 0)
    answers = tuple(Answer(v, p) for v, p in zip(shown, shares, strict=True))
    found = Distribution("", "exact", answers, 1.0, float(bits) * float(np.log(2)), 0.0, 0)
    return summaries.infer(found) if call.tool == "infer" else summaries.distribution(found, wanted)


def _how_sure(call: Call, values: Values, rng: np.random.Generator) -> str:
    """A probability, what the model says of it, and an entropy that fits both."""
    count = len(schema(call.corpus).variable(call.target[0]).values)
    p = max(float(rng.beta(2, 1.2)), 1 / count)
    if rng.random() < KNOWN_SHARE:
        p = 1 - float(10 ** rng.uniform(-4, -1))
    left = 1 - p
    spread = float(rng.uniform(0.3, 1)) * np.log(max(count - 1, 1))
    entropy = -p * np.log(p) - left * np.log(left) + left * spread
    first = _candidates(call, values, rng)[0]
    found = Distribution("", "exact", (Answer(first, p),), p, float(entropy), 0.0, 0)
    said = float(np.clip(p + rng.normal(0, 0.06), 0.01, 0.99))
    error = float(10 ** rng.uniform(-2.5, -0.8))
    asked = Estimate("asked", said, error, 0) if rng.random() < STATED_SHARE else None
    return summaries.confidence(found, asked, float(np.log(count)))


def _candidates(call: Call, values: Values, rng: np.random.Generator) -> list[str]:
    """Values of the target, in random order; years lie close together, authors near the year."""
    variable = call.target[0]
    if variable == "name":
        return list(dict.fromkeys(values.name(rng) for _ in range(40)))
    if call.corpus == "places":
        return list(dict.fromkeys(values.place(rng)[variable] for _ in range(40)))
    if variable == "year":
        middle = int(values.year(rng, call.corpus))
        years = {values.year(rng, call.corpus) for _ in range(60)}
        return sorted(years, key=lambda y: abs(int(y) - middle) + float(rng.uniform(0, 6)))
    if variable == "author":
        year = call.value_of("year") or values.year(rng, "speeches")
        near = {a.name: min(abs(int(year) - y) for y in a.years) for a in authors().values()}
        return sorted(near, key=lambda name: near[name] + float(rng.uniform(0, 25)))
    options: Sequence[str] = {
        "sex": ("female", "male"),
        "medium": ("spoken", "written"),
        "party": PARTY_VALUES,
    }[variable]
    return [str(v) for v in rng.permutation(options)]


def _chance(call: Call, rng: np.random.Generator) -> float:
    if call.target[0] in ("name", "year"):
        return float(np.clip(10 ** rng.normal(-2.6, 0.9), 1e-6, 0.6))
    return float(np.clip(rng.beta(0.7, 0.7), 1e-5, 0.9999))


def _pair(
    value: float, rng: np.random.Generator, unit: str = ""
) -> tuple[Estimate, Estimate | None]:
    """The model's estimate, exact or sampled, and mostly the data's beside it."""
    error = 0.0 if rng.random() < EXACT_SHARE else abs(value) * float(10 ** rng.uniform(-2, -0.5))
    model = Estimate(
        "sampled" if error else "exact", float(value), error, 400 if error else 0, unit
    )
    if rng.random() < NO_DATA_SHARE:
        return model, None
    factor = float(np.exp(rng.normal(0, 0.25)))
    if unit:
        counted = value * factor
    elif 0 < value < RARE and rng.random() < UNCOUNTED_SHARE:
        counted = 0.0
    elif value > 0.5:  # shares near one: perturb what is missing from one
        counted = 1 - (1 - value) * factor
    else:
        counted = min(max(value * factor, -1.0), 1.0)
    return model, Estimate("data", counted, 0.0, 1, unit)


def unlisted(call: Call) -> str | None:
    """What a tool says of a document or a year that is none of those there are; None of others."""
    if not call.corpus:
        return None
    corpus = schema(call.corpus)
    named = [binding for binding in call.given if corpus.variable(binding.variable).numeric]
    if call.event_value is not None and corpus.variable(call.target[0]).numeric:
        named.append(Binding(call.target[0], call.event_value))
    if call.tool in FACTS and call.text is not None:
        document = corpus.variable(corpus.document)
        named += [Binding(document.name, call.text)] if document.kind == "closed" else []
    try:
        for binding in named:
            corpus.spelled(binding)
    except UnknownName as error:
        return f"error: {error.message}"
    return None


def _error(call: Call, rng: np.random.Generator) -> str | None:
    """What a tool says where no record matches; None where there is no condition to blame."""
    if not call.given:
        return None
    given = ", ".join(_written(binding) for binding in call.given)
    return (
        f"error: No record of {call.corpus} has {given}. Give fewer or other conditions.",
        f"error: No record matches '{given}'. Give fewer or other conditions.",
        f"error: nothing is known for {given}.",
    )[rng.integers(3)]


def _written(binding: Binding) -> str:
    value = f'"{binding.value}"' if " " in binding.value else binding.value
    return f"{binding.variable}={value}"
