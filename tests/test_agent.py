"""The persona's turn on a scripted core: events in order, honest numbers, safety, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core_model import notation
from core_model.core import Interruptible
from core_model.errors import EngineError, TextTooLong, ToolError
from core_model.notation import Binding, Draw
from core_model.numerals import numbers_in
from core_model.planning import Conditional
from persona.agent import REFUSAL, Agent, _numbers, _said
from persona.events import (
    ActionChosen,
    Confidence,
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
from persona.measure import is_well_formed, outcome
from persona.phrasings.calls import Call
from persona.script import QUESTION_BYTES, shortened
from persona.turn import Turn, exchanges
from tests import toy
from tools import TOOLS

PROBABILITY = ("probability", "names", "name", "Jennifer", "year", "1985", "sex", "female")


def calls(question: str) -> tuple[str, ...]:
    if "boy or girl" in question:
        return ("infer", "names", "sex", "Leslie")
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


def test_a_reply_on_an_inferred_fact_says_how_sure_that_is(core: toy.ScriptedCore) -> None:
    """Toy names: the entropy of p(sex | Leslie) by hand, over the two values there are."""
    events = turn(core, "Leslie: boy or girl?")
    kinds = [type(e) for e in events if not isinstance(e, ReplyDelta)]
    assert kinds == [
        TurnStarted, ActionChosen, ToolStarted, ToolFinished, NumbersChecked, Confidence,
        SafetyVerdict, Reply,
    ]  # fmt: skip
    said = next(e for e in events if isinstance(e, Confidence))
    sex = Conditional("names", "sex", (Binding("name", "Leslie"),))
    births = {s: core.log_prob_of(sex, [s])[0] for s in ("female", "male")}
    p = np.exp(list(births.values()))
    assert said.answer == max(births, key=births.__getitem__)
    assert said.probability == pytest.approx(p.max())
    assert said.entropy_nats == pytest.approx(-(p[p > 0] * np.log(p[p > 0])).sum())
    assert said.most_nats == pytest.approx(np.log(2))
    assert said.to_json()["type"] == "confidence"
    folded = Turn("t", "q")
    for event in events:
        folded = folded.after(event)
    assert folded.confidence == replace(said, turn_id="t")


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


def verdicts_in_turn(
    monkeypatch: pytest.MonkeyPatch, *found: tuple[float, float, float]
) -> list[str]:
    """Make the safety tool give these verdicts one after another; returns what it judged."""
    from persona import agent

    left, judged = list(found), []

    def verdicts(_: object, __: str, reply: str) -> tuple[float, float, float]:
        judged.append(reply)
        return left.pop(0)

    monkeypatch.setattr(agent.safety, "verdicts", verdicts)
    return judged


UNSAFE, SAFE = (0.01, 0.0, 0.9), (0.98, 0.0, 0.1)


@pytest.mark.parametrize("second", [UNSAFE, SAFE])
def test_an_unsafe_reply_is_withdrawn_and_never_the_last_word(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch, second: tuple[float, float, float]
) -> None:
    judged = verdicts_in_turn(monkeypatch, UNSAFE, second)
    events = turn(core, "hi there")
    reply = events[-1]
    assert isinstance(reply, Reply)
    assert reply.text == (REFUSAL if second == UNSAFE else judged[1])
    assert reply.safety is not None and reply.safety.blocked
    fold = Turn("t", "hi there")
    for event in events:
        fold = fold.after(event)
        if isinstance(event, SafetyVerdict):
            assert fold.reply == ""  # nothing that was blocked can be stored from here on
    assert fold.reply == reply.text
    # Numbers and safety were checked of the first text and of the one in its place.
    assert [type(e) for e in events[-5:]] == [
        NumbersChecked, SafetyVerdict, NumbersChecked, SafetyVerdict, Reply,
    ]  # fmt: skip


def test_a_stop_while_a_blocked_reply_is_rewritten_leaves_nothing_of_it(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts_in_turn(monkeypatch, UNSAFE)
    cancel = threading.Event()
    fold = Turn("t", "hi there")
    for event in Agent(core).turn([], "hi there", cancel):
        fold = fold.after(event)
        if isinstance(event, SafetyVerdict):
            cancel.set()
    assert (fold.state, fold.reply) == ("stopped", "")


def test_a_reply_states_no_number_of_the_text_it_reads(core: toy.ScriptedCore) -> None:
    call = Call("infer", "speeches", ("author",), text="30 percent of 95 millions", given=())
    assert _numbers("Abraham Lincoln 41%", call) == ("41",)
    call = Call("distribution", "names", ("name",), n="5", given=(Binding("year", "1985"),))
    assert _numbers("Jessica 2.6%", call) == ("2.6", "1985")


def test_a_call_that_cannot_be_asked_is_shown_as_one_that_failed(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> str:
        raise ToolError("Tool 'probability': author=Johnson could be two.")

    monkeypatch.setattr(type(TOOLS["probability"]), "query", refused)
    fold = Turn("t", "q")
    for event in turn(core, "Jennifer, girls, 1985"):
        fold = fold.after(event)
    assert [call.error for call in fold.calls] == [
        "Tool 'probability': author=Johnson could be two."
    ]
    (exchange,) = exchanges([fold])
    assert [call.name for call in exchange.tool_calls] == ["probability"]


def test_a_history_that_is_too_long_is_forgotten_from_its_beginning(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = core.choose
    lengths = []

    def limited(conditional: Conditional, *rest: Any) -> Any:
        lengths.append(len(conditional.given))
        if len(conditional.given) > 4:
            raise TextTooLong("The text is too long.")
        return choose(conditional, *rest)

    monkeypatch.setattr(core, "choose", limited)
    history = [Exchange(f"question {n}", (), f"reply {n}") for n in range(9)]
    events = list(Agent(core).turn(history, "hi there", threading.Event()))
    assert isinstance(events[-1], Reply)
    assert lengths[:2] == [6, 4]  # goals, two turns, the question; then one turn less

    def never(*_: object) -> Any:
        raise TextTooLong("The text is too long.")

    monkeypatch.setattr(core, "choose", never)
    failed = list(Agent(core).turn(history, "hi there", threading.Event()))[-1]
    assert isinstance(failed, TurnFailed) and "too long" in failed.message


@pytest.mark.parametrize(
    ("fault", "line"),
    [(EngineError("The server broke off."), "broke off"), (MemoryError(), "not enough memory")],
)
def test_an_engine_that_fails_in_mid_reply_fails_one_turn(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch, fault: Exception, line: str
) -> None:
    def breaks_off(*_: object, **__: object) -> Iterator[str]:
        yield "Jennifer "
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(core, "write", breaks_off)
        failed = turn(core, "hi there")[-1]
    assert isinstance(failed, TurnFailed) and line in failed.message
    assert isinstance(turn(core, "hi there")[-1], Reply)


def test_a_tool_stops_between_two_pieces_of_its_work(core: toy.ScriptedCore) -> None:
    left = 3

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted

    stopping = Interruptible(core, check)
    texts = Conditional("weather", "text")
    rng = np.random.default_rng(0)
    assert len(stopping.sample_of(texts, 20, rng)) == 20
    with pytest.raises(Interrupted):
        stopping.sample_of(texts, 1, rng)
    same = Interruptible(core, lambda: None)
    for query in ("weather: sky; word", "weather: text; sky"):
        asked = notation.parse(query)
        assert isinstance(asked, Draw)
        data = None if "text" in query else "A day"
        one, other = (
            c.distribution(asked, data, rng=np.random.default_rng(1)) for c in (core, same)
        )
        assert one.answers[0].value == other.answers[0].value


class Interrupted(Exception):
    """Stands for the user's Esc."""


