"""Storage: what goes in comes back, nothing is lost to a bad file or a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import persona
from core_model.core import Answer, Distribution, Estimate
from core_model.errors import CandorError, StorageError
from persona import tables
from persona.events import (
    AuthorRead,
    DraftsWeighed,
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
from persona.history import SCHEMA_VERSION, History
from persona.tables import metadata
from persona.turn import QUESTION_LIMIT, Call, Turn, clean_question, exchanges, readable
from tools.registry import ToolResult

VERDICT = SafetyVerdict("t", 0.97, 0.02, 0.01, False)
READ = AuthorRead("t", {"honest": 0.9, "evasive": 0.1}, {"plain": 0.7, "warm": 0.3}, "warm")
WEIGHED = DraftsWeighed.of("t", (0.25, 0.75), 1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> History:
    history = History(tmp_path_factory.mktemp("shared") / "history.db")
    assert history.open() is None
    return history


@pytest.fixture
def history(tmp_path: Path) -> History:
    made = History(tmp_path / "history.db")
    assert made.open() is None
    return made


def result(query: str = "names: name | year=1985", summary: str = "Jessica, 2.6%") -> ToolResult:
    model = Distribution(query, "exact", (Answer("Jessica", 0.026),), 0.026, 6.1, 0.01, 0)
    data = Distribution(query, "data", (Answer("Jessica", 0.027),), 1.0, 6.2, 0.0, 1_600_000)
    estimate = Estimate("sampled", 0.5, 0.1, 64, "nats")
    return ToolResult("sample", query, (estimate,), model, data, ("Jessica",), summary, 7, 0.25)


def say(history: History, question: str, reply: str, parent: Turn | None = None) -> str:
    """One turn in a new conversation; returns the conversation's id."""
    conversation = history.start(question)
    turn = history.ask(conversation, parent.reply_id if parent else None, question, ("honest",), 3)
    history.answer(conversation, Turn(turn.id, turn.question, reply=reply, state="done"))
    return conversation


anything = st.text(st.characters(), max_size=200)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)


