"""The terminal application for tests: run it, ask it, read what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Markdown, Static

from persona.goals import DEFAULT_GOALS
from persona.history import History
from tests import recorded
from tests.fake_agent import FakeAgent, wait_until
from tui.app import CandorApp
from tui.composer import Composer
from tui.session import AgentFactory, Progress
from tui.transcript import Transcript

SIZE = (110, 40)


@asynccontextmanager
async def running(
    folder: Path,
    agent: FakeAgent | None = None,
    load: Callable[[Progress], AgentFactory] | None = None,
    size: tuple[int, int] = SIZE,
    server: str | None = None,
) -> AsyncIterator[tuple[CandorApp, Pilot[None]]]:
    """The application, its history open."""
    agent = agent or FakeAgent()
    app = CandorApp(load or agent.load, folder, DEFAULT_GOALS, seed=lambda: 7, server=server)
    async with app.run_test(size=size) as pilot:
        await wait_until(pilot, lambda: app.chat is not None, "history")
        await wait_until(pilot, lambda: app.query(Transcript), "transcript")
        yield app, pilot


async def ask(pilot: Pilot[None], app: CandorApp, text: str) -> None:
    """Type and send."""
    app.query_one(Composer).put(text)
    await pilot.press("enter")


def over(app: CandorApp, count: int = 1) -> Callable[[], bool]:
    """Whether so many turns are over and saved."""

    def check() -> bool:
        turns = app.chat.turns if app.chat else []
        return len(turns) == count and all(turn.over and turn.reply_id for turn in turns)

    return check


def shown(app: CandorApp, selector: str) -> str:
    """The text of the first widget that matches."""
    return str(app.query_one(selector, Static).visual)


def last_reply(app: CandorApp) -> str:
    """The Markdown source of the last reply on screen."""
    return list(app.query("Markdown.reply").results(Markdown))[-1].source


def long_conversation(folder: Path, turns: int) -> None:
    """Store one conversation of so many turns, each with a card."""
    history = History(folder / "history.db")
    assert history.open() is None
    conversation = history.start("long")
    parent = None
    for number in range(turns):
        asked = history.ask(conversation, parent, f"question {number}", DEFAULT_GOALS, 0)
        turn = asked
        for event in recorded.names_turn():
            turn = turn.after(event)
        parent = history.answer(conversation, turn)
