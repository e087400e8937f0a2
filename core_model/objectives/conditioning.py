r"""Conditioning: the order in which variables are known must not matter.

    gap = mean_i KL(c ‖ q_i),   c(v) ∝ exp mean_i log q_i(v)

q_i answers the same question with what is known in another order; their consensus c, the
normalised geometric mean, is the target and is not trained by it. It is the distribution with the
smallest mean KL(c ‖ q_i), so the gap is 0 only where all orders agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

ORDERS = 3
MOST_KNOWN = 5
MOST_VALUES = 50
"""Variables of more are not asked: each order reads the whole tree of the values."""


def consensus_gap(ways: Tensor) -> Tensor:
    """Mean KL from the consensus to each way of asking, nats, of (k, n) log-probabilities."""
    each = torch.log_softmax(ways, dim=1)
    consensus = torch.log_softmax(each.mean(dim=0), dim=0).detach()
    return (consensus.exp() * (consensus - each)).sum(dim=1).mean()


class OrderTask:
    """A closed variable given two labels or more of a record, in several random orders."""

    corpora: tuple[str, ...] = ()

    def __init__(self, wire: Wire, names: Sequence[str]) -> None:
        self._wire = wire
        self._draw = {name: corpora.load(name).drawer("train") for name in names}

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One record a row."""
        names = list(self._draw)
        return [self._row(str(rng.choice(names)), rng) for _ in range(count)]

    def _row(self, name: str, rng: np.random.Generator) -> PackedRow:
        schema = corpora.schema(name)
        values = self._draw[name](rng)
        short = [v for v in schema.variables if v.name in values and v.kind != "open"]
        asked = str(rng.choice([v.name for v in short if 1 < len(v.values) <= MOST_VALUES]))
        others = [str(v) for v in rng.permutation([v.name for v in short if v.name != asked])]
        known = others[: int(rng.integers(2, max(2, min(MOST_KNOWN, len(others))) + 1))]
        tree = PrefixTree.build(
            [self._wire.answer(value) for value in schema.variable(asked).values]
        )
        builder = RowBuilder()
        places = []
        for _ in range(ORDERS):
            given = tuple(Binding(str(v), values[str(v)]) for v in rng.permutation(known))
            prompt = self._wire.prompt(Conditional(name, asked, given))
            places.append(builder.score(tree, builder.prompt(prompt)))
        return builder.build(
            lambda log_p: consensus_gap(torch.stack([log_p[place] for place in places]))
        )
