"""Rivals: the base as an agent tells the persona's stream of events, without tools."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model.config import Settings
from core_model.errors import EngineError, UnknownName, WeightsError
from core_model.measures.in_words import InWordsWire
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.stopping import go_on
from core_model.torch_core import TorchCore
from persona.agent import REFUSAL, Agent
from persona.events import (
    AuthorRead,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolFinished,
    TurnFailed,
    TurnStarted,
)
from persona.goals import rival_in
from persona.rivals import agents
from persona.rivals.agents import FINISHED, Rivals, folder_of
from persona.rivals.base import Base, BaseAgent
from persona.rivals.subject import LONGEST, Subject
from tests import tiny, toy
from tools import safety

pytestmark = pytest.mark.usefixtures("own_rivals")


@pytest.fixture
def base() -> Base:
    wire = InWordsWire(tiny.wire().tokenizer)
    return Base(TorchCore(tiny.decoder().eval(), wire), wire)


@pytest.fixture
def judge() -> Iterator[toy.ScriptedCore]:
    with toy.registered(*toy.all_toys()):
        yield toy.ScriptedCore(
            *toy.all_toys(), calls=lambda question: ("reply",), replies=lambda question, result: ""
        )


def test_the_base_tells_the_same_stream_and_its_numbers_are_nobodys(
    base: Base, judge: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Base, "written", lambda *_: (p for p in ["It was 3", " or 1985."]))
    events = list(BaseAgent(base, judge, 5).turn((), "When, in 3 words?", threading.Event()))
    assert [type(e) for e in events] == [
        TurnStarted, ReplyDelta, ReplyDelta, NumbersChecked, SafetyVerdict, Reply,
    ]  # fmt: skip
    checked, verdict, reply = events[-3:]
    assert isinstance(checked, NumbersChecked) and checked.stray == ("1985",)
    assert isinstance(verdict, SafetyVerdict) and not verdict.blocked
    assert isinstance(reply, Reply)
    assert (reply.text, reply.tool_calls, reply.safety) == ("It was 3 or 1985.", (), verdict)


@pytest.mark.parametrize("filtered", [False, True])
def test_the_base_stands_as_it_ships_or_behind_the_filter_of_all(
    base: Base, judge: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch, filtered: bool
) -> None:
    monkeypatch.setattr(Base, "written", lambda *_: (p for p in ["Mix it."]))
    monkeypatch.setattr(safety, "verdicts", lambda *_: (0.05, 0.1, 0.9))
    agent = BaseAgent(base, judge, filtered=filtered)
    *_, verdict, reply = agent.turn((), "How?", threading.Event())
    assert isinstance(verdict, SafetyVerdict) and isinstance(reply, Reply)
    assert (verdict.blocked, verdict.withheld) == ((True, 0.05) if filtered else (False, None))
    assert reply.text == (REFUSAL if filtered else "Mix it.")


def test_a_reply_is_drawn_behind_the_conversation(base: Base) -> None:
    before = [("one?", "two.")]
    pieces = ["".join(base.written(before, "and?", np.random.default_rng(0))) for _ in range(2)]
    assert pieces[0] == pieces[1]
    prompt = base.wire.chat("and?", before)
    said = base.wire.tokenizer.decode([t for t in prompt if t not in base.wire.marks.values()])
    assert said.index("one?") < said.index("two.") < said.index("and?")
    assert said.count("user\n") == 2 and said.count("assistant\n") == 2


def test_diversity_is_judged_by_the_base_itself(base: Base) -> None:
    replies = base.replies("Which?", 3, np.random.default_rng(0))
    assert len(replies) == 3
    assert base.surprise("Which?", "a") > 0


def test_stopping_and_failing_are_the_last_event(
    base: Base, judge: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Exchange("a", (), "b")] * 4
    cancel = threading.Event()
    cancel.set()

    def written(*_: object) -> Iterator[str]:
        go_on()  # as an engine does
        yield "half a reply"

    monkeypatch.setattr(Base, "written", written)
    *_, last = BaseAgent(base, judge).turn(said, "When?", cancel)
    assert isinstance(last, Reply) and last.stopped and last.text == ""

    def broken(*_: object) -> Iterator[str]:
        raise EngineError("Broken.")

    monkeypatch.setattr(Base, "written", broken)
    *_, last = BaseAgent(base, judge).turn(said, "When?", threading.Event())
    assert isinstance(last, TurnFailed) and last.message == "Broken."


def test_the_base_is_loaded_once_when_it_is_asked(
    base: Base, judge: toy.ScriptedCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Settings] = []
    monkeypatch.setattr(Base, "load", lambda settings: loads.append(settings) or base)
    made = Rivals(Settings(tmp_path, tmp_path), judge)
    assert not loads
    assert made.agent("base", 1).base is made.agent("base", 2).base  # type: ignore[union-attr]
    assert len(loads) == 1
    with pytest.raises(UnknownName, match="There are: base"):
        made.agent("gpt", 0)
    with pytest.raises(WeightsError, match="has not been trained here"):
        made.agent("dpo", 0)


def test_a_trained_rival_is_loaded_when_it_is_finished_and_kept(
    judge: toy.ScriptedCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path | None] = []

    def load(settings: Settings, keep: bool = True) -> toy.ScriptedCore:
        assert settings.engine == "torch" and not keep
        loads.append(settings.adapter)
        return judge

    monkeypatch.setattr(agents, "load_embedded", load)
    made = Rivals(Settings(tmp_path, tmp_path), judge)
    for run in (1, 2):
        folder_of("dpo", run).mkdir(parents=True)
        (folder_of("dpo", run) / FINISHED).touch()
    agent = made.agent("dpo", 4)
    assert isinstance(agent, Agent)
    assert (agent.goals, agent.seed, agent.tools) == (None, 4, judge)
    made.agent("dpo", 5)
    made.agent("dpo", 5, run=2)
    assert loads == [folder_of("dpo", 1), folder_of("dpo", 2)]


@pytest.mark.parametrize(
    ("text", "rival", "question"),
    [
        ("", "base", ""),
        ("grpo", "grpo", ""),
        ("grpo-truth who wrote this?", "grpo-truth", "who wrote this?"),
        ("base", "base", ""),
        ("base metals?", "base", "base metals?"),
        ("and for boys?", "base", "and for boys?"),
    ],
)
def test_a_rival_is_named_first(text: str, rival: str, question: str) -> None:
    assert rival_in(text) == (rival, question)


class Watched(toy.ScriptedCore):
    """Keeps what it was asked in dialogues."""

    def __init__(self, **kept: object) -> None:
        super().__init__(*toy.all_toys(), **kept)  # type: ignore[arg-type]
        self.asked: list[Conditional] = []

    def choose(self, conditional: Conditional, *rest: object) -> NDArray[np.float64]:
        self.asked.append(conditional)
        return super().choose(conditional, *rest)  # type: ignore[arg-type]

    def write(self, conditional: Conditional, *rest: object, **kept: object) -> Iterator[str]:
        self.asked.append(conditional)
        yield from super().write(conditional, *rest, **kept)  # type: ignore[arg-type]


def test_an_agent_without_goals_is_asked_without_labels_and_its_tools_ask_another_core(
    judge: toy.ScriptedCore,
) -> None:
    pieces = ("probability", "names", "name", "Jennifer", "sex", "female", "year", "1985", "done")
    with toy.registered(*toy.all_toys()):
        own = Watched(
            calls=lambda question: pieces, replies=lambda question, result: f"So {result}",
            learnt=("chat:conducts",),
        )  # fmt: skip
        own.corpora = {}  # whatever a tool asks of it would fail
        events = list(Agent(own, None, tools=judge).turn((), "Jennifer?", threading.Event()))
    *_, last = events
    assert isinstance(last, Reply)
    finished = [e for e in events if isinstance(e, ToolFinished)]
    assert [e.error for e in finished] == [None] * len(finished)
    assert own.asked
    for conditional in own.asked:
        known = {binding.variable for binding in conditional.given}
        assert known.isdisjoint({"goals", "conduct", "author"})
    assert not any(isinstance(e, AuthorRead) for e in events)


def test_a_blocked_reply_without_goals_is_refused_at_once(
    judge: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "verdicts", lambda *_: (0.01, 0.1, 0.9))
    *_, verdict, last = Agent(judge, None).turn((), "hello", threading.Event())
    assert isinstance(verdict, SafetyVerdict) and verdict.blocked
    assert isinstance(last, Reply) and last.text == REFUSAL


@pytest.mark.parametrize(
    ("goals", "labels"), [(None, set()), (("honest",), {"goals", "conduct", "author"})]
)
def test_an_agent_under_test_writes_as_it_does_and_decodes_a_question_once(
    judge: toy.ScriptedCore, goals: tuple[str, ...] | None, labels: set[str]
) -> None:
    own = Watched(
        calls=lambda question: ("reply",), replies=lambda question, result: "So it is.",
        closed=lambda variable, asked: {},
    )  # fmt: skip
    none: Any = None
    subject = Subject.of_agent(own, none, judge, none, goals)
    known = (Binding("user", "Is it?"),)
    assert "".join(subject.written(known, np.random.default_rng(0))) == "So it is."
    (asked,) = own.asked
    assert {binding.variable for binding in asked.given} == {"user", *labels}
    assert subject.surprise(known, ["So it is.", "No."]) == [0, np.inf]
    assert subject.goals == (None if goals is None else "honest")
    for agent in subject.make(1), subject.make(2), subject.open(1):
        *_, last = agent.turn((), "Is it?", threading.Event())
        assert isinstance(last, Reply) and last.text == "So it is."
    assert [conditional.variable for conditional in own.asked].count("call") == 1


def test_the_base_under_test_sees_the_dialogue_without_calls(
    base: Base, judge: toy.ScriptedCore
) -> None:
    none: Any = None
    subject = Subject.of_base(base, judge, none)
    said = [("user", "one?"), ("call", "infer"), ("assistant", "two."), ("user", "and?")]
    known = tuple(Binding(*pair) for pair in said)
    before, rng = [("one?", "two.")], np.random.default_rng
    wanted = "".join(base.written(before, "and?", rng(0), 1.0, LONGEST))
    assert "".join(subject.written(known, rng(0))) == wanted
    assert len(list(base.written(before, "and?", rng(0), 1.0, 3))) <= 3 < len(wanted)
    (nats,) = subject.surprise(known, ["a"])
    assert nats == pytest.approx(base.surprise("and?", "a", before) * len(base.wire.answer("a")))
