"""Probability, entropy, mutual information and correlation: one function each, by every method.

`exact` enumerates the core's own probabilities, `sampled` draws from the core and counts, `asked`
is the number that the core states when it is asked for it, `data` counts records of the corpus.
Entropies are in nats. An estimate's `n` is 0 where all was enumerated or stated. A method that a
measure does not have raises `NoSuchMethod`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_model.core import (
    Core,
    Estimate,
    entropy_error,
    entropy_of,
    jackknife,
)
from core_model.corpora import load, schema
from core_model.errors import CandorError, EmptySupport
from core_model.graph import Variable
from core_model.notation import Correlation, Entropy, Measure, MutualInformation, Probability
from core_model.planning import Conditional
from tools import joint
from tools.joint import NoSuchMethod, Values, corpus_of

OneMethod = Literal["exact", "sampled", "asked", "data"]
Methods = Mapping[OneMethod, Callable[[Core, Any, np.random.Generator], Estimate]]


def estimates(
    core: Core, query: Measure, method: OneMethod | Literal["all", "spoken"],
    rng: np.random.Generator,
) -> tuple[Estimate, ...]:  # fmt: skip
    """Estimates of a measure by one method, or by all that exist for it and can be afforded.

    With "all", sampling is left out where an exact number stands and samples would need more
    than one batch; with "spoken" wherever one stands, and what the core states as well. What the
    core states of a variable without a list is left out too: cores do not learn to. Raises
    CandorError on a bad query and where no method exists.
    """
    query = joint.resolve(query)
    methods = _METHODS[type(query)]
    if method != "all" and method != "spoken":
        return (methods[method](core, query, rng),)
    found: list[Estimate] = []
    refusals: dict[str, CandorError] = {}
    for name, measure in methods.items():
        if name == "sampled" and found and (method == "spoken" or not _takes_one_batch(query)):
            continue
        if name == "asked" and (method == "spoken" or not _may_state(query)):
            continue
        try:
            found.append(measure(core, query, rng))
        except (NoSuchMethod, EmptySupport) as error:
            refusals[name] = error
        except CandorError:
            # The core's numbers stand without the data, as where the corpus is not installed.
            if name != "data" or not found:
                raise
    if not found:
        raise refusals["sampled"]  # it is tried wherever nothing exact stands
    return tuple(found)


def _takes_one_batch(query: Measure) -> bool:
    match query:
        case Probability(event=event):
            return len(event) == 1 and joint.are_listed(corpus_of(query), [event[0].variable])
        case Entropy(variables=variables):
            return len(variables) == 1
        case _:
            return False


def _may_state(query: Measure) -> bool:
    """Whether a core may have learnt to state a measure: names are too many to sum over."""
    match query:
        case Entropy(variables=names):
            pass
        case MutualInformation(left=left, right=right):
            names = (*left, *right)
        case _:
            return True
    return set(names) <= set(_closed_names(corpus_of(query)))


def asked(core: Core, query: Measure, _: np.random.Generator) -> Estimate:
    """The number that the core states, with the error that it states; raises NoSuchMethod."""
    if not core.states_numbers:
        raise NoSuchMethod("This core does not state measures itself. Use exact or sampled.")
    return core.stated(query)


def counted(query: Measure) -> Estimate:
    """The estimate by the method "data", for which no core is asked.

    Raises NoSuchMethod where a variable is free text, EmptySupport where no record matches.
    """
    query = joint.resolve(query)
    return _COUNTED[type(query)](query)


def _data(_: Core, query: Measure, __: np.random.Generator) -> Estimate:
    return _COUNTED[type(query)](query)


# --- probability --------------------------------------------------------------------------------


def probability_exact(core: Core, query: Probability, _: np.random.Generator) -> Estimate:
    """P(event | given) = exp Σ_i log p(v_i | v_1, …, v_(i-1), given)."""
    names, values = _event(query)
    log_p = joint.log_prob(core, corpus_of(query), names, query.given, [values])
    return Estimate("exact", float(np.exp(log_p[0])), 0.0, 0)


def probability_sampled(core: Core, query: Probability, rng: np.random.Generator) -> Estimate:
    """Share of ancestral samples of the event's variables that are the event.

    stderr = sqrt(p(1-p)/n).
    """
    names, values = _event(query)
    if not joint.are_listed(corpus_of(query), names):
        raise NoSuchMethod("No sample of free text equals a given one. Use the method exact.")
    draws = joint.draw(core, corpus_of(query), names, query.given, joint.SAMPLES, rng)
    return _share("sampled", draws[values] / joint.SAMPLES, joint.SAMPLES, joint.SAMPLES)


def probability_data(query: Probability) -> Estimate:
    """Share of the records that match `given` which are the event.

    stderr = sqrt(p(1-p)/m) with m independent records among n, see `joint.independent`.
    """
    names, values = _event(query)
    counts = joint.counted(corpus_of(query), names, query.given)
    total = sum(counts.values())
    worth = joint.independent(corpus_of(query), query.given, total)
    return _share("data", counts.get(values, 0.0) / total, round(total), worth)


def _event(query: Probability) -> tuple[tuple[str, ...], Values]:
    return tuple(b.variable for b in query.event), tuple(b.value for b in query.event)


def _share(method: Literal["sampled", "data"], p: float, n: int, independent: float) -> Estimate:
    # All or nothing among m would give an error of 0; one more of each kind keeps it honest.
    q = p if 0 < p < 1 else (p * independent + 1) / (independent + 2)
    return Estimate(method, p, math.sqrt(q * (1 - q) / independent), n)


# --- entropy ------------------------------------------------------------------------------------


def entropy_exact(core: Core, query: Entropy, _: np.random.Generator) -> Estimate:
    """H(v_1, …, v_k | given) = H(v_1, …, v_(k-1)) + Σ p(v_1, …, v_(k-1)) H(v_k | …), in nats.

    The last variable may be enumerable; the core's own error of its entropy is carried along.
    """
    corpus = corpus_of(query)
    *first, last = [v.name for v in joint.variables_of(corpus, query.variables)]
    if not joint.are_closed(corpus, first) or not joint.are_listed(corpus, [last]):
        raise NoSuchMethod(f"H of '{last}' cannot be enumerated. Use the method sampled.")
    known = joint.table(core, corpus, first, query.given)
    value, variance, n = _entropy(known), 0.0, 0
    for values, weight in known.items():
        given = query.given + joint.bind(first, values)
        each = core.distribution_of(Conditional(corpus, last, given))
        value += weight * each.entropy_nats
        variance += (weight * each.entropy_stderr) ** 2
        n += each.n
    return Estimate("exact", value, math.sqrt(variance), n, "nats")


def entropy_sampled(core: Core, query: Entropy, rng: np.random.Generator) -> Estimate:
    """Mean of -log p over samples, in nats; stderr = sd / sqrt(n)."""
    corpus = corpus_of(query)
    n = joint.n_samples(corpus, query.variables)
    draws = joint.draw(core, corpus, query.variables, query.given, n, rng)
    log_p = joint.log_prob(core, corpus, query.variables, query.given, list(draws))
    return _mean(-log_p, list(draws.values()))


def entropy_data(query: Entropy) -> Estimate:
    """Entropy of the counted shares, -Σ p log p, in nats; at most log of the values seen.

    By the jackknife over the corpus's units (`_over_units`). Where each record stands alone,
    plug-in with stderr = sqrt(Var[-log p] / n), the delta method.
    """
    counts = joint.counted(corpus_of(query), query.variables, query.given)
    value, error = counted_entropy(corpus_of(query), query.variables, query.given, counts)
    return Estimate("data", value, error, round(sum(counts.values())), "nats")


def counted_entropy(
    corpus: str, names: Sequence[str], given: joint.Given, counts: Mapping[Values, float]
) -> tuple[float, float]:
    """Entropy of counted records in nats and its standard error, as `entropy_data` has them.

    counts: weights of the records that match `given`, by the values of `names`.
    """
    rows = _units(corpus, names, given, counts)
    if len(rows) > 1:
        return _over_units(entropy_of, rows, math.log(len(counts)))
    total = sum(counts.values())
    shares = [count / total for count in counts.values()]
    worth = joint.independent(corpus, given, total)
    return entropy_of(np.asarray(shares)), entropy_error(shares, worth)


def _entropy(shares: Mapping[Values, float]) -> float:
    return entropy_of(np.asarray(list(shares.values())))


def _mean(values: NDArray[np.float64], counts: Sequence[float]) -> Estimate:
    weights = np.asarray(counts, dtype=np.float64)
    n = float(weights.sum())
    mean = float((weights * values).sum() / n)
    variance = float((weights * (values - mean) ** 2).sum() / max(n - 1, 1.0))
    return Estimate("sampled", mean, math.sqrt(variance / n), round(n), "nats")


# --- mutual information -------------------------------------------------------------------------


def mutual_information_exact(
    core: Core, query: MutualInformation, _: np.random.Generator
) -> Estimate:
    """I = Σ p(x) p(y|x) log(p(y|x) / Σ_x p(x) p(y|x)) in nats, all variables closed."""
    corpus = corpus_of(query)
    if not joint.are_closed(corpus, query.left + query.right):
        raise NoSuchMethod("I is enumerated for closed variables only. Use the method sampled.")
    table = joint.table(core, corpus, query.left + query.right, query.given)
    return Estimate("exact", _information(table, len(query.left)), 0.0, 0, "nats")


def mutual_information_sampled(
    core: Core, query: MutualInformation, rng: np.random.Generator
) -> Estimate:
    """I = H(Σ_y p(y) p(x|y)) - Σ_y p(y) H(p(x|y)) in nats, over samples y; x is closed.

    The joint is that of y as drawn, x ~ p(x) and y ~ p(y|x), and of x as inferred from y: of one
    joint alone is I never negative and never more than H(x). The mean over samples makes the
    first entropy too small, which the jackknife corrects; so is its standard error found. y,
    which may be free text, is the side whose samples cost more.
    """
    corpus = corpus_of(query)
    closed = [side for side in (query.left, query.right) if joint.are_closed(corpus, side)]
    if not closed:
        raise NoSuchMethod(
            "I needs closed variables on one side at least. "
            f"Closed in {corpus}: {', '.join(_closed_names(corpus))}."
        )
    x = min(closed, key=lambda side: math.prod(len(_variable(corpus, v).values) for v in side))
    y = query.right if x == query.left else query.left
    n = joint.n_samples(corpus, y)
    draws = joint.draw(core, corpus, x + y, query.given, n, rng)
    counts: Counter[Values] = Counter()
    for values, count in draws.items():
        counts[values[len(x) :]] += count
    tables = [
        joint.table(core, corpus, x, query.given + joint.bind(y, values)) for values in counts
    ]
    cells = list(dict.fromkeys(cell for table in tables for cell in table))
    posteriors = np.array([[table.get(cell, 0.0) for cell in cells] for table in tables])
    inner = np.array([entropy_of(p) for p in posteriors])
    # The last column is the entropy of its row, so that both terms are of the mean row.
    rows = np.repeat(np.column_stack([posteriors, inner]), list(counts.values()), axis=0)
    value, error = jackknife(lambda mean: entropy_of(mean[:-1]) - float(mean[-1]), rows)
    return Estimate("sampled", max(value, 0.0), error, n, "nats")


def mutual_information_data(query: MutualInformation) -> Estimate:
    """Mutual information of the counted shares in nats; at most log of the values seen of a side.

    By the jackknife over the corpus's units (`_over_units`). Where each record stands alone,
    plug-in with stderr = sqrt(Var[log(p(x,y) / p(x)p(y))] / n), the delta method.
    """
    counts = joint.counted(corpus_of(query), query.left + query.right, query.given)
    rows = _units(corpus_of(query), query.left + query.right, query.given, counts)
    total, left = sum(counts.values()), len(query.left)
    if len(rows) > 1:
        sides = [_places(v[:left] for v in counts), _places(v[left:] for v in counts)]

        def information(p: NDArray[np.float64]) -> float:
            sums = [np.asarray(np.bincount(side, p), np.float64) for side in sides]
            return sum(map(entropy_of, sums)) - entropy_of(p)

        most = math.log(1 + min(side.max() for side in sides))
        value, error = _over_units(information, rows, most)
    else:
        shares = {values: count / total for values, count in counts.items()}
        worth = joint.independent(corpus_of(query), query.given, total)
        value = _information(shares, left)
        error = math.sqrt(_information_variance(shares, left) / worth)
    return Estimate("data", value, error, round(total), "nats")


def _ratios(
    table: Mapping[Values, float], left: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p(x,y) and log(p(x,y) / p(x)p(y)) of each cell; the first `left` parts of a key are x."""
    x: dict[Values, float] = {}
    y: dict[Values, float] = {}
    for values, p in table.items():
        x[values[:left]] = x.get(values[:left], 0.0) + p
        y[values[left:]] = y.get(values[left:], 0.0) + p
    cells = {values: p for values, p in table.items() if p > 0}
    ratios = [math.log(p / (x[v[:left]] * y[v[left:]])) for v, p in cells.items()]
    return np.asarray(list(cells.values())), np.asarray(ratios)


