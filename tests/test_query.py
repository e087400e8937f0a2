"""One query in, JSON out: what `candor query` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from core_model.core import Core
from core_model.errors import CandorError, EmptySupport
from tests import toy
from tools.joint import SAMPLES
from tools.query import run_query

LINCOLN = "we must think anew, and act anew"
JOINT = "weather: sky & wind"


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as known:
        yield known


def test_a_draw_as_json(core: Core) -> None:
    out = run_query(core, "names: name | year=1985, sex=female", None, 3, "exact", 7)
    assert out["query"] == "names: name | year=1985, sex=female"
    assert [answer["value"] for answer in out["answers"]] == ["Jessica", "Jennifer", "Anna"]
    assert out["answers"][0]["probability"] == pytest.approx(6 / 14.5)
    assert out["listed_mass"] == pytest.approx(12 / 14.5)
    assert out["entropy_nats"] > 0
    assert out["method"] == "exact"
    assert out["seed"] == 7
    assert "methods" not in out
    json.dumps(out)


def test_a_draw_by_all_methods(core: Core) -> None:
    out = run_query(core, "names: sex | year=1985", None, None, "all", 0)
    assert [each["method"] for each in out["methods"]] == ["exact", "sampled", "data"]
    assert out["method"] == "exact"
    assert out["answers"] == out["methods"][0]["answers"]
    assert out["methods"][1]["n"] == 400
    data = run_query(core, "names: sex | year=1985", None, None, "data", 0)
    assert data["answers"] == out["methods"][2]["answers"]


def test_a_draw_reads_its_data(core: Core) -> None:
    out = run_query(core, "speeches: author", LINCOLN, None, "exact", 0)
    assert out["answers"][0]["value"] == "Abraham Lincoln"
    by_all = run_query(core, "speeches: author", LINCOLN, None, "all", 0)
    assert [each["method"] for each in by_all["methods"]] == ["exact", "sampled"]
    name = run_query(core, "names: sex", "Jennifer", None, "data", 0)
    assert name["answers"] == [{"value": "female", "probability": 1.0}]


def test_free_text_is_drawn(core: Core) -> None:
    out = run_query(core, "speeches: author^-1 | author=lincoln", None, 2, "exact", 0)
    assert out["method"] == "sampled"
    assert out["n"] == 2
    assert sum(a["probability"] for a in out["answers"]) == pytest.approx(1.0)


def test_the_entropy_of_drawn_text_comes_from_its_log_probabilities(core: Core) -> None:
    out = run_query(core, "weather: text | sky=clear", None, 64, "sampled", 0)
    true = -sum(p * math.log(p) for p in toy.TEXT["clear"].values())
    assert abs(out["entropy_nats"] - true) <= 4 * out["entropy_stderr"]


def test_a_chain_as_json(core: Core) -> None:
    out = run_query(core, "speeches: author; year", LINCOLN, None, "exact", 0)
    assert out["listed_mass"] == pytest.approx(1.0)
    with pytest.raises(CandorError, match="one relation at a time"):
        run_query(core, "names: sex; year", "Emma", None, "data", 0)


@pytest.mark.parametrize(
    "query",
    [
        "names: P(name=Jennifer | year=1972, sex=female)",
        "names: P(name=Emma | year=1985)",
        "weather: H(sky, wind)",
        "speeches: I(party; medium)",
        "speeches: corr(year, medium)",
    ],
)
def test_a_measure_as_json(core: Core, query: str) -> None:
    if "1972" in query:
        with pytest.raises(EmptySupport):
            run_query(core, query)
        return
    out = run_query(core, query, method="all")
    assert out["query"] == query
    for estimate in out["estimates"]:
        assert {"method", "value", "stderr", "n", "unit"} <= set(estimate)
        if estimate["unit"] == "nats":
            assert estimate["bits"] == pytest.approx(estimate["value"] / math.log(2))
    assert [e["method"] for e in run_query(core, query)["estimates"]] == ["exact"]
    json.dumps(out)


def test_a_chain_asked_as_one_question_is_what_the_core_states(core: Core) -> None:
    """The toy core's statement is its mixture; the method says how it was had."""
    query = "speeches: party; year"
    asked = run_query(core, query, "The Union must be preserved", 5, "asked")
    exact = run_query(core, query, "The Union must be preserved", 5)
    assert asked["method"] == "asked"
    for one, other in zip(asked["answers"], exact["answers"], strict=True):
        assert (one["value"], pytest.approx(one["probability"])) == (
            other["value"],
            other["probability"],
        )
    assert asked["query"] == exact["query"]


