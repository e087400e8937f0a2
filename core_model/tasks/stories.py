"""Rows about stories: what happened, and what the reader learns first, of one telling."""

from __future__ import annotations

import numpy as np

from core_model.corpora import stories
from core_model.corpora.stories import NO, PEOPLE, YES
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire

PAIRS_A_ROW = 4


class StoriesTask:
    """Rows of tellings that are not held out."""

    corpora: tuple[str, ...] = ("stories",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._people = ClosedAnswers(wire, PEOPLE)
        self._verdict = ClosedAnswers(wire, (YES, NO))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Each row is one telling."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        story, (text,) = stories.draw(rng, "train")
        builder = RowBuilder()
        start = builder.extend(
            self._wire.segment("corpus", "stories") + self._wire.binding("story", text)
        )
        for _ in range(PAIRS_A_ROW):
            one, other = (str(p) for p in rng.choice(story.people, 2, replace=False))
            true = stories.answers(story, text, one, other)
            pair = [self._wire.binding("one", one), self._wire.binding("other", other)]
            after = start
            for place in rng.permutation(2):
                after = builder.extend(pair[place], after)
            for variable in ("before", "read_before"):
                self._ask(builder, after, variable, self._verdict, true[variable], rng)
        for variable in ("first", "last"):
            self._ask(builder, start, variable, self._people, true[variable], rng)
        return builder.build()

    def _ask(
        self, builder: RowBuilder, after: int, variable: str, closed: ClosedAnswers, true: str,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        behind = builder.extend(self._wire.query(variable), after)
        closed.ask(builder, behind, closed.one(true), rng, 1)
