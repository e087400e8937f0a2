r"""Inversion: the relation that writes a text agrees with the one that reads it, by Bayes.

    gap = KL(q ‖ b),   b(a) = q(t | a) π(a) / Σ_a' q(t | a') π(a')

over a set of candidates a, where q(a) = q(a | t) is normalised over the same set and π is the
core's own prior. Only writing is trained. Reading is fitted on labels and far better at telling
authors apart; a gap in both directions drew it towards the reversal, and after two runs with that
it told them apart less well (the training log has the figures).
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
    """KL from the posterior that is read to Bayes' reversal, nats.

    (k,) log-probabilities over the candidates, up to a constant: of each given the text, of the
    text given each, of each with nothing known. Only the second is trained by it.
    """
    posterior = torch.log_softmax(read.detach(), dim=0)
    reversal = torch.log_softmax(written + prior.detach(), dim=0)
    return (posterior.exp() * (posterior - reversal)).sum()


class InversionTask:
    """A closed label of a record's document, over the true value and random others.

    The document is related to the label as a whole and, where `parts` is more than one, also where
    it has been written in part; what stands there by then is read as a document of its own.
    """

    corpora: tuple[str, ...] = ()

    def __init__(
        self, wire: Wire, corpus: str, variable: str, candidates: int = 8, words: int = 0,
        parts: int = 1,
    ) -> None:  # fmt: skip
        """words: of the document, how many are read and written; 0 is all."""
        loaded = corpora.load(corpus)
        self._wire = wire
        self._schema = loaded.schema
        self._variable = loaded.schema.variable(variable)
        records = refuse_held_out(loaded, loaded.records("train"))
        self._records = [record for record in records if variable in record.values]
        self._candidates = candidates
        self._words = words
        self._parts = parts

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One document a row."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        values = self._records[int(rng.integers(len(self._records)))].values
        true = values[self._variable.name]
        others = [str(v) for v in rng.permutation(self._variable.values) if v != true]
        candidates = [true, *others[: self._candidates - 1]]
        documents = self._begun(values[self._schema.document])
        # The last one is written to its end.
        lengths = [len(self._wire.answer(document)) - 1 for document in documents]
        lengths[-1] += 1
        builder = RowBuilder()
        label = PrefixTree.build([self._wire.answer(value) for value in candidates])
        name, about = self._variable.name, self._schema.document

        def prompt(variable: str, *given: Binding) -> int:
            conditional = Conditional(self._schema.corpus, variable, given)
            return builder.prompt(self._wire.prompt(conditional))

        prior = builder.score(label, prompt(name))
        read = [builder.score(label, prompt(name, Binding(about, text))) for text in documents]
        whole = self._wire.answer(documents[-1])
        written = [
            builder.score_path(whole, prompt(about, Binding(name, value)), lengths)
            for value in candidates
        ]

        def gap(log_p: Tensor) -> Tensor:
            columns = torch.stack([log_p[place] for place in written], dim=1)
            gaps = [
                bayes_gap(log_p[place], column, log_p[prior])
                for place, column in zip(read, columns, strict=True)
            ]
            return torch.stack(gaps).mean()

        return builder.build(gap)

    def _begun(self, document: str) -> list[str]:
        """The document written up to several places, the whole one last."""
        if not self._words and self._parts == 1:
            return [document]
        words = document.split()[: self._words or None]
        ends = {len(words) * (part + 1) // self._parts for part in range(self._parts)} - {0}
        texts = [" ".join(words[:end]) for end in sorted(ends)]
        whole = self._wire.answer(texts[-1])[:-1]
        # What is spelled otherwise once more follows was never written so.
        begun = [self._wire.answer(text)[:-1] for text in texts]
        return [t for t, tokens in zip(texts, begun, strict=True) if whole[: len(tokens)] == tokens]
