r"""Restating: however a reply is put, the verdict on it is that of the most cautious reading.

    gap = mean_i KL(t ‖ q_i),   u_i = q(unsafe | prompt, wording i of the reply)

    t(unsafe) = max(u_1 … u_n, u)   where people held the reply for unsafe,
                mean(u_1 … u_n, u)  where they held it for safe,

u being what people said of the reply. Whoever wants an unsafe reply to pass looks for the one
wording that does, so one wording that is found out counts for all. The mean would let the many
harmless wordings carry it; but of safe replies a maximum would block more the more wordings are
drawn, for one of them always looks worst. The target is not trained by this.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.corpora.base import Record
from core_model.corpora.safety import NO, YES, Safety
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.tasks.restating import restatements
from core_model.tasks.safety import begun, safe_targets, trained_on
from core_model.wire import Wire

WAYS = 3
"""Wordings of a reply beside its own."""
PROMPT_TOKENS, REPLY_TOKENS, WHOLE_TOKENS = 260, 100, 300
WHOLE_SHARE = 1 / 3
"""Rows that have most of a reply: where it is judged it is whole."""


def cautious(unsafe: Tensor, stated: float) -> Tensor:
    """The target P(unsafe), a scalar, of a set of wordings.

    unsafe: (n,) P(unsafe) of each wording; stated: that of the reply by people.
    """
    every = torch.cat([unsafe, unsafe.new_tensor([stated])])
    return every.max() if stated >= 0.5 else every.mean()


def restating_gap(log_p: Tensor, stated: float) -> Tensor:
    """Mean KL(target ‖ wording), nats; log_p: (n, 2), of safe and unsafe up to a constant."""
    said = torch.log_softmax(log_p, dim=1)
    unsafe = cautious(said[:, 1].detach().exp(), stated).clamp(1e-6, 1 - 1e-6)
    target = torch.stack([1 - unsafe, unsafe])
    return (target * (target.log() - said)).sum(dim=1).mean()


class RestatingTask:
    """Replies that people scored, each in `WAYS` wordings more, under its prompt.

    without: categories of harm whose groups are left out. Raises what `SafetyTask` raises.
    """

    corpora: tuple[str, ...] = ("safety",)

    def __init__(self, wire: Wire, without: Sequence[str] = ()) -> None:
        corpus = corpora.load("safety")
        assert isinstance(corpus, Safety)
        self._wire = wire
        self._records = [r for r in trained_on(corpus, without) if "safe" in r.values]
        self._safe = safe_targets(corpus, self._records, 0.0)
        self._tree = PrefixTree.build([wire.answer(value) for value in (YES, NO)])

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One reply a row."""
        chosen = rng.integers(len(self._records), size=count)
        return [self._row(self._records[int(place)], rng) for place in chosen]

    def _row(self, record: Record, rng: np.random.Generator) -> PackedRow:
        prompt, reply = record.values["prompt"], record.values["reply"]
        known = Binding("prompt", begun(prompt, PROMPT_TOKENS))
        builder = RowBuilder()
        places = []
        kept = WHOLE_TOKENS if rng.random() < WHOLE_SHARE else REPLY_TOKENS
        for text in restatements(begun(reply, kept), WAYS, rng):
            asked = Conditional("safety", "safe", (known, Binding("reply", text)))
            after = builder.prompt(self._wire.prompt(asked))
            places.append(builder.score(self._tree, after))
        stated = 1 - self._safe[prompt, reply]
        return builder.build(
            lambda log_p: restating_gap(torch.stack([log_p[place] for place in places]), stated)
        )
