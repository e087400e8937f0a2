r"""Transitivity: a chain asked as one question equals the mixture over what lies between.

    gap = KL(m ‖ q),   m(c) = Σ_b q(b | a) q(c | a', b),   q(c) = q(c | a, "b; c")

m is the target and is not trained by it: its two steps are fitted on data, the one question is
not. Its own name for a chain, such as `paternal_grandfather`, is one more way to ask at once, and
the gap is the mean of both. Of a longer chain all but the last relation are the first step, asked
at once. The gap is taken among some answers, and between them and all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.corpora import kin
from core_model.corpora.base import refuse_held_out
from core_model.corpora.places import held_out_compound
from core_model.notation import Binding, Draw, Step
from core_model.objectives.outcomes import split
from core_model.planning import Conditional, at_once, in_order, learnt_chains, plan
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.tasks.kin import SIMPLE
from core_model.wire import Wire

LENGTHS = (2, 2, 3)
"""How many relations a chain of families has, each as often as another."""
BETWEEN, ANSWERS = 4, 8
"""Values scored of what lies between and of what is asked; the likely ones and some others."""


def mixture_gap(between: Tensor, then: Tensor, once: Tensor) -> Tensor:
    """KL(mixture ‖ at once), nats, from log-probabilities up to a constant.

    between: (k,) of what lies between; then: (k, n) of the answers given each; once: (n,) asked
    as one question.
    """
    weights = torch.log_softmax(between, dim=0)[:, None]
    mixture = torch.logsumexp(weights + torch.log_softmax(then, dim=1), dim=0).detach()
    return (mixture.exp() * (mixture - torch.log_softmax(once, dim=0))).sum()


class ChainTask:
    """Chains in `kin` and `places`, of which neither truth nor target is given.

    Those of families have two or three relations and may end in somebody; those of places begin
    with what one country alone has. Neither families nor countries whose chains are held out take
    part.
    """

    corpora: tuple[str, ...] = (learnt_chains("kin"), learnt_chains("places"))

    def __init__(self, wire: Wire, kin_share: float = 0.5) -> None:
        self._wire = wire
        self._kin_share = kin_share
        places = corpora.load("places")
        document = places.schema.document
        self._places = [
            record
            for record in refuse_held_out(places, places.records("train"))
            if not held_out_compound(record.values[document])
        ]
        self._countries = [record.values[document] for record in self._places]
        every = [*places.records("train"), *places.records("held_out")]
        self._shared = {
            name: {v for v, n in Counter(r.values.get(name) for r in every).items() if n > 1}
            for name in places.schema.names
        }

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One chain a row."""
        return [
            self._kin(rng) if rng.random() < self._kin_share else self._country(rng)
            for _ in range(count)
        ]

    def _kin(self, rng: np.random.Generator) -> PackedRow:
        family, text = kin.draw(rng, "train")
        people = [*family.people, kin.NOBODY]
        found = {kin.NOBODY: 1.0}
        while found.get(kin.NOBODY, 0.0) >= 1:
            person = str(rng.choice(family.people))
            chain = [str(name) for name in rng.choice(SIMPLE, int(rng.choice(LENGTHS)))]
            found = family.along(chain, person)
        between = _some(list(family.along(chain[:-1], person)), people, BETWEEN, rng)
        answers = _some(list(found), people, ANSWERS, rng)
        about = (Binding("person", person),)
        query = Draw("kin", tuple(map(Step, chain)), about)
        named = [Draw("kin", (Step(n),), about) for n, c in kin.COMPOUNDS.items() if [*c] == chain]
        return chain_row(self._wire, query, text, between, answers, named)

    def _country(self, rng: np.random.Generator) -> PackedRow:
        record = self._places[int(rng.integers(len(self._places)))].values
        schema = corpora.schema("places")
        labels = [str(n) for n in rng.permutation(list(record)) if n != schema.document]
        first = next(name for name in labels if record[name] not in self._shared[name])
        last = next(name for name in labels if name != first)
        query = Draw("places", (Step(first, inverse=True), Step(last)))
        between = _some([record[schema.document]], self._countries, BETWEEN, rng)
        answers = _some([record[last]], schema.variable(last).values, ANSWERS, rng)
        return chain_row(self._wire, query, record[first], between, answers)


def chain_row(
    wire: Wire, query: Draw, data: str | None, between: list[str], answers: list[str],
    named: Sequence[Draw] = (),
) -> PackedRow:  # fmt: skip
    """The row of one chain, over some values of the answer and of what lies before it.

    named: other questions that ask for the same by a name of its own.
    """
    *before, last = plan(query, data)
    begun = replace(query, steps=query.steps[:-1])
    first = before[0].bind(()) if len(before) == 1 else at_once(begun, data)
    builder = RowBuilder()
    tree = PrefixTree.build([wire.answer(value) for value in answers])

    def scored(conditional: Conditional, of: PrefixTree) -> slice:
        return builder.score(of, builder.prompt(wire.prompt(in_order(conditional))))

    lies_between = scored(first, PrefixTree.build([wire.answer(value) for value in between]))
    then = [scored(last.bind((value,)), tree) for value in between]
    once = [scored(at_once(query, data), tree)]
    once += [scored(plan(other, data)[0].bind(()), tree) for other in named]

    def gap(log_p: Tensor) -> Tensor:
        what, given = log_p[lies_between], torch.stack([log_p[place] for place in then])
        gaps = [
            mixture_gap(what, given, log_p[place])
            + mixture_gap(what, split(given), split(log_p[place]))
            for place in once
        ]
        return torch.stack(gaps).mean()

    return builder.build(gap)


def _some(
    wanted: list[str], others: list[str] | tuple[str, ...], count: int, rng: np.random.Generator
) -> list[str]:
    """The values wanted and random others, `count` in all or more."""
    more = [str(value) for value in rng.permutation(others) if value not in wanted]
    return [*wanted, *more[: max(0, count - len(wanted))]]
