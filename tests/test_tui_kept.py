"""What the terminal keeps: conversations, exports, choices, and what it says where it can't."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList

from core_model.errors import CandorError
from persona.goals import DEFAULT_GOALS
from persona.history import History
from persona.turn import Turn
from tests import recorded
from tests.fake_agent import FakeAgent, echoes, says, wait_until
from tests.terminal import SIZE, ask, long_conversation, over, running, shown
from tui import clipboard, export
from tui.app import CandorApp
from tui.composer import Composer
from tui.sidebar import Sidebar
from tui.transcript import ToolCard
from tui.welcome import Welcome


async def test_reopening_restores_cards_reply_and_verdict(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        await ask(pilot, app, recorded.NAMES_QUESTION)
        await wait_until(pilot, over(app))
        await pilot.pause()
        before = [str(card.visual) for card in app.query(ToolCard)]
    async with running(tmp_path, size=(120, 40)) as (app, pilot):
        sidebar = app.query_one(Sidebar)
        assert sidebar.has_class("-shown")
        conversations = app.query_one("#conversations", OptionList)
        await wait_until(pilot, lambda: conversations.option_count == 2, "list")
        conversations.focus()
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: len(app.query(ToolCard)) == 2, "cards")
        await wait_until(pilot, lambda: app.query("Markdown.reply"), "reply")
        await pilot.pause()
        texts = [str(card.visual) for card in app.query(ToolCard)]
        assert [t.splitlines()[0] for t in texts] == [t.splitlines()[0] for t in before]
        assert "2.6%" in texts[0] and "seed 7" in texts[0]
        assert "safe 97%" in shown(app, ".notes")
        assert app.query_one(Composer).has_focus


async def test_the_question_is_saved_before_it_is_answered(tmp_path: Path) -> None:
    agent = FakeAgent(gate=threading.Event())
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "Saved already?")
        await wait_until(pilot, lambda: agent.asked)
        stored = History(tmp_path / "history.db")
        (listed,) = stored.conversations()
        assert [turn.question for turn in stored.turns(listed.id)] == ["Saved already?"]
        assert agent.gate is not None
        agent.gate.set()
        await wait_until(pilot, over(app))


async def test_new_conversation_and_switching_stop_what_runs(tmp_path: Path) -> None:
    agent = FakeAgent(says("a b c d"), gate=threading.Event(), free=2)
    async with running(tmp_path, agent) as (app, pilot):
        await ask(pilot, app, "first")
        await wait_until(pilot, lambda: app.query("Markdown.reply"))
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app.query_one(Welcome).display)
        assert app.chat is not None and app.chat.turns == []
        assert agent.gate is not None
        agent.gate.set()
        await ask(pilot, app, "second")
        await wait_until(pilot, over(app))
        titles = [listed.title for listed in app.chat.history.conversations()]
        assert titles == ["second", "first"]
        (first,) = app.chat.history.turns(app.chat.history.conversations()[1].id)
        assert first.state == "stopped"


async def test_finding_a_conversation_by_what_was_said(tmp_path: Path) -> None:
    async with running(tmp_path, FakeAgent(echoes), size=(120, 40)) as (app, pilot):
        await ask(pilot, app, "apples")
        await wait_until(pilot, over(app))
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app.query_one(Welcome).display)
        await ask(pilot, app, "pears")
        await wait_until(pilot, over(app))
        await pilot.press("ctrl+f", *"appl")
        conversations = app.query_one("#conversations", OptionList)
        await wait_until(pilot, lambda: conversations.option_count == 2, "found one")
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: "apples" in shown(app, ".question"))
        app.query_one("#search", Input).value = "nowhere"
        await wait_until(pilot, lambda: "Nothing found" in shown(app, "#no-conversations"))


async def test_a_conversation_is_deleted_when_it_is_said_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        await ask(pilot, app, "/delete")
        await wait_until(pilot, lambda: "no conversation to delete" in shown(app, "#notice"))
        await ask(pilot, app, "one")
        await wait_until(pilot, over(app))
        await ask(pilot, app, "/delete")
        await wait_until(pilot, lambda: "once more" in shown(app, "#notice"))
        await ask(pilot, app, "/again")  # who goes on has thought better of it
        await wait_until(pilot, lambda: app.query_one(Composer).text == "one")
        await pilot.press("enter")
        await wait_until(pilot, over(app))
        await ask(pilot, app, "/delete")
        await wait_until(pilot, lambda: "once more" in shown(app, "#notice"))
        await ask(pilot, app, "/delete")
        await wait_until(pilot, lambda: "is deleted" in shown(app, "#notice"))
        assert app.chat is not None and app.chat.turns == []
        assert not app.chat.history.conversations() and app.welcome.display


async def test_copying_says_which_way_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def take(text: str) -> str | None:
        taken.append(text)
        return "xclip" if len(taken) == 1 else None

    monkeypatch.setattr(clipboard, "copy_to_system", take)
    async with running(tmp_path, FakeAgent(says("the reply"))) as (app, pilot):
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: "no reply to copy" in shown(app, "#notice"))
        await ask(pilot, app, "hi")
        await wait_until(pilot, over(app))
        said: list[str] = []
        monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: said)
        await pilot.press("ctrl+y")
        await wait_until(pilot, lambda: len(said) == 2)
        assert taken == ["the reply", "the reply"]
        assert "with xclip" in said[0] and "terminal's clipboard" in said[1]


async def test_exporting_writes_markdown_and_never_overwrites(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        target = tmp_path / "out.md"
        await ask(pilot, app, f"/export {target}")
        await wait_until(pilot, lambda: "nothing to export" in shown(app, "#notice"))
        await ask(pilot, app, "names ```` [/x]")
        await wait_until(pilot, over(app))
        await ask(pilot, app, f"/export {target}")
        await wait_until(pilot, lambda: "Written to" in shown(app, "#notice"))
        written = target.read_text(encoding="utf-8")
        assert "## names ```` [/x]" in written and "**Jessica**" in written
        assert "names: name | year=1985, sex=female" in written and "safe 97%" in written
        await ask(pilot, app, f"/export {target}")
        await wait_until(pilot, lambda: "exists already" in shown(app, "#notice"))
        assert target.read_text(encoding="utf-8") == written


def test_exporting_from_a_folder_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(CandorError, match="could not be written"):
        export.write(None, "title", [Turn("t", "q", reply="r", state="done")])


def test_default_export_names_and_fences() -> None:
    assert export.default_name("Wörter & [/x] names?").endswith("-w-rter-x-names.md")
    assert export.fenced("a ```` b").startswith("`````text")


async def test_themes_and_sidebar_are_remembered(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, pilot):
        for name in ("light", "ansi"):
            await ask(pilot, app, f"/theme {name}")
            await wait_until(pilot, lambda name=name: app.theme == f"candor-{name}")
        await ask(pilot, app, "/theme mauve")
        await wait_until(pilot, lambda: "no theme 'mauve'" in shown(app, "#notice"))
        await pilot.press("f2")
        await wait_until(pilot, lambda: app.screen.query(".sheet"))
        await pilot.press("up", "enter")
        await wait_until(pilot, lambda: app.theme == "candor-light")
        before = app.query_one(Sidebar).has_class("-shown")
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: app.query_one(Sidebar).has_class("-shown") != before)
    async with running(tmp_path) as (app, pilot):
        assert app.theme == "candor-light"


async def test_keys_can_be_changed_and_bad_preferences_are_survived(tmp_path: Path) -> None:
    (tmp_path / "preferences.json").write_text('{"keys": {"help": "f9"}, "theme": 3}')
    async with running(tmp_path) as (app, pilot):
        await pilot.press("f9")
        await wait_until(pilot, lambda: app.screen.query(".sheet"))
    (tmp_path / "preferences.json").write_text('{"theme": "solarized"}')
    async with running(tmp_path) as (app, pilot):
        await pilot.press("f2")
        await wait_until(pilot, lambda: app.screen.query(".sheet"))
    (tmp_path / "preferences.json").write_text("{nonsense")
    async with running(tmp_path) as (app, pilot):
        assert "defaults are used" in shown(app, "#notice")


@pytest.mark.parametrize(
    "text", ['{"keys": {"help": "f9" "stop": "f4"}}', '{"sidebar": "no"}', "[]"]
)
async def test_a_file_of_preferences_that_is_wrong_is_left_to_its_writer(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text)
    async with running(tmp_path) as (app, pilot):
        assert "Mend or delete it" in shown(app, "#notice")
        app.say("")
        await pilot.press("ctrl+b")
        assert app.query_one(Sidebar).has_class("-shown")
        assert "no choice is saved" in shown(app, "#notice")
    assert path.read_text() == text


async def test_without_a_history_questions_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: History) -> None:
        raise RuntimeError("no storage")

    monkeypatch.setattr(History, "open", broken)
    app = CandorApp(FakeAgent(echoes).load, tmp_path, DEFAULT_GOALS)
    async with app.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: "no storage" in shown(app, "#notice"), "notice")
        await wait_until(pilot, lambda: app.runner.ready, "core")
        assert "nothing can be asked" in shown(app, "#state")
        await ask(pilot, app, "hello")
        await wait_until(pilot, lambda: "no storage" in shown(app, "#notice"), "notice")
        assert app.query_one(Composer).text == "hello"


async def test_a_damaged_history_is_said_and_survived(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"garbage" * 1000)
    async with running(tmp_path, FakeAgent(echoes)) as (app, pilot):
        assert "history.corrupt-" in shown(app, "#notice")
        await ask(pilot, app, "hi")
        await wait_until(pilot, over(app))


async def test_a_conversation_that_cannot_be_read_is_not_opened_as_an_empty_one(
    tmp_path: Path,
) -> None:
    long_conversation(tmp_path, 1)
    async with running(tmp_path, FakeAgent(echoes)) as (app, pilot):
        assert app.chat is not None
        (listed,) = app.chat.history.conversations()
        with sqlite3.connect(tmp_path / "history.db") as stored:
            stored.execute("update message set goals = '{oops'")
        app.query_one(Sidebar).post_message(Sidebar.Chosen(listed.id, listed.title))
        await wait_until(pilot, lambda: "damaged" in shown(app, "#notice"))
        assert app.chat.conversation is None


async def test_a_disk_that_is_full_is_said_until_it_is_not(tmp_path: Path) -> None:
    import sqlalchemy

    pages = 14

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    try:
        async with running(tmp_path, FakeAgent(says("y" * 60_000))) as (app, pilot):
            await ask(pilot, app, "hi")
            await wait_until(pilot, lambda: app.chat and app.chat.turns and app.chat.turns[0].over)
            await wait_until(pilot, lambda: "Not saved" in shown(app, "#notice"))
            await pilot.press("ctrl+q")
            await wait_until(pilot, lambda: "quit once more" in shown(app, "#notice"))
            assert app.is_running
            pages = 100_000
            await ask(pilot, app, "again")
            await wait_until(pilot, over(app, 2))
            assert app.chat is not None and app.chat.history.unsaved == 0
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)
