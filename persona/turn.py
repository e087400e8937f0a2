"""One turn of a conversation as a value: the fold of its events, which is what a chat keeps.

`Turn.after(event)` gives the turn as it stands after an event, so a screen that shows a running
turn and one that shows a stored turn read the same fields. `clean_question` is the only gate
between what a user types and a turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from core_model.errors import CandorError
from persona.events import (
    AuthorRead,
    Confidence,
    DraftsWeighed,
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
from tools.registry import ToolResult

QUESTION_LIMIT = 20_000
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SURROGATES = re.compile("[\ud800-\udfff]")

State = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; while it runs it has neither a result nor an error."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    query: str
    result: ToolResult | None = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not come to an end."""
        return self.result is None and self.error is None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and all that answered it; `id` is that of the stored question.

    rival: the same question's turn of another agent, whose name is its `agent`; the persona's own
    has none.
    """

    id: str
    question: str
    goals: tuple[str, ...] = ()
    seed: int = 0
    calls: tuple[Call, ...] = ()
    reply: str = ""
    verdict: SafetyVerdict | None = None
    stray: tuple[str, ...] = ()
    failure: str | None = None
    state: State = "waiting"
    reply_id: str | None = None
    agent: str = ""
    rival: Turn | None = None
    read: AuthorRead | None = None
    weighed: DraftsWeighed | None = None

    @property
    def confidence(self) -> Confidence | None:
        """How sure the one fact is that the reply rests on, if it rests on one."""
        if not self.reply or (self.verdict is not None and self.verdict.blocked):
            return None
        return Confidence.of_one(self.id, (call.result for call in self.calls))

    @property
    def over(self) -> bool:
        """Whether nothing more will happen in this turn."""
        return self.state in ("done", "stopped", "failed")

    def after(self, event: Event) -> Turn:
        """The turn once the event has happened."""
        match event:
            case TurnStarted():
                return replace(self, state="running")
            case ToolStarted():
                call = Call(event.call_id, event.name, event.arguments, event.query)
                return replace(self, calls=(*self.calls, call), state="running")
            case ToolFinished():
                calls = tuple(
                    replace(call, result=event.result, error=event.error)
                    if call.call_id == event.call_id
                    else call
                    for call in self.calls
                )
                return replace(self, calls=calls)
            case ReplyDelta():
                return replace(self, reply=self.reply + event.text, state="running")
            case NumbersChecked():
                return replace(self, stray=event.stray)
            case AuthorRead():
                return replace(self, read=event)
            case DraftsWeighed():
                return replace(self, weighed=event)
            case SafetyVerdict():
                # What is blocked is withdrawn; the reply that stands in its place follows.
                if event.blocked:
                    return replace(self, verdict=event, reply="", weighed=None)
                return replace(self, verdict=event)
            case Reply():
                state: State = "stopped" if event.stopped else "done"
                verdict = event.safety or self.verdict
                return replace(self, reply=event.text, verdict=verdict, state=state)
            case TurnFailed():
                return replace(self._cut_short(), failure=event.message, state="failed")
        return self

    def updated(self, turn: Turn) -> Turn:
        """This turn with one of its two sides as it stands now: its own, or its rival's."""
        if turn.agent:
            return replace(self, rival=turn)
        return replace(turn, rival=self.rival)

    def stop(self) -> Turn:
        """The turn cut short by its user: what was written stays."""
        return self if self.over else replace(self._cut_short(), state="stopped")

    def _cut_short(self) -> Turn:
        """The turn without a call that would seem to run for ever."""
        calls = tuple(
            replace(call, error="Stopped before it was done.") if call.is_running else call
            for call in self.calls
        )
        return replace(self, calls=calls)

    def exchange(self) -> Exchange | None:
        """The turn as the persona sees it later, or None where there was no reply."""
        if not self.over or not self.reply:
            return None
        finished = [call for call in self.calls if not call.is_running]
        return Exchange(
            question=self.question,
            tool_calls=tuple(ToolCall(call.name, call.arguments) for call in finished),
            reply=self.reply,
        )


def exchanges(turns: Iterable[Turn]) -> tuple[Exchange, ...]:
    """The finished turns as the persona's history."""
    return tuple(found for turn in turns if (found := turn.exchange()) is not None)


def readable(text: str) -> str:
    """Text a database and a terminal both take: lone surrogates become U+FFFD."""
    return SURROGATES.sub("\ufffd", text)


def clean_question(text: str) -> str:
    """A typed question without control characters; raises CandorError when empty or too long.

    Newlines and tabs stay. At most `QUESTION_LIMIT` characters, counted after cleaning.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    cleaned = CONTROLS.sub("", readable(unified)).strip()
    if not cleaned:
        raise CandorError("The question is empty. Type one and press Enter.")
    if len(cleaned) > QUESTION_LIMIT:
        raise CandorError(
            f"The question has {len(cleaned):,} characters; at most {QUESTION_LIMIT:,} are read. "
            "Shorten it, or give a long text to 'candor query --data -'."
        )
    return cleaned
