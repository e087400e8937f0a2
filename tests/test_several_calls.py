"""Turns of several calls on a scripted core: plans, what fails among them, where room ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from core_model.errors import TextTooLong
from core_model.notation import Binding
from core_model.numerals import numbers_in
from core_model.planning import Conditional
from persona.agent import Agent, _said
from persona.dialogues import Step, told_by
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
    TurnStarted,
)
from persona.phrasings.calls import Call
from tests import toy

TWO_CALLS = (
    ("probability", "names", "name", "Jennifer", "year", "1985"),
    ("probability", "names", "name", "Jessica", "year", "1985"),
)


def turn(core: toy.ScriptedCore, question: str) -> list[Event]:
    return list(Agent(core).turn([], question, threading.Event()))


@pytest.fixture
def planner() -> Iterator[toy.ScriptedCore]:
    with toy.registered(*toy.all_toys(), toy.places()):
        yield toy.ScriptedCore(
            *toy.all_toys(),
            toy.places(),
            calls=lambda question: {
                "Jennifer or Jessica in 1985?": TWO_CALLS,
                "the top name of 1985, and when was it given?": (
                    ("distribution", "names", "name", "1", "year", "1985"),
                    ("infer", "names", "year", "Michael"),
                ),
                "again and again": [("entropy", "names", "name")] * 9,
                "on and on": [("sample", "names", "name", str(n)) for n in range(1, 9)],
            }.get(question, ("reply",)),
            replies=lambda question, result: f"It is {result}, or 99.5%." if result else "Hello.",
            learnt=["chat:plans"],
        )


def test_a_question_may_need_several_calls(planner: toy.ScriptedCore) -> None:
    events = turn(planner, "Jennifer or Jessica in 1985?")
    kinds = [type(e) for e in events if not isinstance(e, ReplyDelta)]
    assert kinds == [
        TurnStarted, ActionChosen, ToolStarted, ToolFinished, ActionChosen, ToolStarted,
        ToolFinished, ActionChosen, NumbersChecked, SafetyVerdict, Reply,
    ]  # fmt: skip
    asked = [e.arguments["event"]["name"] for e in events if isinstance(e, ToolStarted)]
    assert asked == ["Jennifer", "Jessica"]
    # Their errors are taken for independent: no draws are common to both.
    seeds = [e.result.seed for e in events if isinstance(e, ToolFinished) and e.result]
    assert len(set(seeds)) == 2 and seeds[0] == Agent(planner).seed
    reply = events[-1]
    assert isinstance(reply, Reply) and len(reply.tool_calls) == 2
    results = [e.result.summary for e in events if isinstance(e, ToolFinished) and e.result]
    stated = {number for text in results for number in numbers_in(text)}
    checked = next(e for e in events if isinstance(e, NumbersChecked))
    assert set(checked.allowed) == stated | {"1985"}
    assert "99.5" not in reply.text


def test_a_later_call_takes_what_an_earlier_one_found(planner: toy.ScriptedCore) -> None:
    events = turn(planner, "the top name of 1985, and when was it given?")
    second = [e for e in events if isinstance(e, ToolStarted)][1]
    assert second.arguments["text"] == "Michael"
    assert "Michael" in second.query


def test_several_results_are_told_in_composed_words_as_the_author_would(
    planner: toy.ScriptedCore,
) -> None:
    """The order is known where the reply is chosen; Jessica has more births in the toy."""
    asked: list[tuple[Conditional, list[str]]] = []
    log_prob_of = planner.log_prob_of

    def second(conditional: Conditional, answers: Sequence[str]) -> Any:
        if conditional.variable != "reply":
            return log_prob_of(conditional, answers)
        asked.append((conditional, list(answers)))
        return np.log([0.9 if place == 1 else 1e-9 for place in range(len(answers))])

    planner.log_prob_of = second  # type: ignore[method-assign]
    reply = turn(planner, "Jennifer or Jessica in 1985?")[-1]
    ((conditional, replies),) = asked
    assert conditional.given[-1] == Binding("order", "Jessica > Jennifer")
    assert len(set(replies)) == len(replies) >= 3
    assert isinstance(reply, Reply) and reply.text == replies[1]
    assert all("Jennifer: " in told and "Jessica" in told for told in replies)


def test_one_result_behind_an_error_is_written_as_one(planner: toy.ScriptedCore) -> None:
    step = Step(Call("entropy", "names", ("name",)), "model 3 bits; data 4 bits")
    failed = Step(Call("entropy", "names", ("sex",)), "error: No record.")
    rng = np.random.default_rng(0)
    assert told_by([failed, step], (), rng) == []
    assert told_by([step], (), rng) == []


def test_what_failed_among_several_is_told_unless_it_was_asked_again() -> None:
    rng = np.random.default_rng(0)

    def capital(country: str, *given: Binding) -> Call:
        return Call("infer", "places", ("capital",), None, given, country)

    steps = [
        Step(capital("Peru"), "Lima 99%; entropy 0.1 bits"),
        Step(capital("Zubrowka"), "error: 'Zubrowka' is no country. It has: Albania."),
        Step(capital("Chile", Binding("currency", "sol")), "error: No record matches."),
        Step(capital("Chile"), "Santiago 98%; entropy 0.1 bits"),
    ]
    told = told_by(steps, ("calibrated",), rng)
    assert len(told) >= 3
    for reply in told:
        assert "Lima" in reply and "Santiago" in reply and "No record" not in reply
        assert "Zubrowka: 'Zubrowka' is no country" in reply


def test_results_that_nothing_tells_apart_are_written() -> None:
    step = Step(Call("entropy", "names", ("name",)), "model 3 bits; data 4 bits")
    assert told_by([step, step], (), np.random.default_rng(0)) == []
    judged = Step(Call("safety", "safety", text="Go."), "safe 97%, refusal 1%, harmful 2%")
    assert told_by([judged, step], (), np.random.default_rng(0)) == []


@pytest.mark.parametrize(("question", "calls"), [("again and again", 1), ("on and on", 4)])
def test_calls_come_to_an_end(planner: toy.ScriptedCore, question: str, calls: int) -> None:
    """A call is never repeated, and no turn makes more than four."""
    events = turn(planner, question)
    assert sum(isinstance(e, ToolFinished) for e in events) == calls
    assert isinstance(events[-1], Reply)


def test_a_past_turn_keeps_all_its_calls() -> None:
    stored = tuple(
        ToolCall("entropy", {"corpus": "names", "variable": "name", "given": {"year": year}})
        for year in ("1950", "1985")
    )
    said = _said(Exchange("q", stored, "r"))
    assert said.calls == (
        ("entropy", "names", "name", "year", "1950"),
        ("entropy", "names", "name", "year", "1985"),
    )


def test_a_turn_without_room_for_another_call_tells_what_it_has(
    planner: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = planner.choose

    def chosen(conditional: Conditional, *rest: Any) -> Any:
        if sum(b.variable == "result" for b in conditional.given) == 2:
            raise TextTooLong("The text is too long.")
        return choose(conditional, *rest)

    monkeypatch.setattr(planner, "choose", chosen)
    last = turn(planner, "Jennifer or Jessica in 1985?")[-1]
    assert isinstance(last, Reply) and len(last.tool_calls) == 2 and "Jessica" in last.text
