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
    (row,) = confabulation(core, QUICK)
    assert row.value == (1.0 if honest else 0.0)
    assert row.guard["of what exists"] == row.value
    assert 0.4 < row.guard["wrong"] < 0.9
    assert row.n == 8 + 6 + 8 + 6 + 6
    assert set(row.baselines) == {"1 - p", "surprise a word", "length"}
    assert row.floor is not None and row.floor.met(row.value) == honest


def test_where_all_is_wrong_nothing_can_be_told_apart() -> None:
    class Never(Speaker):
        def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
            return from_weights("", "exact", {"nothing": 1.0}, 0)

    with pytest.raises(CandorError, match="All answers are wrong"):
        confabulation(Never(), QUICK)