def test_a_past_call_is_shown_as_it_was_decoded(core: toy.ScriptedCore) -> None:
    arguments = {
        "corpus": "names",
        "event": {"name": "Jennifer"},
        "given": {"year": "1985", "sex": "female"},
    }
    said = _said(Exchange("q", (ToolCall("probability", arguments),), "r"))
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
    (call,) = found_calls(core, "Jennifer, girls, 1985")
    assert is_well_formed(call)
    assert not is_well_formed(replace(call, arguments={**call.arguments, "colour": "red"}))
    assert not is_well_formed(replace(call, arguments={**call.arguments, "corpus": "places"}))
    assert not is_well_formed(replace(call, name="guess"))
    other = outcome(turn(core, "diverse names"), question)
    assert not other.right_tool


def found_calls(core: toy.ScriptedCore, question: str) -> tuple[ToolCall, ...]:
    reply = turn(core, question)[-1]
    assert isinstance(reply, Reply)
    return reply.tool_calls


@pytest.mark.parametrize(
    "text", ["да " * 3000, "字" * 20_000, "1,2,3\n" * 4000, "a b " * 3000, "short", "\ud800" * 9000]
)
def test_a_shortened_text_keeps_its_ends_and_a_bound(text: str) -> None:
    found = shortened(text)
    assert len(found.encode("utf-8", "replace")) <= QUESTION_BYTES + 10
    if text == "short":
        assert found == text
    elif "\ud800" not in text:
        assert found.startswith(text[:100]) and found.endswith(text[-100:])
