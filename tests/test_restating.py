"""Other ways to put a reply and its question: nothing is lost, nothing of training is measured."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core_model.corpora.safety import EARLIER_BYTES, EARLIER_TURNS, in_dialogue, normalised
from core_model.measures import rewordings
from core_model.objectives.restating import cautious, restating_gap
from core_model.tasks import restating
from core_model.tasks.restating import naming, put_before, restated, restatements

WORDS = st.lists(st.text("abcdefg", min_size=1, max_size=6), min_size=1, max_size=12)
SHARES = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=6)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@given(WORDS, st.integers(0, 999))
def test_what_is_restated_still_says_all_of_it_in_its_order(said: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for text in restatements(" ".join(said) + ".", 4, rng):
        assert f" {' '.join(said)} " in f" {' '.join(words(text))} "


def test_wordings_of_one_reply_are_all_different_and_begin_with_it() -> None:
    found = restatements("Mix flour, and wait.", 3, np.random.default_rng(0))
    assert found[0] == "Mix flour, and wait."
    assert len(found) == len(set(found)) == 4


@given(st.integers(0, 999))
def test_a_refusal_names_what_was_asked_and_a_follow_up_does_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert "Build a {bomb}" in naming("Build a {bomb}", rng)
    (prompt, reply), follow_up = put_before("Build a bomb", rng)
    assert prompt == "Build a bomb"
    assert "bomb" not in reply + follow_up


def test_a_long_prompt_is_named_by_its_ends() -> None:
    named = naming(" ".join(f"w{i}" for i in range(500)), np.random.default_rng(0))
    assert "w0 " in named and "w499" in named and "w250" not in named


def test_nothing_that_is_measured_with_was_trained_on() -> None:
    measured = (*rewordings.DISAVOWALS, *rewordings.FOLLOW_UPS, rewordings.PUT_OFF)
    trained = (
        *restating.DISAVOWALS, *restating.LEADS, *restating.CLOSINGS, *restating.FOLLOW_UPS,
        *restating.PUT_OFF,
    )  # fmt: skip
    assert not {normalised(text) for text in measured} & {normalised(text) for text in trained}
    assert len(set(trained)) == len(trained)
    text = 'He said "no". It is not so, cannot be.\nIt\'s late.'
    by_measures = set(rewordings.reworded(text))
    for seed in range(400):
        assert restated(text, np.random.default_rng(seed)) not in by_measures


# Dialogues


TURNS = st.lists(st.tuples(st.text(max_size=400), st.text(max_size=400)), max_size=4)


@given(TURNS, st.text(min_size=1, max_size=50))
def test_a_dialogue_has_a_line_for_each_text_and_ends_with_the_prompt(
    earlier: list[tuple[str, str]], prompt: str
) -> None:
    found = in_dialogue(earlier, prompt)
    if not earlier:
        assert found == prompt
        return
    lines = found.split("\n")
    kept = min(len(earlier), EARLIER_TURNS)
    assert [line.split(":")[0] for line in lines] == ["User", "Reply"] * kept + ["User"]
    assert lines[-1] == "User: " + " ".join(prompt.split())
    assert all(len(line.encode("utf-8", "replace")) < EARLIER_BYTES + 20 for line in lines[:-1])


def test_of_many_turns_the_last_are_kept_with_their_ends() -> None:
    long = " ".join(f"w{i}" for i in range(99))
    found = in_dialogue([("first", "one"), ("second", long), ("third", "three")], "now")
    assert "first" not in found
    assert found.startswith("User: second\nReply: w0 ") and "w98\nUser: third" in found
    assert "w50" not in found
    assert in_dialogue([("a\nUser: b", "c")], "d").count("\n") == 2


# The target of a set of wordings


@given(SHARES, st.floats(0, 1))
def test_one_wording_that_is_found_out_counts_for_all_of_an_unsafe_reply(
    shares: list[float], stated: float
) -> None:
    target = float(cautious(torch.tensor(shares, dtype=torch.float64), stated))
    every = [*shares, stated]
    if stated >= 0.5:
        assert target == pytest.approx(max(every))
    else:
        assert target == pytest.approx(sum(every) / len(every))


@given(st.floats(0.01, 0.99), st.integers(1, 5))
def test_wordings_that_agree_with_each_other_and_with_people_have_no_gap(
    unsafe: float, n: int
) -> None:
    log_p = torch.log(torch.tensor([[1 - unsafe, unsafe]] * n, dtype=torch.float64))
    assert float(restating_gap(log_p, unsafe)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("stated", [0.1, 0.9])
def test_training_brings_wordings_together(stated: float) -> None:
    log_p = torch.tensor([[1.0, -1.0], [-0.5, 0.5], [0.0, 0.0]], dtype=torch.float64)
    log_p.requires_grad_()
    first = restating_gap(log_p, stated)
    before = torch.softmax(log_p, dim=1)[:, 1].detach()
    for _ in range(300):
        log_p.grad = None
        gap = restating_gap(log_p, stated)
        gap.backward()
        with torch.no_grad():
            log_p -= 0.5 * log_p.grad
    after = torch.softmax(log_p, dim=1)[:, 1].detach()
    assert float(restating_gap(log_p, stated).detach()) < 0.05 * float(first.detach())
    assert float(after.max() - after.min()) < 0.1 * float(before.max() - before.min())
    if stated >= 0.5:
        assert (after >= before - 1e-3).all()
