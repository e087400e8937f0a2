"""Stories: what a telling says, read back on its own, and what it leaves as it was."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora import stories
from core_model.corpora.base import refuse_held_out
from core_model.corpora.stories import HOURS, NO, PEOPLE, YES
from core_model.errors import HeldOutError
from core_model.measures import paraphrase as measure
from core_model.measures.result import Options
from core_model.objectives import RetellingTask
from core_model.objectives.paraphrase import retelling_gap
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow
from core_model.tasks import StoriesTask
from tests import tiny
from tests.exact import ExactCore
from tests.test_objectives import closed_by_training
from tests.test_tasks import questions


def order_told(text: str) -> list[str]:
    """Who left in which order, worked out from a telling alone."""
    people = sorted({word for word in re.findall(r"\w+", text) if word in PEOPLE})
    if " at the end " in text:
        return [word for word in re.findall(r"\w+", text) if word in PEOPLE]
    if text.startswith("The last"):
        return [word for word in re.findall(r"\w+", text) if word in PEOPLE][::-1]
    if " left at " in text:
        hours = dict(re.findall(r"(\w+) left at (\w+)\.", text))
        return sorted(people, key=lambda person: HOURS.index(hours[person]))
    patterns = {
        r"(\w+) left before (\w+)\.": (0, 1), r"(\w+) left after (\w+)\.": (1, 0),
        r"When (\w+) left, (\w+) had gone\.": (1, 0),
        r"(\w+) was gone by the time (\w+) left\.": (0, 1),
    }  # fmt: skip
    pairs = {
        (found[a], found[b])
        for pattern, (a, b) in patterns.items()
        for found in re.findall(pattern, text)
    }
    (order,) = [o for o in itertools.permutations(people) if set(itertools.pairwise(o)) <= pairs]
    return list(order)


@given(st.integers(0, 2**32))
def test_every_telling_has_the_whole_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    story = stories.generate(rng)
    text = story.told(rng)
    assert order_told(text) == list(story.people)
    for one, other in itertools.permutations(story.people, 2):
        assert story.before(one, other) != story.before(other, one)
        first = min(re.finditer(r"\w+", text), key=lambda m: m.group() not in (one, other))
        assert stories.read_before(text, one, other) == (first.group() == one)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_several_tellings_are_distinct_and_of_one_split(seed: int, count: int) -> None:
    story, texts = stories.draw(np.random.default_rng(seed), "held_out", count)
    assert len(set(texts)) == count
    assert all(stories.held_out_telling(text) for text in texts)
    assert all(order_told(text) == list(story.people) for text in texts)


def test_tellings_keep_to_their_split_and_records_say_what_holds() -> None:
    corpus = corpora.load("stories")
    assert refuse_held_out(corpus, corpus.records("train"))
    with pytest.raises(HeldOutError):
        refuse_held_out(corpus, corpus.records("held_out"))
    for record in corpus.records("held_out")[:50]:
        values = record.values
        order = order_told(values["story"])
        assert (values["first"], values["last"]) == (order[0], order[-1])
        earlier = order.index(values["one"]) < order.index(values["other"])
        assert (values["before"] == YES) == earlier
    first = corpus.records("train")[0].values
    counted = corpus.count({"story": first["story"]}, ["first"])
    assert set(counted) == {(first["first"],)}


def whole_answers(row: PackedRow) -> Iterator[str]:
    """The certain answer of each question of a row, in the order of `questions`."""
    wire = tiny.wire()
    for node in np.unique(row.target_node):
        if row.tokens[node] == wire.marks["answer"]:
            tokens, at = [], int(node)
            while at >= 0:
                (token,) = row.target_token[row.target_node == at]
                tokens.append(int(token))
                below = np.flatnonzero((row.parents == at) & (row.tokens == token))
                at = int(below[0]) if len(below) else -1
            assert tokens.pop() == wire.end
            yield wire.tokenizer.decode_value(tokens)


def test_rows_ask_what_happened_and_what_is_read_first() -> None:
    seen = set()
    for row in StoriesTask(tiny.wire()).rows(np.random.default_rng(0), 6):
        asked = zip(questions(row), whole_answers(row), strict=True)
        for (known, question, _), answer in asked:
            text = known["story"]
            assert not stories.held_out_telling(text)
            order = order_told(text)
            true = {
                "first": order[0],
                "last": order[-1],
            }
            if question in ("before", "read_before"):
                one, other = known["one"], known["other"]
                earlier = order.index(one) < order.index(other)
                true["before"] = YES if earlier else NO
                true["read_before"] = YES if stories.read_before(text, one, other) else NO
            assert answer == true[question]
            seen.add(question)
    assert seen == {"first", "last", "before", "read_before"}


class Reader(ExactCore):
    """Knows stories; `mention` answers what happened by what is read first."""

    mention = False

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        known = {b.variable: b.value for b in conditional.given}
        order = order_told(known["story"])
        if self.mention and conditional.variable == "first":
            true = next(word for word in re.findall(r"\w+", known["story"]) if word in PEOPLE)
        elif conditional.variable == "first":
            true = order[0]
        else:
            one, other = known["one"], known["other"]
            by_text = self.mention or conditional.variable == "read_before"
            earlier = order.index(one) < order.index(other)
            holds = stories.read_before(known["story"], one, other) if by_text else earlier
            true = YES if holds else NO
        with np.errstate(divide="ignore"):
            return np.log([float(answer == true) for answer in answers])


@pytest.mark.parametrize("mention", [False, True])
def test_retellings_change_nothing_for_who_knows_what_happened(
    mention: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "QUICK_STORIES", 12)
    core = Reader()
    core.mention = mention
    jsd, order = measure._retold(core, Options(quick=True))
    assert order.value == 1
    assert 0.2 < order.guard["as the leaving"] < 0.9
    if mention:
        assert jsd.value > 0.1
        assert jsd.guard["true"] < 0.9
    else:
        assert jsd.value == pytest.approx(0, abs=1e-9)
        assert jsd.guard["true"] == 1


# --- the objective --------------------------------------------------------------------------------

scores = st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=2, max_size=5)


@given(scores, st.floats(-5, 5))
def test_the_gap_of_retellings_is_nought_where_they_agree_alone(
    table: list[list[float]], shift: float
) -> None:
    told = torch.tensor(table, dtype=torch.float64)
    gap = float(retelling_gap(told))
    p = torch.softmax(told, dim=1)
    assert gap >= -1e-12
    apart = float((p - p[0]).abs().max())
    # Pinsker: half the squared total variation at least lies between a telling and the mean.
    assert gap >= apart**2 / (2 * len(table) ** 2) - 1e-9 if apart else gap < 1e-12
    assert float(retelling_gap(told + shift)) == pytest.approx(gap, abs=1e-9)
    assert float(retelling_gap(told.flip(0))) == pytest.approx(gap, abs=1e-9)
    assert float(retelling_gap(told[:1].expand(3, -1))) == pytest.approx(0, abs=1e-12)


def test_every_telling_is_drawn_to_their_mean_which_is_not_trained() -> None:
    told = torch.tensor([[0.8, 0.2], [0.2, 0.8]]).log().requires_grad_()
    gap = retelling_gap(told)
    # The mean is even: KL = log(0.5/0.8)/2 + log(0.5/0.2)/2 of either.
    assert gap.item() == pytest.approx(-0.5 * math.log(4 * 0.8 * 0.2), abs=1e-6)
    gap.backward()  # type: ignore[no-untyped-call]
    assert told.grad is not None
    # d/d score = p_i - m, over two tellings.
    assert told.grad.numpy() == pytest.approx(np.array([[0.15, -0.15], [-0.15, 0.15]]), abs=1e-6)


def test_a_row_of_retellings_asks_what_happened_and_not_what_is_read_first() -> None:
    for seed in range(4):
        (row,) = RetellingTask(tiny.wire()).rows(np.random.default_rng(seed), 1)
        asked = [(known, question) for known, question, _ in questions(row)]
        tellings = {known["story"] for known, _ in asked}
        assert len(tellings) == 4
        assert len({tuple(order_told(text)) for text in tellings}) == 1
        assert not any(map(stories.held_out_telling, tellings))
        assert {question for _, question in asked} == {"first", "last", "before"}
        assert len(asked) == 12
        pairs = {(k["one"], k["other"]) for k, question in asked if question == "before"}
        assert len(pairs) == 1


def test_a_row_of_retellings_has_a_gap_that_its_model_can_close() -> None:
    (row,) = RetellingTask(tiny.wire()).rows(np.random.default_rng(1), 1)
    assert not row.target_weight.any()
    gap = closed_by_training(tiny.decoder(rank=8), row)
    assert gap[0] > 1e-5
    assert gap[-1] < 0.5 * gap[0]
