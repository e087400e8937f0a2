"""Joint distributions from a core's conditionals, by the chain rule, and from counted records.

p(v1, …, vk | given) = Π_i p(v_i | v_1, …, v_(i-1), given). The variables are always taken in the
same order, closed ones first (fewest values first) and open ones last: it needs the fewest calls
of the core, and a result does not depend on the order in which a query names them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core_model import notation
from core_model.core import Core
from core_model.corpora import load, schema
from core_model.errors import EmptySupport, InvalidQuery
from core_model.graph import Variable
from core_model.notation import AnyQuery, Binding, Query
from core_model.planning import Conditional

Values = tuple[str, ...]
Given = tuple[Binding, ...]
KINDS = ("closed", "enumerable", "open")
SAMPLES = 400
SAMPLES_OF_TEXT = 64
"""Fewer where a sample is a whole text, which takes a core a hundred times as long as a name."""


class NoSuchMethod(InvalidQuery):
    """The measure exists, but not by the method that was asked for."""


def resolve(query: AnyQuery) -> AnyQuery:
    """The query checked and in its corpus's spelling; raises UnknownName and InvalidQuery."""
    return schema(corpus_of(query)).resolve(query)


def corpus_of(query: Query) -> str:
    """The corpus a query names; raises InvalidQuery where it names none."""
    if query.corpus is None:
        raise InvalidQuery("Which corpus? Begin the query with its name, as in 'names: name'.")
    return query.corpus


def variables_of(corpus: str, names: Iterable[str]) -> tuple[Variable, ...]:
    """The variables of these names in the order of the chain rule."""
    found = [schema(corpus).variable(name) for name in names]
    return tuple(sorted(found, key=lambda v: (KINDS.index(v.kind), len(v.values), v.name)))


def are_closed(corpus: str, names: Iterable[str]) -> bool:
    """Whether every one of the variables has a small listed set of values."""
    return all(schema(corpus).variable(name).kind == "closed" for name in names)


def are_listed(corpus: str, names: Iterable[str]) -> bool:
    """Whether no variable is open, so that its values can be counted."""
    return all(schema(corpus).variable(name).kind != "open" for name in names)


def n_samples(corpus: str, names: Iterable[str]) -> int:
    """How many samples of these variables are drawn for an estimate."""
    return SAMPLES if are_listed(corpus, names) else SAMPLES_OF_TEXT


def bind(names: Sequence[str], values: Values) -> Given:
    """Each name bound to its value."""
    return tuple(map(Binding, names, values))


def table(core: Core, corpus: str, names: Sequence[str], given: Given) -> dict[Values, float]:
    """p(v1, …, vk | given) of closed variables, listed in full; keys follow `names`."""
    order = [v.name for v in variables_of(corpus, names)]
    states: dict[Values, float] = {(): 1.0}
    for depth, name in enumerate(order):
        states = {
            (*known, answer.value): weight * answer.probability
            for known, weight in states.items()
            for answer in core.distribution_of(
                Conditional(corpus, name, given + bind(order[:depth], known))
            ).answers
        }
    places = [order.index(name) for name in names]
    return {tuple(key[place] for place in places): weight for key, weight in states.items()}


def draw(
    core: Core, corpus: str, names: Sequence[str], given: Given, n: int, rng: np.random.Generator
) -> Counter[Values]:
    """n ancestral samples of the variables, counted; keys follow `names`.

    All samples that agree so far are drawn in one call.
    """
    order = [v.name for v in variables_of(corpus, names)]
    states: Counter[Values] = Counter({(): n})
    for depth, name in enumerate(order):
        following: Counter[Values] = Counter()
        for known, count in states.items():
            conditional = Conditional(corpus, name, given + bind(order[:depth], known))
            following.update((*known, v) for v in core.sample_of(conditional, count, rng))
        states = following
    places = [order.index(name) for name in names]
    return Counter({tuple(key[place] for place in places): c for key, c in states.items()})


def log_prob(
    core: Core, corpus: str, names: Sequence[str], given: Given, rows: Sequence[Values]
) -> NDArray[np.float64]:
    """log p(row | given) in nats by the chain rule, shape (len(rows),); rows follow `names`."""
    order = [v.name for v in variables_of(corpus, names)]
    places = [names.index(name) for name in order]
    ordered = [tuple(row[place] for place in places) for row in rows]
    total = np.zeros(len(rows))
    for depth, name in enumerate(order):
        groups: dict[Values, list[int]] = defaultdict(list)
        for index, row in enumerate(ordered):
            groups[row[:depth]].append(index)
        for known, members in groups.items():
            # What cannot happen is not conditioned on: the rows stay at minus infinity.
            possible = [index for index in members if np.isfinite(total[index])]
            if possible:
                conditional = Conditional(corpus, name, given + bind(order[:depth], known))
                total[possible] += core.log_prob_of(
                    conditional, [ordered[index][depth] for index in possible]
                )
    return total


def counted(corpus: str, names: Sequence[str], given: Given) -> Mapping[Values, float]:
    """Weighted counts of the variables among the records that match `given`; keys follow `names`.

    Raises NoSuchMethod where a variable is open, EmptySupport where no record matches.
    """
    for name in (*names, *(b.variable for b in given)):
        if schema(corpus).variable(name).kind == "open":
            raise NoSuchMethod(
                f"'{name}' is free text, which is not counted in the data. "
                "Use the method exact or sampled."
            )
    counts = load(corpus).count({b.variable: b.value for b in given}, tuple(names))
    positive = {values: float(count) for values, count in counts.items() if count > 0}
    if not positive:
        shown = notation.format_bindings(given)
        raise EmptySupport(
            f"No record of {corpus} has {shown}. Give fewer or other conditions."
            if shown
            else f"The corpus {corpus} has no records that state {', '.join(names)}."
        )
    return positive


def independent(corpus: str, given: Given, total: float) -> float:
    """How many independent records the `total` ones that match `given` are worth.

    (Σ m)² / Σ m² over the sizes m of the corpus's units, which is exact for variables that all
    records of a unit share, as the passages of an address share its author. Kish 1965.
    """
    unit = schema(corpus).unit
    if not unit:
        return total
    counts = load(corpus).count({b.variable: b.value for b in given}, unit)
    sizes = np.array(list(counts.values()), np.float64)
    return min(total, float(sizes.sum() ** 2 / (sizes**2).sum()))
