"""The persona's turn on a scripted core: events in order, honest numbers, safety, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from core_model.numerals import numbers_in
from persona.agent import REFUSAL, Agent
from persona.events import (
    ActionChosen,
    Event,
    Exchange,
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
from persona.measure import outcome
from tests import toy

PROBABILITY = ("probability", "names", "name", "Jennifer", "year", "1985", "sex", "female")


def calls(question: str) -> tuple[str, ...]:
    if "Jennifer" in question:
        return PROBABILITY
    if "diverse" in question:
        return ("correlation", "names", "year", "sex")
    return ("reply",)


def replies(question: str, result: str | None) -> str:
    return f"It is {result}, I am 99.5 percent sure." if result else "Hello, friend number 7."


@pytest.fixture
def core() -> Iterator[toy.ScriptedCore]:
    with toy.registered(*toy.all_toys()):
        yield toy.ScriptedCore(*toy.all_toys(), calls=calls, replies=replies)


def turn(core: toy.ScriptedCore, question: str, **kept: object) -> list[Event]:
    history = kept.get("history", [])
    return list(Agent(core).turn(history, question, threading.Event()))  # type: ignore[arg-type]


def test_events_come_in_their_order(core: toy.ScriptedCore) -> None:
    events = turn(core, "How likely is Jennifer for a girl in 1985?")
    kinds = [type(e) for e in events if not isinstance(e, ReplyDelta)]
    assert kinds == [
        TurnStarted, ActionChosen, ToolStarted, ToolFinished, NumbersChecked, SafetyVerdict, Reply,
    ]  # fmt: skip
    assert len({e.turn_id for e in events}) == 1
    started = next(e for e in events if isinstance(e, ToolStarted))
    assert started.query == "names: P(name=Jennifer | year=1985, sex=female)"
    assert started.arguments == {
        "corpus": "names",
        "event": {"name": "Jennifer"},
        "given": {"year": "1985", "sex": "female"},
    }


def test_the_action_is_a_distribution(core: toy.ScriptedCore) -> None:
    chosen = next(e for e in turn(core, "Jennifer in 1985?") if isinstance(e, ActionChosen))
    assert sum(chosen.probabilities.values()) == pytest.approx(1)
    assert chosen.action == max(chosen.probabilities, key=lambda a: chosen.probabilities[a])


def test_a_reply_states_only_its_tools_numbers(core: toy.ScriptedCore) -> None:
    events = turn(core, "How likely is Jennifer for a girl in 1985?")
    result = next(e.result for e in events if isinstance(e, ToolFinished))
    reply = events[-1]
    assert isinstance(reply, Reply)
    assert result is not None
    assert "99.5" not in reply.text
    assert set(numbers_in(reply.text)) <= set(numbers_in(result.summary)) | {"1985"}
    checked = next(e for e in events if isinstance(e, NumbersChecked))
    assert checked.stray == ()


def test_without_a_tool_there_is_no_number(core: toy.ScriptedCore) -> None:
    reply = turn(core, "hi there")[-1]
    assert isinstance(reply, Reply)
    assert numbers_in(reply.text) == ()
    assert reply.tool_calls == ()


def test_the_streamed_pieces_are_the_reply(core: toy.ScriptedCore) -> None:
    events = turn(core, "hi there")
    assert "".join(e.text for e in events if isinstance(e, ReplyDelta)) == events[-1].text  # type: ignore[attr-defined]


def test_an_empty_question_fails_in_one_line(core: toy.ScriptedCore) -> None:
    events = turn(core, " \n\x00 ")
    assert isinstance(events[-1], TurnFailed)
    assert "\n" not in events[-1].message


def test_a_stop_ends_the_turn_and_keeps_what_was_written(core: toy.ScriptedCore) -> None:
    cancel = threading.Event()
    seen: list[Event] = []
    for event in Agent(core).turn([], "hi there", cancel):
        seen.append(event)
        if isinstance(event, ReplyDelta):
            cancel.set()
    assert isinstance(seen[-1], Reply)
    assert seen[-1].stopped
    assert seen[-1].text == "".join(e.text for e in seen if isinstance(e, ReplyDelta))


def test_a_tool_that_fails_is_told_and_the_turn_goes_on(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core_model.errors import ToolError
    from persona import agent

    def broken(*_: object) -> None:
        raise ToolError("No record matches. Give fewer conditions.")

    monkeypatch.setattr(agent, "run", broken)
    events = turn(core, "Jennifer, girls, 1985")
    finished = next(e for e in events if isinstance(e, ToolFinished))
    assert finished.error == "No record matches. Give fewer conditions."
    assert isinstance(events[-1], Reply)


def test_an_unsafe_reply_is_never_the_last_word(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona import agent

    monkeypatch.setattr(agent.safety, "verdicts", lambda *_: (0.01, 0.0, 0.9))
    events = turn(core, "hi there")
    assert isinstance(events[-1], Reply)
    assert events[-1].text == REFUSAL
    assert events[-1].safety is not None
    assert events[-1].safety.blocked


def test_a_past_call_is_shown_as_it_was_decoded(core: toy.ScriptedCore) -> None:
    from persona.agent import _said

    arguments = {
        "corpus": "names",
        "event": {"name": "Jennifer"},
        "given": {"year": "1985", "sex": "female"},
    }
    said = _said(Exchange("q", (ToolCall("probability", arguments),), ("s",), "r"))
    assert said.call == PROBABILITY


def test_the_outcome_of_a_question(core: toy.ScriptedCore) -> None:
    question = {
        "question": "Jennifer, girls, 1985",
        "tool": "probability",
        "arguments": {
            "corpus": "names",
            "event": {"name": "Jennifer"},
            "given": {"sex": "female", "year": 1985},
        },
    }
    found = outcome(turn(core, question["question"]), question)  # type: ignore[arg-type]
    assert found.right_tool and found.right_call and found.faithful and not found.malformed
    other = outcome(turn(core, "diverse names"), question)
    assert not other.right_tool
