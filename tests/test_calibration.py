"""Calibration: errors and temperatures of cores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from core_model import corpora
from core_model.measures.calibration import Said, _row, best_temperature, calibration
from core_model.measures.result import Options, reliability
from tests import toy


def sure_by(power: float, n: int = 4000, seed: int = 0) -> Said:
    """Truths drawn from known posteriors, which are stated to a power."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), n)
    truth = np.array([rng.choice(4, p=row) for row in p])
    return Said(power * np.log(p), truth, tuple(range(n)))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_what_was_stated_too_surely(power: float) -> None:
    said = sure_by(power)
    temperature = best_temperature(said)
    assert temperature == pytest.approx(power, rel=0.1)
    assert said.ece(temperature) < 0.03
    if power != 1.0:
        assert said.ece() > 2 * said.ece(temperature)
        assert said.nll(temperature) < said.nll(1.0)


def test_what_few_items_in_many_bins_leave_is_told() -> None:
    few, many = sure_by(1.0, 150), sure_by(1.0, 6000)
    rng = np.random.default_rng(0)
    assert few.by_chance(rng) > 2 * many.by_chance(rng)
    assert many.ece() == pytest.approx(many.by_chance(rng), abs=0.02)


def test_the_reliability_of_what_was_stated_too_surely_lies_below_the_diagonal() -> None:
    said = sure_by(2.0)
    p = said.tempered(1.0)
    points = reliability(p.max(axis=1), p.argmax(axis=1) == said.truth, bins=5)
    assert [round(share, 3) for _, _, share in points] == [0.2] * 5
    assert all(right < sure for sure, right, _ in points)


def test_brier_by_hand() -> None:
    said = Said(np.log([[0.7, 0.3], [0.4, 0.6]]), np.array([0, 0]), (1, 2))
    assert said.brier() == pytest.approx((0.3**2 + 0.3**2 + 0.6**2 + 0.6**2) / 2)


class Addresses(toy.ToyCorpus):
    """The toy passages, all of them held out too."""

    def records(self, split):  # type: ignore[no-untyped-def]
        return super().records("train")


def test_every_closed_answer_is_measured_on_all_items() -> None:
    speeches = Addresses(toy.speeches().schema, toy.speeches().table)
    names = toy.names()
    with corpora.register(speeches), corpora.register(names):
        rows = {row.name: row for row in calibration(toy.ToyCore(speeches, names), Options())}
    assert set(rows) == {"author ECE", "party ECE", "medium ECE", "sex ECE"}
    for row in rows.values():
        assert 0 <= row.value <= 1
        assert row.value < sum(share for *_, share in row.curve) + 1e-9 == pytest.approx(1)
        assert row.floor is not None
        assert row.guard["temperature"] > 0
        assert row.baselines["always sure"] <= 1
    n_names = len(names.records("train"))
    assert rows["sex ECE"].n == n_names


def test_a_temperature_is_measured_where_it_was_not_fitted() -> None:
    """Of two groups one is too sure and one too unsure: what one asks for makes the other worse."""
    rng = np.random.default_rng(0)
    right = rng.random(4000) < 0.75
    sure = np.where(np.arange(4000) < 2000, 0.95, 0.55)
    p = np.stack([sure, 1 - sure], axis=1)
    found = Said(np.log(p), np.where(right, 0, 1), tuple(np.arange(4000) // 2000))
    guard = _row("sky", found, Options()).guard
    assert guard["temperature"] == best_temperature(found.of(np.arange(4000) < 2000)) > 2.0
    assert guard["with it"] > guard["without it"] > 0.15


def test_a_temperature_mends_the_half_that_it_was_not_fitted_on() -> None:
    guard = _row("sky", sure_by(2.0), Options()).guard
    assert guard["temperature"] == pytest.approx(2.0, rel=0.1)
    assert guard["with it"] < 0.04 < guard["without it"] / 2
