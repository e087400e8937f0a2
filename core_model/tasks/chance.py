"""Rows about sources of chance: the whole distribution of what comes out, as an exact target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core_model import corpora
from core_model.corpora.chance import draw
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire

SOURCES_A_ROW = 3
DRAWN = 16
"""Answers on whose way the target of each next token stands, of every source."""
FAMILY_SHARE = 0.15


class ChanceTask:
    """Rows of sources that are not held out, each with its exact distribution."""

    corpora: tuple[str, ...] = ("chance",)

    def __init__(self, wire: Wire, families: Sequence[str] | None = None) -> None:
        """families: those that are drawn, all that training may see where none is named."""
        self._wire = wire
        self._families = families
        self._family = ClosedAnswers(wire, corpora.schema("chance").variable("family").values)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Each row has three sources."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        builder = RowBuilder()
        start = builder.extend(self._wire.segment("corpus", "chance"))
        for _ in range(SOURCES_A_ROW):
            source = draw(rng, "train", self._families)
            after = builder.extend(self._wire.binding("source", source.text), start)
            tree = PrefixTree.build([self._wire.answer(value) for value in source.p])
            weights = np.array(list(source.p.values()))
            behind = builder.extend(self._wire.query("value"), after)
            builder.tree(tree, weights, behind, tree.visits(weights, DRAWN, rng))
            if rng.random() < FAMILY_SHARE:
                behind = builder.extend(self._wire.query("family"), after)
                self._family.ask(builder, behind, self._family.one(source.family), rng, 1)
        return builder.build()
