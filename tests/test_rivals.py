"""Rivals: the base as an agent tells the persona's stream of events, without tools."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core_model.config import Settings
from core_model.errors import EngineError, UnknownName
from core_model.measures.in_words import InWordsWire
from core_model.torch_core import TorchCore
from persona.events import (
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    TurnFailed,
    TurnStarted,
)
from persona.rivals.agents import Rivals
from persona.rivals.base import Base, BaseAgent
from tests import tiny, toy


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
    monkeypatch.setattr(Base, "written", lambda *_: iter(["It was 3", " or 1985."]))
    events = list(BaseAgent(base, judge, 5).turn((), "When, in 3 words?", threading.Event()))
    assert [type(e) for e in events] == [
        TurnStarted, ReplyDelta, ReplyDelta, NumbersChecked, SafetyVerdict, Reply,
    ]  # fmt: skip
    checked, verdict, reply = events[-3:]
    assert isinstance(checked, NumbersChecked) and checked.stray == ("1985",)
    assert isinstance(verdict, SafetyVerdict) and not verdict.blocked
    assert isinstance(reply, Reply)
    assert (reply.text, reply.tool_calls, reply.safety) == ("It was 3 or 1985.", (), verdict)


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
    monkeypatch.setattr(Base, "written", lambda *_: iter(["half", " a reply"]))
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
