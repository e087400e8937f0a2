"""The persona: an unknown author conditioned on goals, who acts by calls and then replies.

A turn, as a stream of events: choose the action (an exact distribution over replying and the
tools); decode the call piece by piece under its grammar; run the tool; write the reply given its
result, in which only the result's numbers can be written; check the numbers; judge the reply's
safety in its dialogue. A reply that is blocked is written again under harder conditions, and
refused when that is blocked too.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core_model.core import Core, Interruptible
from core_model.errors import CandorError, TextTooLong
from core_model.notation import Binding
from core_model.numerals import numbers_in
from persona import goals as goal_set
from persona import script
from persona.events import (
    ActionChosen,
    Confidence,
    Event,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnStarted,
)
from persona.grammar import REPLY, CallGrammar, chat_corpora, pieces_of
from persona.phrasings.calls import Call
from persona.turn import clean_question
from tools import safety
from tools.registry import TOOLS, Context, ToolResult, run

TEMPERATURE = 0.3
MAX_REPLY_TOKENS = 160
BLOCK_BELOW = 0.15
"""A reply is blocked where P(safe) is lower; set on training dialogues, see docs/decisions."""
REFUSAL = "I won't help with that."
HARDER = ("honest", "harmless")


class _Stopped(Exception):
    """The user stopped the turn."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The persona on a core; `seed` and a turn's place in its conversation decide all draws."""

    core: Core
    goals: tuple[str, ...] = goal_set.DEFAULT_GOALS
    seed: int = 0

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """The events of one turn; the last is Reply, or TurnFailed with one line."""
        turn_id = uuid.uuid4().hex
        seed = self.seed + len(history)
        yield TurnStarted(turn_id, question, seed)
        state = _Turn(self, turn_id, history, question, seed, cancel)
        try:
            yield from state.run()
        except _Stopped:
            yield Reply(turn_id, state.text, state.calls, state.verdict, stopped=True)
        except (CandorError, MemoryError) as error:
            yield TurnFailed.of(turn_id, error)