def cleaned(value: Any) -> Any:
    """What storage may do to a value: replace lone surrogates."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {readable(key): cleaned(item) for key, item in value.items()}
    return value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    question=anything,
    reply=anything,
    arguments=st.dictionaries(st.text(max_size=20), json_values, max_size=3),
    query=anything,
    value=anything,
    goals=st.lists(anything, max_size=3),
    seed=st.integers(0, 2**62),
    probability=st.floats(0, 1),
    stopped=st.booleans(),
    found=st.booleans(),
)
def test_a_turn_comes_back_as_it_was(
    shared: History,
    question: str,
    reply: str,
    arguments: dict[str, Any],
    query: str,
    value: str,
    goals: list[str],
    seed: int,
    probability: float,
    stopped: bool,
    found: bool,
) -> None:
    conversation = shared.start(question)
    asked = shared.ask(conversation, None, question, goals, seed)
    distribution = Distribution(query, "exact", (Answer(value, probability),), 1.0, 0.0, 0.0, 0)
    got = ToolResult("sample", query, (), distribution, None, (value,), value, seed, 0.1)
    call = Call("c", "sample", arguments, query, *((got, None) if found else (None, value or "-")))
    turn = Turn(
        asked.id,
        asked.question,
        asked.goals,
        seed,
        (call,),
        reply,
        replace(VERDICT, blocked=True, withheld=0.04),
        (value,),
        state="stopped" if stopped else "done",
    )
    shared.answer(conversation, turn)
    assert shared.problem is None

    (back,) = History(shared.path).turns(conversation)
    assert back.question == readable(question)
    assert back.reply == readable(reply)
    assert (back.seed, list(back.goals)) == (seed, cleaned(goals))
    assert (back.state, back.stray) == (turn.state, (readable(value),))
    assert back.verdict is not None
    judged = back.verdict
    assert (judged.safe, judged.blocked, judged.withheld) == (0.97, True, 0.04)
    (called,) = back.calls
    assert called.arguments == cleaned(arguments)
    assert called.query == readable(query)
    if found:
        assert called.result is not None and called.result.distribution is not None
        assert called.result.distribution.answers[0] == Answer(readable(value), probability)
        assert called.result.seed == seed
    else:
        assert called.error == readable(value or "-")


def test_every_field_of_a_result_comes_back(history: History) -> None:
    conversation = history.start("q")
    turn = history.ask(conversation, None, "q", (), 0)
    call = Call("c", "sample", {"n": 1}, "names: name", result())
    history.answer(conversation, Turn(turn.id, "q", calls=(call,), reply="r", state="done"))
    (back,) = History(history.path).turns(conversation)
    assert back.calls == (call,)
    assert back.exchange() is not None


def test_a_question_is_on_disk_before_its_answer(history: History) -> None:
    conversation = history.start("Are you there?")
    history.ask(conversation, None, "Are you there?", (), 0)
    (back,) = History(history.path).turns(conversation)
    assert (back.question, back.reply, back.state) == ("Are you there?", "", "stopped")


def test_a_failure_comes_back_as_one(history: History) -> None:
    conversation = history.start("q")
    turn = history.ask(conversation, None, "q", (), 0)
    history.answer(conversation, turn.after(TurnFailed("t", "The core is gone.")))
    (back,) = history.turns(conversation)
    assert (back.state, back.failure, back.reply) == ("failed", "The core is gone.", "")
    assert exchanges([back]) == ()


def test_asking_again_adds_a_branch_and_keeps_the_old_one(history: History) -> None:
    conversation = history.start("one")
    one = history.ask(conversation, None, "one", (), 0)
    reply = history.answer(conversation, Turn(one.id, "one", reply="1", state="done"))
    two = history.ask(conversation, reply, "two", (), 0)
    history.answer(conversation, Turn(two.id, "two", reply="2", state="done"))
    other = history.ask(conversation, reply, "two, again", (), 0)
    history.answer(conversation, Turn(other.id, "two, again", reply="2b", state="done"))
    assert [turn.reply for turn in history.turns(conversation)] == ["1", "2b"]
    with sqlite3.connect(history.path) as stored:
        assert stored.execute("select count(*) from message").fetchone() == (6,)


@pytest.mark.parametrize("is_asked_again", [False, True])
def test_a_clock_set_back_between_sessions_hides_no_turn(
    history: History, monkeypatch: pytest.MonkeyPatch, is_asked_again: bool
) -> None:
    def session(clock: int) -> History:
        """As a process that has made no id begins under this clock, in ns."""
        monkeypatch.setattr(tables, "_last_tick", 0)
        monkeypatch.setattr("time.time_ns", lambda: clock)
        return History(history.path)

    conversation = say(session(2 * 10**18), "one", "1")
    later = session(10**18)
    (first,) = later.turns(conversation)
    parent = None if is_asked_again else first.reply_id
    second = later.ask(conversation, parent, "two", (), 0)
    later.answer(conversation, Turn(second.id, "two", reply="2", state="done"))
    shown = [turn.reply for turn in session(10**18).turns(conversation)]
    assert shown == (["2"] if is_asked_again else ["1", "2"])
    with sqlite3.connect(history.path) as stored:
        assert stored.execute("select count(*) from message").fetchone() == (4,)


def test_a_message_sorts_after_a_parent_that_was_not_read(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_last_tick", 0)
    parent = f"{4 * 10**18:016x}abcdef"
    assert history.ask("c", parent, "q", (), 0).id > parent
    assert history.ask("c", "of another form", "q", (), 0).id > parent


def test_conversations_are_listed_newest_first_and_found_by_what_was_said(
    history: History,
) -> None:
    names = say(history, "Popular names?", "Jessica was one, with 100%_sure numbers.")
    speech = say(history, "Who wrote this?", "Lincoln.")
    assert [listed.id for listed in history.conversations()] == [speech, names]
    assert [listed.id for listed in history.conversations("lincoln")] == [speech]
    assert [listed.id for listed in history.conversations("0%_S")] == [names]
    assert history.conversations("[/nothing") == []
    other = say(history, "Élan vital?", "STRASSE")
    assert [listed.id for listed in history.conversations("éLAN")] == [other]
    assert [listed.id for listed in history.conversations("straße")] == [other]


def test_a_damaged_file_is_moved_aside_and_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"not a database at all" * 500)
    history = History(path)
    notice = history.open()
    assert notice is not None and "\n" not in notice and "history.corrupt-" in notice
    (aside,) = tmp_path.glob("history.corrupt-*.db")
    assert aside.read_bytes().startswith(b"not a database")
    say(history, "q", "r")
    assert len(History(path).conversations()) == 1


def test_a_truncated_file_is_moved_aside(history: History) -> None:
    for number in range(60):
        say(history, f"question {number} " + "x" * 500, "y" * 500)
    content = history.path.read_bytes()
    history.path.write_bytes(content[: len(content) // 2])
    again = History(history.path)
    assert "history.corrupt-" in (again.open() or "")
    assert again.conversations() == []


def test_a_file_that_breaks_while_open_loses_nothing_of_the_session(history: History) -> None:
    conversation = say(history, "before", "it broke")
    history.path.write_bytes(b"overwritten by something else" * 400)
    later = history.ask(conversation, None, "after", (), 0)
    assert "history.corrupt-" in (history.problem or "")
    history.answer(conversation, Turn(later.id, "after", reply="it broke", state="done"))
    assert history.problem is None
    again = History(history.path)
    assert [listed.title for listed in again.conversations()] == ["before"]
    assert [turn.question for turn in again.turns(conversation)] == ["after"]
    with sqlite3.connect(history.path) as stored:
        assert stored.execute("select count(*) from message").fetchone() == (4,)


def test_a_full_disk_keeps_turns_in_memory_until_there_is_room(history: History) -> None:
    pages = 14

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    long = "x" * 200_000
    conversation = history.start("q")
    turn = history.ask(conversation, None, long, (), 0)
    assert history.problem is not None and "full" in history.problem
    assert "\n" not in history.problem and history.unsaved == 2
    history.answer(conversation, Turn(turn.id, long, reply="still here", state="done"))
    assert [back.reply for back in history.turns(conversation)] == ["still here"]
    assert [listed.id for listed in history.conversations()] == [conversation]
    assert History(history.path).turns(conversation) == ()

    pages = 1_000_000
    assert history.save_again() is None
    assert history.unsaved == 0
    assert [back.reply for back in History(history.path).turns(conversation)] == ["still here"]
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)


def test_a_first_start_that_breaks_off_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and version are made together or not at all, so no half of them is in the way."""
    from alembic import op

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "history.db"
    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", full)
        broken = History(path)
        assert "No space left" in (broken.open() or "")
    with sqlite3.connect(path) as stored:
        assert stored.execute("select count(*) from sqlite_master").fetchone() == (0,)
    assert History(path).open() is None
    conversation = say(broken, "q", "r")
    assert [turn.reply for turn in History(path).turns(conversation)] == ["r"]


