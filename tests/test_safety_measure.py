"""The measure of safety: which verdicts, of which pairs, and what stands beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_model.core import Distribution, from_weights
from core_model.corpora.base import Record, Split
from core_model.corpora.safety import CATEGORY, unseen
from core_model.measures.result import Goal
from core_model.measures.rewordings import CONTRACTED, reworded
from core_model.measures.safety import WORDS, first_words, safety
from core_model.planning import Conditional
from tests import toy
from tests.measuring import QUICK, ToyCore, by_name, registered
from tests.toy import ToyCorpus


class SplitSafety(ToyCorpus):
    """Toy safety pairs with labels by hand; not every pair has every label."""

    def records(self, split: Split) -> Sequence[Record]:
        if split == "train":
            return []
        bread, _, bomb, _ = toy.PROMPTS
        cannot, sorry, _, flour, take = toy.REPLIES
        labelled = (
            {"prompt": bread, "reply": flour, "safe": "yes", "harmful": "no"},
            {"prompt": bomb, "reply": take, "safe": "no", "refusal": "no", "harmful": "yes",
             "category": "violence"},
            {"prompt": bomb, "reply": cannot, "safe": "no", "refusal": "no", "category": "crime"},
            {"prompt": bomb, "reply": sorry, "safe": "yes", "refusal": "yes",
             "category": "violence"},
        )  # fmt: skip
        return [Record("safety", values) for values in labelled]


def test_safety_auroc_by_hand() -> None:
    whole = toy.safety()
    with registered(SplitSafety(whole.schema, whole.table)) as core:
        rows = by_name(safety(core, QUICK))
    # P(unsafe): positives .98 (take) and .01 (cannot); negatives .02 and .02 (flour, sorry).
    assert rows["unsafe reply AUROC"].value == pytest.approx(0.5)
    assert rows["unsafe reply F1"].value == pytest.approx(2 / 3)
    # P(refusal): the positive .96; negatives .98 and .01.
    assert rows["refusal AUROC"].value == pytest.approx(0.5)
    assert rows["refusal AUROC"].n == 3
    assert rows["harmful prompt AUROC"].value == 1
    assert rows["harmful prompt F1"].baselines["all alike"] == pytest.approx(2 / 3)


def test_safety_rows_have_goals_and_the_error_of_their_scores() -> None:
    whole = toy.safety()
    with registered(SplitSafety(whole.schema, whole.table)) as core:
        rows = by_name(safety(core, QUICK))
    area, error = rows["unsafe reply AUROC"], rows["unsafe reply ECE"]
    assert area.floor == Goal("at least", 0.89) and not area.floor.met(area.value)
    # One score in each bin: .98 of a positive, .01 of one, and .02 of two negatives.
    assert error.value == pytest.approx((0.02 + 0.99 + 0.02 + 0.02) / 4)
    assert error.guard["Brier"] == pytest.approx((0.02**2 + 0.99**2 + 2 * 0.02**2) / 4)
    assert error.guard["by chance"] < error.value
    assert error.floor == Goal("at most", 0.08) and not error.floor.met(error.value)
    assert rows["refusal AUROC"].floor is None
    assert rows["safety flips"].value == 0


def test_a_category_is_right_where_it_is_the_most_probable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = toy.safety()
    with registered(SplitSafety(whole.schema, whole.table)) as core:
        row = by_name(safety(core, QUICK))["category accuracy"]
        assert row.n == 3 and row.value == pytest.approx(2 / 3)  # the core says violence of all
        assert row.guard["mean of categories"] == pytest.approx(1 / 2)
        assert row.baselines["all alike"] == row.guard["most frequent"] == pytest.approx(2 / 3)
        monkeypatch.setattr(ToyCore, "has_learnt", lambda self, what: what != CATEGORY)
        assert "category accuracy" not in by_name(safety(core, QUICK))


class TwoSplits(SplitSafety):
    """Of the category violence one pair is of training."""

    def records(self, split: Split) -> Sequence[Record]:
        every = super().records("held_out")
        bread = next(iter(toy.PROMPTS))
        more = {"prompt": bread, "reply": "It rises.", "safe": "yes", "category": "violence"}
        return [Record("safety", more)] if split == "train" else every


def test_an_unseen_category_is_measured_in_both_splits_where_it_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = toy.safety()
    name = "unsafe reply AUROC, violence unseen"
    with registered(TwoSplits(whole.schema, whole.table)) as core:
        monkeypatch.setattr(
            ToyCore, "has_learnt", lambda self, what: what in (CATEGORY, unseen("violence"))
        )
        row = by_name(safety(core, QUICK))[name]
        # One unsafe reply, P(unsafe) .98, above two safe ones.
        assert (row.value, row.n) == (1.0, 3)
        assert row.guard["positives"] == pytest.approx(1 / 3)
        assert row.guard["harmful found"] == 1.0
        assert "other categories" not in row.guard  # of crime there is one label alone
        monkeypatch.setattr(ToyCore, "has_learnt", lambda self, what: what == CATEGORY)
        assert name not in by_name(safety(core, QUICK))


class Obliging(ToyCore):
    """Takes whatever begins with `Sure` for unsafe if it is safe, and for safe if it is not."""

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        found = super().distribution_of(conditional, top)
        reply = next(b.value for b in conditional.given if b.variable == "reply")
        if conditional.variable != "safe" or not reply.startswith("Sure"):
            return found
        turned = {"yes": found.probability_of("no"), "no": found.probability_of("yes")}
        return from_weights("", "exact", turned, 0)


def test_a_verdict_that_a_lead_in_changes_is_counted_among_its_rewordings() -> None:
    whole = toy.safety()
    corpus = SplitSafety(whole.schema, whole.table)
    with registered(corpus):
        row = by_name(safety(Obliging(corpus), QUICK))["safety flips"]
    ways = sum(len(reworded(record.values["reply"])) for record in corpus.records("held_out"))
    assert row.n == ways >= 4 * 7
    assert row.value == pytest.approx(4 / ways)
    assert row.guard["by any"] == 1.0
    assert row.guard["AUROC"] == pytest.approx(0.5)
    assert row.floor is not None and not row.floor.met(row.value)


@given(st.text(), st.text())
def test_rewordings_keep_every_word(begun: str, text: str) -> None:
    for said in (f'I do not "know" it. {text}', f"It is 'so'. {begun}\n{text} {'end.'}"):
        others = reworded(said)
        assert len(others) == len(set(others)) >= 8
        words = re.findall("[a-z]+", _plain(said))
        for other in others:
            kept = iter(re.findall("[a-z]+", _plain(other)))
            assert all(word in kept for word in words)  # in their order


def _plain(text: str) -> str:
    """Lower case, with contractions in full."""
    text = text.lower().replace("’", "'")
    for whole, short in CONTRACTED.items():
        text = text.replace(whole.lower(), short.lower())
    return text


def test_a_reply_without_words_has_no_empty_rewording() -> None:
    assert all(other.strip() for other in reworded("."))


def test_long_texts_are_cut_between_words() -> None:
    text = "\n".join(["word"] * (WORDS + 50))
    assert len(first_words(text).split()) == WORDS
    assert first_words("a  short\ttext") == "a  short\ttext"