@pytest.mark.parametrize(
    ("query", "measure"),
    [
        ("weather: sky & text", "weather: H(sky, text)"),
        ("names: name & sex | year=1985", "names: H(name, sex | year=1985)"),
    ],
)
def test_several_unknowns_that_cannot_be_listed_are_sampled(
    core: Core, query: str, measure: str
) -> None:
    """Their entropy is that of the joint: the chain rule gives each sample its probability."""
    out = run_query(core, query, top=30, method="sampled")
    truth = run_query(core, measure)["estimates"][0]["value"]
    assert abs(out["entropy_nats"] - truth) < 5 * out["entropy_stderr"] + 0.05
    json.dumps(out, allow_nan=False)


def test_a_certainty_has_no_entropy_of_minus_zero(core: Core) -> None:
    out = run_query(core, "names: sex", "Jennifer", method="data")
    assert str(out["entropy_nats"]) == "0.0"


def test_several_unknowns_are_counted_together(core: Core) -> None:
    found = run_query(core, "weather: sky & wind", method="data")
    exact = run_query(core, "weather: sky & wind")
    assert [a["value"] for a in found["answers"]] == [a["value"] for a in exact["answers"]]
    assert [a["probability"] for a in found["answers"]] == pytest.approx(
        [a["probability"] for a in exact["answers"]], abs=1e-3
    )


def test_gibbs_sampling_answers_what_is_asked_jointly(core: Core) -> None:
    exact = {a["value"]: a["probability"] for a in run_query(core, JOINT)["answers"]}
    found = run_query(core, JOINT, method="gibbs", seed=3)
    drawn = {a["value"]: a["probability"] for a in found["answers"]}
    assert (found["method"], found["n"]) == ("gibbs", SAMPLES)
    assert sum(drawn.values()) == pytest.approx(1)
    distance = sum(abs(drawn.get(state, 0.0) - p) for state, p in exact.items()) / 2
    assert distance < 0.5 * (len(exact) / SAMPLES) ** 0.5
    truth = -sum(p * math.log(p) for p in exact.values() if p)
    assert found["entropy_nats"] == pytest.approx(truth, abs=5 * found["entropy_stderr"])
    assert found == run_query(core, JOINT, method="gibbs", seed=3)


def test_a_prior_is_stated_in_the_query(core: Core) -> None:
    query = 'speeches: author | prior="lincoln 50%, reagan 50%"'
    found = run_query(core, query, "The Union must be preserved")
    assert found["query"] == 'speeches: author | prior="50% Abraham Lincoln, 50% Ronald Reagan"'
    assert [answer["value"] for answer in found["answers"]] == ["Abraham Lincoln", "Ronald Reagan"]
    for method in ("sampled", "data"):
        with pytest.raises(CandorError, match="--method exact"):
            run_query(core, query, "The Union must be preserved", method=method)
    every = run_query(core, query, "The Union must be preserved", method="all")
    assert [each["method"] for each in every["methods"]] == ["exact"]


def test_a_measure_that_cannot_be_enumerated_is_sampled(core: Core) -> None:
    out = run_query(core, "speeches: I(author; text)")
    assert [estimate["method"] for estimate in out["estimates"]] == ["sampled"]


@pytest.mark.parametrize(
    ("query", "options", "says"),
    [
        ("names: sex", {"method": "asked", "data": "Emma"}, "Only a chain"),
        ("names: H(sex)", {"method": "asked"}, "does not state measures itself"),
        ("speeches: party; year | medium=spoken", {"method": "asked"}, "nothing but its data"),
        ("names: name", {"method": "guess"}, "Unknown method 'guess'"),
        ("names: name", {"method": "gibbs"}, "needs several variables"),
        ("weather: sky & text", {"method": "gibbs"}, "needs several variables"),
        ("weather: sky; wind & word", {"method": "gibbs"}, "needs several variables"),
        ("names: H(name)", {"method": "gibbs"}, "not drawn by Gibbs"),
        ("names: name", {"top": 0}, "Between 1 and 1000"),
        ("names: name", {"top": 5000}, "Between 1 and 1000"),
        ("weather: text", {"top": 65}, "At most 64 texts"),
        ("names: name", {"seed": -1}, "A seed is 0 or more"),
        ("names: year^-1", {"data": "85"}, "year=85 is outside names"),
        ("names: year^-1", {"data": "85", "method": "data"}, "year=85 is outside names"),
        ("names: name~short", {}, "under no notion"),
        ("name", {}, "Which corpus?"),
        ("H(name)", {}, "Which corpus?"),
        ("names: ", {}, "stops at character"),
        ("names: name | year=", {}, "character"),
        ("planets: moons", {}, "Unknown corpus"),
        ("names: auther", {}, "auther"),
        ("names: H(name)", {"data": "Emma"}, "reads no data"),
        ("names: name", {"data": "Emma"}, "both the data and what is asked"),
        ("weather: text", {"method": "data"}, "free text"),
        ("names: I(sex; sex)", {}, "both sides"),
    ],
)
def test_a_bad_query_is_refused_in_one_line(
    core: Core, query: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CandorError) as refused:
        run_query(core, query, **options)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
