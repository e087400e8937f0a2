"""Training rows of the corpora: every variable under random subsets of the others.

Each task draws random rows; one row packs one known part with several questions about it.
`names`: exact soft targets from the births of training years. `speeches`: labels read off a
passage, passages written from labels, and labels given labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_model import corpora
from core_model.core import Conditional
from core_model.corpora.base import Record, refuse_held_out
from core_model.corpora.names import FIRST_YEAR, SEXES, YEARS, Names
from core_model.corpora.speeches import Speeches
from core_model.notation import Binding
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

Floats = NDArray[np.float64]
NAMES_A_PROMPT = 16
FAVOUR_BY_TOKENS = np.array([0.4, 1.0, 1.5])
"""How readily names of one, two, and three or more tokens are drawn: the longer, the harder."""
YEARS_A_ROW = 3
EARLY_PLACES, EARLY_WORDS = 3, 12
YEAR_KERNEL_YEARS = 4.0


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


class NamesTask:
    """Rows about names: `name` given year and sex, its priors, and sex and year given a name."""

    def __init__(self, wire: Wire, names_a_prompt: int = NAMES_A_PROMPT) -> None:
        corpus = corpora.load("names")
        assert isinstance(corpus, Names)
        cells = refuse_held_out(corpus, corpus.records("train"))
        self._wire = wire
        self._names_a_prompt = names_a_prompt
        self._counts = corpus.training_counts
        self._cells = [
            (SEXES.index(c.values["sex"]), int(c.values["year"]) - FIRST_YEAR) for c in cells
        ]
        # Years of many names are the hard ones.
        many = np.sqrt([np.count_nonzero(self._counts[cell]) for cell in self._cells])
        self._cell_chance = many / many.sum()
        self._listed = corpus.listed
        answers = [wire.answer(name) for name in corpus.listed]
        self._tree = PrefixTree.build(answers)
        last = len(FAVOUR_BY_TOKENS) - 1
        self._favour = FAVOUR_BY_TOKENS[[min(len(a) - 2, last) for a in answers]]
        self._closed = {"sex": ClosedAnswers(wire, SEXES), "year": ClosedAnswers(wire, YEARS)}
        self._name_totals = self._counts.sum(axis=(0, 1)).astype(float)
        self._by_sex = self._counts.sum(axis=1).astype(float)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Of six rows, about five ask for names and one reads the labels off a name."""
        return [
            self._ask_name(rng) if rng.random() < 0.83 else self._ask_labels(rng)
            for _ in range(count)
        ]

    def _ask_name(self, rng: np.random.Generator) -> PackedRow:
        """The name given sex and year, for several of them that share what comes first."""
        first, *others = rng.choice(len(self._cells), YEARS_A_ROW, False, self._cell_chance)
        sex, year = self._cells[first]
        builder = RowBuilder()
        start = builder.extend(self._wire.segment("corpus", "names"))
        if rng.random() < 0.5:
            shared = builder.extend(self._wire.binding("year", YEARS[year]), start)
            for either in range(len(SEXES)):
                after = builder.extend(self._wire.binding("sex", SEXES[either]), shared)
                self._ask_one_name(builder, after, self._counts[either, year], rng)
            if rng.random() < 0.1:
                self._ask_one_name(builder, shared, self._counts[:, year].sum(axis=0), rng)
        else:
            shared = builder.extend(self._wire.binding("sex", SEXES[sex]), start)
            for one in dict.fromkeys([year, *(self._cells[i][1] for i in others)]):
                after = builder.extend(self._wire.binding("year", YEARS[one]), shared)
                self._ask_one_name(builder, after, self._counts[sex, one], rng)
            if rng.random() < 0.06:
                self._ask_one_name(builder, shared, self._by_sex[sex], rng)
            if rng.random() < 0.04:
                self._ask_one_name(builder, start, self._name_totals, rng)
        return builder.build()

    def _ask_one_name(
        self, builder: RowBuilder, after: int, counts: NDArray[Any], rng: np.random.Generator
    ) -> None:
        weights = counts.astype(float)
        asked = builder.extend(self._wire.query("name"), after)
        shares = self._tree.visits(weights, self._names_a_prompt, rng, self._favour)
        builder.tree(self._tree, weights, asked, shares, 0.5)

    def _ask_labels(self, rng: np.random.Generator) -> PackedRow:
        """A name, then sex and year alone and each given the other; and two of these without it."""
        sex, year = self._cells[rng.integers(len(self._cells))]
        births = self._counts[sex, year].astype(float)
        # Tempered, so that rare names are seen too.
        chosen = births**0.7
        code = rng.choice(len(births), p=chosen / chosen.sum())
        table = self._counts[:, :, code].astype(float)
        builder = RowBuilder()
        start = builder.extend(self._wire.segment("corpus", "names"))
        name = builder.extend(self._wire.binding("name", self._listed[code]), start)
        self._ask(builder, name, "sex", table.sum(axis=1), rng)
        self._ask(builder, name, "year", table.sum(axis=0), rng)
        with_year = builder.extend(self._wire.binding("year", YEARS[year]), name)
        self._ask(builder, with_year, "sex", table[:, year], rng)
        with_sex = builder.extend(self._wire.binding("sex", SEXES[sex]), name)
        self._ask(builder, with_sex, "year", table[sex], rng)
        totals = self._counts.sum(axis=2).astype(float)
        alone = (
            ((), "sex", totals.sum(axis=1)),
            ((), "year", totals.sum(axis=0)),
            (("sex", SEXES[sex]), "year", totals[sex]),
            (("year", YEARS[year]), "sex", totals[:, year]),
        )
        for number in rng.choice(len(alone), 2, replace=False):
            given, variable, births_of = alone[number]
            after = builder.extend(self._wire.binding(*given), start) if given else start
            self._ask(builder, after, variable, births_of, rng)
        return builder.build()

    def _ask(
        self, builder: RowBuilder, after: int, variable: str, weights: Floats,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        asked = builder.extend(self._wire.query(variable), after)
        # Twelve points on 138 years reach most of the tree's mass at a third of its tokens.
        self._closed[variable].ask(
            builder, asked, weights, rng, 12 if variable == "year" else 2, 0.5
        )


class SpeechesTask:
    """Rows about passages: labels read off them, passages from labels, labels from labels."""

    def __init__(self, wire: Wire, teacher: str | None = None, teacher_share: float = 0.5) -> None:
        corpus = corpora.load("speeches")
        assert isinstance(corpus, Speeches)
        self._wire = wire
        self._records = refuse_held_out(corpus, corpus.records("train"))
        self._labels = tuple(v.name for v in corpus.schema.variables if v.kind == "closed")
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
        """The author's first token and the year, asked before the passage ends.

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

    def _write(self, record: Record, rng: np.random.Generator) -> PackedRow:
        """A passage from a random subset of its labels, in random order; possibly from none."""
        known = rng.permutation(self._labels)[: int(rng.integers(0, len(self._labels) + 1))]
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
