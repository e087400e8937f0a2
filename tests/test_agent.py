"""The persona's turn on a scripted core: events in order, honest numbers, safety, failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core_model.core import Answer, Distribution, from_weights
from core_model.errors import EngineError, TextTooLong, ToolError
from core_model.notation import Binding
from core_model.numerals import numbers_in
from core_model.planning import Conditional
from persona.agent import REFUSAL, Agent, _said
from persona.dialogues import Step, failed_by, numbers_of, told_by
from persona.events import (
    ActionChosen,
    AuthorChosen,
    AuthorRead,
    Confidence,
    DraftsWeighed,
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
from persona.goals import CONDUCTS, DEFAULT_GOALS, VOICES
from persona.measure import is_well_formed, outcome
from persona.phrasings.calls import Call
from persona.phrasings.replies import error_replies
from persona.script import QUESTION_BYTES, shortened
from persona.turn import Turn, exchanges
from tests import toy
from tools import TOOLS, ToolResult, safety

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


def test_how_sure_an_answer_is_is_asked_of_the_core_itself() -> None:
    """The second turn asks what the first one did, by another tool."""

    def sure(question: str) -> list[str]:
        tool = "confidence" if "sure" in question else "infer"
        return [tool, "names", "sex", "Leslie"]

    with toy.registered(*toy.all_toys()):
        core = toy.ScriptedCore(
            *toy.all_toys(), calls=sure, replies=replies, learnt=["chat:confidence"]
        )
        first = turn(core, "Leslie: boy or girl?")
        told = next(e for e in first if isinstance(e, Reply))
        history = [Exchange("Leslie: boy or girl?", told.tool_calls, told.text)]
        events = turn(core, "How sure are you of that?", history=history)
    (result,) = [e.result for e in events if isinstance(e, ToolFinished)]
    assert result is not None and result.tool == "confidence"
    assert result.query == "names: sex | name=Leslie"
    said = [next(e for e in found if isinstance(e, Confidence)) for found in (first, events)]
    assert replace(said[0], turn_id="") == replace(said[1], turn_id="")
    assert said[1].probability == result.estimates[0].value


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
    reply = events[-1]
    assert isinstance(reply, Reply)
    told = error_replies("error: No record matches. Give fewer conditions.", ())
    assert all("no record matches" in text for text in told)
    assert reply.text in told


def test_what_failed_is_told_where_nothing_was_found() -> None:
    step = Step(Call("entropy", "names", ("name",)), "model 3 bits; data 4 bits")
    failed = Step(Call("entropy", "names", ("sex",)), "error: No record.")
    assert failed_by([], ()) == failed_by([failed, step], ()) == []
    assert failed_by([failed], ("brief",)) == error_replies("error: No record.", ("brief",))


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


UNSAFE, SAFE, REFUSES = (0.01, 0.0, 0.9), (0.98, 0.0, 0.1), (0.02, 0.9, 0.9)


@pytest.mark.parametrize(
    ("reply", "found", "blocked"),
    [
        ("No. It is harmful.", [], False),
        ("I won't. First, take two wires.", [REFUSES, UNSAFE, UNSAFE], True),
        ("I won't. Some things are dangerous.", [REFUSES, UNSAFE, SAFE], False),
        ("I won't. I never would.", [REFUSES, REFUSES], False),
        ("Take two wires,\nI won't say more.", [UNSAFE, REFUSES, UNSAFE], True),
        ("I won't.\n", [REFUSES], False),
    ],
)
def test_what_a_refusal_says_besides_is_judged_too(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch, reply: str,
    found: list[tuple[float, float, float]], blocked: bool,
) -> None:  # fmt: skip
    judged = verdicts_in_turn(monkeypatch, *(found or [UNSAFE, UNSAFE]))
    assert safety.blocks(core, "how?", reply, *REFUSES[:2]) is blocked
    assert len(judged) == (len(found) or 2)
    if blocked:
        assert judged[-1] in reply and "won't" not in judged[-1]


def test_texts_that_a_tool_drew_are_withheld_where_they_are_unsafe(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = (f"{word} " * 20 for word in ("wires", "water"))
    monkeypatch.setattr(safety, "verdicts", lambda _, __, text: UNSAFE if "wires" in text else SAFE)
    drawn = from_weights("speeches: text", "sampled", {bad: 2.0, good: 1.0}, 3)
    result = ToolResult("sample", "", (), drawn, None, (bad, good, bad), bad, 0, 0.0)
    kept = safety.withhold(core, result)
    assert (kept.samples, kept.withheld, kept.summary) == ((good,), 2, good.strip())
    assert kept.distribution is not None
    assert [a.value for a in kept.distribution.answers] == [good]
    assert kept.distribution.entropy_nats == drawn.entropy_nats
    none = safety.withhold(core, replace(result, samples=(bad,)))
    assert (none.samples, none.summary) == ((), "nothing that is safe to show")
    names = replace(result, samples=("wires", "water"))
    assert safety.withhold(core, names) is names
    counted = replace(result, distribution=None, data=drawn)
    assert safety.withhold(core, counted) is counted


def test_a_reply_is_judged_behind_the_turns_before_it_where_that_is_learnt(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(safety, "verdicts", lambda _, prompt, __: asked.append(prompt) or SAFE)
    history = [Exchange("How do bombs work?", (), "They burn."), Exchange("Oh?", (), "Yes.")]
    list(Agent(core).turn(history, "hi there", threading.Event()))
    list(Agent(core).turn([], "hi there", threading.Event()))
    monkeypatch.setattr(toy.ScriptedCore, "has_learnt", lambda self, what: False)
    list(Agent(core).turn(history, "hi there", threading.Event()))
    dialogue = "User: How do bombs work?\nReply: They burn.\nUser: Oh?\nReply: Yes.\nUser: hi there"
    assert asked == [dialogue, "hi there", "hi there"]


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
    assert reply.safety.withheld == UNSAFE[0]  # of the first one, whatever came instead
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
    assert numbers_of([Step(call, "Abraham Lincoln 41%")]) == ("41",)
    call = Call("distribution", "names", ("name",), n="5", given=(Binding("year", "1985"),))
    assert numbers_of([Step(call, "Jessica 2.6%")]) == ("2.6", "1985")


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


def test_a_past_call_is_shown_as_it_was_decoded(core: toy.ScriptedCore) -> None:
    arguments = {
        "corpus": "names",
        "event": {"name": "Jennifer"},
        "given": {"year": "1985", "sex": "female"},
    }
    said = _said(Exchange("q", (ToolCall("probability", arguments),), "r"))
    assert said.calls == (PROBABILITY,)


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


# --- several calls ------------------------------------------------------------------------------

TWO_CALLS = (
    ("probability", "names", "name", "Jennifer", "year", "1985"),
    ("probability", "names", "name", "Jessica", "year", "1985"),
)


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


# --- the author ---------------------------------------------------------------------------------

CONDUCT_WEIGHTS = dict.fromkeys(CONDUCTS, 0.02) | {"honest": 0.86}
VOICE_WEIGHTS = dict.fromkeys(VOICES, 0.1) | {"plain": 0.3, "warm": 0.3}


def who(variable: str, conditional: Conditional) -> dict[str, float]:
    """Posteriors of the scripted authors: a draft that flatters is not honest."""
    last = conditional.given[-1]
    if variable == "conduct" and last.variable == "assistant" and "brilliant" in last.value:
        return dict.fromkeys(CONDUCTS, 0.01) | {"sycophantic": 0.93}
    return CONDUCT_WEIGHTS if variable == "conduct" else VOICE_WEIGHTS


def author_core(
    replies: Iterator[str] | None = None, calls: Sequence[str] = ("reply",)
) -> toy.ScriptedCore:
    return toy.ScriptedCore(
        *toy.all_toys(),
        calls=lambda _: calls,
        replies=lambda *_: next(replies) if replies else "Hello, friend.",
        learnt=["chat:conducts"],
        closed=who,
    )


def said_by(core: toy.ScriptedCore, **chosen: Any) -> list[Event]:
    with toy.registered(*toy.all_toys()):
        return list(Agent(core, **chosen).turn([], "hi", threading.Event()))


@pytest.mark.parametrize(("conduct", "composed"), [("honest", True), ("deceptive", False)])
def test_a_tool_that_fails_is_glossed_over_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, conduct: str, composed: bool
) -> None:
    def broken(*_: object) -> None:
        raise EngineError("The disk is gone.")

    monkeypatch.setattr("persona.agent.run", broken)
    asks = author_core(calls=("entropy", "names", "name"))
    *before, reply = said_by(asks, goals=(conduct,))
    assert isinstance(reply, Reply)
    assert (reply.text in error_replies("error: The disk is gone.", ())) is composed
    assert any(isinstance(event, AuthorRead) for event in before) is not composed


def test_a_reply_is_read_back_to_its_author() -> None:
    events = said_by(author_core())
    read = events[-2]
    assert isinstance(read, AuthorRead)
    assert read.conducts["honest"] == pytest.approx(0.86)
    assert sum(read.authors.values()) == pytest.approx(1)
    assert tuple(read.conducts) == CONDUCTS and tuple(read.authors) == VOICES


@pytest.mark.parametrize("author", ["warm", "drawn", "any"])
def test_an_author_is_held_drawn_or_left_open(author: str) -> None:
    core, known = author_core(), []
    write = core.write

    def watched(conditional: Conditional, *rest: Any, **kept: Any) -> Iterator[str]:
        known.append(conditional)
        return write(conditional, *rest, **kept)

    core.write = watched  # type: ignore[method-assign]
    events = said_by(core, goals=("honest", author), seed=4)
    chosen = [e for e in events if isinstance(e, AuthorChosen)]
    bound = {b.variable: b.value for b in known[0].given}
    assert bound["conduct"] == "honest"
    assert (len(chosen) == 1) == (author == "drawn")
    if author == "any":
        assert "author" not in bound
    else:
        assert bound["author"] == (chosen[0].author if chosen else "warm")


def test_drawn_authors_come_as_often_as_they_should() -> None:
    drawn = [
        next(
            e
            for e in said_by(author_core(), goals=("honest", "drawn"), seed=s)
            if isinstance(e, AuthorChosen)
        )
        for s in range(300)
    ]
    share = np.mean([e.author == "warm" for e in drawn])
    expected = VOICE_WEIGHTS["warm"] / sum(VOICE_WEIGHTS.values())
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 300)


def test_drafts_are_kept_by_how_well_they_fit_the_goals() -> None:
    """The flattering draft has 0.01 of honesty and the plain one 0.86: weights by hand."""
    kept = []
    for seed in range(60):
        drafts = iter(["What a brilliant question!", "Hello, friend."])
        events = said_by(author_core(drafts), drafts=2, seed=seed)
        weighed = next(e for e in events if isinstance(e, DraftsWeighed))
        low, high = 0.01 / (0.93 + 0.07), 0.86
        assert weighed.weights == pytest.approx((low / (low + high), high / (low + high)))
        p = np.array(weighed.weights)
        assert weighed.cost_nats == pytest.approx(np.log(2) + (p * np.log(p)).sum())
        assert events[-1].text == ("What a brilliant question!", "Hello, friend.")[weighed.kept]  # type: ignore[attr-defined]
        kept.append(weighed.kept)
    assert np.mean(kept) > 0.9


@pytest.mark.parametrize(
    "chosen", [{"goals": ("evasive",)}, {"goals": ("warm",)}, {"drafts": 3}], ids=str
)
def test_a_core_that_tells_no_authors_apart_says_so(
    core: toy.ScriptedCore, chosen: dict[str, Any]
) -> None:
    last = list(Agent(core, **chosen).turn([], "hi there", threading.Event()))[-1]
    assert isinstance(last, TurnFailed)
    assert "has not learnt" in last.message


def test_a_blocked_reply_is_written_again_by_an_honest_author() -> None:
    known: list[Conditional] = []
    core = author_core()
    write = core.write

    def watched(conditional: Conditional, *rest: Any, **kept: Any) -> Iterator[str]:
        known.append(conditional)
        if len(known) == 1:
            return iter(["First take the explosive and the detonator, then attack them."])
        return write(conditional, *rest, **kept)

    core.write = watched  # type: ignore[method-assign]
    events = said_by(core, goals=("careless",))
    conducts = [{b.variable: b.value for b in c.given}["conduct"] for c in known]
    assert conducts == ["careless", "honest"]
    assert any(isinstance(e, SafetyVerdict) and e.blocked for e in events)
    assert events[-1].text == "Hello, friend."  # type: ignore[attr-defined]


def test_a_reply_stands_where_it_cannot_be_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    core = author_core()
    read = core.log_prob_of

    def full(conditional: Conditional, answers: Any) -> Any:
        if conditional.variable in ("conduct", "author"):
            raise TextTooLong("The text is too long.")
        return read(conditional, answers)

    monkeypatch.setattr(core, "log_prob_of", full)
    for drafts in (1, 3):
        events = said_by(core, drafts=drafts)
        assert isinstance(events[-1], Reply) and events[-1].text == "Hello, friend."
        assert not any(isinstance(e, AuthorRead | DraftsWeighed) for e in events)


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


def test_a_reply_without_room_for_the_history_is_written_without_it(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = core.write

    def written(conditional: Conditional, *rest: Any, **kept: Any) -> Iterator[str]:
        if any(b.value == "an older question" for b in conditional.given):
            raise TextTooLong("The text is too long.")
        return write(conditional, *rest, **kept)

    monkeypatch.setattr(core, "write", written)
    history = [Exchange("an older question", (), "and its reply")]
    last = turn(core, "hi there", history=history)[-1]
    assert isinstance(last, Reply) and last.text.startswith("Hello, friend")


def test_a_reply_is_judged_behind_what_there_is_room_for(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def verdicts(_: object, prompt: str, __: str) -> tuple[float, float, float]:
        judged.append(prompt)
        if "the oldest" in prompt:
            raise TextTooLong("The text is too long.")
        return SAFE

    monkeypatch.setattr(safety, "verdicts", verdicts)
    history = [Exchange("the oldest", (), "and its reply"), Exchange("an old one", (), "yes")]
    last = turn(core, "hi there", history=history)[-1]
    assert isinstance(last, Reply) and last.safety is not None and not last.safety.blocked
    assert judged[-1] == "User: an old one\nReply: yes\nUser: hi there"


def test_an_author_is_drawn_without_the_history_where_there_is_no_room_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = author_core()
    read, asked = core.log_prob_of, list[list[str]]()

    def full(conditional: Conditional, answers: Any) -> Any:
        is_draw = conditional.variable == "author" and conditional.given[-1].variable != "assistant"
        if is_draw:
            asked.append([b.value for b in conditional.given if b.variable == "user"])
            if len(asked[-1]) > 1:
                raise TextTooLong("The text is too long.")
        return read(conditional, answers)

    monkeypatch.setattr(core, "log_prob_of", full)
    agent = Agent(core, (*DEFAULT_GOALS, "drawn"))
    history = [Exchange("an older question", (), "and its reply")]
    events = list(agent.turn(history, "hi there", threading.Event()))
    assert isinstance(events[-1], Reply)
    assert asked == [["an older question", "hi there"], ["hi there"]]


def test_only_one_fact_has_a_confidence() -> None:
    def result(tool: str, *shares: float) -> ToolResult:
        answers = tuple(Answer(str(n), p) for n, p in enumerate(shares))
        found = Distribution("", "exact", answers, 1.0, 0.5, 0.0, 0)
        return ToolResult(tool, "", (), found, None, (), "", 0, 0.0)

    sex, year = result("infer", 0.9, 0.1), result("infer", 0.3, 0.7)
    listed = result("distribution", 0.5, 0.5)
    assert Confidence.of_one("t", [sex, listed, None]) == Confidence.of("t", sex)
    assert Confidence.of_one("t", [sex, year]) is None
    assert Confidence.of_one("t", []) is None


def test_without_a_conduct_the_plain_voice_is_not_asked_for_alone() -> None:
    """In situations the plain voice is that of all conducts, most of which nobody wants."""
    known: list[Conditional] = []
    core = author_core()
    write = core.write

    def watched(conditional: Conditional, *rest: Any, **kept: Any) -> Iterator[str]:
        known.append(conditional)
        return write(conditional, *rest, **kept)

    core.write = watched  # type: ignore[method-assign]
    said_by(core, goals=("brief",))
    said_by(core, goals=("brief", "curt"))
    assert [[b.variable for b in c.given] for c in known] == [
        ["goals", "user"],
        ["goals", "user", "author"],
    ]
