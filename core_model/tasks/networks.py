"""Rows about Bayesian networks: each variable given any others, in any order.

The target is the conditional of the joint that training may see: the exact one of a training
network, the one counted among the records of a held-out network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core_model import corpora
from core_model.corpora.networks import HELD_OUT, TRAINING, Network
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire

CHAINS_A_ROW = 2
MOST_KNOWN = 6
QUESTIONS_A_PLACE = 2


class NetworksTask:
    """Rows of the networks named, all where none is."""

    def __init__(self, wire: Wire, names: Sequence[str] = (*TRAINING, *HELD_OUT)) -> None:
        self._wire = wire
        self.corpora = tuple(names)
        self._networks: list[Network] = []
        for name in names:
            network = corpora.load(name)
            assert isinstance(network, Network)
            self._networks.append(network)
        self._closed = {
            (network.schema.corpus, variable.name): ClosedAnswers(wire, variable.values)
            for network in self._networks
            for variable in network.schema.variables
        }

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Each row knows one variable after another, and asks for others at each place."""
        return [
            self._row(self._networks[int(rng.integers(len(self._networks)))], rng)
            for _ in range(count)
        ]

    def _row(self, network: Network, rng: np.random.Generator) -> PackedRow:
        builder = RowBuilder()
        start = builder.extend(self._wire.segment("corpus", network.schema.corpus))
        for _ in range(CHAINS_A_ROW):
            cell = rng.choice(network.taught.size, p=network.taught.ravel())
            values = np.unravel_index(cell, network.taught.shape)
            order = rng.permutation(len(values))
            # Of each variable still unknown, the joint with what is known by now.
            left, after = network.taught, start
            for place in range(min(MOST_KNOWN + 1, len(order))):
                unknown = order[place:]
                for axis in rng.permutation(unknown)[:QUESTIONS_A_PLACE]:
                    self._ask(builder, after, network, int(axis), left, rng)
                axis = int(order[place])
                variable = network.schema.variables[axis]
                value = variable.values[values[axis]]
                after = builder.extend(self._wire.binding(variable.name, value), after)
                left = left.take([values[axis]], axis)
        return builder.build()

    def _ask(
        self, builder: RowBuilder, after: int, network: Network, axis: int,
        left: Floats, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        variable = network.schema.variables[axis]
        weights = left.sum(axis=tuple(i for i in range(left.ndim) if i != axis))
        behind = builder.extend(self._wire.query(variable.name), after)
        closed = self._closed[network.schema.corpus, variable.name]
        closed.ask(builder, behind, weights, rng, 2)
