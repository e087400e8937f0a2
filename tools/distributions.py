"""Distributions of a draw by each method, behind the tools and the command line alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core_model import notation, priors
from core_model.core import (
    Core,
    Distribution,
    Estimate,
    entropy_of,
    from_weights,
    jackknife,
    printed,
)
from core_model.errors import CandorError, EmptySupport
from core_model.gibbs import gibbs
from core_model.graph import Kind
from core_model.notation import Binding, Draw, Step
from core_model.planning import plan
from tools import joint, measures
from tools.joint import NoSuchMethod

LISTED = 10
"""Answers listed of an enumerable variable where nothing else is asked."""
TEXTS = 5
"""Texts drawn of an open variable where nothing else is asked."""


def exact(
    core: Core, query: Draw, data: str | None, top: int | None, rng: np.random.Generator
) -> Distribution:
    """The core's own distribution; a chain is the mixture over what lies between.

    Raises NoSuchMethod for an open variable.
    """
    if answer_kind(query, data) == "open":
        raise NoSuchMethod("Free text has no list of answers. Use the method sampled.")
    if top is None and answer_kind(query, data) == "enumerable":
        top = LISTED
    return core.distribution(query, data, top, rng)


def sampled(
    core: Core, query: Draw, data: str | None, n: int, rng: np.random.Generator,
    is_scored: bool = True,
) -> tuple[Distribution, tuple[str, ...]]:  # fmt: skip
    """n samples, and their counts as a distribution.

    Its entropy is the mean of -log p over the samples, with stderr = sd / sqrt(n): that of the
    counts would be too small, since most of what is possible is never drawn. A chain that ends
    in a closed variable has the entropy of the counts, corrected by the jackknife. Where it
    is_scored not, the entropy is that of the counts as they are.
    """
    values = core.sample(query, n, rng, data)
    counts = from_weights(
        notation.format(query), "sampled", {v: float(c) for v, c in Counter(values).items()}, n
    )
    if not is_scored:
        return counts, tuple(values)
    distinct = list(dict.fromkeys(values))
    places = np.array([distinct.index(value) for value in values])
    if n > 1 and len(query.steps) > 1 and answer_kind(query, data) == "closed":
        value, error = jackknife(entropy_of, np.eye(len(distinct))[places])
        return replace(counts, entropy_nats=max(value, 0.0), entropy_stderr=error), tuple(values)
    surprise = -core.log_prob(query, distinct, data, rng)[places]
    error = float(surprise.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return replace(counts, entropy_nats=float(surprise.mean()), entropy_stderr=error), tuple(values)


def gibbs_sampled(
    core: Core, query: Draw, data: str | None, rng: np.random.Generator
) -> Distribution:
    """States of jointly asked variables, each from a Gibbs chain of its own, and their counts.

    It follows the joint without an order of the variables, which the chain rule needs: where the
    two differ, the core's conditionals are not those of one joint. The entropy is that of the
    counts, corrected by the jackknife. Raises NoSuchMethod where not several variables are asked
    jointly, or one of them is free text.
    """
    conditionals = [step.conditional for step in plan(query, data)]
    conditional, names = conditionals[0], [each.variable for each in conditionals]
    if len(query.steps) > 1 or len(names) < 2 or not joint.are_listed(conditional.corpus, names):
        raise NoSuchMethod(
            "Gibbs sampling needs several variables that are asked jointly and are no free text, "
            "as in 'speeches: party & medium'."
        )
    states = gibbs(core, conditional.corpus, names, conditional.given, joint.SAMPLES, rng)
    counts = Counter(printed(names, state) for state in states)
    shares = {state: float(count) for state, count in counts.items()}
    found = from_weights(notation.format(query), "gibbs", shares, len(states))
    places = np.repeat(np.arange(len(counts)), list(counts.values()))
    value, error = jackknife(entropy_of, np.eye(len(counts))[places])
    return replace(found, entropy_nats=max(value, 0.0), entropy_stderr=error)


def counted(query: Draw, data: str | None) -> Distribution:
    """Shares of the answer among the corpus's records that match what is given.

    Its entropy is the one that `H` of the same variables has in the data. The document may be given
    where it is enumerable, as a name is. Raises NoSuchMethod for free text and for chains,
    EmptySupport where no record matches.
    """
    steps = plan(query, data)
    if len(query.steps) > 1:
        raise NoSuchMethod("The data are not counted along a chain. Ask one relation at a time.")
    conditional, names = steps[0].conditional, [step.conditional.variable for step in steps]
    corpus = conditional.corpus
    counts = joint.counted(corpus, names, conditional.given)
    n = round(sum(counts.values()))
    shares: dict[str, float] = defaultdict(float)
    for values, count in counts.items():
        shares[printed(names, values)] += count
    found = from_weights(notation.format(query), "data", shares, n)
    value, error = measures.counted_entropy(corpus, names, conditional.given, counts)
    return replace(found, entropy_nats=value, entropy_stderr=error)


def counted_if_possible(query: Draw, data: str | None) -> Distribution | None:
    """`counted`, or None where the data cannot say."""
    try:
        return counted(query, data)
    except CandorError:
        return None


def only(found: Distribution, values: Sequence[str]) -> Distribution:
    """The distribution with these answers alone listed; the entropy stays that of the whole."""
    wanted = set(values)
    kept = tuple(a for a in found.answers if a.value in wanted)
    return replace(found, answers=kept, listed_mass=sum(a.probability for a in kept))


def beside(data: Distribution, model: Distribution | None, top: int) -> Distribution:
    """The data's most frequent answers, and its shares of those the model lists."""
    listed = (*data.top(top).answers, *(model.answers if model is not None else ()))
    return only(data, [answer.value for answer in listed])


def entropy(found: Distribution) -> Estimate:
    """The distribution's entropy, nats: how unsure the answer is."""
    return Estimate(found.method, found.entropy_nats, found.entropy_stderr, found.n, "nats")


def answer_kind(query: Draw, data: str | None = None) -> Kind:
    """The kind of what the query's last step answers; of several variables the least closed."""
    bare, _ = priors.split(query)
    last = plan(bare, data)[-len(bare.steps[-1].parts) :]
    return max((step.variable.kind for step in last), key=joint.KINDS.index)


def draw(corpus: str, variable: str, given: Sequence[Binding]) -> Draw:
    """The checked query for one variable of a corpus. Raises UnknownName, InvalidQuery."""
    return joint.resolve(Draw(corpus, (Step(variable),), tuple(given)))


def draw_counted(found: Distribution, n: int, rng: np.random.Generator) -> tuple[str, ...]:
    """n answers drawn from a listed distribution. Raises EmptySupport where none is listed."""
    if not found.answers:
        raise EmptySupport(f"No answer of '{found.query}' is listed. Give fewer conditions.")
    p = np.asarray([a.probability for a in found.answers])
    places = rng.choice(len(p), size=n, p=p / p.sum())
    return tuple(found.answers[int(place)].value for place in places)
