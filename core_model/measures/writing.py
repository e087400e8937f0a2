"""The measure `writing`: texts written under a topic, also one that the text so far contradicts."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.base import Record
from core_model.errors import CandorError
from core_model.measures.result import MeasureRow, Options, mean_of, measured
from core_model.notation import Binding
from core_model.planning import Conditional

PASSAGES, QUICK_PASSAGES = 40, 6
WRITTEN = 40
"""Tokens drawn behind the first half of a passage."""


def writing(core: Core, options: Options) -> list[MeasureRow]:
    """What a topic does to the text written under it.

    Items: 40 held-out passages (`--quick`: 6) whose words settle their topic, each with one other
    topic that is as sure of another passage.

    - topic gain: mean of [log p(text | its topic) - log p(text)] / words, nats per word.
    - contradicted text: the same of the other topic, which has less of it, or a loss.
    - contradicting topic: behind the first half of the passage a continuation of 40 tokens is drawn
      under the other topic; mean p(other topic | continuation alone). Its guard is the mean
      p(the passage's own topic | that continuation), its baseline the first figure of a
      continuation drawn with no topic given.

    Intervals resample addresses.
    """
    passages = _passages(options)
    rng = options.rng(24)
    gain, loss, followed, kept, anyway = [], [], [], [], []
    for record, other in tqdm(passages, desc="writing", unit="passage", disable=None):
        text, topic = record.values["text"], record.values["topic"]
        words = text.split()
        plain, own, wrong = (
            float(core.log_prob_of(_text(*given), [text])[0]) / len(words)
            for given in ((), (topic,), (other,))
        )
        gain.append(own - plain)
        loss.append(wrong - plain)
        opening = " ".join(words[: len(words) // 2])
        under, free = (
            "".join(core.write(_text(*given), rng, None, max_tokens=WRITTEN, opening=opening))
            for given in ((other,), ())
        )
        followed.append(_share(core, under, other))
        kept.append(_share(core, under, topic))
        anyway.append(_share(core, free, other))
    groups = [(r.values["author"], r.values["year"]) for r, _ in passages]

    own_share, free_share = float(np.mean(kept)), float(np.mean(anyway))
    return [
        measured("topic gain", "nats/word", mean_of(np.array(gain)), groups, options),
        measured("contradicted text", "nats/word", mean_of(np.array(loss)), groups, options),
        measured(
            "contradicting topic", "share", mean_of(np.array(followed)), groups, options,
            {"the text's own": own_share}, {"no topic given": free_share},
        ),
    ]  # fmt: skip


def _passages(options: Options) -> list[tuple[Record, str]]:
    """Held-out passages whose topic is known, each with another topic."""
    held_out = [r for r in corpora.load("speeches").records("held_out") if "topic" in r.values]
    if len({record.values["topic"] for record in held_out}) < 2:
        raise CandorError("'speeches' has no held-out passages of several topics to measure on.")
    rng = options.rng(14)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, replace=False))]
    topics = [record.values["topic"] for record in held_out]
    return [
        (record, str(rng.choice([t for t in topics if t != record.values["topic"]])))
        for record in chosen
    ]


def _text(*topic: str) -> Conditional:
    return Conditional("speeches", "text", tuple(Binding("topic", value) for value in topic))


def _share(core: Core, text: str, topic: str) -> float:
    """p(topic | text); an even share where nothing was written."""
    if not text.strip():
        return 1 / len(corpora.schema("speeches").variable("topic").values)
    about = Conditional("speeches", "topic", (Binding("text", text.strip()),))
    return float(np.exp(core.log_prob_of(about, [topic])[0]))