def _information(table: Mapping[Values, float], left: int) -> float:
    p, ratio = _ratios(table, left)
    return max(float((p * ratio).sum()), 0.0)


def _information_variance(table: Mapping[Values, float], left: int) -> float:
    p, ratio = _ratios(table, left)
    return max(float((p * ratio**2).sum() - (p * ratio).sum() ** 2), 0.0)


# --- units of the data --------------------------------------------------------------------------


def _units(
    corpus: str, names: Sequence[str], given: joint.Given, counts: Mapping[Values, float]
) -> NDArray[np.float64]:
    """Weights of each unit's records in the cells of `counts`, (units, cells); (0, cells) without.

    A unit is an address, say, all of whose passages were drawn together.
    """
    unit = schema(corpus).unit
    if not unit:
        return np.zeros((0, len(counts)))
    found = load(corpus).count({b.variable: b.value for b in given}, (*unit, *names))
    weights = {values: weight for values, weight in found.items() if weight > 0}
    places = _places(values[: len(unit)] for values in weights)
    columns = {values: column for column, values in enumerate(counts)}
    rows = np.zeros((1 + places.max(), len(counts)))
    for place, (values, weight) in zip(places, weights.items(), strict=True):
        rows[place, columns[values[len(unit) :]]] += weight
    return rows