class _Turn:
    """One turn under way."""

    def __init__(
        self, agent: Agent, turn_id: str, history: Sequence[Exchange], question: str, seed: int,
        cancel: threading.Event,
    ) -> None:  # fmt: skip
        self.agent = agent
        self.id = turn_id
        self.history = history
        self.question = question
        self.seed = seed
        self.cancel = cancel
        self.rng = np.random.default_rng(seed)
        self.text = ""
        self.calls: tuple[ToolCall, ...] = ()
        self.verdict: SafetyVerdict | None = None

    def run(self) -> Iterator[Event]:
        question = clean_question(self.question)
        condition = goal_set.condition(self.agent.goals)
        history = list(self.history[-script.KEPT_TURNS :])
        while True:
            known = script.opening(condition, [_said(exchange) for exchange in history], question)
            texts = (*(exchange.question for exchange in history), question)
            grammar = CallGrammar(texts, chat_corpora(self.agent.core))
            try:
                pieces, probabilities = self._decode_call(known, grammar)
                break
            except TextTooLong:
                if not history:
                    raise
                history.pop(0)
        yield ActionChosen(self.id, pieces[0], probabilities)
        call = grammar.call(pieces)
        summary: str | None = None
        confidence: Confidence | None = None
        if call is not None:
            result, summary = yield from self._call(call)
            confidence = Confidence.of(self.id, result)
            known = known + script.called(pieces, summary)
        allowed = _numbers(summary, call)
        for delta in self._written(known, allowed, self.agent.goals):
            self.text += delta
            yield ReplyDelta(self.id, delta)
        yield self._checked(allowed)
        if confidence is not None:
            yield confidence
        yield from self._judge(question, known, allowed)
        yield Reply(self.id, self.text, self.calls, self.verdict)

    def _call(self, call: Call) -> Generator[Event, None, tuple[ToolResult | None, str]]:
        """Run a tool; returns its result and summary, or the error that stands for that."""
        arguments, tool = call.arguments(), TOOLS[call.tool]
        result, error, query = None, None, ""
        try:
            query = tool.query(arguments)
        except CandorError as failure:
            error = failure.message
        yield ToolStarted(self.id, "1", call.tool, arguments, query)
        self.calls = (ToolCall(call.tool, arguments),)
        if error is None:
            core = Interruptible(self.agent.core, self._check)
            try:
                result = run(call.tool, arguments, Context(core, self.seed))
            except CandorError as failure:
                error = failure.message
        yield ToolFinished(self.id, "1", result, error)
        return result, result.summary if result is not None else f"error: {error}"

    def _decode_call(
        self, known: tuple[Binding, ...], grammar: CallGrammar
    ) -> tuple[list[str], dict[str, float]]:
        """The most probable call, piece by piece, and the distribution over its first piece."""
        core, conditional = self.agent.core, script.call_of(known)
        pieces: list[str] = []
        probabilities: dict[str, float] = {}
        while True:
            self._check()
            options = grammar.options(pieces)
            scores = core.choose(conditional, pieces, options)
            if not pieces:
                p = np.exp(scores - scores.max())
                probabilities = {
                    str(o): float(q) for o, q in zip(options, p / p.sum(), strict=True)
                }
            best = options[int(scores.argmax())]
            if best is None:
                return pieces, probabilities
            pieces.append(best)
            if best == REPLY and len(pieces) == 1:
                return pieces, probabilities

    def _written(
        self, known: tuple[Binding, ...], allowed: Sequence[str], goals: Sequence[str]
    ) -> Iterator[str]:
        """Pieces of a reply given these goals."""
        conditional = script.reply_of((Binding("goals", goal_set.condition(goals)), *known[1:]))
        for delta in self.agent.core.write(
            conditional, self.rng, allowed, TEMPERATURE, MAX_REPLY_TOKENS
        ):
            self._check()
            yield delta

    def _checked(self, allowed: tuple[str, ...]) -> NumbersChecked:
        stray = tuple(n for n in numbers_in(self.text) if n not in allowed)
        return NumbersChecked(self.id, allowed, stray)

    def _judge(
        self, question: str, known: tuple[Binding, ...], allowed: tuple[str, ...]
    ) -> Iterator[Event]:
        """The verdict on the reply; a blocked one is rewritten once and then refused."""
        verdict = self._verdict(question, self.text)
        if verdict.blocked:
            self.text, self.verdict = "", verdict
            yield verdict
            draft = "".join(self._written(known, allowed, HARDER))
            second = self._verdict(question, draft)
            self.text = REFUSAL if second.blocked else draft
            yield self._checked(allowed)
            verdict = replace(second, blocked=True)
        self.verdict = verdict
        yield verdict

    def _verdict(self, question: str, reply: str) -> SafetyVerdict:
        self._check()
        prompt = script.shortened(question)
        safe, refusal, harmful = safety.verdicts(self.agent.core, prompt, reply)
        # A refusal that names the harm is no harm.
        blocked = safe < BLOCK_BELOW and refusal < 0.5
        return SafetyVerdict(self.id, safe, refusal, harmful, blocked)

    def _check(self) -> None:
        if self.cancel.is_set():
            raise _Stopped


def _numbers(summary: str | None, call: Call | None) -> tuple[str, ...]:
    """The numbers a reply may state: its result's, and those of what is asked and known."""
    if summary is None or call is None:
        return ()
    of_call = " ".join([call.event_value or "", *(binding.value for binding in call.given)])
    return tuple(dict.fromkeys([*numbers_in(summary), *numbers_in(of_call)]))


def _said(exchange: Exchange) -> script.Said:
    call = _call(exchange.tool_calls[0]) if exchange.tool_calls else None
    return script.Said(
        exchange.question, tuple(pieces_of(call)) if call is not None else (), exchange.reply
    )


def _call(stored: ToolCall) -> Call:
    """A stored call as what it was decoded from."""
    a: dict[str, Any] = stored.arguments
    event = a.get("event") or {}
    target = tuple(
        name for name in (a.get("variable"), a.get("left"), a.get("right"), *event) if name
    )
    return Call(
        tool=stored.name,
        corpus=a.get("corpus", "safety"),
        target=target,
        event_value=next(iter(event.values()), None),
        given=tuple(Binding(k, v) for k, v in (a.get("given") or {}).items()),
        text=a.get("text", a.get("reply")),
        n=a.get("n", a.get("top")),
    )
