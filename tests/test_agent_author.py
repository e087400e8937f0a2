"""Who writes: authors held, drawn and read back, drafts weighed, on a scripted core."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from core_model.errors import EngineError, TextTooLong
from core_model.planning import Conditional
from persona.agent import Agent
from persona.events import (
    AuthorChosen,
    AuthorRead,
    DraftsWeighed,
    Event,
    Exchange,
    Reply,
    SafetyVerdict,
    TurnFailed,
)
from persona.goals import CONDUCTS, DEFAULT_GOALS, VOICES
from persona.phrasings.replies import error_replies
from tests import toy

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
def test_a_core_that_tells_no_authors_apart_says_so(chosen: dict[str, Any]) -> None:
    core = toy.ScriptedCore(
        *toy.all_toys(), calls=lambda _: ("reply",), replies=lambda *_: "Hello."
    )
    last = said_by(core, **chosen)[-1]
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
