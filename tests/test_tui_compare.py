"""Candor and a rival side by side in the terminal, driven by keys, with fake agents."""

from __future__ import annotations

import threading
from pathlib import Path

from textual.widgets import Markdown, Static

from tests.fake_agent import FakeAgent, echoes, wait_until
from tests.terminal import ask, over, running, shown
from tui import export
from tui.sidebar import Sidebar
from tui.transcript import Side, TurnView


async def test_compare_puts_the_last_question_to_the_base_and_keeps_what_it_says(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, FakeAgent(echoes), size=(140, 40)) as (app, pilot):
        await ask(pilot, app, "/compare")
        await wait_until(pilot, lambda: "Nothing has been asked" in shown(app, "#notice"))
        await ask(pilot, app, "hello")
        await wait_until(pilot, over(app))
        assert not app.query_one(TurnView).has_class("-two")
        await ask(pilot, app, "/compare")
        await wait_until(pilot, lambda: app.chat.turns[-1].rival and app.chat.turns[-1].rival.over)
        persona, base = app.query(Side)
        assert persona.region.y == base.region.y
        assert persona.region.right <= base.region.x
        assert "instruct base" in str(base.query_one(".agent", Static).visual)
        replies = [str(side.query_one(Markdown).source) for side in (persona, base)]
        assert replies == ["You said: hello", "The base has no tool."]
        # Once more: the second answer takes the place of the first.
        saved = app.chat.turns[-1].rival.reply_id
        await ask(pilot, app, "/compare")
        await wait_until(pilot, lambda: app.chat.turns[-1].rival.reply_id not in (None, saved))
        assert len(app.query(".reply")) == 2
        await ask(pilot, app, "/compare " + "x" * 30_000)
        await wait_until(pilot, lambda: "at most" in shown(app, "#notice"))
        assert len(app.chat.turns) == 1
        listed = app.chat.history.conversations()[0]
    async with running(tmp_path) as (app, pilot):
        app.query_one(Sidebar).post_message(Sidebar.Chosen(listed.id, listed.title))
        await wait_until(pilot, lambda: len(app.query(Side)) == 2)
        (turn,) = app.chat.turns
        assert turn.reply == "You said: hello"
        assert turn.rival.reply == "The base has no tool."
        written = export.to_markdown("t", [turn])
        assert written.index("You said") < written.index("### the instruct base")


async def test_another_rival_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(echoes), size=(140, 40)) as (app, pilot):
        await ask(pilot, app, "hello")
        await wait_until(pilot, over(app))
        for rival in ("base", "grpo"):
            await ask(pilot, app, f"/compare {rival}")
            await wait_until(
                pilot,
                lambda rival=rival: (r := app.chat.turns[0].rival) and r.agent == rival and r.over,
            )
        assert [side.turn.agent for side in app.query(Side)] == ["", "grpo"]


async def test_compare_with_a_question_asks_both_and_stops_both(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(echoes), size=(70, 40)) as (app, pilot):
        await ask(pilot, app, "/compare what is new?")
        await wait_until(pilot, lambda: app.chat.turns and app.chat.turns[-1].rival)
        await wait_until(pilot, lambda: app.chat.turns[-1].rival.over)
        persona, base = app.query(Side)
        assert persona.region.bottom <= base.region.y  # a narrow terminal stacks them
    gate = threading.Event()
    async with running(tmp_path, FakeAgent(echoes, gate=gate, free=2)) as (app, pilot):
        await ask(pilot, app, "/compare and now?")
        await wait_until(pilot, lambda: app.query(".reply"))
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.chat.turns[-1].rival)
        gate.set()
        (turn,) = app.chat.turns
        assert (turn.state, turn.rival.state, turn.rival.reply) == ("stopped", "stopped", "")
