"""The measures, on cores whose every answer is known."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_model import corpora
from core_model import measure as command
from core_model.config import Settings
from core_model.core import Core, Distribution, from_weights
from core_model.corpora.base import Record, Split
from core_model.corpora.safety import CATEGORY, unseen
from core_model.errors import CandorError, StorageError, UnknownName
from core_model.measures import classical, figures, report, result, timing
from core_model.measures.attribution import attribution, medians, surprise
from core_model.measures.conditioning import Unlabelled, conditioning
from core_model.measures.inversion import inversion
from core_model.measures.names import cells, names
from core_model.measures.report import Measured, Report
from core_model.measures.result import Goal, MeasureRow, Options
from core_model.measures.rewordings import CONTRACTED, reworded
from core_model.measures.safety import WORDS, first_words, safety
from core_model.planning import Conditional
from tests import toy
from tests.toy import ToyCorpus

QUICK = Options(seed=3, quick=True)
FULL = Options(seed=3)


class ToyCore(toy.ToyCore):
    """A toy core that only answers: no measure writes."""

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def write(
        self,
        conditional: Conditional,
        rng: np.random.Generator,
        numbers: Sequence[str] | None,
        temperature: float = 1.0,
        max_tokens: int = 120,
        opening: str = "",
    ) -> Iterator[str]:
        raise NotImplementedError


@contextmanager
def registered(*known: ToyCorpus) -> Iterator[ToyCore]:
    """Make the corpora known by name; gives a core over them."""
    with ExitStack() as stack:
        for corpus in known:
            stack.enter_context(corpora.register(corpus))
        yield ToyCore(*known)


class Split1985(ToyCorpus):
    """Toy names whose year 1985 is held out: one record a cell of sex and year."""

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return values.get("year") == "1985"

    def records(self, split: Split) -> Sequence[Record]:
        if split == "held_out":
            return [Record("names", {"sex": s, "year": "1985"}) for s in ("female", "male")]
        return super().records("train")


NAMES: Mapping[tuple[str, str, str], float] = {
    ("Anna", "female", "1984"): 8, ("Ruth", "female", "1984"): 2,
    ("Anna", "female", "1985"): 5, ("Ruth", "female", "1985"): 5,
    ("Anna", "female", "1986"): 2, ("Ruth", "female", "1986"): 8,
    ("John", "male", "1984"): 4,
    ("John", "male", "1985"): 5, ("James", "male", "1985"): 5,
    ("John", "male", "1986"): 4,
}  # fmt: skip


def split_names() -> Split1985:
    return Split1985(toy.names().schema, NAMES)


def core_of(table: Mapping[tuple[str, ...], float], like: ToyCorpus) -> Core:
    """A core that believes another table than the data's."""
    return ToyCore(ToyCorpus(like.schema, table))


def by_name(rows: Sequence[MeasureRow]) -> dict[str, MeasureRow]:
    return {row.name: row for row in rows}


# --- statistics ---------------------------------------------------------------------------------


def test_jsd_of_the_same_is_zero_and_of_disjoint_is_one_bit() -> None:
    p = np.array([0.25, 0.75])
    assert result.jsd_bits(p, p) == 0
    assert result.jsd_bits(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1)


def test_jsd_counts_mass_outside_the_support_at_half_a_bit_each() -> None:
    # Two names at ½ in the data; the core gives them ¼ each and ½ to the outside.
    p, q = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.5, 0.0])
    inside = 0.5 * (0.5 * math.log2(0.25 / 0.375)) + 0.5 * (1.0 * math.log2(0.5 / 0.375))
    assert result.jsd_bits(p, q) == pytest.approx(inside + 0.5 * 0.5)


def test_auroc_by_hand_with_a_tie() -> None:
    # Pairs (positive, negative): .9>.5, .9>.1, .5=.5 counts half, .5>.1.
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    positive = np.array([True, True, False, False])
    assert result.auroc(scores, positive) == pytest.approx(3.5 / 4)
    assert math.isnan(result.auroc(scores, np.ones(4, bool)))


