"""A prior that a query states moves the posterior as Bayes' law says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_model import notation, priors
from core_model.core import Core
from core_model.corpora import schema
from core_model.errors import CandorError, InvalidQuery, UnknownName
from core_model.notation import Binding
from core_model.objectives import PriorTask
from core_model.objectives.priors import PRIORS_A_ROW
from core_model.planning import Conditional, at_once
from tests import tiny, toy
from tests.test_tasks import questions
from tests.toy import draw

TEXT = "A day like any other; nobody looked up."


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as made:
        yield made


def under(core: Core, prior: str) -> dict[str, float]:
    found = core.distribution(draw(f'weather: sky | prior="{prior}"'), TEXT)
    assert found.method == "exact"
    assert found.listed_mass == pytest.approx(1.0)
    return {answer.value: answer.probability for answer in found.answers}


@given(st.floats(0.01, 0.99))
def test_the_posterior_is_likelihood_times_the_stated_prior(share: float) -> None:
    with toy.registered(*toy.all_toys()) as core:
        found = under(core, f"clear {share:.6f}, cloudy {1 - share:.6f}")
    product = {sky: toy.TEXT[sky][TEXT] * p for sky, p in (("clear", share), ("cloudy", 1 - share))}
    for sky, weight in product.items():
        assert found[sky] == pytest.approx(weight / sum(product.values()), abs=1e-3)


def test_the_cores_own_prior_changes_nothing(core: Core) -> None:
    own = priors.written(toy.SKY)
    plain = core.distribution(draw("weather: sky"), TEXT)
    assert under(core, own) == pytest.approx({a.value: a.probability for a in plain.answers})


def test_what_a_prior_leaves_out_is_impossible(core: Core) -> None:
    assert under(core, "Clear 3") == {"clear": 1.0}


def test_a_prior_is_spelled_as_the_corpus_spells(core: Core) -> None:
    query = schema("speeches").resolve(draw('speeches: author | prior="lincoln 3, reagan 1"'))
    assert query.given == (Binding("prior", "75% Abraham Lincoln, 25% Ronald Reagan"),)
    assert notation.parse(notation.format(query)) == query
    again = schema("speeches").resolve(query)
    assert again == query


@pytest.mark.parametrize(
    ("query", "data", "error", "says"),
    [
        ('weather: sky | prior="clear"', TEXT, InvalidQuery, "no value and share"),
        ('weather: sky | prior="clear 1, clear 2"', TEXT, InvalidQuery, "twice"),
        ('weather: sky | prior="clear 0"', TEXT, InvalidQuery, "above 0"),
        ('weather: sky | prior="green 1"', TEXT, UnknownName, "green"),
        ('weather: sky | prior="clear 1"', None, InvalidQuery, "--data"),
        ('weather: word | prior="calm 1"', TEXT, InvalidQuery, "not a closed list"),
        ('weather: sky; wind | prior="clear 1"', TEXT, InvalidQuery, "asked alone"),
        ('weather: sky & wind | prior="clear 1"', TEXT, InvalidQuery, "asked alone"),
        ('weather: sky^-1 | prior="clear 1"', "clear", InvalidQuery, "asked alone"),
    ],
)
def test_a_prior_without_a_place_is_one_clear_line(
    core: Core, query: str, data: str | None, error: type[CandorError], says: str
) -> None:
    with pytest.raises(error, match=says) as refused:
        core.distribution(draw(query), data)
    assert "\n" not in str(refused.value)


def test_a_prior_is_not_sampled_but_can_be_stated_to_the_core(core: Core) -> None:
    query = draw('weather: sky | prior="clear 80%, cloudy 20%"')
    with pytest.raises(InvalidQuery, match="--method exact"):
        core.sample(query, 1, np.random.default_rng(0), TEXT)
    assert at_once(query, TEXT) == Conditional(
        "weather", "sky", (Binding("text", TEXT), Binding("prior", "clear 80%, cloudy 20%"))
    )


def test_the_share_stands_before_or_behind_its_value() -> None:
    corpus = schema("speeches")
    author = corpus.variable("author")
    both = [
        priors.read(text, corpus, author)
        for text in ("75% Lincoln, 1 % reagan", "lincoln 75%, reagan 1")
    ]
    assert both[0] == both[1] == {"Abraham Lincoln": 75 / 76, "Ronald Reagan": 1 / 76}
    years = priors.read("75% 1985, 1986 25%", corpus, corpus.variable("year"))
    assert years == {"1985": 0.75, "1986": 0.25}


@given(st.lists(st.floats(1e-12, 1e9), min_size=2, max_size=2))
def test_what_is_written_is_read_back_however_small_a_share(weights: list[float]) -> None:
    corpus = schema("speeches")
    names = ("Abraham Lincoln", "Barack Obama")
    shares = dict(zip(names, np.array(weights) / sum(weights), strict=True))
    again = priors.read(priors.written(shares), corpus, corpus.variable("author"))
    assert again == pytest.approx(shares, rel=0.01)


def test_rows_ask_one_document_under_several_priors_of_the_same_candidates() -> None:
    with toy.registered(*toy.all_toys()):
        wind = toy.weather().schema.variable("wind")
        rows = PriorTask(tiny.wire(), "weather", "wind").rows(np.random.default_rng(0), 20)
        for row in rows:
            asked = list(questions(row))
            assert {variable for _, variable, _ in asked} == {"wind"}
            told = [known["prior"] for known, _, _ in asked if "prior" in known]
            assert len(told) == PRIORS_A_ROW
            named = {frozenset(priors.read(t, toy.weather().schema, wind)) for t in told}
            assert len(named) == 1
            texts = {known["text"] for known, _, _ in asked if "text" in known}
            assert len(texts) == 1
