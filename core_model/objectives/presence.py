r"""Presence carries nothing: which labels are given must not inform (the tower property).

    gap = KL(m ‖ q),   m(v) = Σ_l q(l | S) q(v | S, l),   q(v) = q(v | S)

The same law as transitivity's, with what is known, S, kept throughout: leaving a label out must
say what the average over its values says. S is any part of the rest of a record, its document too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from core_model import corpora
from core_model.errors import CandorError
from core_model.graph import Schema
from core_model.notation import Binding
from core_model.objectives.conditioning import moved
from core_model.objectives.transitivity import mixture_gap
from core_model.planning import Conditional, in_order
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

KNOWN_SHARE = 0.5
MOST_VALUES = 8
"""A label that is left out has at most so many values; they are all gone through."""


def _few(schema: Schema, names: Iterable[str]) -> list[str]:
    return [name for name in names if 1 < len(schema.variable(name).values) <= MOST_VALUES]


class PresenceTask:
    """A closed variable given some of a record, and given one label of few values more.

    names: of corpora whose records have two such labels; raises CandorError for another.
    """

    corpora: tuple[str, ...] = ()

    def __init__(self, wire: Wire, names: Sequence[str]) -> None:
        self._wire = wire
        self._draw = {name: corpora.load(name).drawer("train") for name in names}
        for name in names:
            if len(_few(corpora.schema(name), corpora.schema(name).names)) < 2:
                raise CandorError(f"'{name}' has no two labels of few values.")

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One record a row."""
        names = list(self._draw)
        return [self._row(str(rng.choice(names)), rng) for _ in range(count)]

    def _row(self, name: str, rng: np.random.Generator) -> PackedRow:
        schema = corpora.schema(name)
        few: list[str] = []
        while len(few) < 2:  # of some records less is known
            values = self._draw[name](rng)
            few = _few(schema, values)
        left_out, asked = (str(v) for v in rng.permutation(few)[:2])
        others = [str(v) for v in rng.permutation(list(values)) if v not in (left_out, asked)]
        bound = moved(schema, values, rng)
        given = tuple(Binding(v, bound[v]) for v in others if rng.random() < KNOWN_SHARE)
        builder = RowBuilder()

        def scored(variable: str, *more: Binding) -> slice:
            conditional = in_order(Conditional(name, variable, (*given, *more)))
            tree = PrefixTree.build(
                [self._wire.answer(value) for value in schema.variable(variable).values]
            )
            return builder.score(tree, builder.prompt(self._wire.prompt(conditional)))

        label = scored(left_out)
        then = [
            scored(asked, Binding(left_out, value)) for value in schema.variable(left_out).values
        ]
        once = scored(asked)
        return builder.build(
            lambda log_p: mixture_gap(
                log_p[label], torch.stack([log_p[place] for place in then]), log_p[once]
            )
        )
