"""Measures of the graph corpora, on a core that knows them exactly and on ones that don't."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model.corpora import kin
from core_model.measures import transitivity as transitivity_of
from core_model.measures.networks import networks
from core_model.measures.result import MeasureRow, Options
from core_model.measures.transitivity import transitivity
from core_model.notation import Binding
from core_model.planning import Conditional
from tests import toy
from tests.exact import ExactCore

QUICK = Options(seed=3, quick=True)


def by_name(rows: Sequence[MeasureRow]) -> dict[str, MeasureRow]:
    return {row.name: row for row in rows}


def test_a_core_that_knows_all_meets_every_goal_of_transitivity() -> None:
    rows = by_name(transitivity(ExactCore(), QUICK))
    for name, row in rows.items():
        assert row.floor is not None
        assert row.floor.met(row.value)
        assert row.value == pytest.approx(1.0 if "accuracy" in name else 0.0, abs=1e-4)
    assert rows["places chain accuracy"].n == 16
    assert rows["kin TV, depth 2"].guard["mixture accuracy"] == 1.0


def test_a_core_that_states_chains_too_surely_is_found_out() -> None:
    """Where several answers are possible, its one-step answers lie away from its own mixture."""
    rows = by_name(transitivity(ExactCore(power=3.0), QUICK))
    assert rows["kin TV, depth 3"].value > 0.005
    assert rows["places TV, depth 2"].value == pytest.approx(0.0, abs=1e-4)  # one answer each


class Doubtful(ExactCore):
    """Half says nobody, whenever several relations are asked as one question."""

    def _chained(self, corpus: str, asked: str, known: dict[str, str]) -> dict[str, float]:
        found = super()._chained(corpus, asked, known)
        if corpus != "kin":
            return found
        return {kin.NOBODY: 1.0} | {a: p for a, p in found.items() if a != kin.NOBODY}


def test_compositions_that_are_no_chains_and_names_of_chains_are_found_out() -> None:
    rows = by_name(transitivity(Doubtful(), QUICK))
    both = rows["kin TV, two parents"]
    assert both.value == pytest.approx(0.5)
    assert both.guard["mixture accuracy"] == 1.0
    named = rows["compound names JSD"]
    # A certain answer, and the same at one half: H(3/4, 1/4) - H(1/2, 1/2) / 2 = 0.3113 bits.
    assert 0.05 < named.value <= 0.3113
    assert named.guard["accuracy of names"] == 1.0
    assert named.low is not None and named.n >= 3 * 6


def test_the_mixture_over_both_parents_is_that_of_the_notation() -> None:
    core, rng = ExactCore(), np.random.default_rng(0)
    family, text = kin.draw(rng, "held_out")
    child = family.couples[0][2][0]
    about = Binding("person", child)
    query = toy.draw(f"kin: father & mother; child | person={child}")
    by_notation = core.distribution(query, text)
    assert by_notation.answers == transitivity_of._through_both(core, about, text).answers


def test_a_core_that_knows_the_networks_meets_every_goal() -> None:
    rows = by_name(networks(ExactCore(), QUICK))
    assert rows["conditional KL, held-out"].value == pytest.approx(0.0, abs=1e-9)
    assert rows["network order SD"].value == pytest.approx(0.0, abs=1e-9)
    assert rows["conditional KL, held-out"].baselines["marginal"] > 0.01
    assert rows["conditional KL, held-out"].guard["exact entropy"] > 0.05
    gibbs = rows["Gibbs TV"]
    assert gibbs.value < 3 * gibbs.guard["of exact draws"] + 0.05
    assert gibbs.guard["ancestral"] == pytest.approx(0.0, abs=1e-9)
    assert gibbs.low is not None and gibbs.high is not None
    assert gibbs.low <= gibbs.value <= gibbs.high
    routes = rows["Gibbs to ancestral TV"]
    assert routes.value < 3 * routes.guard["of ancestral draws"] + 0.05
    assert routes.guard["KL to exact"] == pytest.approx(0.0, abs=1e-9)
    assert rows["network order SD"].guard["KL to exact"] == pytest.approx(0.0, abs=1e-9)


class Ignorant(ExactCore):
    """Every value of a variable is as likely as any other."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        weights = self._weights(conditional)
        return np.full(len(answers), -np.log(len(weights)))


def test_a_core_that_knows_nothing_of_the_networks_is_far_from_them() -> None:
    rows = by_name(networks(Ignorant(), QUICK))
    row = rows["conditional KL, held-out"]
    assert row.value > 5 * row.baselines["records"]
    assert rows["network order SD"].value == pytest.approx(0.0, abs=1e-9)
    assert rows["network order SD"].guard["KL to exact"] > 0.1
    # Everything is even by any route: the routes agree, and are far from what is so.
    routes = rows["Gibbs to ancestral TV"]
    assert routes.value < 2 * routes.guard["of ancestral draws"]
    assert routes.guard["KL to exact"] > 0.1
    assert rows["Gibbs TV"].value > 0.2 > rows["Gibbs TV"].guard["of exact draws"]
    assert row.low is not None and row.high is not None
    assert row.low <= row.value <= row.high


class Forgetful(Ignorant):
    """Knows the networks as long as it is told no more than two variables."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        if len(conditional.given) > 2:
            return super().log_prob_of(conditional, answers)
        return ExactCore.log_prob_of(self, conditional, answers)


def test_conditionals_of_no_one_joint_part_the_routes() -> None:
    """One by one every variable reads three others, by the chain rule the first ones fewer."""
    routes = by_name(networks(Forgetful(), QUICK))["Gibbs to ancestral TV"]
    assert routes.value > 3 * routes.guard["of ancestral draws"]
