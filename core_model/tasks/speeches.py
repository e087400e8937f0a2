"""Rows about passages: labels read off them, passages written from labels, labels given labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora.base import Record, refuse_held_out
from core_model.corpora.speeches import Speeches
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire

EARLY_PLACES, EARLY_WORDS = 3, 12
YEAR_KERNEL_YEARS = 4.0
AUTHOR_ALONE_SHARE = 0.5
"""Of the passages that are written: what inversion asks, and of all subsets a small part."""


class SpeechesTask:
    """Rows about passages: labels read off them, passages from labels, labels from labels."""

    corpora: tuple[str, ...] = ("speeches",)

    def __init__(self, wire: Wire, teacher: str | None = None, teacher_share: float = 0.5) -> None:
        corpus = corpora.load("speeches")
        assert isinstance(corpus, Speeches)
        self._wire = wire
        self._records = refuse_held_out(corpus, corpus.records("train"))
        # The topic is missing of most passages and has a task of its own.
        self._labels = tuple(
            v.name for v in corpus.schema.variables if v.kind == "closed" and v.name != "topic"
        )
        self._closed = {
            name: ClosedAnswers(wire, corpus.schema.variable(name).values) for name in self._labels
        }
        years = np.array([int(y) for y in self._closed["year"].values], float)
        self._year_kernel = np.exp(-np.abs(years[:, None] - years[None]) / YEAR_KERNEL_YEARS)
        self._posteriors: NDArray[np.float32] | None = None
        self._teacher_share = teacher_share
        if teacher is not None:
            from core_model.teacher import author_posteriors

            self._posteriors = author_posteriors(
                self._records, self._closed["author"].values, teacher
            )

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Of ten rows, about eight read a passage, one writes one and one asks labels alone."""
        made = []
        for _ in range(count):
            index = int(rng.integers(len(self._records)))
            kind = rng.random()
            if kind < 0.82:
                made.append(self._read(index, rng))
            elif kind < 0.92:
                made.append(self._write(self._records[index], rng))
            else:
                made.append(self._label(self._records[index], rng))
        return made

    def _target(self, variable: str, index: int) -> Floats:
        """(n_values,) target of a label of one record.

        A year is known but its neighbours are as plausible for the text: a Laplace kernel. An
        author is mixed with the out-of-fold posterior of a teacher, where there is one.
        """
        value = self._records[index].values[variable]
        closed = self._closed[variable]
        if variable == "year":
            kernel: Floats = self._year_kernel[closed.index[value]]
            return kernel
        one = closed.one(value)
        if variable == "author" and self._posteriors is not None:
            share = self._teacher_share
            mixed: Floats = (1 - share) * one + share * self._posteriors[index].astype(float)
            return mixed
        return one

    def _conditioned(self, variable: str, index: int, given: Mapping[str, str]) -> Floats:
        """(n_values,) target of a label of one record when other labels are known beside the text.

        The record's own value, since the teacher speaks of the text alone; for a year, its kernel
        times what the other labels leave possible.
        """
        if variable == "year":
            return self._target(variable, index) * self._counted(variable, given)
        return self._closed[variable].one(self._records[index].values[variable])

    def _read(self, index: int, rng: np.random.Generator) -> PackedRow:
        """A passage, then each label alone and two given others, as branches."""
        record = self._records[index]
        builder = RowBuilder()
        text = builder.extend(
            self._wire.segment("corpus", "speeches")
            + self._wire.binding("text", record.values["text"])
        )
        asked = [("author", 1.0), ("year", 0.6), ("party", 0.4)]
        if rng.random() < 0.4:
            asked.append(("medium", 0.5))
        for variable, weight in asked:
            self._ask(builder, text, variable, self._target(variable, index), rng, weight)
        self._ask_early(builder, text, index, rng)
        if rng.random() < 0.4:
            variable, *others = rng.permutation(self._labels)
            known = others[: int(rng.integers(1, len(others) + 1))]
            after = text
            for other in known:
                after = builder.extend(self._wire.binding(other, record.values[other]), after)
            given = {str(other): record.values[other] for other in known}
            target = self._conditioned(str(variable), index, given)
            self._ask(builder, after, str(variable), target, rng, 0.2)
        return builder.build()

    def _ask_early(
        self, builder: RowBuilder, text: int, index: int, rng: np.random.Generator
    ) -> None:
        """The author's first token, the year, party and medium, asked before the passage ends.

        A passage cut short is a passage too, and one more question behind it costs a few tokens
        where another passage would cost a hundred.
        """
        if text < 2 * EARLY_WORDS:
            return
        author, year = self._closed["author"].tree, self._closed["year"]
        for place in range(EARLY_PLACES):
            after = text - int(rng.integers(4, text - EARLY_WORDS))
            asked = builder.extend(self._wire.query("author"), after)
            builder.tree(author, self._target("author", index), asked, {-1: 1.0}, 0.3)
            if not place:
                asked = builder.extend(self._wire.query("year"), after)
                year.ask(builder, asked, self._target("year", index), rng, 2, 0.2)
            else:
                other = "party" if rng.random() < 0.5 else "medium"
                self._ask(builder, after, other, self._target(other, index), rng, 0.2)

    def _write(self, record: Record, rng: np.random.Generator) -> PackedRow:
        """A passage from its author alone, or from any of its labels in random order, or none."""
        known = ["author"]
        if rng.random() >= AUTHOR_ALONE_SHARE:
            known = [str(v) for v in rng.permutation(self._labels)]
            known = known[: int(rng.integers(0, len(known) + 1))]
        given = tuple(Binding(str(v), record.values[str(v)]) for v in known)
        builder = RowBuilder()
        after = builder.extend(self._wire.prompt(Conditional("speeches", "text", given)))
        answer = self._wire.answer(record.values["text"])
        builder.answer(answer, after, 2.0 / len(answer))
        return builder.build()

    def _label(self, record: Record, rng: np.random.Generator) -> PackedRow:
        """Three labels, each given a random subset of the others and no text."""
        builder = RowBuilder()
        start = builder.extend(self._wire.segment("corpus", "speeches"))
        for _ in range(3):
            variable, *others = (str(v) for v in rng.permutation(self._labels))
            known = others[: int(rng.integers(0, len(others) + 1))]
            after = start
            for other in known:
                after = builder.extend(self._wire.binding(other, record.values[other]), after)
            given = {v: record.values[v] for v in known}
            self._ask(builder, after, variable, self._counted(variable, given), rng, 0.3)
        return builder.build()

    def _counted(self, variable: str, given: Mapping[str, str]) -> Floats:
        """(n_values,) passages of each value among those that match; of a year, with the kernel.

        Without it the held-out years would be taught as years in which nobody spoke.
        """
        closed = self._closed[variable]
        weights = np.zeros(len(closed.values))
        for record in self._records:
            if all(record.values[k] == v for k, v in given.items()):
                weights[closed.index[record.values[variable]]] += 1
        return weights @ self._year_kernel if variable == "year" else weights

    def _ask(
        self, builder: RowBuilder, after: int, variable: str, weights: Floats,
        rng: np.random.Generator, weight: float,
    ) -> None:  # fmt: skip
        asked = builder.extend(self._wire.query(variable), after)
        self._closed[variable].ask(builder, asked, weights, rng, 3, weight)
