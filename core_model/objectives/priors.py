r"""Stated priors: a posterior under a prior in the query is the one without it, weighed by it.

    gap = KL(b ‖ s) + KL(s ‖ b) - log Σ_a s(a),   b(a) ∝ q(a | t) π(a) / q(a)

over the candidates a that the prior π names: s(a) = q(a | t, π) as it is stated, within the first
two terms normalised over them; the last is what it gives to values that π leaves out. q(a | t) and
q(a), with no prior in the query, are the target and are not trained by it.

The true label alone would teach the same law, since priors and labels can be drawn to come together
as Bayes asks; a run of 580 steps with that left the odds moving in a random direction. The share
stands before its value for the same reason: what is read first can steer how the value is read.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core_model import corpora, priors
from core_model.corpora.base import refuse_held_out
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

PRIORS_A_ROW = 3
MOST_CANDIDATES = 8
EVEN_SHARE = 0.15
"""Of the priors, those that give every candidate the same."""
WHOLE_SHARE = 0.5
"""Of the rows, those with as many candidates and words as there can be."""
LEAST_WORDS, MOST_WORDS = 8, 60
"""Of a document, how many are read: what is short leaves doubt, which a prior can move."""


def prior_gap(stated: Tensor, read: Tensor, own: Tensor, prior: Tensor) -> Tensor:
    """The gap above, nats, of (k,) log-probabilities of the candidates.

    stated: given the text and the prior; read: given the text; own: given nothing; prior: as it
    stands in the query.
    """
    said = torch.log_softmax(stated, dim=0)
    asked = torch.log_softmax((read - own + prior).detach(), dim=0)
    apart = (asked.exp() * (asked - said)).sum() + (said.exp() * (said - asked)).sum()
    return apart - torch.logsumexp(stated, dim=0)


class PriorTask:
    """Labels of `variable` read off the documents of a corpus under priors drawn at random."""

    def __init__(self, wire: Wire, corpus: str, variable: str) -> None:
        loaded = corpora.load(corpus)
        self.corpora: tuple[str, ...] = (priors.learnt(corpus),)
        self._wire = wire
        self._schema = loaded.schema
        self._variable = variable
        records = refuse_held_out(loaded, loaded.records("train"))
        self._records = [record for record in records if variable in record.values]
        self._candidates = tuple(dict.fromkeys(r.values[variable] for r in self._records))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One document and one set of candidates a row, under several priors."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        values = self._records[int(rng.integers(len(self._records)))].values
        true, document = values[self._variable], self._schema.document
        others = [value for value in self._candidates if value != true]
        n, length = min(MOST_CANDIDATES, len(self._candidates)), MOST_WORDS
        if rng.random() >= WHOLE_SHARE:
            n, length = int(rng.integers(2, n + 1)), int(rng.integers(LEAST_WORDS, length + 1))
        candidates = [true, *map(str, rng.choice(others, n - 1, replace=False))]
        words = values[document].split()[:length]
        text = Binding(document, " ".join(words))
        tree = PrefixTree.build([self._wire.answer(value) for value in candidates])
        builder = RowBuilder()

        def scored(*given: Binding) -> slice:
            conditional = Conditional(self._schema.corpus, self._variable, given)
            return builder.score(tree, builder.prompt(self._wire.prompt(conditional)))

        own, read = scored(), scored(text)
        stated = []
        for _ in range(PRIORS_A_ROW):
            even = rng.random() < EVEN_SHARE
            weights = np.full(n, 1 / n) if even else rng.dirichlet(np.ones(n))
            percent = np.maximum(1, np.round(100 * weights))
            shares = {candidates[i]: float(percent[i] / percent.sum()) for i in rng.permutation(n)}
            place = scored(text, Binding(priors.NAME, priors.written(shares)))
            log_prior = np.log([shares[value] for value in candidates])
            stated.append((place, torch.from_numpy(log_prior).float()))

        def gap(log_p: Tensor) -> Tensor:
            gaps = [prior_gap(log_p[s], log_p[read], log_p[own], prior) for s, prior in stated]
            return torch.stack(gaps).mean()

        return builder.build(gap)
