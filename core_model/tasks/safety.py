"""Training rows about safety: the verdicts on a reply, seen in its dialogue.

A row packs a prompt and a reply with a branch for each verdict that is known. Most of the rows are
replies that people scored, the others ordinary dialogue, so that plain chat, statistics and polite
refusals are safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core_model import corpora
from core_model.corpora.base import Record, refuse_held_out
from core_model.corpora.safety import NO, UNSAFE_FROM, YES, Safety
from core_model.errors import StorageError
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.teacher import out_of_fold
from core_model.wire import Wire

SENTENCE = re.compile(r"[.!?:]\s+|\n+")
VERDICTS = ("safe", "refusal", "harmful")
PROMPT_TOKENS, REPLY_TOKENS = 80, 100
WHOLE_TOKENS = 320
"""What is kept of a reply, and in `WHOLE_SHARE` of the rows: replies are judged whole."""
WHOLE_SHARE = 0.4
LATER_SHARE = 0.3
"""Rows in which a reply begins at a later sentence: few replies are scored, and their first words
would be learnt by heart."""
BENIGN_SHARE = 0.4
REPLY_ALONE_SHARE = 0.1
"""Rows without the prompt; what it asks for can't be judged then."""
PROMPT_ALONE_SHARE = 0.3
"""Rows that ask whether the prompt is harmful before the reply stands there, too."""

STEEPNESS, LEANING = 9.0, 0.5
"""Of the target of `safe` in the mean score: 0.98, 0.85, 0.38, 0.06 and 0.01 at its quarters."""


class SafetyTask:
    """Rows of scored replies, mixed with those of the file `benign` where there is one.

    benign: JSON lines {"prompt", "reply", "safe", "refusal", "harmful"}, made by `persona.replay`;
    the labels are "yes", "no" or null where unknown, and nearly every reply in it is safe.
    teacher_share: of the target of `safe` that a classical teacher's belief has.
    Raises StorageError when that file or the scored replies can't be read.
    """

    corpora: tuple[str, ...] = ("safety",)

    def __init__(self, wire: Wire, benign: str | None = None, teacher_share: float = 0.0) -> None:
        corpus = corpora.load("safety")
        assert isinstance(corpus, Safety)
        self._wire = wire
        self._scored = [
            record
            for record in refuse_held_out(corpus, corpus.records("train"))
            if any(verdict in record.values for verdict in VERDICTS)
        ]
        # Ordinary dialogue may happen to say what a held-out record says: that is left out.
        self._benign = [
            record
            for record in (read_benign(Path(benign)) if benign else [])
            if not corpus.is_held_out(record.values)
        ]
        self._answers = ClosedAnswers(wire, (YES, NO))
        self._safe = _safe_targets(corpus, self._scored, teacher_share)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Random rows, `BENIGN_SHARE` of them ordinary dialogue."""
        made = []
        for _ in range(count):
            ordinary = self._benign and rng.random() < BENIGN_SHARE
            records = self._benign if ordinary else self._scored
            made.append(self._row(records[int(rng.integers(len(records)))], rng))
        return made

    def _row(self, record: Record, rng: np.random.Generator) -> PackedRow:
        builder = RowBuilder()
        after = builder.extend(self._wire.segment("corpus", "safety"))
        asked = [verdict for verdict in VERDICTS if verdict in record.values]
        without = [verdict for verdict in asked if verdict != "harmful"]
        if without and rng.random() < REPLY_ALONE_SHARE:
            asked = without
        else:
            after = builder.extend(
                self._cut("prompt", record.values["prompt"], PROMPT_TOKENS), after
            )
            if "harmful" in asked and rng.random() < PROMPT_ALONE_SHARE:
                self._ask(builder, after, record, "harmful", rng)
        kept = WHOLE_TOKENS if rng.random() < WHOLE_SHARE else REPLY_TOKENS
        reply = record.values["reply"]
        if "safe" in asked and rng.random() < LATER_SHARE:
            reply = later(reply, rng)
            if reply != record.values["reply"]:  # most refuse in their first sentence, if at all
                asked = [verdict for verdict in asked if verdict != "refusal"]
        after = builder.extend(self._cut("reply", reply, kept), after)
        for verdict in asked:
            self._ask(builder, after, record, verdict, rng)
        return builder.build()

    def _cut(self, variable: str, value: str, most: int) -> Sequence[int]:
        """A binding whose value is cut to `most` tokens."""
        head = len(self._wire.binding(variable, ""))
        return self._wire.binding(variable, value)[: head + most]

    def _ask(
        self, builder: RowBuilder, after: int, record: Record, verdict: str,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        asked = builder.extend(self._wire.query(verdict), after)
        target = self._answers.one(record.values[verdict])
        safe = self._safe.get((record.values["prompt"], record.values["reply"]))
        if verdict == "safe" and safe is not None:
            target = np.array([safe, 1 - safe])
        self._answers.ask(builder, asked, target, rng, count=1)


def _safe_targets(
    corpus: Safety, records: Sequence[Record], teacher_share: float
) -> dict[tuple[str, str], float]:
    """P(safe) that is taught of each scored reply, by prompt and reply."""
    scored = [record for record in records if "safe" in record.values]
    harms = [corpus.harm_of(record.values) for record in scored]
    own = np.array([graded(harm) for harm in harms if harm is not None])
    if teacher_share and scored:
        texts = [f"{r.values['prompt']}\n{r.values['reply']}" for r in scored]
        groups = [corpus.group_of(r.values) for r in scored]
        labels = [r.values["safe"] for r in scored]
        taught = out_of_fold(texts, labels, groups, (YES, NO))[:, 0]
        own = (1 - teacher_share) * own + teacher_share * taught
    pairs = [(record.values["prompt"], record.values["reply"]) for record in scored]
    return dict(zip(pairs, own.tolist(), strict=True))


def graded(harm: float) -> float:
    """P(safe) that a reply with this mean score is taught with.

    Surer the farther from the score that divides safe from unsafe, at which it is unsafe: replies
    that people scored alike are taught alike, and few are to be learnt by heart.
    """
    return float(1 / (1 + np.exp(STEEPNESS * (harm - UNSAFE_FROM) + LEANING)))


def later(text: str, rng: np.random.Generator) -> str:
    """A text from one of the sentences of its first half on."""
    begins = [match.end() for match in SENTENCE.finditer(text) if match.end() < len(text) / 2]
    places = [0, *begins]
    return text[places[int(rng.integers(len(places)))] :]


def read_benign(path: Path) -> list[Record]:
    """The records of a file of ordinary dialogue; raises StorageError naming a damaged line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} can't be read: {error}.") from error
    return [_benign(path, number, line) for number, line in enumerate(lines, 1)]


def _benign(path: Path, number: int, line: str) -> Record:
    try:
        content = json.loads(line)
        values = {"prompt": str(content["prompt"]), "reply": str(content["reply"])}
        for verdict in VERDICTS:
            if content[verdict] in (YES, NO):
                values[verdict] = content[verdict]
            elif content[verdict] is not None:
                raise ValueError(f"{verdict} is {content[verdict]!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path}, line {number}, is not as `python -m persona.replay safety` writes it "
            f"({error}). Make the file again."
        ) from error
    return Record("safety", values)
