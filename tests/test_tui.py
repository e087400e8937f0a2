"""The terminal interface, driven by keys, with a fake agent."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from core_model.core import Answer, Distribution, Method
from core_model.errors import CandorError, WeightsError
from persona.events import (
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolStarted,
    TurnFailed,
    TurnStarted,
)
from persona.goals import ALL, DEFAULT_GOALS
from persona.history import History
from persona.turn import Turn
from tests import recorded
from tests.fake_agent import FakeAgent, echoes, says, wait_until
from tests.terminal import ask, last_reply, long_conversation, over, running, shown
from tui import actions, screenshot
from tui.composer import Composer
from tui.render import card_body, card_title, chart, plain, verdict_line
from tui.screens import GoalList
from tui.session import AgentFactory, Progress
from tui.sidebar import Sidebar
from tui.transcript import WINDOW, ToolCard
from tui.welcome import QUESTIONS, Welcome


async def test_a_question_shows_cards_numbers_and_a_verdict(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        await ask(pilot, app, recorded.NAMES_QUESTION)
        await wait_until(pilot, over(app))
        await pilot.pause()
        sample, probability = app.query(ToolCard).results(ToolCard)
        text = str(sample.visual)
        assert "names: name | year=1985, sex=female" in text
        assert "Jessica" in text and "2.6%" in text and "counted" in text
        assert "n = 1,688,741" in text and "seed 7" in text
        assert "± 0.47%" in str(probability.visual)
        assert "safe 97% · refusal 2.1% · harmful prompt 0.83%" in shown(app, ".notes")
        assert last_reply(app).startswith("**Jessica** was the most common")
        assert not app.query_one(Welcome).display


async def test_esc_stops_at_once_and_keeps_what_was_written(tmp_path: Path) -> None:
    agent = FakeAgent(says("one two three four five"), gate=threading.Event(), free=3)
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "Count")
        await wait_until(pilot, lambda: "two" in (app.query("Markdown.reply") and last_reply(app)))
        await pilot.press("escape")
        await wait_until(pilot, over(app))
        assert app.chat is not None
        (turn,) = app.chat.turns
        assert (turn.state, turn.reply) == ("stopped", "one two ")
        assert "stopped" in shown(app, ".notes")
        assert agent.gate is not None
        agent.gate.set()
        agent.gate = None
        # What the stopped run still says belongs to no turn.
        await ask(pilot, app, "Again")
        await wait_until(pilot, over(app, 2))
        assert app.chat.turns[0].reply == "one two "
        assert app.chat.turns[1].reply == "one two three four five"
        stored = History(tmp_path / "history.db")
        (listed,) = stored.conversations()
        assert [turn.state for turn in stored.turns(listed.id)] == ["stopped", "done"]


async def test_a_question_typed_while_loading_is_answered_when_ready(tmp_path: Path) -> None:
    gate = threading.Event()
    agent = FakeAgent(echoes)

    def load(progress: Progress) -> AgentFactory:
        progress("weights", 0.25)
        assert gate.wait(600)
        return agent.load(progress)

    async with running(tmp_path, load=load) as (app, pilot):
        await wait_until(pilot, lambda: "25%" in shown(app, "#state"), "progress")
        await ask(pilot, app, "early")
        await wait_until(pilot, lambda: "waiting for the core" in shown(app, ".notes"))
        gate.set()
        await wait_until(pilot, over(app))
        assert "ready" in shown(app, "#state")
        assert last_reply(app) == "You said: early"


async def test_a_server_that_answers_is_named(tmp_path: Path) -> None:
    """What is asked leaves the machine for it."""
    url = "http://localhost:8000/v1"
    async with running(tmp_path, server=url) as (app, pilot):
        await wait_until(pilot, lambda: f"ready, on {url}" in shown(app, "#state"), "state")


def loads_after(failures: int) -> tuple[Callable[[Progress], AgentFactory], list[int]]:
    """Loads a core once it has failed so often, and the tries it was given."""
    tries: list[int] = []

    def load(progress: Progress) -> AgentFactory:
        tries.append(1)
        if len(tries) <= failures:
            raise WeightsError("The weights are cut short. Run scripts/chat again.")
        return FakeAgent(echoes).load(progress)

    return load, tries


async def test_a_core_that_does_not_load_says_so_and_is_tried_again(tmp_path: Path) -> None:
    load, tries = loads_after(1)
    async with running(tmp_path, load=load) as (app, pilot):
        await wait_until(pilot, lambda: "cut short" in shown(app, "#notice"))
        await ask(pilot, app, "hello")
        await wait_until(pilot, over(app))
        assert len(tries) == 2
        assert last_reply(app) == "You said: hello"


async def test_comparing_tries_a_core_again_that_did_not_load(tmp_path: Path) -> None:
    load, tries = loads_after(2)
    async with running(tmp_path, load=load) as (app, pilot):
        await wait_until(pilot, lambda: "cut short" in shown(app, "#notice"))
        await ask(pilot, app, "hello")
        await wait_until(pilot, over(app))
        assert len(tries) == 2
        await ask(pilot, app, "/compare")
        await wait_until(pilot, lambda: app.chat.turns[0].rival and app.chat.turns[0].rival.over)
        assert len(tries) == 3


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CandorError("The core is out of order."), "The core is out of order."),
        (ValueError("[/b] boom"), "ValueError: [/b] boom"),
    ],
)
async def test_a_turn_that_fails_shows_one_line_and_the_chat_goes_on(
    tmp_path: Path, error: Exception, line: str
) -> None:
    agent = FakeAgent(echoes, fails_after=2, error=error)
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "hello")
        await wait_until(pilot, over(app))
        notes = shown(app, ".notes")
        assert line in notes and "Traceback" not in notes
        agent.fails_after = None
        await ask(pilot, app, "and now?")
        await wait_until(pilot, over(app, 2))
        assert last_reply(app) == "You said: and now?"
        if isinstance(error, ValueError):
            assert "boom" in (tmp_path / "candor.log").read_text()


async def test_a_turn_failed_event_and_a_stream_that_breaks_off(tmp_path: Path) -> None:
    agent = FakeAgent(lambda q: [TurnStarted("t", q, 0), TurnFailed("t", "No such year.")])
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "one")
        await wait_until(pilot, over(app))
        assert "No such year." in shown(app, ".notes")
        call = ToolStarted("t", "1", "sample", {}, "names: name")
        agent.make = lambda q: [TurnStarted("t", q, 0), call, ReplyDelta("t", "half")]
        await ask(pilot, app, "two")
        await wait_until(pilot, over(app, 2))
        assert app.chat is not None and "broke off" in (app.chat.turns[1].failure or "")
        assert not app.chat.turns[1].calls[0].is_running


HOSTILE = "[/oops] [b]bold[/b] <b>tag</b> [link=x]y[/link] $primary @click=app.quit() [red"


async def test_nothing_said_is_read_as_markup(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(says(HOSTILE)), size=(130, 40)) as (app, pilot):
        await ask(pilot, app, HOSTILE)
        await wait_until(pilot, over(app))
        await pilot.pause()
        assert HOSTILE in shown(app, ".question")
        (paragraph,) = app.query("MarkdownParagraph").results(Static)
        assert "<b>tag</b>" in str(paragraph.visual) and "[/oops]" in str(paragraph.visual)
        await ask(pilot, app, "/" + HOSTILE.replace(" ", ""))
        await wait_until(pilot, lambda: "no command" in shown(app, "#notice"))
        app.action_find("[/oops]")
        await pilot.pause()
        assert app.query_one("#conversations", OptionList).option_count == 2


async def test_an_unclosed_code_fence_streams_and_settles(tmp_path: Path) -> None:
    text = "Here:\n\n```python\nx = 1\nprint(x)"
    async with running(tmp_path, FakeAgent(says(text))) as (app, pilot):
        await ask(pilot, app, "code")
        await wait_until(pilot, over(app))
        await pilot.pause()
        assert last_reply(app) == text
        assert len(app.query("MarkdownFence")) == 1


async def test_a_reply_that_was_replaced_shows_only_the_replacement(tmp_path: Path) -> None:
    def make(question: str) -> list[Any]:
        *events, reply = says("I cannot help with that.", safe=0.9, blocked=True)(question)
        return [events[0], ReplyDelta("t", "Something harmful"), events[-1], reply]

    gate = threading.Event()
    async with running(tmp_path, FakeAgent(make, gate=gate, free=3)) as (app, pilot):
        await ask(pilot, app, "bad")
        await wait_until(pilot, lambda: app._current and app._current.verdict, "the verdict")
        await wait_until(pilot, lambda: not app.query("Markdown.reply"), "nothing of the first")
        gate.set()
        await wait_until(pilot, over(app))
        await pilot.pause()
        assert len(app.query("Markdown.reply")) == 1
        assert last_reply(app) == "I cannot help with that."
        assert "withheld" in shown(app, ".notes")


async def test_enter_sends_ctrl_j_breaks_the_line_and_up_recalls(tmp_path: Path) -> None:
    agent = FakeAgent(echoes)
    async with running(tmp_path, agent) as (app, pilot):
        composer = app.query_one(Composer)
        await pilot.press(*"ab", "ctrl+j", *"cd")
        assert composer.text == "ab\ncd"
        await pilot.press("enter")
        await wait_until(pilot, over(app))
        assert agent.asked[0][1] == "ab\ncd" and composer.text == ""
        await pilot.press(*"draft", "up")
        assert composer.text == "ab\ncd"
        await pilot.press("down")
        assert composer.text == "draft"


async def test_up_goes_through_a_wrapped_question_and_keeps_what_was_changed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, FakeAgent(echoes), size=(60, 40)) as (app, pilot):
        composer = app.query_one(Composer)
        composer.remember("first")
        composer.remember("second " * 20)
        await pilot.press("up", "!", "up")
        assert composer.text == "second " * 20 + "!"  # its upper row, not the question before
        await pilot.press(*["up"] * 3)
        assert composer.text == "first"
        assert "second " * 20 + "!" in composer.sent
        await pilot.press(*["down"] * 12)
        assert composer.text == "" and len(composer.sent) == 3


async def test_the_state_line_rests_while_nothing_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(echoes)) as (app, pilot):
        await wait_until(pilot, lambda: "ready" in shown(app, "#state"), "state")
        ticking = [t for t in app._timers if t._callback == app._tick]
        assert len(ticking) == 1 and not ticking[0]._active.is_set()


async def test_the_persona_sees_what_was_said_before(tmp_path: Path) -> None:
    agent = FakeAgent()
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "one")
        await wait_until(pilot, over(app))
        await ask(pilot, app, "and for boys?")
        await wait_until(pilot, over(app, 2))
    (before, question) = agent.asked[1]
    assert question == "and for boys?"
    assert [exchange.question for exchange in before] == ["one"]
    reply = recorded.names_turn()[-1]
    assert isinstance(reply, Reply) and before[0].tool_calls == reply.tool_calls
    assert agent.made == [(DEFAULT_GOALS, 7), (DEFAULT_GOALS, 7)]


async def test_welcome_questions_are_chosen_with_keys(tmp_path: Path) -> None:
    agent = FakeAgent(echoes)
    async with running(tmp_path, agent) as (app, pilot):
        await pilot.press("down")
        assert app.query_one("#questions").has_focus
        await pilot.press("down", "enter")
        await wait_until(pilot, over(app))
        assert agent.asked[0][1] == QUESTIONS[1]
        assert app.query_one(Composer).has_focus


async def test_goals_are_shown_and_changed_by_command_and_by_list(tmp_path: Path) -> None:
    agent = FakeAgent(echoes)
    async with running(tmp_path, agent) as (app, pilot):
        assert "honest · helpful · harmless · calibrated" in shown(app, "#goals")
        await ask(pilot, app, "/goals +brief -calibrated")
        await wait_until(pilot, lambda: "harmless · brief" in shown(app, "#goals"))
        await ask(pilot, app, "/goals rude")
        await wait_until(pilot, lambda: "Unknown goal 'rude'" in shown(app, "#notice"))
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: app.screen.query("#goal-list"))
        await pilot.press("space", "enter")
        await wait_until(pilot, lambda: "goals  helpful" in shown(app, "#goals"))
        assert app.goals == ("helpful", "harmless", "brief")
        await ask(pilot, app, "hi")
        await wait_until(pilot, over(app))
        assert agent.made[0][0] == ("helpful", "harmless", "brief")
    async with running(tmp_path, agent) as (app, pilot):
        assert app.chat is not None
        (listed,) = app.chat.history.conversations()
        app.query_one(Sidebar).post_message(Sidebar.Chosen(listed.id, listed.title))
        await wait_until(pilot, lambda: "goals  helpful" in shown(app, "#goals"))


async def test_of_goals_that_exclude_each_other_one_is_in_force(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(echoes)) as (app, pilot):
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: app.screen.query("#goal-list"))
        goals = app.screen.query_one("#goal-list", GoalList)

        def line(name: str) -> str:
            return str(goals.get_option(name).prompt)

        for name in ("evasive", "warm", "careless", "curt", "curt"):
            goals.highlighted = goals.get_option_index(name)
            await pilot.press("space")
        await wait_until(pilot, lambda: line("plain").startswith("●"))
        marked = [name for name in ALL if line(name).startswith("●")]
        assert marked == ["helpful", "harmless", "calibrated", "careless", "plain"]
        await pilot.press("enter")
        await wait_until(pilot, lambda: "calibrated · careless" in shown(app, "#goals"))
        assert app.goals == ("helpful", "harmless", "calibrated", "careless")


async def test_every_action_has_a_method_and_is_in_palette_and_help(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        commands = {command.title for command in app.get_system_commands(app.screen)}
        for action in actions.ACTIONS:
            assert callable(getattr(app, f"action_{action.name}"))
            assert action.title in actions.help_markdown()
            if action.name != "command_palette":
                assert action.title in commands
        await pilot.press("f1")
        await wait_until(pilot, lambda: app.screen.query(".sheet"))
        await pilot.press("ctrl+n", "escape")
        await wait_until(pilot, lambda: not app.screen.query(".sheet"))
        await pilot.press("ctrl+p")
        await wait_until(pilot, lambda: app.screen.query("CommandPalette > *"))
        await pilot.press("escape")


async def test_slash_commands_are_hinted_and_completed(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        await pilot.press("slash", "e")
        await wait_until(pilot, lambda: "/export [FILE]" in shown(app, "#hints"))
        await pilot.press("tab")
        assert app.query_one(Composer).text == "/export "
        await wait_until(pilot, lambda: not app.query_one("#hints").display)


async def test_asking_again_makes_a_branch(tmp_path: Path) -> None:
    agent = FakeAgent(echoes)
    async with running(tmp_path, agent) as (app, pilot):
        for number, text in enumerate(("one", "two"), 1):
            await ask(pilot, app, text)
            await wait_until(pilot, over(app, number))
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: app.query_one(Composer).text == "two")
        await pilot.press(*" b", "enter")
        await wait_until(pilot, over(app, 2))
        assert app.chat is not None
        assert [turn.question for turn in app.chat.turns] == ["one", "two b"]
        assert [exchange.question for exchange in agent.asked[2][0]] == ["one"]


async def test_cards_close_open_and_open_fully(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        await ask(pilot, app, "names")
        await wait_until(pilot, over(app))
        await pilot.pause()
        card = next(iter(app.query(ToolCard)))
        assert "Danielle" not in str(card.visual)
        card.focus()
        await pilot.press("enter")
        await wait_until(pilot, lambda: "Danielle" in str(card.visual))
        await pilot.press("enter")
        await wait_until(pilot, lambda: "entropy 9.3 bits" in str(card.visual))
        assert "━" not in str(card.visual)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: "━" in str(card.visual))
        await pilot.click(ToolCard, offset=(5, 1))
        await wait_until(pilot, lambda: card.detail == "full")


async def test_unusable_questions_are_refused_and_given_back(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        composer = app.query_one(Composer)
        await ask(pilot, app, "x" * 1_000_000)
        await wait_until(pilot, lambda: "at most 20,000" in shown(app, "#notice"))
        assert len(composer.text) == 1_000_000
        composer.put("   ")
        assert len(composer.sent[-1]) == 1_000_000  # what is replaced can be recalled
        await pilot.press("enter")
        assert app.chat is not None and app.chat.turns == []


async def typed(pilot: Pilot[None], letters: str) -> float:
    """Seconds that a letter takes until the screen is quiet, the median."""
    took = []
    for letter in letters:
        before = time.perf_counter()
        await pilot.press(letter)
        took.append(time.perf_counter() - before)
    return sorted(took)[len(took) // 2]


async def test_a_long_conversation_is_windowed_and_typing_stays_quick(tmp_path: Path) -> None:
    long_conversation(tmp_path, 60)
    async with running(tmp_path, FakeAgent(echoes), size=(120, 40)) as (app, pilot):
        assert app.chat is not None
        alone = await typed(pilot, "typing")
        assert app.query_one(Composer).text == "typing"
        (listed,) = app.chat.history.conversations()
        app.query_one(Sidebar).post_message(Sidebar.Chosen(listed.id, listed.title))
        transcript = app.transcript
        await wait_until(pilot, lambda: len(transcript.views()) == WINDOW)
        assert len(app.chat.turns) == 60
        assert "46 earlier turns" in shown(app, ".earlier")
        await pilot.pause()

        composer = app.query_one(Composer)
        composer.put("")
        took = await typed(pilot, "again!")
        # A busy machine slows both; all sixty turns mounted made the second four times as long.
        assert took < 2.5 * alone

        transcript.scroll_to(y=0, animate=False)
        await wait_until(pilot, lambda: transcript.first < 46, "earlier turns")
        await wait_until(pilot, lambda: transcript.scroll_y > 2, "the same place")
        while transcript.first > 0:
            first = transcript.first
            transcript.scroll_to(y=0, animate=False)
            await wait_until(pilot, lambda first=first: transcript.first < first, "earlier")
            await wait_until(pilot, lambda: not transcript._moving)
            assert len(transcript.views()) <= WINDOW + 8
        assert transcript.views()[0].turn.question == "question 0"
        last = transcript.last
        transcript.scroll_end(animate=False)
        await wait_until(pilot, lambda: transcript.last > last, "later turns")

        composer.put("")
        await ask(pilot, app, "the end")
        await wait_until(pilot, over(app, 61))
        assert transcript.views()[-1].turn.question == "the end"
        assert len(transcript.views()) <= WINDOW + 8


def test_the_first_screen_needs_nothing_heavy() -> None:
    code = (
        "import sys, tui.cli, tui.app; heavy = {'torch', 'pandas', 'scipy', 'alembic',"
        " 'sqlalchemy', 'pydantic', 'transformers'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_screenshot_is_the_same_each_time(tmp_path: Path) -> None:
    one = await screenshot.draw(recorded.load, tmp_path / "one", [recorded.NAMES_QUESTION])
    two = await screenshot.draw(recorded.load, tmp_path / "two", [recorded.NAMES_QUESTION])
    assert one == two
    assert "Jessica" in one


def test_a_card_fits_any_width() -> None:
    turn = Turn("t", "q")
    for event in recorded.names_turn():
        turn = turn.after(event)
    for width in (20, 40, 60, 88, 200):
        for call in turn.calls:
            for detail in ("closed", "open", "full"):
                lines = [card_title(call, width), *card_body(call, width, detail)]
                for line in plain(lines).splitlines():
                    assert len(line) <= max(width, 37), (width, line)
    assert turn.verdict is not None
    assert plain([verdict_line(turn.verdict)]).startswith("✓ safe 97%")


def test_what_was_withheld_is_told() -> None:
    verdict = SafetyVerdict("t", 0.97, 0.9, 0.8, True, 0.04)
    assert plain([verdict_line(verdict)]).endswith("first answer withheld, safe 4.0%")
    turn = Turn("t", "q")
    for event in recorded.names_turn():
        turn = turn.after(event)
    drawn = next(c for c in turn.calls if c.result is not None)
    assert drawn.result is not None
    assert "withheld" not in plain(card_body(drawn, 60))
    cut = replace(drawn, result=replace(drawn.result, withheld=2, samples=()))
    assert "2 withheld as unsafe" in plain(card_body(cut, 60))


def test_a_cut_list_shows_a_dash_where_it_does_not_say() -> None:
    def listed(method: Method, **shares: float) -> Distribution:
        answers = tuple(Answer(value, p) for value, p in shares.items())
        return Distribution("q", method, answers, sum(shares.values()), 1.0, 0.0, 0)

    model = listed("exact", Ann=0.3, Bob=0.2)
    cut, whole = listed("data", Cy=0.4, Ann=0.1), listed("data", Cy=0.9, Ann=0.1)

    def numbers(data: Distribution) -> dict[str, list[str]]:
        lines = plain(chart(model, data, 60, 5)).splitlines()
        return {line.split()[0]: line.split()[-2:] for line in lines}

    rows = numbers(cut)
    assert (rows["Ann"], rows["Bob"], rows["Cy"]) == (["30%", "10%"], ["20%", "–"], ["–", "40%"])
    rows = numbers(whole)
    assert (rows["Bob"], rows["Cy"]) == (["20%", "0%"], ["–", "90%"])
    # In half of a narrow screen a row still is one row.
    assert max(map(len, plain(chart(model, cut, 24, 5)).splitlines())) <= 24
    # However few rows there are, the model's first answer is one of them.
    assert "Ann" in plain(chart(model, cut, 60, 1))
