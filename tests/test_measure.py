"""The measures, on cores whose every answer is known."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora.base import Record, Split
from core_model.errors import CandorError
from core_model.measures import classical, result, timing
from core_model.measures.attribution import attribution, medians, surprise
from core_model.measures.conditioning import Unlabelled, conditioning
from core_model.measures.inversion import inversion
from core_model.measures.names import cells, names
from core_model.planning import Conditional
from tests import toy
from tests.measuring import (
    FULL,
    QUICK,
    Split1985,
    ToyCore,
    by_name,
    core_of,
    registered,
    split_names,
)
from tests.toy import ToyCorpus

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
    assert result.bootstrap(lambda i: 1.0, ["a", "a"], rng) == (None, None)
    assert result.bootstrap(lambda i: float("nan"), range(9), rng) == (None, None)


def test_an_error_lies_in_its_interval() -> None:
    """Resampling makes the calibration error of a calibrated core larger, and not the core."""
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 150)
    right = rng.random(150) < sure

    def error(items: result.Ints) -> float:
        return result.ece(sure[items], right[items])

    plain = result.bootstrap(error, range(150), np.random.default_rng(1))
    low, high = result.bootstrap(result.Error(error), range(150), np.random.default_rng(1))
    assert plain[0] is not None and low is not None and high is not None
    assert plain[0] > 0.9 * error(np.arange(150))
    assert 0 <= low < 0.8 * error(np.arange(150)) < error(np.arange(150)) < high


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
