"""The `candor` command: what it prints, how it fails, and that every front end tells the same."""

from __future__ import annotations

import io
import json
import math
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from core_model.config import Settings
from core_model.core import Core, Estimate
from core_model.errors import CandorError, WeightsError
from persona.events import (
    AuthorRead,
    Confidence,
    DraftsWeighed,
    Event,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    TurnFailed,
    TurnStarted,
)
from persona.goals import DEFAULT_GOALS, GOALS
from persona.history import History
from persona.turn import Call, Turn
from tests import recorded, toy
from tests.fake_agent import FakeAgent, echoes, says
from tools import TOOLS, ToolResult, safety
from tui import cli, plain, queries, render
from tui.session import AgentFactory, Chat, Progress


class FakeProgram(cli.Program):
    """A program on a toy core and a fake agent; `error` is raised on loading."""

    def __init__(self, folder: Path, core: Core | None = None) -> None:
        super().__init__(Settings(cache_dir=folder / "cache", data_dir=folder / "data"))
        self.core = core
        self.agent = FakeAgent(echoes)
        self.error: BaseException | None = None
        self.loads = 0

    def load_core(self, progress: Progress) -> Core:
        self.loads += 1
        if self.error is not None:
            raise self.error
        assert self.core is not None
        return self.core

    def load_agents(self, progress: Progress) -> AgentFactory:
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.agent.load(progress)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[FakeProgram]:
    with toy.registered(*toy.all_toys()) as core:
        yield FakeProgram(tmp_path, core)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ---- ask -------------------------------------------------------------------------------------


