"""The instruct base as an agent, told as the same stream of events as the persona.

It is the model that Candor's own weights started from, as it ships: supervised and
then tuned on preferences, without tools. Its numbers come from no tool, which is said as it would
be of the persona's, and Candor's safety query judges its replies without withholding any.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core_model.config import Settings
from core_model.core import Core
from core_model.errors import CandorError
from core_model.measures.in_words import InWordsWire, base_in_words
from core_model.numerals import numbers_in
from core_model.prefix_tree import PrefixTree
from core_model.stopping import Stopped, stoppable, stopped_by
from core_model.torch_core import TorchCore
from persona import script
from persona.agent import REFUSAL
from persona.events import (
    Event,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    TurnFailed,
    TurnStarted,
)
from persona.turn import clean_question
from tools import safety

TEMPERATURE = 0.2
"""What the base's own card recommends."""
MAX_REPLY_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Base:
    """The instruct base in its own chat format."""

    core: TorchCore
    wire: InWordsWire

    @classmethod
    def load(cls, settings: Settings) -> Base:
        """Raises WeightsError."""
        return cls(*base_in_words(settings))

    def replies(
        self, question: str, n: int, rng: np.random.Generator,
        before: Sequence[tuple[str, str]] = (),
    ) -> list[str]:  # fmt: skip
        """n independent replies to a question behind other turns, at temperature 1."""
        rows = self.core.draw(self.wire.chat(question, before), n, rng)
        return [self.wire.tokenizer.decode_value(row) for row in rows]

    def surprise(self, question: str, reply: str, before: Sequence[tuple[str, str]] = ()) -> float:
        """-log p(reply | question, the turns before it), nats per token."""
        tokens = self.wire.answer(reply)
        scored = self.core.score(self.wire.chat(question, before), PrefixTree.build([tokens]))
        return -float(scored[0]) / len(tokens)

    def written(
        self, before: Sequence[tuple[str, str]], question: str, rng: np.random.Generator,
        temperature: float = TEMPERATURE, limit: int = MAX_REPLY_TOKENS,
    ) -> Generator[str]:  # fmt: skip
        """The pieces of one reply in a conversation as they are drawn, at most `limit` tokens."""
        prompt = self.wire.chat(question, before)
        tokens: list[int] = []
        shown = ""
        with contextlib.closing(self.core.stream(prompt, rng, temperature, None)) as stream:
            for token in stream:
                tokens.append(token)
                text = self.wire.tokenizer.decode_value(tokens)
                # A character may take several tokens; it is shown once it is whole.
                if not text.endswith("\ufffd"):
                    yield text[len(shown) :]
                    shown = text
                if len(tokens) == limit:
                    return


@dataclass(frozen=True, slots=True)
class BaseAgent:
    """The base as an agent; `judge` is the core whose safety query judges its replies.

    filtered: whether a reply that the filter blocks is refused, or stands as it is.
    """

    base: Base
    judge: Core
    seed: int = 0
    temperature: float = TEMPERATURE
    filtered: bool = False

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """The events of one turn; the last is Reply, or TurnFailed with one line."""
        turn_id = uuid.uuid4().hex
        seed = self.seed + len(history)
        yield TurnStarted(turn_id, question, seed)
        reply = ""
        try:
            asked = script.shortened(clean_question(question))
            before = [
                (script.shortened(said.question), script.shortened(said.reply))
                for said in history[-script.KEPT_TURNS :]
            ]
            rng = np.random.default_rng(seed)
            written = self.base.written(before, asked, rng, self.temperature)
            for piece in stoppable(written, cancel):
                reply += piece
                yield ReplyDelta(turn_id, piece)
            allowed = tuple(dict.fromkeys(numbers_in(asked)))
            stray = dict.fromkeys(n for n in numbers_in(reply) if n not in allowed)
            yield NumbersChecked(turn_id, allowed, tuple(stray))
            with stopped_by(cancel):
                safe, refusal, harmful = safety.verdicts(self.judge, asked, reply)
                blocked = self.filtered and safety.blocks(self.judge, asked, reply, safe, refusal)
            withheld = safe if blocked else None
            verdict = SafetyVerdict(turn_id, safe, refusal, harmful, blocked, withheld)
            yield verdict
            yield Reply(turn_id, REFUSAL if blocked else reply, (), verdict)
        except Stopped:
            yield Reply(turn_id, reply, (), None, stopped=True)
        except (CandorError, MemoryError) as error:
            yield TurnFailed.of(turn_id, error)