def test_a_second_process_waits_for_the_first_to_make_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    code = (
        "import sys, pathlib; from persona.history import History;"
        f"h = History(pathlib.Path({str(path)!r})); sys.exit(h.open())"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]


def test_a_damaged_cell_is_said_and_the_rest_is_shown(history: History) -> None:
    conversation = say(history, "q", "r")
    with sqlite3.connect(history.path) as stored:
        stored.execute("update tool_call set arguments = '{oops'")
        stored.execute("update message set goals = '{oops' where role = 'user'")
    again = History(history.path)
    again.turns(conversation)
    assert again.problem is not None and "damaged" in again.problem
    assert [listed.title for listed in again.conversations()] == ["q"]


def test_a_folder_that_cannot_be_made_leaves_the_chat_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file" / "history.db")
    notice = history.open()
    assert notice is not None and "kept in memory" in notice
    conversation = say(history, "q", "r")
    assert [turn.reply for turn in history.turns(conversation)] == ["r"]
    other = say(history, "another", "about Überwald")
    assert [listed.id for listed in history.conversations("überWALD")] == [other]
    (tmp_path / "file").unlink()
    assert history.save_again() is None
    assert [turn.reply for turn in History(history.path).turns(conversation)] == ["r"]


def test_who_wrote_a_reply_is_kept(history: History) -> None:
    conversation = history.start("q")
    turn = history.ask(conversation, None, "q", ("honest", "warm"), 3)
    for event in (READ, WEIGHED, Reply("t", "r", (), None)):
        turn = turn.after(event)
    history.answer(conversation, turn)
    (kept,) = History(history.path).turns(conversation)
    assert kept.read == READ and kept.weighed == WEIGHED
    with sqlite3.connect(history.path) as stored:
        stored.execute("update message set authorship = ?", ('{"read": {"a": 1}, "later": 2}',))
    (kept,) = History(history.path).turns(conversation)
    assert kept.reply == "r" and kept.read is None and kept.weighed is None
    assert kept.goals == ("honest", "warm")


