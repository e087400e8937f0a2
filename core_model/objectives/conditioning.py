r"""Conditioning: the order in which labels are known must not matter; the document stands first.

    gap = mean_i KL(c ‖ q_i),   c(v) ∝ exp mean_i log q_i(v)

q_i answers the same question with what is known in another order; their consensus c, the
normalised geometric mean, is the target and is not trained by it. It is the distribution with the
smallest mean KL(c ‖ q_i), so the gap is 0 only where all orders agree. It is taken among some
values, and between them and all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import factorial

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.errors import CandorError
from core_model.graph import Schema, Variable
from core_model.notation import Binding
from core_model.objectives.outcomes import split
from core_model.planning import Conditional, in_order
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

ORDERS = 3
MOST_KNOWN = 5
DOCUMENT_SHARE = 0.6
"""How often the document is known, which stands first in every order."""
ANSWERS = 12
"""Values scored; of more, the true one and some others, beside the rest."""
MOVED_SHARE, MOST_MOVED = 0.35, 3
"""How often what is known by number is another one near by, and how many places off it is at most.

The law holds of numbers too that no record of training has."""


def consensus_gap(ways: Tensor) -> Tensor:
    """Mean KL from the consensus to each way of asking, nats, of (k, n) log-probabilities."""
    each = torch.log_softmax(ways, dim=1)
    consensus = torch.log_softmax(each.mean(dim=0), dim=0).detach()
    return (consensus.exp() * (consensus - each)).sum(dim=1).mean()


def moved(schema: Schema, values: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    """A record's values, of which those that are numbers of a list may be others near by."""
    found = dict(values)
    for name in values:
        variable = schema.variable(name)
        if variable.numeric and variable.values and rng.random() < MOVED_SHARE:
            place = variable.values.index(values[name])
            place += int(rng.integers(-MOST_MOVED, MOST_MOVED + 1))
            found[name] = variable.values[min(max(place, 0), len(variable.values) - 1)]
    return found


def _labels(schema: Schema) -> list[Variable]:
    """The variables that may be known in any order: neither texts nor the document."""
    return [v for v in schema.variables if v.kind != "open" and v.name != schema.document]


class OrderTask:
    """A closed variable given two labels or more of a record, in several random orders.

    Raises CandorError for a corpus whose records have too few labels for two orders.
    """

    corpora: tuple[str, ...] = ()

    def __init__(self, wire: Wire, names: Sequence[str]) -> None:
        self._wire = wire
        self._draw = {name: corpora.load(name).drawer("train") for name in names}
        for name in names:
            if len(_labels(corpora.schema(name))) < 3:
                raise CandorError(f"'{name}' has too few labels for two orders of what is known.")

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One record a row."""
        names = list(self._draw)
        return [self._row(str(rng.choice(names)), rng) for _ in range(count)]

    def _row(self, name: str, rng: np.random.Generator) -> PackedRow:
        schema = corpora.schema(name)
        closed: list[str] = []
        labels: list[str] = []
        while len(labels) < 3 or not closed:  # of some records less is known
            values = self._draw[name](rng)
            labels = [v.name for v in _labels(schema) if v.name in values]
            closed = [v for v in labels if len(schema.variable(v).values) > 1]
        asked = str(rng.choice(closed))
        others = [str(v) for v in rng.permutation(labels) if v != asked]
        known = others[: int(rng.integers(2, min(MOST_KNOWN, len(others)) + 1))]
        document = [schema.document] if schema.document in values else []
        if rng.random() >= DOCUMENT_SHARE:
            document = []
        others = [str(v) for v in rng.permutation(schema.variable(asked).values)]
        scored = list(dict.fromkeys([values[asked], *others]))[:ANSWERS]
        tree = PrefixTree.build([self._wire.answer(value) for value in scored])
        bound = moved(schema, values, rng)
        builder = RowBuilder()
        places = []
        orders: dict[tuple[str, ...], None] = {}
        while len(orders) < min(ORDERS, factorial(len(known))):
            orders[tuple(map(str, rng.permutation(known)))] = None
        for order in orders:
            given = tuple(Binding(v, bound[v]) for v in (*document, *order))
            prompt = self._wire.prompt(in_order(Conditional(name, asked, given)))
            places.append(builder.score(tree, builder.prompt(prompt)))

        def gap(log_p: Tensor) -> Tensor:
            ways = torch.stack([log_p[place] for place in places])
            return consensus_gap(ways) + consensus_gap(split(ways))

        return builder.build(gap)
