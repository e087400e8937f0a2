"""Rows about countries: every fact about one under random others, and chains asked as one question.

The target is exact: the share of each answer among the countries that fit what is known. A chain
starts from one known fact, which its first relation reads; the target is the mixture over what
lies between. No chain is asked that can lead through a country whose compounds are held out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora.base import refuse_held_out
from core_model.corpora.places import held_out_compound
from core_model.planning import learnt_chains
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire

QUESTIONS_A_ROW = 10
CHAIN_SHARE = 0.35
PRIOR_SHARE = 0.02


class PlacesTask:
    """Rows of ten questions, each about a country of its own."""

    corpora: tuple[str, ...] = ("places", learnt_chains("places"))

    def __init__(self, wire: Wire) -> None:
        corpus = corpora.load("places")
        records = refuse_held_out(corpus, corpus.records("train"))
        self._wire = wire
        self._document = corpus.schema.document
        self._names = corpus.schema.names
        self._closed = {
            name: ClosedAnswers(wire, corpus.schema.variable(name).values) for name in self._names
        }
        # (countries,) the index of each variable's value.
        self._codes = {
            name: np.array([self._closed[name].index[r.values[name]] for r in records])
            for name in self._names
        }
        self._in_chains = np.array(
            [not held_out_compound(r.values[self._document]) for r in records]
        )

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Of ten questions, about a third are chains."""
        made = []
        for _ in range(count):
            builder = RowBuilder()
            start = builder.extend(self._wire.segment("corpus", "places"))
            for _ in range(QUESTIONS_A_ROW):
                if rng.random() < CHAIN_SHARE:
                    self._ask_chain(builder, start, rng)
                else:
                    self._ask_fact(builder, start, rng)
            made.append(builder.build())
        return made

    def _ask_fact(self, builder: RowBuilder, start: int, rng: np.random.Generator) -> None:
        """One variable of a country given one or more others, or none."""
        country = int(rng.integers(len(self._in_chains)))
        variable, *others = (str(name) for name in rng.permutation(self._names))
        known = others[: 0 if rng.random() < PRIOR_SHARE else int(min(rng.geometric(0.6), 3))]
        # The document comes first, as the core reads it.
        known.sort(key=lambda name: name != self._document)
        fits = np.ones(len(self._in_chains), bool)
        after = start
        for name in known:
            code = self._codes[name][country]
            after = builder.extend(self._wire.binding(name, self._closed[name].values[code]), after)
            fits &= self._codes[name] == code
        self._ask(builder, after, variable, variable, self._shares(variable, fits), rng)

    def _ask_chain(self, builder: RowBuilder, start: int, rng: np.random.Generator) -> None:
        while True:
            country = int(rng.integers(len(self._in_chains)))
            first = str(rng.choice([n for n in self._names if n != self._document]))
            backwards = rng.random() < 0.6
            read = first if backwards else self._document
            at, question = (self._document, f"{first}^-1") if backwards else (first, first)
            weights: Floats = np.zeros(len(self._closed[read].values))
            weights[self._codes[read][country]] = 1.0
            weights, may = self._passed(weights, read, at)
            for _ in range(1 if rng.random() < 0.6 else 2):
                following = str(rng.choice([n for n in self._names if n != at]))
                weights, fine = self._passed(weights, at, following)
                may, at, question = may and fine, following, f"{question}; {following}"
            if may:
                break
        value = self._closed[read].values[self._codes[read][country]]
        after = builder.extend(self._wire.binding(read, value), start)
        self._ask(builder, after, question, at, weights, rng)

    def _passed(self, weights: Floats, read: str, asked: str) -> tuple[Floats, bool]:
        """p(asked) by the mixture over p(read), and whether no held-out country takes part."""
        countries = np.bincount(self._codes[read], minlength=len(weights))
        shares = (weights / np.maximum(countries, 1))[self._codes[read]]
        passed = np.bincount(self._codes[asked], shares, len(self._closed[asked].values))
        return passed.astype(np.float64), bool(self._in_chains[shares > 0].all())

    def _shares(self, variable: str, fits: NDArray[np.bool_]) -> Floats:
        """(n_values,) countries of each value among those that fit."""
        values = len(self._closed[variable].values)
        return np.bincount(self._codes[variable][fits], minlength=values).astype(np.float64)

    def _ask(
        self, builder: RowBuilder, after: int, question: str, variable: str, weights: Floats,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        behind = builder.extend(self._wire.query(question), after)
        self._closed[variable].ask(builder, behind, weights, rng, 3)