def test_f1_and_false_positives_by_hand() -> None:
    positive = np.array([True, True, False, False])
    assert result.f1(np.array([True, False, True, False]), positive) == pytest.approx(0.5)
    scores = np.array([0.9, 0.2, 0.3, 0.1])
    assert result.fpr_at_recall(scores, positive) == pytest.approx(0.5)


def test_ece_of_a_sure_core_is_its_error_rate() -> None:
    right = np.array([True] * 30 + [False] * 10)
    assert result.ece(np.ones(40), right) == pytest.approx(0.25)
    assert result.ece(right.astype(float), right) == 0


def test_bootstrap_interval_contains_the_mean_and_narrows_with_n() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (30, 3000):
        values = rng.normal(size=n)
        low, high = result.bootstrap(result.mean_of(values), range(n), np.random.default_rng(1))
        assert low is not None and high is not None
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(2 * 1.96 / math.sqrt(3000), rel=0.2)
    assert widths[0] > 5 * widths[1]


def test_bootstrap_of_groups_is_wider_than_of_their_members() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=20), 25)

    def width(groups: Sequence[int]) -> float:
        low, high = result.bootstrap(result.mean_of(values), groups, np.random.default_rng(1))
        assert low is not None and high is not None
        return high - low

    assert width([i // 25 for i in range(500)]) > 3 * width(range(500))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_of_all_or_nothing_has_an_interval_that_narrows_with_n(value: float) -> None:
    widths = []
    for n in (12, 1200):
        share = result.mean_of(np.full(n, value))
        assert share(np.arange(n)) == value
        low, high = result.bootstrap(share, range(n), np.random.default_rng(1))
        assert low is not None and high is not None
        assert value in (low, high)
        widths.append(high - low)
    # Three in n is what none of n leaves possible.
    assert widths[0] == pytest.approx(3 / 12, rel=0.35)
    assert widths[1] == pytest.approx(3 / 1200, rel=0.35)


def test_bootstrap_has_no_interval_for_one_group_or_an_undefined_figure() -> None:
    rng = np.random.default_rng(0)
    assert result.bootstrap(lambda i: 1.0, ["a"], rng) == (None, None)
    assert result.bootstrap(lambda i: float("nan"), ["a", "b"], rng) == (None, None)


# --- names --------------------------------------------------------------------------------------


def test_names_of_the_truth() -> None:
    corpus = split_names()
    with registered(corpus) as core:
        rows = by_name(names(core, FULL))
    assert rows["names JSD"].value == pytest.approx(0, abs=1e-12)
    assert rows["names entropy ratio"].value == pytest.approx(1)
    assert rows["names mass outside support"].value == pytest.approx(0, abs=1e-12)
    assert rows["names JSD"].n == 2


def test_names_of_a_constant_forecaster_by_hand() -> None:
    corpus = split_names()
    # In every cell ½ Anna, ½ John: half of each cell's mass lies outside its support.
    constant = {(name, sex, "1985"): 1.0 for name in ("Anna", "John") for sex in ("female", "male")}
    with registered(corpus):
        rows = by_name(names(core_of(constant, corpus), FULL))
    # p = (½, 0, outside ½), q = (½, ½, 0), so ½·½·log2 2 twice.
    assert rows["names JSD"].value == pytest.approx(0.5)
    assert rows["names mass outside support"].value == pytest.approx(0.5)
    assert rows["names entropy ratio"].value == pytest.approx(1)


def test_names_baselines_never_see_the_held_out_year() -> None:
    with registered(split_names()) as core:
        rows = by_name(names(core, FULL))
    # Both baselines give the girls ½ and ½, exactly right, and the boys John alone.
    boys = result.jsd_bits(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert rows["names JSD"].baselines["neighbour years"] == pytest.approx(boys / 2)
    assert rows["names JSD"].baselines["all years"] == pytest.approx(boys / 2)
    assert rows["names entropy ratio"].baselines["all years"] == pytest.approx(0.5)


def test_quick_names_keep_what_covers_the_births_and_lump_the_rest() -> None:
    table = {(f"Name{i:03}", "female", "1985"): 1.0 for i in range(200)} | {
        (name, "male", "1985"): 1.0 for name in ("John", "James")
    }
    corpus = Split1985(toy.names().schema, table)
    girls = cells(corpus, quick=True)[0]
    assert len(girls.names) == 198
    assert girls.data[-1] == pytest.approx(0.01)
    with registered(corpus) as core:
        assert by_name(names(core, QUICK))["names JSD"].value == pytest.approx(0, abs=1e-12)


# --- attribution --------------------------------------------------------------------------------


class SplitSpeeches(ToyCorpus):
    """Toy speeches: records of `held` are held out, the others are training."""

    held: Sequence[Mapping[str, str]] = ()

    def records(self, split: Split) -> Sequence[Record]:
        if split == "held_out":
            return [Record("speeches", dict(values)) for values in self.held]
        return super().records("train")


@pytest.fixture
def speeches() -> Iterator[ToyCore]:
    whole = toy.speeches()
    corpus = SplitSpeeches(whole.schema, whole.table)
    texts = list(toy.PASSAGES)
    corpus.held = [
        {"text": text, "author": author, "year": year, "party": party, "medium": medium}
        for text, author, year, party, medium in (
            (texts[0], "Abraham Lincoln", "1862", "Republican", "written"),
            (texts[1], "Abraham Lincoln", "1862", "Republican", "written"),
            (texts[2], "Theodore Roosevelt", "1905", "Republican", "written"),
            (texts[2], "Franklin D. Roosevelt", "1937", "Democratic", "spoken"),
            (texts[2], "Nobody In Training", "1905", "Republican", "written"),
        )
    ]
    with registered(corpus) as core:
        yield core


def test_attribution_accuracy_and_nll_of_the_written_tables(speeches: ToyCore) -> None:
    rows = by_name(attribution(speeches, QUICK))
    weights = list(toy.PASSAGES.values())
    true_p = [
        weights[0][0] / sum(weights[0]),
        weights[1][0] / sum(weights[1]),
        weights[2][2] / sum(weights[2]),
        weights[2][3] / sum(weights[2]),
    ]
    assert rows["author accuracy"].value == pytest.approx(0.5)  # the first and the third
    assert rows["author accuracy"].n == 4  # nobody in training: left out
    assert rows["author NLL"].value == pytest.approx(float(-np.mean(np.log(true_p))))
    # Medians by hand: texts 0 and 1 are early, text 2 is Theodore Roosevelt's.
    assert rows["year MAE"].value < 25
    assert rows["medium accuracy"].value == pytest.approx(0.75)
    assert set(rows["author NLL"].baselines) == {"prior"}  # quick: nothing is fitted


def test_attribution_interval_contains_the_value(speeches: ToyCore) -> None:
    for row in attribution(speeches, QUICK):
        assert row.low is not None and row.high is not None
        assert row.low <= row.value <= row.high


def test_attribution_without_held_out_passages_is_one_clear_line() -> None:
    with registered(toy.speeches()) as core, pytest.raises(CandorError, match="no held-out"):
        attribution(core, QUICK)


class Believing(ToyCore):
    """Answers from its tables, but its posteriors of labels are flattened or sharpened.

    Which of both is decided by what happens to be known last.
    """

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        found = super().log_prob_of(conditional, answers)
        known = [binding.variable for binding in conditional.given]
        variable = corpora.schema(conditional.corpus).variable(conditional.variable)
        if not known or variable.kind != "closed":
            return found
        power = 3.0 if known[-1] in ("text", "year") else 0.3
        whole = power * super().log_prob_of(conditional, variable.values)
        return np.asarray(power * found - np.logaddexp.reduce(whole), np.float64)


def test_a_core_that_agrees_with_itself_has_no_gap(speeches: ToyCore) -> None:
    with corpora.register(toy.names()), corpora.register(toy.places()):
        core = ToyCore(*speeches.corpora.values(), toy.names(), toy.places())
        rows = by_name(inversion(core, QUICK)) | by_name(conditioning(core, QUICK))
    for name in ("inversion gap, speeches", "inversion gap, places", "prior gap", "wrong direction",
                 "order SD", "presence leak", "two routes"):  # fmt: skip
        assert rows[name].value == pytest.approx(0.0, abs=1e-5)
    assert rows["two routes"].guard["KL to the data"] == pytest.approx(0.0, abs=1e-5)
    guard, row = rows["inversion gap, speeches"].guard, rows["read NLL, speeches"]
    assert guard["read NLL"] == row.value == pytest.approx(guard["reversed NLL"])
    assert row.value < row.baselines["knowing nothing"] == pytest.approx(math.log(5))


def test_a_core_that_contradicts_itself_has_gaps(speeches: ToyCore) -> None:
    with corpora.register(toy.names()), corpora.register(toy.places()):
        core = Believing(*speeches.corpora.values(), toy.names(), toy.places())
        rows = by_name(inversion(core, QUICK)) | by_name(conditioning(core, QUICK))
    assert rows["inversion gap, speeches"].value > 0.1
    assert rows["prior gap"].value > 0.1
    bias = rows["EM bias removed"]
    assert bias.low is not None and bias.high is not None and bias.low <= bias.value <= bias.high
    assert rows["presence leak"].value > rows["presence leak"].guard["over all masks"] > 0.001


def test_a_coherent_core_that_is_wrong_is_told_by_the_guard_of_two_routes(
    speeches: ToyCore,
) -> None:
    names_, even = toy.names(), ToyCorpus(toy.names().schema, dict.fromkeys(toy.names().table, 1.0))
    with corpora.register(names_):
        row = by_name(conditioning(ToyCore(*speeches.corpora.values(), even), QUICK))["two routes"]
    assert row.value == pytest.approx(0.0, abs=1e-9)
    assert row.guard["KL to the data"] > 0.01
    assert row.low is not None


def test_what_em_removes_of_a_bias_by_hand() -> None:
    """Of four labels of either value all are kept of the one, and one of the other."""
    true = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    kept = np.array([True, True, True, True, True, False, False, False])
    read, blind = np.eye(2)[true], np.full((8, 2), 0.5)
    prior, every = np.array([0.5, 0.5]), np.arange(8)
    found = [Unlabelled(true, kept, p, prior) for p in (read, blind)]
    assert found[0].distances(every) == pytest.approx((0.3, 0.0, 0.0), abs=1e-6)
    assert found[0].removed(every) == pytest.approx(1.0, abs=1e-6)
    # 4 of 8 are known to be of the first value, and half of the three others are taken to be.
    assert found[1].distances(every) == pytest.approx((0.3, 1.5 / 8, 1.5 / 8))
    assert found[1].removed(np.arange(4)) == 1.0  # all are known


class Forgetful(ToyCore):
    """Takes one party for as likely as another where the text alone is known."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        known = [binding.variable for binding in conditional.given]
        if conditional.variable == "party" and known == ["text"]:
            return np.full(len(answers), -np.log(2))
        return super().log_prob_of(conditional, answers)


def test_a_leak_under_one_mask_is_not_averaged_away(speeches: ToyCore) -> None:
    with corpora.register(toy.names()):
        core = Forgetful(*speeches.corpora.values(), toy.names())
        row = by_name(conditioning(core, QUICK))["presence leak"]
    # What the text says of the party is asked directly or gone through in two of sixteen masks.
    assert row.value >= 8 * row.guard["over all masks"] > 0.01
    assert row.low is not None and row.high is not None and row.low <= row.value <= row.high
    assert row.guard["NLL"] > 0


class Ordered(ToyCore):
    """A little less sure of everything where the medium is known last."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        last = conditional.given[-1].variable if conditional.given else ""
        return super().log_prob_of(conditional, answers) - 0.3 * (last == "medium")


def test_the_order_of_what_is_known_is_measured(speeches: ToyCore) -> None:
    with corpora.register(toy.names()):
        core = Ordered(*speeches.corpora.values(), toy.names())
        row = by_name(conditioning(core, QUICK))["order SD"]
    assert 0 < row.value <= 0.15  # the SD of one value among 0 and 0.3, at most


def test_agreement_without_held_out_passages_is_one_clear_line() -> None:
    with registered(toy.speeches()) as core:
        for measure in (inversion, conditioning):
            with pytest.raises(CandorError, match="no held-out"):
                measure(core, QUICK)


def test_median_of_a_posterior_over_unordered_years() -> None:
    posterior = np.array([[0.2, 0.5, 0.3], [0.5, 0.0, 0.5]])
    years = np.array([1900.0, 1950.0, 1800.0])
    assert medians(posterior, years).tolist() == [1900.0, 1800.0]


def test_surprise_is_finite_where_the_truth_has_no_mass() -> None:
    assert surprise(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(1e-12))


def test_classical_baseline_learns_words_and_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    texts = ["union states law"] * 6 + ["trade corporations trusts"] * 6
    labels = ["b"] * 6 + ["a"] * 6
    asked, values = ["law of the union", "great trusts and trade"], ("never", "a", "b")
    refused = classical.class_posteriors(texts, labels, asked, values, tmp_path, False)
    assert refused is None
    p = classical.class_posteriors(texts, labels, asked, values, tmp_path, True)
    assert p is not None
    assert p.argmax(axis=1).tolist() == [2, 1]
    assert p.sum(axis=1) == pytest.approx(1)
    assert p[:, 0] == pytest.approx(0)
    kept = classical.class_posteriors(texts, labels, asked, values, tmp_path, False)
    assert kept is not None and np.array_equal(kept, p)
    years = classical.number_predictions(texts, [1800.0] * 6 + [1900.0] * 6, asked, tmp_path, True)
    assert years is not None and years[0] < 1850 < years[1]


# --- safety -------------------------------------------------------------------------------------


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


# --- time ---------------------------------------------------------------------------------------


FAKE_PROGRAM = """
import sys
print('starting, then ready' if sys.argv[1] == 'chat' else '{"answers": [{}]}')
"""


def test_time_warm_and_cold() -> None:
    print_answers = [sys.executable, "-c", FAKE_PROGRAM]
    names_everywhere = {("Anna", "female", str(year)): 1.0 for year in range(1940, 2000)}
    corpus = ToyCorpus(toy.names().schema, names_everywhere)
    with registered(corpus) as core:
        rows = by_name(timing.timing(core, QUICK, print_answers))
    assert 0 < rows["query, warm"].value < 1
    assert rows["query, warm"].n == timing.REPEATS
    assert rows["query, cold"].low is None
    assert 0 < rows["chat, first screen"].value <= rows["chat, ready"].value


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('It broke.')"], "status 1: It broke"),
        ([sys.executable, "-c", "print('{}')"], "status 0"),
        (["/nonexistent/candor"], "can't be timed"),
    ],
)
def test_a_command_that_fails_is_not_timed(program: list[str], said: str) -> None:
    with pytest.raises(CandorError, match=said):
        timing._run(program)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('Sorry')", "ended before it showed 'starting'"),
        ("print('starting')", "ended before it showed 'ready'"),
        ("print('starting', flush=True); input()", "never showed"),
    ],
)
def test_a_chat_that_does_not_come_up_is_not_timed(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said == "never showed":
        monkeypatch.setattr(timing, "COLD_LIMIT_S", 1.0)
    with pytest.raises(CandorError, match=said):
        timing._open_chat([sys.executable, "-c", code])


# --- report and command -------------------------------------------------------------------------


def filled() -> Report:
    row = MeasureRow(
        "names JSD", 0.0412, 0.03, 0.05, "bits", 28, {"mass outside": 1e-5},
        {"neighbour years": 0.011}, Goal("at most", 0.08), Goal("at most", 0.02),
    )  # fmt: skip
    ratio = MeasureRow("names entropy ratio", 1.09, None, None, "ratio", 28,
                       floor=Goal("around one", 0.08))  # fmt: skip
    return Report("ab12", 3, False, {
        "names": Measured((row, ratio), None, "2030-01-02", 4.0),
        "safety": Measured((), "No pairs.", "2030-01-02", 0.1),
    })  # fmt: skip


def test_table_states_goals_intervals_failures_and_definitions() -> None:
    text = report.table(filled())
    assert (
        "| names JSD | 0.0412 | 0.03 to 0.05 | bits | 28 | ≤ 0.08, met | ≤ 0.02, not met "
        "| mass outside 0.0000 | neighbour years 0.011 |" in text
    )
    assert "| names entropy ratio | 1.09 | none | ratio | 28 | 1 ± 0.08, not met |" in text
    assert "Not measured: safety. No pairs." in text
    assert "Not measured on this adapter yet: attribution, inversion, " in text
    assert "yet" not in report.table(replace(filled(), quick=True))
    for fact in ("sha256 `ab12`", "2030-01-02", "seed: 3", "extent: full"):
        assert fact in text
    assert "½ Σ p log2(p/m)" in text  # the definition is the docstring


def test_table_of_nothing_still_defines_the_measures() -> None:
    text = report.table(None)
    assert "Nothing has been measured yet." in text
    assert all(f"### {name}" in text for name in report.MEASURES)


def test_figures_show_values_baselines_and_goals_and_are_the_same_each_time(
    tmp_path: Path,
) -> None:
    assert figures.draw(None, tmp_path) == []
    (path,) = figures.draw(filled(), tmp_path)  # the measure that failed has none
    drawn = path.read_bytes()
    for said in ("names JSD, bits", "core 0.0412", "neighbour years 0.011", "floor", "1 ± 0.08"):
        assert said in drawn.decode()
    figures.draw(filled(), tmp_path)
    assert path.read_bytes() == drawn
    assert Goal("around one", 0.08).edges() == pytest.approx((0.92, 1.08))


def calibrated() -> Report:
    curve = ((0.25, 0.5, 0.5), (0.75, 1.0, 0.5))
    row = MeasureRow("author ECE", 0.25, None, None, "share", 4, {"temperature": 1.5}, curve=curve)
    plain = MeasureRow("sex ECE", 0.1, None, None, "share", 4, {"temperature": 0.75})
    return filled().with_result("calibration", Measured((row, plain)))


def test_a_curve_is_kept_and_drawn_beside_its_row(tmp_path: Path) -> None:
    calibrated().save(tmp_path / "m.json")
    assert Report.read(tmp_path / "m.json") == calibrated()
    of_calibration = next(p for p in figures.draw(calibrated(), tmp_path) if "calib" in p.name)
    assert of_calibration.read_text().count(">said<") == 1


def test_the_model_card_has_the_fitted_temperatures_between_its_marks() -> None:
    begin, end = report.CARD_MARKS
    card = f"# Card\n{begin}\nold\n{end}\nmore\n"
    filled_in = report.with_temperatures(card, calibrated())
    assert filled_in == f"# Card\n{begin}\nauthor 1.5, sex 0.75.\n{end}\nmore\n"
    assert report.with_temperatures(filled_in, calibrated()) == filled_in
    assert "Not measured on this adapter yet." in report.with_temperatures(filled_in, filled())
    assert report.with_temperatures("# No marks", calibrated()) == "# No marks"
    assert all(mark in command.CARD.read_text(encoding="utf-8") for mark in report.CARD_MARKS)


def test_report_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "measures.json"
    assert Report.read(path) is None
    filled().save(path)
    assert Report.read(path) == filled()
    path.write_text("{}")
    with pytest.raises(StorageError, match=r"measures\.json is no file of measures"):
        Report.read(path)


def test_what_another_process_added_to_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "m.json"
    begun = Report("ab12", 3, False)
    newer, older = Measured(date="2030-01-03"), Measured(date="2030-01-01")
    begun.with_result("names", newer).added_to(path, ["names"])
    mine = begun.with_result("names", older).with_result("time", newer)
    whole = mine.added_to(path, ["time"])
    assert whole.results == {"names": newer, "time": newer}
    assert Report.read(path) == whole
    other = Report("cd34", 3, False).with_result("time", older)
    assert other.added_to(path, ["time"]) == other == Report.read(path)


def test_a_failed_measure_does_not_stop_the_others() -> None:
    seen: list[int] = []
    with registered(split_names(), toy.speeches()) as core:
        done = command.measure(
            Report("ab12", 3, True), ["attribution", "names"], core, QUICK,
            finished=lambda so_far: seen.append(len(so_far.results)),
        )  # fmt: skip
    assert done.results["attribution"].failure is not None
    assert done.results["names"].rows
    assert seen == [1, 2]


def test_another_core_stands_among_the_baselines_of_what_is_measured() -> None:
    with registered(split_names()) as core:
        mine = command.measure(Report("ab12", 3, True), ["names"], core, QUICK)
        skewed = {key: 3.0 if key[0] == "Anna" else 1.0 for key in NAMES}
        other = core_of(skewed, split_names())
        both = command.beside(mine, ["names"], other, "all alike", QUICK)
        alone = command.measure(Report("cd34", 3, True), ["names"], other, QUICK)
        row, was, of_other = (r.results["names"].rows[0] for r in (both, mine, alone))
        assert row.baselines == {**was.baselines, "all alike": of_other.value}
        assert (row.value, both.results["names"].date) == (was.value, mine.results["names"].date)
        assert of_other.value > was.value
        with pytest.raises(CandorError, match="'names' is not measured yet"):
            command.beside(Report("ab12", 3, True), ["names"], other, "all alike", QUICK)


def test_only_names_measures_there_are() -> None:
    assert command.chosen(None, report.MEASURES) == list(report.MEASURES)
    assert command.chosen("time, names", report.MEASURES) == ["names", "time"]
    with pytest.raises(UnknownName, match="Unknown measure 'nmaes'"):
        command.chosen("nmaes", report.MEASURES)


def test_command_renders_the_table_from_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--json", str(tmp_path / "m.json"), "--table", str(tmp_path / "m.md")]
    assert command.main(["--render", *paths]) == 0
    assert "Nothing has been measured yet." in (tmp_path / "m.md").read_text(encoding="utf-8")
    filled().save(tmp_path / "m.json")
    assert command.main(["--render", *paths]) == 1  # one measure had failed
    text = (tmp_path / "m.md").read_text(encoding="utf-8")
    assert "0.0412" in text
    assert "![names](figures/names.svg)" in text
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["names.svg"]
    assert "0.0412" in capsys.readouterr().out


def test_command_measures_and_adds_to_the_same_adapters_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.json"
    arguments = ["--only", "names", "--quick", "--json", str(path)]
    from core_model import loading

    with registered(split_names()) as core:
        loaded: list[Path | None] = []

        def load(settings: Settings) -> Core:
            loaded.append(settings.adapter)
            return core

        monkeypatch.setattr(loading, "load_embedded", load)
        monkeypatch.setattr(command, "_adapter_sha256", lambda settings: "ab12")
        assert command.main(arguments) == 0
        kept = Report.read(path)
        assert kept is not None and kept.comparable(Report("ab12", 0, True))
        kept.with_result("time", Measured(date="2030-01-01")).save(path)
        assert command.main(arguments) == 0
        assert set(json.loads(path.read_text())["runs"]) == {"names", "time"}
        assert command.main([*arguments, "--beside", f"twin={tmp_path}"]) == 0
        assert loaded[-1] == tmp_path
        measures = json.loads(path.read_text())["measures"]
        assert all("twin" in row["baselines"] for row in measures)
        assert command.main([*arguments, "--beside", "twin"]) == 2
        assert "NAME=FOLDER" in capsys.readouterr().err
        monkeypatch.setattr(command, "_adapter_sha256", lambda settings: "cd34")
        assert command.main([*arguments, "--beside", f"twin={tmp_path}"]) == 2
        assert set(json.loads(path.read_text())["runs"]) == {"names", "time"}
        assert command.main(arguments) == 0
    assert set(json.loads(path.read_text())["runs"]) == {"names"}
    assert "another adapter" in capsys.readouterr().err


def test_command_on_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nothing", "--quick"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_texts_are_cut_behind_whole_words_however_long() -> None:
    """Short texts once took hours: each word could be split in every way."""
    words = ["internationally"] * (WORDS + 5)
    assert first_words(" ".join(words)) == " ".join(words[:WORDS])
    short = "  " + "\n".join(words[: WORDS - 1])
    assert first_words(short) == short
