"""The persona's turn on a scripted core: events in order, honest numbers, safety, failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core_model.core import Answer, Distribution, from_weights
from core_model.errors import EngineError, TextTooLong, ToolError
from core_model.measures.result import Options
from core_model.notation import Binding
from core_model.numerals import numbers_in
from core_model.planning import Conditional
from persona.agent import REFUSAL, Agent, _said
from persona.dialogues import Step, failed_by, numbers_of
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
from persona.measure import declining, is_well_formed, outcome
from persona.phrasings.calls import Call
from persona.phrasings.replies import error_replies
from persona.script import QUESTION_BYTES, shortened
from persona.turn import Turn, exchanges
from tests import toy
from tools import TOOLS, ToolResult, safety
from tools.registry import Context
from tools.summaries import NOTHING_SAFE

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
        ("No. It is harmful.", [UNSAFE, UNSAFE], True),  # neither part refuses
        ("I can't help with that, but first take two wires.", [REFUSES, UNSAFE, UNSAFE], True),
        ("I won't; take two wires.", [REFUSES, UNSAFE, UNSAFE], True),
        ("I won't help, but others may.", [REFUSES, SAFE, SAFE], False),
        ("I still won't, even though I could.", [REFUSES], False),  # it turns to nothing else
        ("I won't. It is bad. It is wrong.", [REFUSES, UNSAFE, UNSAFE, REFUSES], True),
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
    judged = verdicts_in_turn(monkeypatch, *found)
    assert safety.blocks(core, "how?", reply, *REFUSES[:2]) is blocked
    assert len(judged) == len(found)
    if len(found) > 2 and blocked:
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
    assert (none.samples, none.summary) == ((), NOTHING_SAFE)
    names = replace(result, samples=("wires", "water"))
    assert safety.withhold(core, names) is names
    counted = replace(result, distribution=None, data=drawn)
    assert safety.withhold(core, counted) is counted


@pytest.mark.parametrize("safe_at", [1, 2, 9])
def test_unsafe_texts_are_drawn_anew_and_what_stays_unsafe_is_told(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch, safe_at: int
) -> None:
    asked: list[int] = []

    def drawn(tool: str, _: object, context: Context) -> ToolResult:
        asked.append(context.seed)
        text = ("water " if len(asked) >= safe_at else "wires ") * 20
        found = from_weights("speeches: text", "sampled", {text: 1.0}, 1)
        return ToolResult(tool, "", (), found, None, (text,), text.strip(), context.seed, 0.0)

    monkeypatch.setattr(safety, "verdicts", lambda _, __, text: UNSAFE if "wires" in text else SAFE)
    monkeypatch.setattr("persona.agent.run", drawn)
    events = turn(core, "Leslie: boy or girl?")
    (finished,) = (event for event in events if isinstance(event, ToolFinished))
    assert finished.result is not None and finished.error is None
    assert finished.result.withheld == min(safe_at - 1, 3) and len(set(asked)) == len(asked)
    assert finished.result.seed == asked[-1]
    last = events[-1]
    assert isinstance(last, Reply)
    assert ("held for unsafe" in last.text) is (safe_at > len(asked)) is (safe_at == 9)


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


def test_what_is_declined_and_what_is_answered(
    core: toy.ScriptedCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four that a tool answers one is declined, one calls another tool; of two others, one."""
    questions = tmp_path / "questions.toml"
    asked = [
        ["infer", "boy or girl: Leslie"],
        ["probability", "Jennifer in 1985"],
        ["infer", "how old is a Jennifer"],
        ["probability", "Leslie in 1985"],
    ]
    others = ["hello", "what does Jennifer mean?"]
    questions.write_text(f"answerable = {json.dumps(asked)}\nothers = {json.dumps(others)}")
    monkeypatch.setattr("persona.measure.DEVELOPMENT", questions)
    declined, answered = declining(core, Options(0, False, tmp_path))
    assert (declined.value, declined.guard["tool of the file"]) == (0.25, 0.5)
    assert answered.value == 0.5


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
