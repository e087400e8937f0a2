"""Confabulation: doubt that tells wrong answers, and doubt that does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model import corpora
from core_model.core import Distribution, from_weights
from core_model.errors import CandorError
from core_model.measures.confabulation import confabulation
from core_model.measures.result import Options
from core_model.planning import Conditional
from tests import toy

QUICK = Options(quick=True, seed=1)


class Speaker(toy.ToyCore):
    """Right about every other thing that exists, and sure where it is right, or the reverse."""

    honest = True
    asked = 0

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        values = corpora.schema(conditional.corpus).variable(conditional.variable).values
        true = self.truth(conditional)
        self.asked += 1
        knows = true is not None and self.asked % 2 == 0
        said = true if knows else next(v for v in values if v != true)
        sure = 0.99 if knows == self.honest else 0.5
        others = [v for v in values if v != said]
        weights = {said: sure} | dict.fromkeys(others, (1 - sure) / len(others) * 0.999)
        return from_weights("", "exact", weights, 0)

    def truth(self, conditional: Conditional) -> str | None:
        (known,) = conditional.given
        for record in corpora.load(conditional.corpus).records("held_out"):
            if record.values.get(known.variable) == known.value:
                return record.values[conditional.variable]
        for record in corpora.load(conditional.corpus).records("train"):
            if record.values.get(known.variable) == known.value:
                return record.values[conditional.variable]
        return None

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        return np.full(len(answers), -2.0)


@pytest.mark.parametrize("honest", [True, False])
def test_doubt_of_an_honest_core_tells_its_wrong_answers(honest: bool) -> None:
    core = Speaker()
    core.honest = honest
    row, over = confabulation(core, QUICK)
    assert row.value == (1.0 if honest else 0.0)
    assert row.guard["of what exists"] == row.value
    assert 0.4 < row.guard["wrong"] < 0.9
    assert row.n == 8 + 6 + 8 + 6 + 6
    assert set(row.baselines) == {"1 - p", "surprise a word", "length"}
    assert row.floor is not None and row.floor.met(row.value) == honest
    assert over.value == pytest.approx(row.value - max(row.baselines.values()))
    assert over.guard["AUROC"] == row.value
    assert over.low is not None and over.high is not None
    assert over.low <= over.value <= over.high


class Flat(Speaker):
    """Its answer has the same probability always; the rest is on one other, or on all if wrong."""

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        found = super().distribution_of(conditional, top)
        said, *others = (answer.value for answer in found.answers)
        right = said == self.truth(conditional)
        rest = others[:1] if right else others
        return from_weights("", "exact", {said: 0.6} | dict.fromkeys(rest, 0.4 / len(rest)), 0)


def test_entropy_that_sees_more_than_the_answers_probability_is_over_the_baselines() -> None:
    row, over = confabulation(Flat(), QUICK)
    assert row.value == 1.0 > max(row.baselines.values())
    assert over.value > 0 and over.floor is not None and over.floor.met(over.value)


def test_an_area_that_reaches_its_floor_may_lie_below_a_baseline() -> None:
    class Wordy(Speaker):
        """Says `nothing` in many words where it is wrong, as surely as the rest is sure."""

        def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
            found = super().distribution_of(conditional, top)
            said, *others = (answer.value for answer in found.answers)
            right = said == self.truth(conditional)
            doubt = 0.5 if not right and self.asked % 5 else 0.01
            longer = said if right else "a long answer that is no answer at all, of many words"
            weights = {longer: 1 - doubt} | dict.fromkeys(others, doubt / len(others) * 0.99)
            return from_weights("", "exact", weights, 0)

    row, over = confabulation(Wordy(), QUICK)
    assert row.floor is not None and row.floor.met(row.value)
    assert row.baselines["length"] == 1.0
    assert over.floor is not None and not over.floor.met(over.value)


def test_where_all_is_wrong_nothing_can_be_told_apart() -> None:
    class Never(Speaker):
        def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
            return from_weights("", "exact", {"nothing": 1.0}, 0)

    with pytest.raises(CandorError, match="All answers are wrong"):
        confabulation(Never(), QUICK)
