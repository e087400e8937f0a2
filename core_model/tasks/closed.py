"""Questions whose answers are a closed variable's values, with exact targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core_model.prefix_tree import PrefixTree, RowBuilder
from core_model.wire import Wire

Floats = NDArray[np.float64]


class ClosedAnswers:
    """The prefix tree of a closed variable's values."""

    def __init__(self, wire: Wire, values: Sequence[str]) -> None:
        self.values = tuple(values)
        self.index = {value: i for i, value in enumerate(values)}
        self.tree = PrefixTree.build([wire.answer(value) for value in values])

    def ask(
        self, builder: RowBuilder, after: int, weights: Floats, rng: np.random.Generator,
        count: int = 4, weight: float = 1.0,
    ) -> None:  # fmt: skip
        """Ask for the distribution `weights` (n_values,) behind a token."""
        shares = self.tree.visits(weights, count, rng)
        builder.tree(self.tree, weights, after, shares, weight)

    def one(self, value: str) -> Floats:
        """All weight on one value."""
        weights = np.zeros(len(self.values))
        weights[self.index[value]] = 1.0
        return weights
