"""Agents that are asked many questions at once, as measures and the comparison do."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from tqdm import tqdm

from persona.events import (
    Event,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolCall,
    ToolStarted,
    TurnFailed,
)

AT_ONCE = 16
"""Turns that are under way side by side: of so many the prompts are kept in memory."""


class Answering(Protocol):
    """An agent for one conversation."""

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """Its events."""
        ...


def side_by_side(turns: Sequence[Iterator[Event]], what: str | None = None) -> list[list[Event]]:
    """The events of turns that go on by turns, `AT_ONCE` of them under way.

    So an engine that draws several texts at once draws their replies together. Where one ends the
    next begins, and as many are under way until few are left. what: shown with the progress, none
    is shown without.
    """
    seen: list[list[Event]] = [[] for _ in turns]
    waiting = iter(enumerate(turns))
    under_way = dict(islice(waiting, AT_ONCE))
    with tqdm(total=len(turns), desc=what, disable=None if what else True) as progress:
        while under_way:
            for place, turn in list(under_way.items()):
                event = next(turn, None)
                if event is not None:
                    seen[place].append(event)
                    continue
                del under_way[place]
                under_way.update(islice(waiting, 1))
                progress.update()
    return seen


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to an agent, behind what was said before.

    judged: whether the turn goes on behind its first draft, to the filter and to what it puts in
    the draft's place.
    """

    agent: Answering
    question: str
    history: Sequence[Exchange] = ()
    judged: bool = False

    def turn(self) -> Iterator[Event]:
        """The events of the turn; without a verdict those up to the draft's end."""
        for event in self.agent.turn(self.history, self.question, threading.Event()):
            yield event
            if isinstance(event, NumbersChecked) and not self.judged:
                return


@dataclass(frozen=True, slots=True)
class Written:
    """A reply in an agent's own words as it is drawn, and nothing else of a turn."""

    pieces: Iterator[str]
    question: str = ""

    def turn(self) -> Iterator[Event]:
        """The reply's pieces as events."""
        return (ReplyDelta("", piece) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn: what was replied before the filter and after it, and what came with it.

    safe, blocked: of the draft; nan where it was not judged.
    """

    question: str
    draft: str
    reply: str
    calls: tuple[ToolCall, ...] = ()
    safe: float = math.nan
    blocked: float = math.nan
    events: tuple[Event, ...] = ()

    @property
    def exchange(self) -> Exchange:
        """As it is remembered in the next turn."""
        return Exchange(self.question, self.calls, self.reply)

    @property
    def answered(self) -> bool:
        """Whether the turn came to a reply of any words."""
        return bool(self.draft)


def said_by_each(asked: Iterable[Asked | Written], what: str | None = None) -> list[Said]:
    """What agents say in a turn, or write, each; a turn that fails has said nothing.

    what: as for `side_by_side`.
    """
    each = list(asked)
    seen = side_by_side([one.turn() for one in each], what)
    return [_folded(one.question, events) for one, events in zip(each, seen, strict=True)]


def _folded(question: str, events: Sequence[Event]) -> Said:
    draft, reply = "", None
    calls: list[ToolCall] = []
    verdict: SafetyVerdict | None = None
    for event in events:
        match event:
            case ReplyDelta(text=text) if verdict is None:
                draft += text
            case ToolStarted(name=name, arguments=arguments):
                calls.append(ToolCall(name, arguments))
            case SafetyVerdict():
                verdict = verdict or event
            case TurnFailed():
                return Said(question, "", "", events=tuple(events))
            case Reply(text=text):
                reply = text
    safe, blocked = (verdict.safe, float(verdict.blocked)) if verdict else (math.nan, math.nan)
    said = draft if reply is None else reply
    return Said(question, draft, said, tuple(calls), safe, blocked, tuple(events))
