"""Rows about summaries: a passage in ten words, and the passage that ten words stand for.

Nobody wrote summaries of these passages. Which of several candidates is one, the core says itself:
the best is that which makes its passage most probable (E-step, now and then, hard EM). Reading and
writing it are then learnt like any other relation (M-step), so that either inverts the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.core import Core
from core_model.corpora.base import refuse_held_out
from core_model.corpora.speeches import SUMMARY
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.wire import Wire

POOL = 40
"""Passages whose summary is chosen at a time."""
WORDS = 10
"""Words of a summary at most."""
DRAWN = 3
"""Candidates among whose words some are left to chance."""


class SummaryTask:
    """Summaries read off passages, and passages written from summaries, half of each."""

    corpora: tuple[str, ...] = ("speeches", SUMMARY)

    def __init__(self, wire: Wire, pool: int = POOL) -> None:
        corpus = corpora.load("speeches")
        records = refuse_held_out(corpus, corpus.records("train"))
        self._wire = wire
        self._pool = pool
        self._passages = [record.values["text"] for record in records]
        self._rarity = rarity(self._passages)
        self.expectations: dict[str, Tensor] = {}

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        """The best candidates of a new pool: `passages` (n,) and `chosen` (n,), their places."""
        count = min(self._pool, len(self._passages))
        places = rng.choice(len(self._passages), count, replace=False)
        chosen = []
        for place in places:
            passage = self._passages[place]
            gains = [
                core.log_prob_of(
                    Conditional("speeches", "text", (Binding("summary", summary),)), [passage]
                )[0]
                for summary in self._candidates(int(place))
            ]
            chosen.append(int(np.argmax(gains)))
        self.expectations = {
            "passages": torch.from_numpy(places), "chosen": torch.tensor(chosen),
        }  # fmt: skip

    def _candidates(self, place: int) -> list[str]:
        return candidates(self._passages[place], self._rarity, np.random.default_rng(place))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One passage a row; before the first E-step the rarest words are its summary."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        place, which = int(rng.integers(len(self._passages))), 0
        if self.expectations:
            index = int(rng.integers(len(self.expectations["passages"])))
            place = int(self.expectations["passages"][index])
            which = int(self.expectations["chosen"][index])
        texts = {"text": self._passages[place], "summary": self._candidates(place)[which]}
        known, asked = ("text", "summary") if rng.random() < 0.5 else ("summary", "text")
        builder = RowBuilder()
        conditional = Conditional("speeches", asked, (Binding(known, texts[known]),))
        after = builder.extend(self._wire.prompt(conditional))
        answer = self._wire.answer(texts[asked])
        builder.answer(answer, after, 2.0 / len(answer))
        return builder.build()


def rarity(passages: Sequence[str]) -> dict[str, float]:
    """-log of the share of passages that have a word, by word."""
    seen = Counter(word for passage in passages for word in set(_plain(passage)))
    return {word: float(-np.log(n / len(passages))) for word, n in seen.items()}


def candidates(passage: str, rare: dict[str, float], rng: np.random.Generator) -> list[str]:
    """What may be the summary of a passage, each `WORDS` words of it in their order.

    Its rarest words, some of them exchanged by chance, its first words, and the stretch with the
    rarest words. Deterministic for a generator's state.
    """
    words = passage.split()
    rarest = max(rare.values(), default=0.0)
    weight = np.array([rare.get(plain, rarest) for plain in map(_bare, words)])
    # A word that stands twice is said once.
    first = [_bare(word) not in map(_bare, words[:i]) for i, word in enumerate(words)]
    weight = np.where(first, weight, -1.0)
    noisy = [weight + rng.gumbel(0, 1.5, len(words)) for _ in range(DRAWN)]
    picked = [np.sort(np.argsort(-w, kind="stable")[:WORDS]) for w in (weight, *noisy)]
    starts = range(max(1, len(words) - WORDS + 1))
    best = max(starts, key=lambda start: float(weight[start : start + WORDS].sum()))
    made = [" ".join(_tidy(words[i]) for i in places) for places in picked]
    return [*made, " ".join(words[:WORDS]), " ".join(words[best : best + WORDS])]


def _plain(text: str) -> list[str]:
    return [_bare(word) for word in text.split()]


def _bare(word: str) -> str:
    return re.sub(r"\W+", "", word).casefold()


def _tidy(word: str) -> str:
    return word.strip(".,;:!?\"'()“”‘’") or word
