"""Training rows of dialogues: which call a question leads to, and what is replied.

One dialogue is one row: its turns share what was said before, and each asks for its call and its
reply as branches. `general` are replies of the base model to general prompts, so that small talk
is not forgotten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.wire import Wire
from persona import goals, script
from persona.dialogues import Dialogue, Turn, compose, corpus_values
from persona.grammar import CORPORA, marker, pieces_of
from persona.replay import read_general

CALL_WEIGHT = 0.5
REPLY_WEIGHT = 0.15
REPLY_SHARE = 0.5
"""Share of tool turns whose reply is asked too: calls need variety, replies much less."""


class DialogueTask:
    """Composed dialogues of the training wordings, mixed with replayed general chat."""

    corpora: tuple[str, ...] = tuple(map(marker, CORPORA))

    def __init__(self, wire: Wire, general: str | None = None, general_share: float = 0.12) -> None:
        self._wire = wire
        self._values = corpus_values("train")
        self._general: list[tuple[str, str]] = []
        self._general_share = general_share if general is not None else 0.0
        if general is not None:
            self._general = read_general(Path(general))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """`count` dialogues, each a row."""
        return [self._row(self._draw(rng), rng) for _ in range(count)]

    def _draw(self, rng: np.random.Generator) -> Dialogue:
        if rng.random() < self._general_share:
            prompt, reply = self._general[rng.integers(len(self._general))]
            chosen = goals.DEFAULT_GOALS
            return Dialogue(chosen, (Turn(prompt, None, None, reply, chosen, "general"),))
        return compose(rng, "train", self._values)

    def _row(self, dialogue: Dialogue, rng: np.random.Generator) -> PackedRow:
        wire, builder = self._wire, RowBuilder()
        after = builder.extend(
            wire.segment("corpus", script.CORPUS)
            + wire.binding("goals", goals.condition(dialogue.goals))
        )
        for turn in dialogue.turns:
            pieces = pieces_of(turn.call)
            after = builder.extend(wire.binding("user", turn.question), after)
            asked = builder.extend(wire.query("call"), after)
            builder.answer(wire.pieces(pieces), asked, CALL_WEIGHT)
            known = after
            if turn.call is not None:
                after = known = builder.extend(wire.binding("call", " ".join(pieces)), after)
                assert turn.summary is not None
                if rng.random() < REPLY_SHARE:
                    known = builder.extend(wire.binding("result", turn.summary), after)
                    self._reply(builder, known, turn.reply)
            else:
                self._reply(builder, known, turn.reply)
            if turn is not dialogue.turns[-1]:
                after = builder.extend(wire.binding("assistant", turn.reply), after)
        return builder.build()

    def _reply(self, builder: RowBuilder, known: int, reply: str) -> None:
        asked = builder.extend(self._wire.query("reply"), known)
        builder.answer(self._wire.answer(reply), asked, REPLY_WEIGHT)
