"""Diversity: distinct answers counted by hand, on a scripted persona beside a scripted rival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from core_model.errors import CandorError, EngineError
from core_model.measures.result import Options
from persona.diversity import Drawn, diversity, replies_of
from tests import toy


@dataclass
class Scripted:
    """A rival that has these replies by turns, and finds others as surprising as is said."""

    said: Sequence[str]
    others: float = 3.0

    def replies(self, question: str, n: int, rng: np.random.Generator) -> list[str]:
        return [self.said[i % len(self.said)] for i in range(n)]

    def surprise(self, question: str, reply: str) -> float:
        return 2.0 if reply in self.said else self.others


def calls(question: str) -> tuple[str, ...]:
    return ("sample", "names", "name", "1") if "name" in question else ("reply",)


def replies(question: str, result: str | None) -> str:
    return f"How about {result}?" if result else "We must go on."


@pytest.fixture
def core() -> Iterator[toy.ScriptedCore]:
    with toy.registered(*toy.all_toys()):
        yield toy.ScriptedCore(*toy.all_toys(), calls=calls, replies=replies)


def test_answers_are_counted_apart_from_how_they_are_put(core: toy.ScriptedCore) -> None:
    rival = Scripted(["Mary is nice.", "I like Mary!", "mary", "Mary, or Ruth"])
    rows = {row.name: row for row in diversity(core, Options(quick=True), rival)}
    names, texts = rows["distinct names"], rows["distinct texts"]
    # "mary" is no name as it is written, so it stands for itself.
    assert names.baselines["base"] == 2 / 4
    assert texts.baselines["base"] == 1.0
    assert texts.value == 1 / 4
    assert texts.guard["similarity, persona"] == 1.0
    assert names.guard["surprise, base"] == 2.0
    assert names.guard["surprise, persona"] == 3.0
    assert names.value > 1 / 4  # the draws of a tool differ by seed


@pytest.mark.parametrize(("surprise", "counted"), [(2.0, 1.0), (2.1, 0.0)])
def test_answers_count_where_they_surprise_the_base_no_more_than_its_own(
    core: toy.ScriptedCore, surprise: float, counted: float
) -> None:
    rival = Scripted(["Mary is nice.", "I like Mary!", "mary", "Mary, or Ruth"], surprise)
    rows = {row.name: row for row in diversity(core, Options(quick=True), rival)}
    ratio, of_all = rows["diversity ratio"], rows["distinct names"].value / (2 / 4)
    assert ratio.value == pytest.approx(counted * of_all)
    assert ratio.guard == {"counted": counted, "of all replies": pytest.approx(of_all)}


def test_a_tenth_of_the_bases_own_replies_is_beyond_what_is_usual() -> None:
    surprises = np.array([*np.arange(1.0, 20.0), np.inf])
    drawn = Drawn(tuple("abcdefghijklmnopqrst"), surprises, 0.0)
    assert drawn.usual == 17.0  # of nineteen that say anything
    assert drawn.within(drawn.usual) == 17 / 20
    assert drawn.surprise == 10.0
    empty = Drawn(("", ""), np.array([np.inf, np.inf]), 0.0)
    assert (empty.within(empty.usual), empty.surprise) == (0.0, 0.0)


def test_a_turn_that_fails_is_no_answer(
    core: toy.ScriptedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise EngineError("Broken.")

    monkeypatch.setattr(core, "choose", broken)
    with pytest.raises(CandorError, match="Broken"):
        replies_of(core, "Suggest a name.", [0])
