"""Agents for tests: a recorded turn, one that waits to be let on, one that fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from textual.pilot import Pilot

from core_model.errors import CandorError
from persona.events import (
    Event,
    Exchange,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    TurnStarted,
)
from tests.recorded import names_turn
from tui.session import AgentFactory, Progress

SECONDS = 6.0
"""Of processor time, so that a busy machine fails no test; the wall clock gets far more."""
WALL_SECONDS = 600.0


# Textual gives a screen 30 seconds to settle, which a busy machine may need more of.
Pilot._wait_for_screen.__defaults__ = (WALL_SECONDS,)


@dataclass
class FakeAgent:
    """Replays events made from the question; records what it was asked.

    `gate`, where set, is waited for before every event after the first `free` ones.
    """

    make: Callable[[str], Sequence[Event]] = lambda question: names_turn()
    gate: threading.Event | None = None
    free: int = 0
    fails_after: int | None = None
    error: Exception = field(default_factory=lambda: CandorError("The core is out of order."))
    asked: list[tuple[tuple[Exchange, ...], str]] = field(default_factory=list)
    made: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """The events made from the question."""
        self.asked.append((tuple(history), question))
        for number, event in enumerate(self.make(question)):
            if self.fails_after is not None and number >= self.fails_after:
                raise self.error
            if self.gate is not None and number >= self.free:
                deadline = time.monotonic() + WALL_SECONDS
                while not self.gate.wait(0.01):
                    if time.monotonic() > deadline:
                        raise TimeoutError("The gate stayed shut.")
            yield event

    def load(self, progress: Progress) -> AgentFactory:
        """A loader with nothing to load."""
        progress("weights", 0.5)
        progress("weights", 1.0)

        def make(goals: tuple[str, ...], seed: int, agent: str) -> FakeAgent:
            if agent:
                return FakeAgent(says(f"The {agent} has no tool."))
            self.made.append((goals, seed))
            return self

        return make


def says(text: str, *, safe: float = 0.97, blocked: bool = False) -> Callable[[str], list[Event]]:
    """Events of a turn that only speaks, word by word."""

    def make(question: str) -> list[Event]:
        verdict = SafetyVerdict("t", safe, 0.02, 0.01, blocked)
        words = [ReplyDelta("t", word) for word in text.split(" ") for word in (word + " ",)]
        return [TurnStarted("t", question, 0), *words, verdict, Reply("t", text, (), verdict)]

    return make


def echoes(question: str) -> list[Event]:
    """Events of a turn that repeats the question."""
    return says(f"You said: {question}")(question)


async def wait_until(pilot: Pilot[None], predicate: Callable[[], object], what: str = "") -> None:
    """Let the application run until the predicate holds."""
    used, began = time.process_time(), time.monotonic()
    while not predicate():
        if (crash := getattr(pilot.app, "crash", None)) is not None:
            raise AssertionError(crash)
        if time.process_time() - used > SECONDS or time.monotonic() - began > WALL_SECONDS:
            raise TimeoutError(f"Never came true: {what or predicate}")
        await asyncio.sleep(0.02)
    await pilot.pause()
