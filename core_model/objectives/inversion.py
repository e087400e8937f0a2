r"""Inversion: a relation read off a text agrees with the relation that writes the text, by Bayes.

    gap = KL(b ‖ q) + KL(q ‖ b),   b(a) = q(t | a) π(a) / Σ_a' q(t | a') π(a')

over a set of candidates a, where q(a) = q(a | t) is normalised over the same set and π is the
core's own prior. Both sides are trained: reading towards what writing implies and the reverse.
Forced agreement has been seen to cost accuracy, so the gap stands beside the true likelihood of
both sides, and its weight in a recipe is small.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.corpora.base import refuse_held_out
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire


def bayes_gap(read: Tensor, written: Tensor, prior: Tensor) -> Tensor:
    """Symmetric KL of the posterior that is read and Bayes' reversal, nats.

    (k,) log-probabilities over the candidates, up to a constant: of each given the text, of the
    text given each, of each with nothing known. The prior is not trained by it.
    """
    posterior = torch.log_softmax(read, dim=0)
    reversal = torch.log_softmax(written + prior.detach(), dim=0)
    one = (reversal.exp().detach() * (reversal.detach() - posterior)).sum()
    other = (posterior.exp().detach() * (posterior.detach() - reversal)).sum()
    return one + other


class InversionTask:
    """A closed label of a record's document, over the true value and random others."""

    corpora: tuple[str, ...] = ()

    def __init__(
        self, wire: Wire, corpus: str, variable: str, candidates: int = 8, words: int = 0
    ) -> None:
        """words: of the document, how many are read and written; 0 is all."""
        loaded = corpora.load(corpus)
        self._wire = wire
        self._schema = loaded.schema
        self._variable = loaded.schema.variable(variable)
        self._records = refuse_held_out(loaded, loaded.records("train"))
        self._candidates = candidates
        self._words = words

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One document a row."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        values = self._records[int(rng.integers(len(self._records)))].values
        true = values[self._variable.name]
        others = [str(v) for v in rng.permutation(self._variable.values) if v != true]
        candidates = [true, *others[: self._candidates - 1]]
        document = values[self._schema.document]
        if self._words:
            document = " ".join(document.split()[: self._words])
        builder = RowBuilder()

        def scored(tree: PrefixTree, variable: str, *given: Binding) -> slice:
            conditional = Conditional(self._schema.corpus, variable, given)
            return builder.score(tree, builder.prompt(self._wire.prompt(conditional)))

        label = PrefixTree.build([self._wire.answer(value) for value in candidates])
        text = PrefixTree.build([self._wire.answer(document)])
        name, about = self._variable.name, self._schema.document
        prior = scored(label, name)
        read = scored(label, name, Binding(about, document))
        written = [scored(text, about, Binding(name, value)) for value in candidates]
        return builder.build(
            lambda log_p: bayes_gap(
                log_p[read], torch.cat([log_p[place] for place in written]), log_p[prior]
            )
        )
