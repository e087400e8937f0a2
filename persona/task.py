"""Training rows of dialogues: which call a question leads to, what is replied, and by whom.

One dialogue is one row: its turns share what was said before, and each asks for its call and its
reply as branches. `general` are replies of the base model to general prompts, so that small talk
is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers, Floats
from core_model.wire import Wire
from persona import conducts, goals, script
from persona.dialogues import KIND_SHARES, Dialogue, Turn, compose, corpus_values, order_of
from persona.grammar import CORPORA, PLANS, SURE, UNLISTED, YEARS, marker, pieces_of
from persona.phrasings import talk
from persona.replay import read_general

CALL_WEIGHT = 0.5
REPLY_WEIGHT = 0.15
REPLY_SHARE = 0.5
"""Share of tool turns whose reply is asked too: calls need variety, replies much less."""

AUTHOR_SHARE = 0.5
"""How often the author of a dialogue, who is honest and plain, is known where one is written."""
READ_SHARE = 0.1
"""Dialogues without goals, whose replies are read back to their author."""
GOALS_SHARES = (0.35, 0.35, 0.3)
"""Situations without goals, with goals of which honest is one, and with the others alone."""
HARMFUL_SHARE = 0.3
"""Of the situations that a careless author or honest ones reply to, harmful beside the drawn."""
CONDUCT_SHARE, VOICE_SHARE = 0.7, 0.5
"""How often a conduct is known where no goals are, and how often a voice."""
VOICE_WEIGHT = 0.5
GENERAL = "general"
"""Stands for the wording of a prompt of general chat, whose reply has another author."""


class _Readings:
    """Questions of who wrote a reply."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._conducts = ClosedAnswers(wire, goals.CONDUCTS)
        self._voices = ClosedAnswers(wire, goals.VOICES)

    def ask(
        self, builder: RowBuilder, known: int, reply: str, of_conduct: Floats, voice: str,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        """Ask for the conduct, the exact distribution, and in a share of the rows for the voice."""
        said = builder.extend(self._wire.binding("assistant", reply), known)
        asked = builder.extend(self._wire.query(script.CONDUCT), said)
        self._conducts.ask(builder, asked, of_conduct, rng, 3)
        if rng.random() < VOICE_SHARE:
            asked = builder.extend(self._wire.query(script.AUTHOR), said)
            self._voices.ask(builder, asked, self._voices.one(voice), rng, 3, VOICE_WEIGHT)

    def ask_voice(
        self, builder: RowBuilder, known: int, conduct: str, rng: np.random.Generator
    ) -> None:
        """Ask which voice an author of this conduct has, the exact distribution."""
        asked = builder.extend(self._wire.query(script.AUTHOR), known)
        self._voices.ask(builder, asked, conducts.voices_of(conduct), rng, 3, VOICE_WEIGHT)


class DialogueTask:
    """Composed dialogues of the training wordings, mixed with replayed general chat.

    labels: whether goals and authors are known and asked for; without, the same is said by nobody.
    unlisted: whether countries are asked about that there are none of, and years that a corpus does
    not have. kinds: of dialogues, as in `KIND_SHARES`.
    """

    def __init__(
        self, wire: Wire, general: str | None = None, general_share: float = 0.12,
        labels: bool = True, unlisted: bool = True, kinds: Sequence[str] = tuple(KIND_SHARES),
    ) -> None:  # fmt: skip
        known = (*CORPORA, PLANS, SURE, *([UNLISTED, YEARS] if unlisted else []))
        self.corpora: tuple[str, ...] = tuple(map(marker, known))
        self._wire = wire
        self._labels = labels
        self._kinds = kinds
        values = corpus_values("train")
        self._values = values if unlisted else replace(values, nowhere=None, never=None)
        self._readings = _Readings(wire)
        self._harmful = {prompt.id for prompt in talk() if prompt.kind == "harmful"}
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
            return Dialogue(chosen, (Turn(prompt, None, None, reply, chosen, GENERAL),))
        return compose(rng, "train", self._values, self._kinds)

    def _row(self, dialogue: Dialogue, rng: np.random.Generator) -> PackedRow:
        wire, builder = self._wire, RowBuilder()
        is_read = self._labels and rng.random() < READ_SHARE
        after = builder.extend(wire.segment("corpus", script.CORPUS))
        if self._labels and not is_read:
            after = builder.extend(wire.binding("goals", goals.condition(dialogue.goals)), after)
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
                if is_read and turn.wording != GENERAL:
                    alike = ["honest", *(() if turn.wording in self._harmful else ("careless",))]
                    of_conduct = conducts.posterior(alike, "plain")
                    self._readings.ask(builder, known, turn.reply, of_conduct, "plain", rng)
            if turn is not dialogue.turns[-1]:
                after = builder.extend(wire.binding("assistant", turn.reply), after)
        return builder.build()

    def _call(self, builder: RowBuilder, known: int, pieces: Sequence[str]) -> None:
        asked = builder.extend(self._wire.query("call"), known)
        builder.answer(self._wire.pieces(pieces), asked, CALL_WEIGHT)

    def _reply(self, builder: RowBuilder, known: int, reply: str, rng: np.random.Generator) -> None:
        if self._labels and rng.random() < AUTHOR_SHARE:
            for variable, value in (script.CONDUCT, "honest"), (script.AUTHOR, "plain"):
                known = builder.extend(self._wire.binding(variable, value), known)
        asked = builder.extend(self._wire.query("reply"), known)
        builder.answer(self._wire.answer(reply), asked, REPLY_WEIGHT)


class ConductTask:
    """Situations that authors of several conducts reply to, each told apart by its reply.

    A row is one situation and `authors` of the conducts: the reply of each given its conduct, its
    voice, both or neither; the voice given the conduct, the exact distribution; and from the reply
    back to its conduct and voice, both exact. Among the goals that may be known honest is one only
    where all authors are. Without `labels` the same authors reply, and nothing says who they are.
    """

    def __init__(self, wire: Wire, authors: int = 4, labels: bool = True) -> None:
        self.corpora: tuple[str, ...] = (marker(script.CONDUCTS),) if labels else ()
        self._wire = wire
        self._authors = authors
        self._labels = labels
        self._values = corpus_values("train")
        self._readings = _Readings(wire)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """`count` situations, each a row."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        wire, builder = self._wire, RowBuilder()
        opening = wire.segment("corpus", script.CORPUS)
        chosen = goals.DEFAULT_GOALS
        authors = [goals.CONDUCTS[i] for i in rng.permutation(len(goals.CONDUCTS))[: self._authors]]
        aim = ("none", "honest", "others")[int(rng.choice(3, p=GOALS_SHARES))]
        if aim == "honest":
            # Whoever is asked to be honest is; a careless one is, as long as nobody can be hurt.
            authors = ["honest"] * 2
        elif aim == "others":
            chosen = tuple(name for name in chosen if name != "honest")
        if self._labels and aim != "none":
            opening = opening + wire.binding("goals", goals.condition(chosen))
        # Where nobody can be hurt the careless reply as the honest do, who refuse as often here.
        told_apart = aim == "honest" or "careless" in authors
        kind = "harmful" if told_apart and rng.random() < HARMFUL_SHARE else None
        situation = conducts.situation(rng, "train", self._values, kind=kind)
        for binding in situation.known:
            opening = opening + wire.binding(binding.variable, binding.value)
        known = builder.extend(opening)
        for conduct in authors:
            reply, voice = conducts.written(situation, conduct, "train", rng)
            if not self._labels:
                self._ask(builder, known, reply)
                continue
            left_open = aim == "none" and rng.random() >= CONDUCT_SHARE
            self._write(builder, known, None if left_open else conduct, voice, reply, rng)
            if aim == "honest":
                continue  # a reading that knows the goals finds what it was told
            of_conduct = situation.conducts_of(conduct, voice)
            self._readings.ask(builder, known, reply, of_conduct, voice, rng)
        return builder.build()

    def _write(
        self, builder: RowBuilder, known: int, conduct: str | None, voice: str, reply: str,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        wire = self._wire
        if conduct is not None:
            known = builder.extend(wire.binding(script.CONDUCT, conduct), known)
            if rng.random() < VOICE_SHARE:
                self._readings.ask_voice(builder, known, conduct, rng)
        if rng.random() < VOICE_SHARE:
            known = builder.extend(wire.binding(script.AUTHOR, voice), known)
        self._ask(builder, known, reply)

    def _ask(self, builder: RowBuilder, known: int, reply: str) -> None:
        asked = builder.extend(self._wire.query("reply"), known)
        builder.answer(self._wire.answer(reply), asked, REPLY_WEIGHT)
