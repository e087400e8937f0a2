"""Training rows of dialogues: which call a question leads to, what is replied, and by whom.

One dialogue is one row: its turns share what was said before, and each asks for its call and its
reply as branches. `general` are replies of the base model to general prompts, so that small talk
is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire
from persona import conducts, goals, script
from persona.dialogues import Dialogue, Turn, compose, corpus_values, order_of
from persona.grammar import CORPORA, PLANS, marker, pieces_of
from persona.replay import read_general

CALL_WEIGHT = 0.5
REPLY_WEIGHT = 0.15
REPLY_SHARE = 0.5
"""Share of tool turns whose reply is asked too: calls need variety, replies much less."""

AUTHOR_SHARE = 0.5
"""How often the author of a dialogue, who is honest and plain, is known where one is written."""
GOALS_SHARE, CONDUCT_SHARE, VOICE_SHARE = 0.5, 0.85, 0.5
"""How often goals, an author's conduct and an author's voice are known where a reply is written."""
VOICE_WEIGHT = 0.5


class DialogueTask:
    """Composed dialogues of the training wordings, mixed with replayed general chat."""

    corpora: tuple[str, ...] = tuple(map(marker, (*CORPORA, PLANS)))

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
            known = after = builder.extend(wire.binding("user", turn.question), after)
            for place, step in enumerate(turn.steps):
                pieces = pieces_of(step.call)
                self._call(builder, known, pieces)
                called = wire.binding("call", " ".join(pieces))
                known = builder.extend(called, known)
                after = builder.extend(called, after) if place else known
                if turn.before or rng.random() < REPLY_SHARE:
                    known = builder.extend(wire.binding("result", step.summary), known)
            if known != after or not turn.steps:
                self._call(builder, known, pieces_of(None))
                ordered = order_of(turn.steps)
                if ordered is not None:
                    known = builder.extend(wire.binding("order", ordered), known)
                self._reply(builder, known, turn.reply, rng)
            if turn is not dialogue.turns[-1]:
                after = builder.extend(wire.binding("assistant", turn.reply), after)
        return builder.build()

    def _call(self, builder: RowBuilder, known: int, pieces: Sequence[str]) -> None:
        asked = builder.extend(self._wire.query("call"), known)
        builder.answer(self._wire.pieces(pieces), asked, CALL_WEIGHT)

    def _reply(self, builder: RowBuilder, known: int, reply: str, rng: np.random.Generator) -> None:
        if rng.random() < AUTHOR_SHARE:
            for variable, value in (script.CONDUCT, "honest"), (script.AUTHOR, "plain"):
                known = builder.extend(self._wire.binding(variable, value), known)
        asked = builder.extend(self._wire.query("reply"), known)
        builder.answer(self._wire.answer(reply), asked, REPLY_WEIGHT)


class ConductTask:
    """Situations that authors of several conducts reply to, each told apart by its reply.

    A row is one situation and `authors` of the conducts: the reply of each given its conduct, its
    voice, both or neither; the voice given the conduct, the exact distribution; and from the reply
    back to its conduct and voice. Conducts that reply alike share the target evenly.
    """

    corpora: tuple[str, ...] = (marker(script.CONDUCTS),)

    def __init__(self, wire: Wire, authors: int = 4) -> None:
        self._wire = wire
        self._authors = authors
        self._values = corpus_values("train")
        self._conducts = ClosedAnswers(wire, goals.CONDUCTS)
        self._voices = ClosedAnswers(wire, goals.VOICES)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """`count` situations, each a row."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        wire, builder = self._wire, RowBuilder()
        opening = wire.segment("corpus", script.CORPUS)
        if rng.random() < GOALS_SHARE:
            opening = opening + wire.binding("goals", goals.condition(goals.DEFAULT_GOALS))
        situation = conducts.situation(rng, "train", self._values)
        for binding in situation.known:
            opening = opening + wire.binding(binding.variable, binding.value)
        known = builder.extend(opening)
        for index in rng.permutation(len(goals.CONDUCTS))[: self._authors]:
            conduct = goals.CONDUCTS[index]
            of_voice = conducts.voices_of(conduct)
            voice = goals.VOICES[int(rng.choice(len(of_voice), p=of_voice))]
            replies = situation.replies(conduct, "train")
            reply = conducts.spoken(replies[rng.integers(len(replies))], voice, rng)
            self._write(builder, known, conduct, voice, reply, rng)
            said = builder.extend(wire.binding("assistant", reply), known)
            alike = situation.conducts_of(conduct)
            asked = builder.extend(wire.query(script.CONDUCT), said)
            self._conducts.ask(builder, asked, alike, rng, 3)
            if rng.random() < VOICE_SHARE:
                asked = builder.extend(wire.query(script.AUTHOR), said)
                self._voices.ask(builder, asked, self._voices.one(voice), rng, 3, VOICE_WEIGHT)
        return builder.build()

    def _write(
        self, builder: RowBuilder, known: int, conduct: str, voice: str, reply: str,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        wire = self._wire
        if rng.random() < CONDUCT_SHARE:
            known = builder.extend(wire.binding(script.CONDUCT, conduct), known)
            if rng.random() < VOICE_SHARE:
                asked = builder.extend(wire.query(script.AUTHOR), known)
                of_voice = conducts.voices_of(conduct)
                self._voices.ask(builder, asked, of_voice, rng, 3, VOICE_WEIGHT)
        if rng.random() < VOICE_SHARE:
            known = builder.extend(wire.binding(script.AUTHOR, voice), known)
        asked = builder.extend(wire.query("reply"), known)
        builder.answer(wire.answer(reply), asked, REPLY_WEIGHT)
