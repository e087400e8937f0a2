"""Rows about given names, with exact soft targets from the births of training years."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora.base import refuse_held_out
from core_model.corpora.names import FIRST_YEAR, SEXES, YEARS, Names
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire

NAMES_A_PROMPT = 16
FAVOUR_BY_TOKENS = np.array([0.4, 1.0, 1.5])
"""How readily names of one, two, and three or more tokens are drawn: the longer, the harder."""
YEARS_A_ROW = 3
YEAR_ALONE_SHARE, SEX_ALONE_SHARE, NOTHING_SHARE = 0.2, 0.4, 0.15
"""Rows that also ask for a name of a year, of a sex, or of nothing known: as people often do."""


class NamesTask:
    """Rows about names: `name` given year and sex, its priors, and sex and year given a name."""

    corpora: tuple[str, ...] = ("names",)

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
            if rng.random() < YEAR_ALONE_SHARE:
                self._ask_one_name(builder, shared, self._counts[:, year].sum(axis=0), rng)
        else:
            shared = builder.extend(self._wire.binding("sex", SEXES[sex]), start)
            for one in dict.fromkeys([year, *(self._cells[i][1] for i in others)]):
                after = builder.extend(self._wire.binding("year", YEARS[one]), shared)
                self._ask_one_name(builder, after, self._counts[sex, one], rng)
            if rng.random() < SEX_ALONE_SHARE:
                self._ask_one_name(builder, shared, self._by_sex[sex], rng)
            if rng.random() < NOTHING_SHARE:
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