def test_ask_json_ends_with_the_reply(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    program.agent = FakeAgent()
    assert cli.run(["ask", "--json", "names?"], program) == 0
    lines = json_lines(capsys.readouterr().out)
    assert [line["type"] for line in lines[:4]] == [
        "turn_started", "action_chosen", "tool_started", "tool_finished",
    ]  # fmt: skip
    last = lines[-1]
    assert last["type"] == "reply"
    assert last["tool_calls"][0]["name"] == "sample"
    assert last["tool_calls"][0]["arguments"]["given"] == {"year": "1985", "sex": "female"}
    assert last["safety"]["safe"] == 0.97
    assert last["text"].startswith("**Jessica**")


def test_ask_prints_cards_reply_and_verdict(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    program.agent = FakeAgent()
    assert cli.run(["ask", "What", "names?", "--seed", "5"], program) == 0
    out = capsys.readouterr().out
    assert "sample  names: name | year=1985, sex=female" in out
    assert "Jessica" in out and "2.6%" in out
    assert "safe 97% · refusal 2.1% · harmful prompt 0.83%" in out
    assert "\x1b" not in out
    assert program.agent.asked[0][1] == "What names?"
    assert program.agent.made == [(DEFAULT_GOALS, 5)]


def test_batch_answers_each_line_as_its_own_conversation(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "one\n\ntwo\r\nthree")
    assert cli.run(["ask", "--batch", "--json"], program) == 0
    replies = [x for x in json_lines(capsys.readouterr().out) if x["type"] == "reply"]
    assert [reply["text"] for reply in replies] == [
        f"You said: {word}" for word in ("one", "two", "three")
    ]
    assert [history for history, _ in program.agent.asked] == [(), (), ()]
    assert program.loads == 1


def test_a_batch_goes_on_after_a_question_that_fails(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "good\n" + "x" * 30_000 + "\n\x00\x01\nbetter\n")
    assert cli.run(["ask", "--batch", "--json"], program) == 2
    replies = [x for x in json_lines(capsys.readouterr().out) if x["type"] == "reply"]
    assert [reply["text"] for reply in replies] == ["You said: good", "", "", "You said: better"]
    assert "at most 20,000" in replies[1]["error"]
    assert "empty" in replies[2]["error"]


def test_goals_of_one_question(program: FakeProgram) -> None:
    assert cli.run(["ask", "--goals", "+brief", "hi"], program) == 0
    assert program.agent.made[0][0] == (*DEFAULT_GOALS, "brief")


@pytest.mark.parametrize(
    ("arguments", "stays"),
    [(["ask", "hi"], False), (["ask", "--batch"], True), (["chat", "--plain"], True)],
)
def test_what_answers_many_questions_stays(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch, arguments: list[str], stays: bool
) -> None:
    typed(monkeypatch, "hi\n")
    assert cli.run(arguments, program) == 0
    assert program.stays == stays


@pytest.mark.parametrize("stays", [True, False])
def test_drafts_reach_the_agent_and_a_core_that_stays_warms_up(
    monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    program = cli.Program(Settings.from_environment())
    core = Mock(spec=Core)
    monkeypatch.setattr(program, "load_core", lambda progress: core)
    program.drafts, program.stays = 3, stays
    agent = program.load_agents(lambda name, share: None)(DEFAULT_GOALS, 1, "")
    assert agent.drafts == 3  # type: ignore[attr-defined]
    assert core.warm_up.call_count == stays


@pytest.mark.parametrize(
    ("goals", "conducts", "line"),
    [
        (("honest",), {"honest": 0.93, "evasive": 0.07}, "· reads as honest 93%, warm 80%"),
        (
            ("honest",), {"honest": 0.1, "evasive": 0.9},
            "! reads as evasive 90%, warm 80% · asked for honest",
        ),
        (("honest",), {"honest": 0.4, "careless": 0.6}, "· reads as honest 100%, warm 80%"),
        ((), {"honest": 0.2, "evasive": 0.8}, "· reads as evasive 80%, warm 80%"),
    ],
)  # fmt: skip
def test_who_a_reply_reads_as_stands_under_it(
    goals: tuple[str, ...], conducts: dict[str, float], line: str
) -> None:
    voices = {"warm": 0.8, "plain": 0.2}
    turn = Turn("t", "q", goals)
    for written, ending in (("warm", ""), ("", ""), ("plain", " · written as plain")):
        shown = turn.after(AuthorRead("t", conducts, voices, written))
        expected = line.replace("warm 80%", f"warm 80%{ending}")
        assert render.plain(render.notes(shown)) == expected
    weighed = turn.after(DraftsWeighed.of("t", (0.25, 0.75), 1))
    assert render.plain(render.notes(weighed)) == "· draft 2 of 2 kept, weight 75% · cost 0.19 bits"


def test_ask_marks_a_reply_that_does_not_read_as_asked_for(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    read = AuthorRead("t", {"honest": 0.9, "sycophantic": 0.1}, {"plain": 1.0})
    program.agent = FakeAgent(lambda q: [TurnStarted("t", q, 0), read, Reply("t", "So.", (), None)])
    assert cli.run(["ask", "--goals", "sycophantic", "is it?"], program) == 0
    assert "! reads as honest 90%, plain 100% · asked for sycophantic" in capsys.readouterr().out


# ---- failures --------------------------------------------------------------------------------


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in captured.err
    assert lines[0].startswith("candor: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", ""], "empty"),
        (["ask", "\x00\x1b"], "empty"),
        (["ask", "x" * 1_000_000], "at most 20,000"),
        (["ask", "--batch", "and this"], "--batch"),
        (["ask", "--goals", "rude", "hi"], "Unknown goal 'rude'"),
        (["ask", "--seed", "many", "hi"], "--seed"),
        (["query"], "Give either"),
        (["query", "nams: name"], "Unknown corpus 'nams'"),
        (["query", "names: auther"], "auther"),
        (["query", "names: name | year="], ""),
        (["query", "names: name | sex=robot"], "robot"),
        (["query", "speeches: author", "--data", ""], "is empty"),
        (["query", "speeches: author", "--data", "x" * 1_000_000], "at most 20,000"),
        (["query", "names: sex", "--top", "0"], ""),
        (["query", "names: sex", "--method", "magic"], "magic"),
        (["query", "--batch", "no/such/file"], "could not be read"),
        (["query", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["chat"], "needs a terminal"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    program: FakeProgram,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    typed(monkeypatch, "")
    assert cli.run(arguments, program) == 2
    line = one_line(capsys)
    assert said in line and len(line) < 400


def test_a_core_that_does_not_load_is_one_line(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    program.error = WeightsError("The weights are cut short.\nRun scripts/chat again.")
    assert cli.run(["ask", "hi"], program) == 2
    assert "cut short. Run scripts/chat again." in one_line(capsys)


def test_the_unforeseen_is_one_line_a_log_and_status_1(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    program.error = RuntimeError("the sky fell\non our heads")
    assert cli.run(["ask", "hi"], program) == 1
    line = one_line(capsys)
    assert "RuntimeError: the sky fell on our heads" in line and "candor.log" in line
    assert "Traceback" in (program.settings.data_dir / "candor.log").read_text()


def test_an_agent_that_breaks_is_one_line_in_the_reply(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    program.agent.fails_after = 2
    program.agent.error = ValueError("boom")
    assert cli.run(["ask", "--json", "hi"], program) == 2
    lines = json_lines(capsys.readouterr().out)
    assert lines[-1]["type"] == "reply" and "boom" in lines[-1]["error"]
    assert cli.run(["ask", "hi"], program) == 2
    assert "✗ Something unforeseen" in capsys.readouterr().out


def test_ctrl_c_is_130(program: FakeProgram, capsys: pytest.CaptureFixture[str]) -> None:
    program.error = KeyboardInterrupt()
    assert cli.run(["ask", "hi"], program) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_bad_environment_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDOR_THREADS", "several")
    assert cli.run(["goals"]) == 2
    assert "CANDOR_THREADS" in one_line(capsys)


# ---- query -----------------------------------------------------------------------------------

NAMES = "names: name | year=1985, sex=female"


def test_query_as_json(program: FakeProgram, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["query", NAMES, "--top", "2", "--json"], program) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["query"] == NAMES
    assert [answer["value"] for answer in out["answers"]] == ["Jessica", "Jennifer"]
    assert out["method"] == "exact" and out["entropy_nats"] > 0


def test_query_as_text(program: FakeProgram, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["query", NAMES, "--top", "2"], program) == 0
    out = capsys.readouterr().out
    assert NAMES in out and "Jessica" in out and "41%" in out and "━" in out
    assert cli.run(["query", "names: sex | year=1985", "--method", "all"], program) == 0
    assert "counted" in capsys.readouterr().out
    assert cli.run(["query", "names: P(sex=female | year=1985)"], program) == 0
    assert "model, exact" in capsys.readouterr().out
    assert cli.run(["query", "names: H(sex | year=1985)", "--method", "all"], program) == 0
    assert " bits" in capsys.readouterr().out
    assert cli.run(["query", 'speeches: H(author | text="What is P(A)?")'], program) == 0
    assert " bits" in capsys.readouterr().out
    assert cli.run(["query", "speeches: author^-1 | author=lincoln", "--top", "2"], program) == 0
    assert "sampled · listed 100.0%" in capsys.readouterr().out


def test_query_reads_its_data_from_standard_input(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "we must think anew, \x00and act anew\n")
    assert cli.run(["query", "speeches: author", "--data", "-", "--json"], program) == 0
    assert json.loads(capsys.readouterr().out)["answers"][0]["value"] == "Abraham Lincoln"


def test_query_batch_keeps_order_and_marks_what_fails(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(
        "\n".join(
            [
                json.dumps({"query": NAMES, "top": 1}),
                json.dumps({"query": "names: nothing"}),
                "not json",
                json.dumps(["a list"]),
                json.dumps({"query": NAMES, "tops": 3}),
                json.dumps({"query": NAMES, "top": "3"}),
                json.dumps({"query": "speeches: author", "data": "x" * 40_000}),
                "",
                json.dumps({"query": "names: sex", "data": "Jennifer", "method": "data"}),
            ]
        )
    )
    assert cli.run(["query", "--batch", str(file)], program) == 0
    lines = json_lines(capsys.readouterr().out)
    assert ["error" in line for line in lines] == [False, *[True] * 6, False]
    assert [line.get("line") for line in lines[1:7]] == [2, 3, 4, 5, 6, 7]
    assert lines[0]["answers"][0]["value"] == "Jessica"
    assert lines[7]["answers"] == [{"value": "female", "probability": 1.0}]
    assert program.loads == 1


def test_query_batch_from_standard_input(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, json.dumps({"query": NAMES}) + "\n")
    assert cli.run(["query", "--batch", "-", "--top", "1"], program) == 0
    (line,) = json_lines(capsys.readouterr().out)
    assert len(line["answers"]) == 1


def test_a_query_is_checked_before_the_core_is_loaded(program: FakeProgram) -> None:
    assert cli.run(["query", "names: auther"], program) == 2
    assert program.loads == 0


# ---- lists -----------------------------------------------------------------------------------


def test_goals_and_tools_are_listed(
    program: FakeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["goals"], program) == 0
    out = capsys.readouterr().out
    assert all(goal.doc in out for goal in GOALS.values())
    assert cli.run(["tools"], program) == 0
    out = capsys.readouterr().out
    assert all(tool.command_line() in out for tool in TOOLS.values())
    assert cli.run(["tools", "--json"], program) == 0
    schemas = json.loads(capsys.readouterr().out)
    assert {schema["name"] for schema in schemas} == set(TOOLS)


def test_corpora_are_listed_each_with_a_query_that_can_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from core_model import corpora, notation
    from core_model.corpora.network_plans import PLANS
    from core_model.planning import plan
    from tools import joint

    program = FakeProgram(tmp_path)  # without toys in place of corpora
    assert cli.run(["corpora"], program) == 0
    out = capsys.readouterr().out
    for name in corpora.known():
        if name in PLANS:  # fetched when it is first asked for
            continue
        schema = corpora.schema(name)
        query, document = schema.example
        assert schema.doc in out and query.split("|")[0] in out
        parsed = joint.resolve(notation.parse(query))
        assert isinstance(parsed, notation.Draw) and parsed.corpus == name
        plan(parsed, data=document or None)
        assert cli.run(["corpora", name], program) == 0
        in_full = capsys.readouterr().out
        assert all(v.name in in_full and v.doc in in_full for v in schema.variables)
    assert cli.run(["corpora", "nope"], program) == 2
    assert "There are: names, places" in capsys.readouterr().err


def test_a_corpus_that_cannot_be_fetched_is_told_and_the_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core_model.corpora.networks import Network
    from core_model.errors import EngineError

    def absent(network: Network) -> None:
        raise EngineError(f"The network {network.name} could not be fetched.")

    monkeypatch.setattr(Network, "schema", property(absent))
    assert cli.run(["corpora"], FakeProgram(tmp_path)) == 0
    out = capsys.readouterr().out
    assert "The network asia could not be fetched." in out and "annual addresses" in out


def test_the_version_says_which_adapter_answers(
    program: FakeProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["--version"], program) == 0
    shipped = capsys.readouterr().out
    assert re.fullmatch(r"candor \d+\.\d+\.\d+, adapter [0-9a-f]{12}\n", shipped)
    (tmp_path / "adapter.safetensors").write_bytes(b"another")
    assert cli.run(["--adapter", str(tmp_path), "--version"], program) == 0
    assert capsys.readouterr().out != shipped
    assert cli.run(["--adapter", str(tmp_path / "none"), "--version"], program) == 2


def test_help_names_every_command(program: FakeProgram, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([], program) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("chat", "ask", "query", "goals", "tools", "--base"))


def test_base_and_adapter_reach_the_settings(program: FakeProgram) -> None:
    assert cli.run(["--base", "here", "--adapter", "there", "ask", "hi"], program) == 0
    assert (program.settings.base, program.settings.adapter) == ("here", Path("there"))


def test_the_chat_takes_them_too_as_its_script_passes_them_on(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "/quit")
    assert cli.run(["chat", "--plain", "--base", "here", "--adapter", "there"], program) == 0
    assert (program.settings.base, program.settings.adapter) == ("here", Path("there"))


def test_the_command_starts_light() -> None:
    code = (
        "import sys, tui.cli; heavy = {'torch', 'pandas', 'scipy', 'textual', 'sqlalchemy',"
        " 'alembic', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- one stream, every front end -------------------------------------------------------------


def test_plain_and_json_tell_the_same_stream() -> None:
    events = recorded.names_turn()
    text: list[str] = []
    turn = plain.print_events(events, Turn("t", "q"), text.append)
    lines: list[str] = []
    assert plain.print_json(events, lines.append)
    found = [json.loads(line) for line in lines]
    assert found[-1]["text"] == turn.reply
    said = "".join(text)
    assert turn.reply in said
    for call in turn.calls:
        assert call.query in said
    for answer in found[3]["result"]["distribution"]["answers"][:6]:
        assert answer["value"] in said


@pytest.mark.parametrize(("p", "word"), [(0.95, "sure"), (0.6, "likely"), (0.3, "unsure")])
def test_how_sure_a_fact_is_stands_in_words_and_numbers(p: float, word: str) -> None:
    line = render.plain([render.confidence_line(Confidence("t", "a\nb", p, 0.5, 2 * math.log(2)))])
    assert re.fullmatch(rf"[·?] {word}: a b {p:.0%} · entropy 0.72 of 2.00 bits", line)


def test_a_rival_answers_in_plain_text_and_beside_the_persona(
    program: FakeProgram, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["ask", "--agent", "base", "hello"], program) == 0
    assert "The base has no tool." in capsys.readouterr().out
    out: list[str] = []
    lines = iter(["/compare", "/compare hello", "/quit"])
    chat = Chat(History(tmp_path / "h.db"), DEFAULT_GOALS)
    agents = FakeAgent(echoes).load(lambda what, part: None)
    plain.PlainChat(chat, agents, lambda prompt: next(lines), out.append, str).run()
    text = "".join(out)
    assert "Nothing has been asked yet" in text
    assert text.index("You said: hello") < text.index("[the instruct base")
    assert chat.turns[-1].rival is not None
    assert chat.turns[-1].rival.reply == "The base has no tool."


def test_a_safety_card_says_which_number_is_which() -> None:
    estimates = tuple(Estimate("exact", p, 0.0, 0) for p in (0.97, 0.02, 0.01))
    result = ToolResult("safety", "", estimates, None, None, (), "", 0, 0.0)
    call = Call("1", "safety", {}, "", result)
    lines = [line for line in render.plain(render.card_body(call, 78)).splitlines() if "%" in line]
    assert [line.split()[0] for line in lines] == list(safety.VARIABLES)


@pytest.mark.parametrize("n", [3, 9, 100])
def test_samples_that_do_not_fit_are_counted(n: int) -> None:
    names = [f"Name{i}" for i in range(n)]
    text = render.plain(render.sample_lines(names, 40, "open"))
    shown = len(re.findall(r"Name\d+", text))
    assert shown == n or text.endswith(f"and {n - shown} more")
    assert (shown < n) == (n == 100)


def test_what_is_blocked_is_never_printed() -> None:
    out: list[str] = []
    blocked = SafetyVerdict("t", 0.01, 0.0, 0.9, True)
    events = [
        TurnStarted("t", "q", 0),
        ReplyDelta("t", "Take the detonator"),
        blocked,
        Reply("t", "I won't help with that.", (), blocked),
    ]
    turn = plain.print_events(events, Turn("t", "q"), out.append)
    assert turn.reply == "I won't help with that."
    assert "I won't help with that." in "".join(out)
    assert "detonator" not in "".join(out)
    lines: list[str] = []
    assert plain.print_json(events, lines.append)
    assert "detonator" not in "".join(lines)
    assert [json.loads(line)["type"] for line in lines] == [
        "turn_started",
        "safety_verdict",
        "reply",
    ]


@pytest.mark.parametrize("end", [TurnFailed("t", "The engine is gone."), None])
def test_what_nobody_judged_is_not_printed(end: Event | None) -> None:
    events = [TurnStarted("t", "q", 0), ReplyDelta("t", "Take the detonator"), *([end] * bool(end))]
    out: list[str] = []
    turn = plain.print_events(events, Turn("t", "q"), out.append)
    assert turn.failure is not None and turn.failure in "".join(out)
    assert not plain.print_json(events, out.append)
    assert "detonator" not in "".join(out)


def test_pieces_of_a_reply_that_is_safe_come_in_their_order() -> None:
    lines: list[str] = []
    events = recorded.names_turn()
    plain.print_json(events, lines.append)
    assert lines == [plain.json_line(event) + "\n" for event in events]


def test_closed_streams_and_bytes_that_are_no_text() -> None:
    """As from a service without a terminal; the query fails before a core would be loaded."""
    command = [sys.executable, "-m", "tui.cli", "query", "names: colour"]
    shell = ["sh", "-c", f"exec {shlex.join(command)} <&- >&-"]
    run = subprocess.run(shell, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("candor: Unknown relation 'colour'")


def test_a_batch_file_is_split_at_line_breaks_alone(
    program: FakeProgram, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"query": "speeches: author", "data": "we must\u2028think\x85anew"}, {"query": NAMES}]
    path = tmp_path / "queries.jsonl"
    path.write_text(
        "\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8"
    )
    assert cli.run(["query", "--batch", str(path)], program) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["error" in result for result in results] == [False, False]
    assert cli.run(["query", "--batch", str(path), "--data", "-"], program) == 2


def test_hostile_text_reaches_no_terminal() -> None:
    events = [
        TurnStarted("t", "q", 0),
        ReplyDelta("t", "\x1b[2Jgone\x07\ud800"),
        Reply("t", "\x1b[2Jgone\x07\ud800", (), None),
    ]
    text: list[str] = []
    plain.print_events(events, Turn("t", "q"), text.append)
    assert "".join(text).strip() == "[2Jgone\ufffd"
    lines: list[str] = []
    plain.print_json(events, lines.append)
    assert all(line.isascii() and "\x1b" not in line for line in lines)


# ---- the plain chat --------------------------------------------------------------------------


class Typing:
    """Lines typed one after another, then the end of input."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)

    def __call__(self, prompt: str) -> str:
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


def plain_chat(folder: Path, agent: FakeAgent, *lines: str) -> tuple[str, Chat]:
    history = History(folder / "history.db")
    assert history.open() is None
    chat = Chat(history, DEFAULT_GOALS)
    said: list[str] = []
    agents = agent.load(lambda what, part: None)
    plain.PlainChat(chat, agents, Typing(*lines), said.append, lambda e: f"failed: {e}").run()
    return "".join(said), chat


def test_the_plain_chat_answers_and_remembers(tmp_path: Path) -> None:
    agent = FakeAgent(echoes)
    said, chat = plain_chat(
        tmp_path, agent, "hello", "", "/goals +brief", "again", "/nonsense", "/help",
        f"/export {tmp_path / 'x.md'}", "/new", "other", "/quit", "never",
    )  # fmt: skip
    assert "You said: hello" in said and "You said: again" in said and "never" not in said
    assert "no command /nonsense" in said and "/export [FILE]" in said
    assert [len(before) for before, _ in agent.asked] == [0, 1, 0]
    assert agent.made[1][0] == (*DEFAULT_GOALS, "brief")
    assert (tmp_path / "x.md").exists()
    assert [listed.title for listed in chat.history.conversations()] == ["other", "hello"]


def test_the_plain_chat_deletes_what_it_is_told_to_twice(tmp_path: Path) -> None:
    said, chat = plain_chat(
        tmp_path, FakeAgent(echoes), "/delete", "one", "/new", "two", "/delete", "/delete", "/quit"
    )
    assert "no conversation to delete" in said and "once more" in said and "is deleted" in said
    assert [listed.title for listed in chat.history.conversations()] == ["one"]


def test_the_plain_chat_exports_nothing_where_nothing_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said, _ = plain_chat(tmp_path, FakeAgent(echoes), "/export", "hello", "/export   notes.md ")
    assert "nothing to export" in said
    assert [path.name for path in tmp_path.glob("*.md")] == ["notes.md"]


def test_ctrl_c_at_the_prompt_saves_once_more(tmp_path: Path) -> None:
    class Waiting(History):
        tried = 0

        @property
        def unsaved(self) -> int:
            return 1

        def save_again(self) -> str | None:
            self.tried += 1
            return "Not saved."

    def read(_: str) -> str:
        raise KeyboardInterrupt

    history = Waiting(tmp_path / "history.db")
    said: list[str] = []
    agents = FakeAgent().load(lambda *_: None)
    chat = plain.PlainChat(Chat(history, ()), agents, read, said.append, str)
    with pytest.raises(KeyboardInterrupt):
        chat.run()
    assert history.tried == 1 and said[-1] == "! Not saved.\n"


def test_the_plain_chat_survives_failures_and_ctrl_c(tmp_path: Path) -> None:
    agent = FakeAgent(says("one two three"), fails_after=3, error=ValueError("boom"))
    said, chat = plain_chat(tmp_path, agent, "x" * 30_000, "hi")
    assert "at most 20,000" in said and "failed: boom" in said
    assert [(turn.state, turn.reply) for turn in chat.turns] == [("failed", "")]

    class Interrupted(FakeAgent):
        def turn(self, history: Any, question: str, cancel: threading.Event) -> Iterator[Event]:
            yield TurnStarted("t", question, 0)
            yield ReplyDelta("t", "so far")
            raise KeyboardInterrupt

    said, chat = plain_chat(tmp_path / "two", Interrupted(), "hi")
    (turn,) = chat.turns
    assert (turn.state, turn.reply) == ("stopped", "")  # nobody had judged it
    assert "■ stopped" in said
    (listed,) = chat.history.conversations()
    assert [stored.reply for stored in chat.history.turns(listed.id)] == [""]


def test_a_turn_failed_event_in_plain(tmp_path: Path) -> None:
    agent = FakeAgent(lambda q: [TurnStarted("t", q, 0), TurnFailed("t", "No such year.")])
    said, _ = plain_chat(tmp_path, agent, "hi")
    assert "✗ No such year." in said
    agent.make = lambda q: [TurnStarted("t", q, 0)]
    said, _ = plain_chat(tmp_path / "two", agent, "hi")
    assert "broke off" in said


def test_unknown_keys_of_a_batch_line_are_named() -> None:
    with pytest.raises(CandorError, match="query, data, top, method, seed"):
        queries.run_line('{"query": "x", "tip": 1}', lambda *_: {}, {})
    settings = Settings(Path("a"), Path("b"))
    assert replace(settings, base="x").base == "x"