def _over_units(
    measure: Callable[[NDArray[np.float64]], float], rows: NDArray[np.float64], most: float
) -> tuple[float, float]:
    """A measure of the shares, bias-corrected by leaving out one unit at a time, and its stderr.

    rows: (units, cells). A corrected value outside of 0 to `most` is moved to the bound, and how
    far it was moved is added to its error in quadrature: two units say little, but all agree.
    """
    value, error = jackknife(lambda mean: measure(mean / mean.sum()), rows)
    possible = min(max(value, 0.0), most)
    return possible, math.hypot(error, value - possible)


def _places(values: Iterable[Values]) -> NDArray[np.int64]:
    """The number of each value in the order in which they are first seen, (n,)."""
    found: dict[Values, int] = {}
    return np.asarray([found.setdefault(value, len(found)) for value in values])


# --- correlation --------------------------------------------------------------------------------


def correlation_exact(core: Core, query: Correlation, _: np.random.Generator) -> Estimate:
    """Pearson's r = cov(x, y) / (sd(x) sd(y)) under the core's joint p(x) p(y|x)."""
    corpus = corpus_of(query)
    if not joint.are_closed(corpus, (query.left, query.right)):
        raise NoSuchMethod("corr is enumerated for closed variables only. Use the method sampled.")
    table = joint.table(core, corpus, (query.left, query.right), query.given)
    return Estimate("exact", _pearson(query, table), 0.0, 0)


