"""Rows that state a prior: a label read off a document under other shares than the data's own.

A row reads one document and states several priors behind it. The candidates hold the true label,
and a prior is drawn with a chance proportional to what it gives that label, which is how priors and
labels would come together if each label were drawn from its prior. So the true label alone, as the
target, teaches the posterior that Bayes' law asks for.
"""

from __future__ import annotations

import numpy as np

from core_model import corpora, priors
from core_model.corpora.base import refuse_held_out
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire

PRIORS_A_ROW = 3
MOST_CANDIDATES = 8


class PriorTask:
    """Labels of `variable` read off the documents of a corpus under priors drawn at random."""

    def __init__(self, wire: Wire, corpus: str, variable: str) -> None:
        loaded = corpora.load(corpus)
        self.corpora = (corpus,)
        self._wire = wire
        self._document = loaded.schema.document
        self._variable = loaded.schema.variable(variable)
        self._closed = ClosedAnswers(wire, self._variable.values)
        records = refuse_held_out(loaded, loaded.records("train"))
        self._records = [record for record in records if variable in record.values]
        self._candidates = tuple(dict.fromkeys(r.values[variable] for r in self._records))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One document a row, every label as often as any other."""
        return [self._row(str(rng.choice(self._candidates)), rng) for _ in range(count)]

    def _row(self, true: str, rng: np.random.Generator) -> PackedRow:
        name = self._variable.name
        while (record := self._records[int(rng.integers(len(self._records)))].values)[name] != true:
            pass
        builder = RowBuilder()
        document = builder.extend(
            self._wire.segment("corpus", self.corpora[0])
            + self._wire.binding(self._document, record[self._document])
        )
        for _ in range(PRIORS_A_ROW):
            others = [value for value in self._candidates if value != true]
            n = int(rng.integers(2, min(MOST_CANDIDATES, len(self._candidates)) + 1))
            candidates = [true, *map(str, rng.choice(others, n - 1, replace=False))]
            weights = rng.dirichlet([2.0] + [1.0] * (n - 1))
            percent = np.maximum(1, np.round(100 * weights))
            order = rng.permutation(n)
            stated = {candidates[i]: float(percent[i] / percent.sum()) for i in order}
            known = builder.extend(
                self._wire.binding(priors.NAME, priors.written(stated)), document
            )
            asked = builder.extend(self._wire.query(name), known)
            self._closed.ask(builder, asked, self._closed.one(true), rng, 1)
        return builder.build()
