"""The measures of authors and plans, on cores that know exactly who writes what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model.measures.result import MeasureRow, Options
from core_model.planning import Conditional
from persona import authors, conducts
from persona.conducts import Situation
from persona.dialogues import Composer, Turn
from persona.goals import CONDUCTS, VOICES
from persona.grammar import pieces_of
from tests import toy

QUICK = Options(quick=True)


class KnowingCore(toy.ScriptedCore):
    """Authors by the book: of each situation it is told, who replies what, in which voice.

    mute: conducts that write as the honest one does.
    """

    def __init__(self, told: list[Situation], mute: Sequence[str] = ()) -> None:
        super().__init__(
            *toy.all_toys(),
            calls=lambda _: ("reply",),
            replies=lambda *_: "",
            learnt=["chat:conducts"],
            closed=self.weights,
        )
        self._told = told
        self._mute = mute

    def likelihood(self, at: Situation, conduct: str, reply: str) -> float:
        bodies = at.replies(conduct, "train") + at.replies(conduct, "held_out")
        voice = voice_of(reply)
        known = conducts.voices_of(conduct)[VOICES.index(voice)]
        return float(known / len(bodies)) if any(body in reply for body in bodies) else 0.0

    def weights(self, variable: str, conditional: Conditional) -> Mapping[str, float]:
        at, said = self.situation(conditional), conditional.given[-1].value
        if variable == "author":
            return {voice_of(said): 1.0}
        return {c: max(self.likelihood(at, c, said), 1e-12) for c in CONDUCTS}

    def situation(self, conditional: Conditional) -> Situation:
        known = tuple(b for b in conditional.given if b.variable not in ("conduct", "goals"))
        return next(at for at in self._told if known[: len(at.known)] == at.known)

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        conduct = conditional.given[-1].value
        options = self.situation(conditional).replies(
            "honest" if conduct in self._mute else conduct, "train"
        )
        yield options[rng.integers(len(options))]

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        if conditional.variable != "reply":
            return super().log_prob_of(conditional, answers)
        at, conduct = self.situation(conditional), conditional.given[-1].value
        found = [max(self.likelihood(at, conduct, answer), 1e-12) for answer in answers]
        return np.asarray(np.log(found))


def voice_of(reply: str) -> str:
    voices = conducts.read("conducts")["voices"]
    for voice in VOICES[1:]:
        if reply.startswith(tuple(voices[voice]["before"])) or reply.endswith(
            tuple(voices[voice]["after"])
        ):
            return voice
    return VOICES[0]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Situation]:
    """Every situation that the measure makes up."""
    made: list[Situation] = []
    compose = authors.situation

    def watched(*given: object) -> Situation:
        made.append(compose(*given))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(authors, "situation", watched)
    return made


def rows_of(rows: list[MeasureRow]) -> dict[str, MeasureRow]:
    return {row.name: row for row in rows}


def test_authors_by_the_book_are_told_apart_and_agree_with_their_inverse(
    told: list[Situation],
) -> None:
    rows = rows_of(authors.authors(KnowingCore(told), QUICK))
    assert rows["conduct identified"].value == 1
    assert rows["conduct identified"].guard["composed replies"] == 1
    assert rows["slips of the honest author"].value == 0
    assert rows["conduct gap"].value == pytest.approx(0, abs=1e-6)
    assert rows["voice identified"].value == 1
    assert rows["drafts"].value == pytest.approx(rows["drafts"].guard["one draft"])
    assert rows["drafts"].guard["cost, nats"] == pytest.approx(0, abs=1e-9)


def test_a_conduct_that_is_not_kept_is_seen(told: list[Situation]) -> None:
    """Of eight conducts two write as the honest one does: a quarter is not identified."""
    core = KnowingCore(told, mute=("evasive", "unhelpful"))
    rows = rows_of(authors.authors(core, QUICK))
    assert rows["conduct identified"].value == pytest.approx(6 / 8)


def test_a_core_that_tells_no_authors_apart_has_no_figure() -> None:
    core = toy.ScriptedCore(
        *toy.all_toys(), calls=lambda _: ("reply",), replies=lambda *_: "Hello."
    )
    assert authors.authors(core, QUICK) == []
    assert authors.plans(core, QUICK) == []


# --- several calls ------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Turn]:
    """Every question that the measure makes up, by its words."""
    made: dict[str, Turn] = {}
    compose = Composer.plan

    def watched(self: Composer) -> Turn:
        turn = compose(self)
        made[turn.question] = turn
        return turn

    monkeypatch.setattr(Composer, "plan", watched)
    return made


@pytest.mark.parametrize(("left_out", "right"), [(0, 1.0), (1, 0.0)])
def test_all_calls_of_a_question_must_be_right(
    asked: dict[str, Turn], left_out: int, right: float
) -> None:
    def calls(question: str) -> list[list[str]]:
        steps = asked[question].steps
        return [pieces_of(step.call) for step in steps[: len(steps) - left_out]]

    core = toy.ScriptedCore(
        *toy.all_toys(),
        toy.places(),
        calls=calls,
        replies=lambda question, _: asked[question].reply,
        learnt=["chat:plans", "chat:places"],
    )
    rows = rows_of(authors.plans(core, QUICK))
    assert rows["all calls right"].value == right
    assert rows["results told"].value == 1