def correlation_sampled(core: Core, query: Correlation, rng: np.random.Generator) -> Estimate:
    """Pearson's r of sampled pairs; stderr = (1 - r²) / sqrt(n - 1)."""
    names = (query.left, query.right)
    n = joint.n_samples(corpus_of(query), names)
    draws = joint.draw(core, corpus_of(query), names, query.given, n, rng)
    return _with_error("sampled", _pearson(query, draws), n, n)


def correlation_data(query: Correlation) -> Estimate:
    """Pearson's r of the records' pairs; stderr = (1 - r²) / sqrt(m - 1), m independent ones."""
    counts = joint.counted(corpus_of(query), (query.left, query.right), query.given)
    total = sum(counts.values())
    worth = joint.independent(corpus_of(query), query.given, total)
    return _with_error("data", _pearson(query, counts), round(total), worth)


def _pearson(query: Correlation, weights: Mapping[Values, float]) -> float:
    corpus = corpus_of(query)
    left, right = _variable(corpus, query.left), _variable(corpus, query.right)
    w = np.asarray(list(weights.values()), dtype=np.float64)
    x = np.asarray([left.code(a) for a, _ in weights])
    y = np.asarray([right.code(b) for _, b in weights])
    w = w / w.sum()
    x, y = x - (w * x).sum(), y - (w * y).sum()
    sd_x, sd_y = math.sqrt((w * x * x).sum()), math.sqrt((w * y * y).sum())
    for name, sd in ((query.left, sd_x), (query.right, sd_y)):
        if sd < 1e-12:
            raise EmptySupport(
                f"corr has no value: '{name}' has only one value here. Give fewer conditions."
            )
    return float(np.clip((w * x * y).sum() / (sd_x * sd_y), -1.0, 1.0))


def _with_error(
    method: Literal["sampled", "data"], r: float, n: int, independent: float
) -> Estimate:
    return Estimate(method, r, (1 - r * r) / math.sqrt(max(independent - 1, 1)), n)


# --- what there is ------------------------------------------------------------------------------


def _variable(corpus: str, name: str) -> Variable:
    return schema(corpus).variable(name)


def _closed_names(corpus: str) -> list[str]:
    return [v.name for v in schema(corpus).variables if v.kind == "closed"]


_COUNTED: Mapping[type[Measure], Callable[[Any], Estimate]] = {
    Probability: probability_data,
    Entropy: entropy_data,
    MutualInformation: mutual_information_data,
    Correlation: correlation_data,
}
_METHODS: Mapping[type[Measure], Methods] = {
    Probability: {
        "exact": probability_exact,
        "sampled": probability_sampled,
        "asked": asked,
        "data": _data,
    },
    Entropy: {
        "exact": entropy_exact,
        "sampled": entropy_sampled,
        "asked": asked,
        "data": _data,
    },
    MutualInformation: {
        "exact": mutual_information_exact,
        "sampled": mutual_information_sampled,
        "asked": asked,
        "data": _data,
    },
    Correlation: {
        "exact": correlation_exact,
        "sampled": correlation_sampled,
        "asked": asked,
        "data": _data,
    },
}
