"""Answers that are kept to a list: laws of what is scored, drawn and searched, on any weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from core_model.listing import OUTSIDE, ROOT, Listing
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.reader import Prompt
from core_model.torch_core import TorchCore
from tests import tiny, toy
from tests.toy import ToyCorpus

LISTED = ("calm", "call", "calmer", "breezy", "b", "naïve", "3 knots", "breeze")
WORD = Conditional("weather", "word", (Binding("sky", "clear"),))
values = st.lists(st.text("abé 1", min_size=1, max_size=4), min_size=1, max_size=9, unique=True)


class ListedWeather(ToyCorpus):
    """The weather, whose words for the day are listed."""

    def listing(self, variable: str) -> Sequence[str]:
        return LISTED if variable == "word" else ()


def fresh() -> TorchCore:
    """A core of its own, which knows no list yet."""
    return TorchCore(tiny.decoder().eval(), tiny.wire(), "random")


@pytest.fixture
def core() -> Iterator[TorchCore]:
    plain = toy.weather()
    with toy.registered(ListedWeather(plain.schema, plain.table)):
        yield fresh()


@given(values)
def test_a_list_knows_every_beginning_of_its_answers_and_no_other(listed: list[str]) -> None:
    wire = tiny.wire()
    listing, answers = Listing.of(wire, listed), [wire.answer(value) for value in listed]
    begun = {tuple(answer[:end]) for answer in answers for end in range(1, len(answer) + 1)}
    for path in begun:
        assert listing.at(path) >= 0
        others = set(range(tiny.SIZE)) - {p[-1] for p in begun if p[:-1] == path[:-1]}
        assert {listing.at((*path[:-1], token)) for token in others} <= {OUTSIDE}
    assert listing.at(()) == ROOT and listing.at((*answers[0], answers[0][0])) == OUTSIDE
    assert (listing.places(listing.tree) == np.arange(listing.tree.n_nodes)).all()


@given(values)
def test_what_must_follow_is_what_all_listed_answers_have(listed: list[str]) -> None:
    wire = tiny.wire()
    listing, answers = Listing.of(wire, listed), [wire.answer(value) for value in listed]
    for answer in answers:
        for end in range(len(answer) + 1):
            path, rest = answer[:end], answer[end:]
            forced = listing.forced(listing.at(path))
            assert forced == rest[: len(forced)]
            behind = {tuple(a[end + len(forced) :][:1]) for a in answers if a[:end] == path}
            assert len(behind) > 1 or forced == rest
    places = np.arange(listing.tree.n_nodes)
    answers_of_each = listing.tree.high - listing.tree.low
    assert (listing.undecided(listing.tree, places) == (answers_of_each > 1)).all()


def test_what_is_certain_is_not_read(core: TorchCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight words a choice stands behind the beginnings of these alone."""
    read: list[int] = []
    branches = core._reader.branches

    def counted(prompt: Prompt, tokens: np.ndarray, parents: np.ndarray) -> Tensor:
        read.extend(tokens.tolist())
        return branches(prompt, tokens, parents)

    monkeypatch.setattr(core._reader, "branches", counted)
    core.log_prob_of(WORD, LISTED)
    begun = (" ", "c", "ca", "cal", "calm", "b", "br", "bre", "bree", "breez")
    assert Counter(read) == Counter(tiny.wire().tokenizer.encode(word)[-1] for word in begun)


def test_the_listed_sum_to_one_and_nothing_else_is_possible(core: TorchCore) -> None:
    log_p = core.log_prob_of(WORD, LISTED)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-6)
    assert core.log_prob_of(WORD, ["cal", "storm", "", "breezyy"]).tolist() == [-math.inf] * 4
    mixed = core.log_prob_of(WORD, ["storm", "calm", "calmest", "b"])
    assert mixed[[1, 3]] == pytest.approx(log_p[[0, 4]], abs=1e-4)


def test_each_token_has_its_share_among_those_that_may_follow(core: TorchCore) -> None:
    """By hand: the whole softmax at every token, cut to what leads on to a listed answer."""
    wire, prompt = tiny.wire(), core._prompt(WORD)
    answers = {value: wire.answer(value) for value in LISTED}
    for value in ("calmer", "naïve"):
        by_hand, path = 0.0, list[int]()
        for token in answers[value]:
            may = {a[len(path)] for a in answers.values() if a[: len(path)] == path}
            log_p = core._reader.following(core._reader.prompt([*prompt, *path])).numpy()
            by_hand += log_p[token] - np.logaddexp.reduce(log_p[sorted(may)].astype(float))
            path.append(token)
        assert core.log_prob_of(WORD, [value])[0] == pytest.approx(by_hand, abs=1e-4)


def test_a_list_makes_each_of_its_answers_at_least_as_probable(core: TorchCore) -> None:
    with_list = core.log_prob_of(WORD, LISTED)
    with toy.registered(toy.weather()):
        without = fresh().log_prob_of(WORD, LISTED)
    assert (with_list >= without - 1e-6).all() and (with_list > without + 0.1).any()


def test_drawn_answers_are_listed_and_as_frequent_as_they_are_probable(core: TorchCore) -> None:
    """Of a core that has learnt the words for the day, half of which are listed: its texts end."""
    n, core = 600, TorchCore(tiny.trained_decoder(), tiny.wire(), "trained")
    drawn = Counter(core.sample_of(WORD, n, np.random.default_rng(2)))
    assert set(drawn) <= set(LISTED)
    p = np.exp(core.log_prob_of(WORD, LISTED))
    likely = p * n >= 5
    seen = np.array([drawn[value] for value in LISTED], float)
    observed = np.append(seen[likely], seen[~likely].sum())
    expected = np.append(p[likely], p[~likely].sum()) * n
    kept = expected > 0
    found = stats.chisquare(observed[kept], expected[kept] * n / expected[kept].sum())
    assert found.pvalue > 1e-3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 6))
def test_what_was_drawn_outside_the_list_is_drawn_anew_behind_what_was_inside(
    seed: int, cut: int
) -> None:
    core, wire = fresh(), tiny.wire()
    listing = Listing.of(wire, LISTED)
    outside = [*wire.answer("calmer")[:cut], wire.answer("zebra")[1]]
    rows = [outside, wire.answer("breezy")[:-1]]
    first, second = core.keep(wire.prompt(WORD), rows, listing, np.random.default_rng(seed))
    assert first[:cut] == outside[:cut] and wire.tokenizer.decode_value(first) in LISTED
    assert second == rows[1]


def test_a_search_finds_the_listed_by_their_probability(core: TorchCore) -> None:
    found = core.distribution_of(WORD, len(LISTED))
    assert {answer.value for answer in found.answers} == set(LISTED)
    log_p = core.log_prob_of(WORD, [answer.value for answer in found.answers])
    assert [a.probability for a in found.answers] == pytest.approx(np.exp(log_p), abs=1e-5)
    entropy = -(np.exp(log_p) * log_p).sum()
    assert abs(found.entropy_nats - entropy) <= 4 * found.entropy_stderr + 1e-3
    assert found.listed_mass == pytest.approx(1.0, abs=1e-5)
