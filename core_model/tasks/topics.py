"""Rows about the topic of passages, which is known of a tenth of them and expected of the others.

EM: every few hundred steps the core gives the posterior of the topic of a pool of passages without
one (E-step, weighed by their estimated shares, since the lexicon does not know topics as often as
they come). Between, these expected labels are targets beside the known ones (M-step).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core_model import corpora, em
from core_model.core import Core
from core_model.corpora.base import refuse_held_out
from core_model.corpora.speeches import TOPIC
from core_model.corpora.topics import TOPICS
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire

POOL = 300
"""Passages whose topic is expected at a time."""
LABELS = ("author", "year", "party", "medium")
KNOWN_SHARE = 0.5
"""Rows about passages whose topic is known; the others' is expected."""
ALONE_SHARE = 0.5
"""Passages that are written on their topic alone."""
SHORT_SHARE, LEAST_WORDS = 0.35, 8
"""Passages that are read from their first words only."""
WRITTEN_SHARE, TOLD_SHARE = 0.2, 0.3
"""Rows that write a passage on its topic, and that tell the topic from other labels."""


class TopicTask:
    """Topics read off passages and off their other labels, and passages written on a topic."""

    corpora: tuple[str, ...] = ("speeches", TOPIC)

    def __init__(self, wire: Wire, pool: int = POOL) -> None:
        corpus = corpora.load("speeches")
        records = refuse_held_out(corpus, corpus.records("train"))
        self._wire = wire
        self._pool = pool
        self._closed = ClosedAnswers(wire, TOPICS)
        self._known = [record.values for record in records if "topic" in record.values]
        self._unknown = [record.values for record in records if "topic" not in record.values]
        self.expectations: dict[str, Tensor] = {}

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        """Posteriors of a new pool of passages without one: `passages` (n,), `topics` (n, k)."""
        count = min(self._pool, len(self._unknown))
        places = rng.choice(len(self._unknown), count, replace=False)
        posteriors = np.exp(
            [
                core.log_prob_of(
                    Conditional("speeches", "topic", (Binding("text", self._unknown[i]["text"]),)),
                    TOPICS,
                )
                for i in places
            ]
        )
        prior = np.exp(core.log_prob_of(Conditional("speeches", "topic"), TOPICS))
        shares = em.estimate_shares(posteriors, prior)
        self.expectations = {
            "passages": torch.from_numpy(places),
            "topics": torch.from_numpy(em.expected(posteriors, prior, shares)),
        }

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One passage a row."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        if not self.expectations or rng.random() < KNOWN_SHARE:
            values = self._known[int(rng.integers(len(self._known)))]
            topics = self._closed.one(values["topic"])
        else:
            place = int(rng.integers(len(self.expectations["passages"])))
            values = self._unknown[int(self.expectations["passages"][place])]
            topics = self.expectations["topics"][place].numpy()
        kind = rng.random()
        builder = RowBuilder()
        order = [str(label) for label in rng.permutation(LABELS)]
        known = [Binding(v, values[v]) for v in order[: int(rng.integers(len(LABELS) + 1))]]
        if kind < WRITTEN_SHARE:
            topic = TOPICS[int(rng.choice(len(TOPICS), p=topics / topics.sum()))]
            beside = known[: int(rng.random() >= ALONE_SHARE)]
            self._write(builder, values["text"], [Binding("topic", topic), *beside], rng)
        elif kind < WRITTEN_SHARE + TOLD_SHARE:
            self._read(builder, known, topics, rng)
        else:
            # The topic of a passage is nearly always plain from the passage alone.
            words = values["text"].split(" ")
            if rng.random() < SHORT_SHARE and len(words) > LEAST_WORDS:
                words = words[: int(rng.integers(LEAST_WORDS, len(words)))]
            text = Binding("text", " ".join(words))
            self._read(builder, [text, *(known if rng.random() < 0.3 else [])], topics, rng)
        return builder.build()

    def _read(
        self, builder: RowBuilder, known: list[Binding], topics: Floats, rng: np.random.Generator
    ) -> None:
        asked = builder.extend(self._wire.prompt(Conditional("speeches", "topic", tuple(known))))
        self._closed.ask(builder, asked, topics, rng, 3)

    def _write(
        self, builder: RowBuilder, text: str, known: list[Binding], rng: np.random.Generator
    ) -> None:
        given = tuple(known[i] for i in rng.permutation(len(known)))
        after = builder.extend(self._wire.prompt(Conditional("speeches", "text", given)))
        answer = self._wire.answer(text)
        builder.answer(answer, after, 2.0 / len(answer))