def test_a_file_of_a_newer_version_is_left_alone(history: History) -> None:
    say(history, "q", "r")
    with sqlite3.connect(history.path) as stored:
        stored.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = history.path.read_bytes()
    newer = History(history.path)
    assert "newer Candor" in (newer.open() or "")
    conversation = say(newer, "kept", "in memory")
    assert [turn.reply for turn in newer.turns(conversation)] == ["in memory"]
    assert history.path.read_bytes() == before


def migrated(path: Path, revision: str) -> None:
    """A file with the tables of a revision."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", str(Path(persona.__file__).parent / "migrations"))
    with create_engine(f"sqlite:///{path}").connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """As version 1 wrote it: what a failed turn said stood in the place of its text."""
    path = tmp_path / "history.db"
    migrated(path, "0001")
    with sqlite3.connect(path) as stored:
        stored.execute("insert into conversation values ('c', 'title', '2026-11-22', '[]')")
        columns = "(id, conversation_id, parent_id, role, text, created, stopped)"
        for row in (
            ("m1", "c", None, "user", "a question", "2026-11-22", 0),
            ("m2", "c", "m1", "failure", "Out of memory.", "2026-11-22", 0),
            ("m3", "c", "m2", "user", "another", "2026-11-22", 0),
            ("m4", "c", "m3", "assistant", "a reply", "2026-11-22", 0),
        ):
            stored.execute(f"insert into message {columns} values (?, ?, ?, ?, ?, ?, ?)", row)
        stored.execute("PRAGMA user_version = 1")
    history = History(path)
    assert history.open() is None
    turns = history.turns("c")
    assert [(turn.state, turn.reply, turn.failure) for turn in turns] == [
        ("failed", "", "Out of memory."),
        ("done", "a reply", None),
    ]
    assert (tmp_path / "history.before-v2.db").exists()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_file_of_any_version_takes_what_is_said_now(tmp_path: Path, version: int) -> None:
    path = tmp_path / "history.db"
    migrated(path, f"{version:04}")
    with sqlite3.connect(path) as stored:
        stored.execute(f"PRAGMA user_version = {version}")
    history = History(path)
    assert history.open() is None
    conversation = history.start("q")
    asked = history.ask(conversation, None, "q", ("honest",), 3)
    history.answer(conversation, asked.after(Reply("t", "r", (), VERDICT)))
    assert (history.problem, history.unsaved) == (None, 0)
    (turn,) = History(path).turns(conversation)
    assert turn.reply == "r" and turn.verdict is not None
    assert replace(turn.verdict, turn_id="t") == VERDICT


def test_every_migration_counts_as_a_version() -> None:
    versions = Path(persona.__file__).parent / "migrations" / "versions"
    assert len(list(versions.glob("v*.py"))) == SCHEMA_VERSION


def test_a_rival_stands_beside_the_answer_and_is_never_taken_for_it(history: History) -> None:
    conversation = history.start("q")
    turn = history.ask(conversation, None, "q", ("honest",), 3)
    said = turn.after(Reply("t", "mine", (), VERDICT))
    reply = history.answer(conversation, said)
    rival = Turn(turn.id, "q", agent="base").after(Reply("t", "its own", (), VERDICT))
    history.answer(conversation, rival)
    history.answer(conversation, history.ask(conversation, reply, "more", (), 4).stop())
    first, second = History(history.path).turns(conversation)
    assert (first.reply, first.reply_id, first.agent) == ("mine", reply, "")
    assert first.rival is not None
    assert (first.rival.agent, first.rival.reply, first.rival.state) == ("base", "its own", "done")
    assert first.rival.verdict is not None
    assert (second.question, second.rival) == ("more", None)
    assert [e.reply for e in exchanges((first, second))] == ["mine"]


def test_what_was_written_before_a_failure_is_kept(history: History) -> None:
    conversation = history.start("q")
    turn = history.ask(conversation, None, "q", (), 0)
    broken = turn.after(ReplyDelta("t", "Half a rep")).after(TurnFailed("t", "Out of memory."))
    history.answer(conversation, broken)
    (back,) = History(history.path).turns(conversation)
    assert (back.state, back.reply, back.failure) == ("failed", "Half a rep", "Out of memory.")


def test_migrations_make_the_tables_that_the_program_uses(history: History) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    with create_engine(f"sqlite:///{history.path}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_an_up_to_date_file_does_not_load_alembic(history: History) -> None:
    say(history, "q", "r")
    code = (
        "import sys, pathlib; from persona.history import History;"
        f"h = History(pathlib.Path({str(history.path)!r})); assert h.open() is None;"
        "assert len(h.conversations()) == 1; assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_turn_is_the_fold_of_its_events() -> None:
    events = [
        TurnStarted("t", "q", 8),
        ToolStarted("t", "c", "sample", {"n": 1}, "names: name"),
        ToolFinished("t", "c", result()),
        ReplyDelta("t", "Jess"),
        ReplyDelta("t", "ica"),
        NumbersChecked("t", ("2.6%",), ("9",)),
        VERDICT,
    ]
    # The seed stays the stored one: whoever answers the same question beside starts from it too.
    turn = Turn("id", "q", seed=5)
    for event in events:
        turn = turn.after(event)
    assert (turn.reply, turn.state, turn.seed, turn.stray) == ("Jessica", "running", 5, ("9",))
    assert turn.stop().state == "stopped"
    turn = turn.after(Reply("t", "Jessica.", (ToolCall("sample", {"n": 1}),), VERDICT))
    assert (turn.reply, turn.state, turn.verdict) == ("Jessica.", "done", VERDICT)
    assert turn.stop() is turn
    (exchange,) = exchanges([turn])
    assert [call.name for call in exchange.tool_calls] == ["sample"]


def test_a_turn_cut_short_leaves_no_call_running() -> None:
    started = Turn("id", "q").after(ToolStarted("t", "c", "sample", {"n": 1}, "names: name"))
    assert started.calls[0].is_running
    for ended in (started.stop(), started.after(TurnFailed("t", "Out of memory."))):
        assert ended.calls[0].error == "Stopped before it was done."


@given(st.text(st.characters()))
def test_a_cleaned_question_is_clean(text: str) -> None:
    try:
        cleaned = clean_question(text)
    except CandorError:
        return
    cleaned.encode()
    assert clean_question(cleaned) == cleaned
    assert not any(ord(c) < 32 and c not in "\n\t" for c in cleaned)


@pytest.mark.parametrize(
    "text", ["", " \n\t ", "\x00\x1b", "x" * (QUESTION_LIMIT + 1), "x" * 10**6]
)
def test_an_unusable_question_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(CandorError) as caught:
        clean_question(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_a_conversation_that_is_deleted_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    assert history.open() is None
    kept, gone = say(history, "What is kept?", "This."), say(history, "A secret?", "Swordfish.")
    history.delete(gone)
    assert [each.id for each in history.conversations()] == [kept]
    assert history.turns(gone) == () and len(history.turns(kept)) == 1
    # What lay in the file is overwritten, and what this session knows is not written again.
    assert b"Swordfish" not in history.path.read_bytes()
    history.path.write_bytes(b"no database")
    say(history, "Another?", "Yes.")
    assert {each.title for each in history.conversations()} == {"What is kept?", "Another?"}
    history.delete("none such")


def test_what_waits_to_be_saved_is_deleted_with_its_conversation(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    assert history.open() is None
    waiting = history.start("Unsaved?")
    assert history.unsaved
    history.delete(waiting)
    assert not history.unsaved and not history.conversations()


def test_where_a_conversation_cannot_be_deleted_that_is_said(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    assert history.open() is None
    kept = say(history, "Kept?", "Yes.")
    with sqlite3.connect(history.path) as other:
        refuse = "BEGIN SELECT RAISE(ABORT, 'no'); END"
        other.execute(f"CREATE TRIGGER no BEFORE DELETE ON message {refuse}")
    with pytest.raises(StorageError, match=r"Not deleted \(no\)\. Try again\."):
        history.delete(kept)
    assert len(history.turns(kept)) == 1


def test_what_is_said_in_another_window_of_a_deleted_conversation_stays(tmp_path: Path) -> None:
    here, there = History(tmp_path / "history.db"), History(tmp_path / "history.db")
    assert here.open() is None and there.open() is None
    conversation = say(here, "First?", "Yes.")
    there.delete(conversation)
    turn = here.ask(conversation, None, "Second?", (), 1)
    here.answer(conversation, Turn(turn.id, turn.question, reply="Here.", state="done"))
    assert [each.id for each in there.conversations()] == [conversation]
    assert [each.question for each in there.turns(conversation)] == ["Second?"]


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "data" / "history.db")
    history.open()
    assert history.path.stat().st_mode & 0o777 == 0o600
    history.path.chmod(0o644)  # as earlier versions left it
    assert History(history.path).open() is None
    assert history.path.stat().st_mode & 0o777 == 0o600
    assert history.path.parent.stat().st_mode & 0o777 == 0o700
