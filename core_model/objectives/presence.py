r"""Presence carries nothing: which labels are given must not inform (the tower property).

    gap = KL(m ‖ q),   m(v) = Σ_l q(l | S) q(v | S, l),   q(v) = q(v | S)

The same law as transitivity's, with what is known, S, kept throughout: leaving a label out must
say what the average over its values says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core_model import corpora
from core_model.corpora.base import refuse_held_out
from core_model.notation import Binding
from core_model.objectives.transitivity import mixture_gap
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

MOST_VALUES = 8
"""A label that is left out has at most so many values; they are all gone through."""


class PresenceTask:
    """A closed variable given some labels of a record, and given one more of them.

    corpora: names of corpora whose records have labels; none of a long text is used.
    """

    corpora: tuple[str, ...] = ()

    def __init__(self, wire: Wire, names: Sequence[str]) -> None:
        self._wire = wire
        self._records = {}
        self._few: dict[str, list[str]] = {}
        for name in names:
            corpus = corpora.load(name)
            self._records[name] = refuse_held_out(corpus, corpus.records("train"))
            self._few[name] = [
                v.name for v in corpus.schema.variables if 1 < len(v.values) <= MOST_VALUES
            ]

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One record a row."""
        names = list(self._records)
        return [self._row(str(rng.choice(names)), rng) for _ in range(count)]

    def _row(self, name: str, rng: np.random.Generator) -> PackedRow:
        records = self._records[name]
        record = records[int(rng.integers(len(records)))]
        left_out, asked = (str(v) for v in rng.permutation(self._few[name])[:2])
        others = [v for v in rng.permutation(self._few[name]) if v not in (left_out, asked)]
        known = others[: int(rng.integers(len(others) + 1))]
        given = tuple(Binding(str(v), record.values[str(v)]) for v in known)
        builder = RowBuilder()
        schema = corpora.schema(name)

        def scored(variable: str, *more: Binding) -> slice:
            conditional = Conditional(name, variable, (*given, *more))
            tree = PrefixTree.build(
                [self._wire.answer(value) for value in schema.variable(variable).values]
            )
            return builder.score(tree, builder.prompt(self._wire.prompt(conditional)))

        label = scored(left_out)
        values = schema.variable(left_out).values
        then = [scored(asked, Binding(left_out, value)) for value in values]
        once = scored(asked)
        return builder.build(
            lambda log_p: mixture_gap(
                log_p[label], torch.stack([log_p[place] for place in then]), log_p[once]
            )
        )
