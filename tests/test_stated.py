"""Numbers that a core states of itself: the grid, the questions, the rows and the measure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_model import corpora, notation, stated
from core_model.adapter import CORPORA, learnt, save_adapter
from core_model.errors import CandorError, UnknownName
from core_model.export import known_prompts
from core_model.measures.result import Options
from core_model.notation import Binding, Correlation, Entropy, Measure, Probability, parse
from core_model.planning import Conditional
from persona.events import Confidence
from tests import tiny, toy
from tests.test_tasks import questions as asked_in
from tools import Context, measures, run, self_knowledge
from tools.joint import NoSuchMethod
from tools.query import run_query
from tools.self_knowledge import KINDS, Questions, SelfKnowledgeTask, held_out, partial_correlation

TOYS = ("names", "weather")
kinds = st.sampled_from(KINDS)


class Frank(toy.ToyCore):
    """States the numbers that are its own, off by a given amount."""

    off = 0.0
    states_numbers = True  # type: ignore[assignment]

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        if "(" not in conditional.variable:
            return super().log_prob_of(conditional, answers)
        query = parse(f"{conditional.corpus}: {conditional.variable}")
        assert isinstance(query, Measure)
        about = type(query)(**{**fields(query), "given": conditional.given})  # type: ignore[arg-type]
        weights = stated.on_grid(type(query), self_knowledge.measure_of(self, about) + self.off)
        place = {text: i for i, text in enumerate(stated.GRIDS[type(query)])}
        with np.errstate(divide="ignore"):
            return np.log([weights[place[answer]] for answer in answers])


def parsed(corpus: str, question: str) -> Measure | None:
    """The measure of a question, where the corpus has its variables."""
    query = parse(f"{corpus}: {question}")
    assert isinstance(query, Measure)
    try:
        corpora.schema(corpus).check(query)
    except CandorError:
        return None
    return query


def fields(query: Measure) -> dict[str, object]:
    return {name: getattr(query, name) for name in query.__slots__}


@pytest.fixture
def frank():  # type: ignore[no-untyped-def]
    with toy.registered(*toy.all_toys()):
        yield Frank(*toy.all_toys())


# --- the grid -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_a_grid_rise_and_are_written_once(kind: type[Measure]) -> None:
    numbers = stated.numbers(kind)
    assert (np.diff(numbers) > 0).all()
    assert len(set(stated.GRIDS[kind])) == len(numbers)


@given(kinds, st.floats(-3, 14))
def test_a_value_is_the_mean_of_its_neighbours_on_the_grid(
    kind: type[Measure], value: float
) -> None:
    weights, numbers = np.array(stated.on_grid(kind, value)), stated.numbers(kind)
    assert weights.sum() == pytest.approx(1)
    assert np.count_nonzero(weights) <= 2
    assert weights @ numbers == pytest.approx(np.clip(value, numbers[0], numbers[-1]))


@given(kinds, st.floats(-3, 14))
def test_a_number_is_taught_as_one_of_those_about_it(kind: type[Measure], value: float) -> None:
    weights, numbers = np.array(stated.around(kind, value)), np.array(stated.numbers(kind))
    places = np.flatnonzero(weights)
    assert weights.sum() == pytest.approx(1)
    assert 1 <= len(places) <= 6 and (np.diff(places) == 1).all()
    # The steps of a probability differ, at the ends of its decades and grid alike.
    step = np.diff(numbers[max(places[0] - 1, 0) : places[-1] + 2]).max()
    assert abs(weights @ numbers - np.clip(value, numbers[0], numbers[-1])) < step
    if kind is not Probability:
        assert weights @ numbers == pytest.approx(np.clip(value, numbers[0], numbers[-1]))
    inner = 0.3 < value < 0.9
    assert not inner or len(places) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sure_is_taught_as_sure(kind: type[Measure]) -> None:
    for end in (0, -1):
        value = stated.numbers(kind)[end]
        assert stated.around(kind, value)[end] == 1


# --- asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["names: P(name=Anna | sex=female, year=1950)", "names: H(sex | name=Anna)",
     "weather: I(sky; wind)", "weather: corr(sky, wind)"],
)  # fmt: skip
def test_a_core_that_knows_itself_states_what_is_worked_out(frank: Frank, query: str) -> None:
    by_method = {e["method"]: e for e in run_query(frank, query, method="all")["estimates"]}
    step = 0.05 if "H(" in query else 0.02
    assert by_method["asked"]["value"] == pytest.approx(by_method["exact"]["value"], abs=1e-9)
    assert by_method["asked"]["unit"] == by_method["exact"]["unit"]
    assert 0 <= by_method["asked"]["stderr"] <= step
    (alone,) = run_query(frank, query, method="asked")["estimates"]
    assert alone == by_method["asked"]


def test_what_is_said_of_all_names_is_not_stated_unasked(frank: Frank) -> None:
    """Cores learn to state numbers of variables that are short enough to sum over."""
    for query in ("names: H(name | sex=female)", "names: I(name; sex)"):
        methods = [e["method"] for e in run_query(frank, query, method="all")["estimates"]]
        assert methods and "asked" not in methods


def test_what_an_adapter_has_learnt_is_read_back(tmp_path: Path) -> None:
    known = " ".join(sorted(("names", *SelfKnowledgeTask.corpora)))
    save_adapter(tiny.decoder(rank=4), tmp_path, {CORPORA: known})
    core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=learnt(tmp_path))
    assert core.states_numbers
    assert core.knows("names")
    assert not core.knows("kin")
    assert known_prompts(tiny.wire(), learnt(tmp_path))


def test_a_core_that_has_not_learnt_to_says_so(frank: Frank) -> None:
    plain = toy.ToyCore(*toy.all_toys())
    query = parse("names: H(sex)")
    assert isinstance(query, Entropy)
    with pytest.raises(NoSuchMethod, match="does not state measures itself"):
        run_query(plain, "names: H(sex)", method="asked")
    with pytest.raises(UnknownName, match="has not learnt to state"):
        plain.stated(query)
    methods = {e["method"] for e in run_query(plain, "names: H(sex)", method="all")["estimates"]}
    assert "asked" not in methods
    assert not tiny.random_core().states_numbers


def test_the_tool_confidence_has_what_is_worked_out_and_what_is_stated(frank: Frank) -> None:
    asked = {"corpus": "names", "variable": "sex", "text": "Leslie"}
    result = run("confidence", asked, Context(frank))
    by_method = {e.method: e for e in result.estimates}
    assert set(by_method) == {"exact", "asked", "data"}
    assert result.distribution is not None
    first = result.distribution.answers[0]
    assert by_method["exact"].value == first.probability
    assert by_method["asked"].value == pytest.approx(first.probability, abs=1e-9)
    assert by_method["data"].value == pytest.approx(first.probability)
    assert by_method["data"].stderr > 0
    assert result.summary.startswith(f"{first.value} ")
    assert re.search(r"; asked [\d.]+% ± [\d.]+%; entropy [\d.]+ bits of 1.0 bits$", result.summary)
    event = Confidence.of("t", result)
    assert event is not None and event.probability == first.probability
    plain = run("confidence", asked, Context(toy.ToyCore(*toy.all_toys())))
    assert {e.method for e in plain.estimates} == {"exact", "data"}
    assert "asked" not in plain.summary
    # Of a passage the question is put to the core with the passage known.
    passage = run(
        "confidence",
        {"corpus": "speeches", "variable": "party", "text": next(iter(toy.PASSAGES))},
        Context(frank),
    )
    values = {e.method: e.value for e in passage.estimates}
    assert values["asked"] == pytest.approx(values["exact"], abs=1e-9)


def test_a_question_stands_behind_what_is_given(frank: Frank) -> None:
    query = Probability("names", (Binding("name", "Anna"),), (Binding("sex", "female"),))
    assert stated.question(query) == "P(name=Anna)"
    variable = corpora.schema("names").asked(stated.question(query))
    assert (variable.kind, variable.numeric) == ("closed", True)
    assert variable.values == stated.GRIDS[Probability]


# --- learning it ----------------------------------------------------------------------------------


def test_rows_ask_for_the_cores_own_numbers(frank: Frank) -> None:
    task = SelfKnowledgeTask(tiny.wire(), TOYS, pool=12)
    rng = np.random.default_rng(0)
    with pytest.raises(CandorError, match="call expect"):
        task.rows(rng, 1)
    task.expect(frank, rng)
    for row in task.rows(rng, 6):
        asked = list(asked_in(row))
        (name,) = {name for name in TOYS if all(parsed(name, q) for _, q, _ in asked)}
        assert len(asked) > 1
        for known, _, _ in asked:
            assert known == asked[0][0]
            assert set(known) <= set(corpora.schema(name).names)
    again = SelfKnowledgeTask(tiny.wire(), TOYS, pool=12)
    again.expectations = task.expectations
    one, other = (t.rows(np.random.default_rng(1), 1)[0] for t in (task, again))
    assert (one.tokens == other.tokens).all()
    assert (one.target_weight == other.target_weight).all()


def test_anchored_rows_have_the_numbers_of_the_data(
    frank: Frank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_knowledge, "ANCHORED", TOYS)
    monkeypatch.setattr(self_knowledge, "ENOUGH", 1)
    task, rng = SelfKnowledgeTask(tiny.wire(), TOYS, pool=1, anchored=1.0), np.random.default_rng(0)
    task.expect(frank, rng)
    asked = [pair for _ in range(20) for pair in task._numbered(rng)]
    assert len({query for query, _ in asked}) > 5
    for query, number in asked:
        assert number == measures.counted(query).value
    assert len(task.rows(rng, 3)) == 3
    with pytest.raises(CandorError, match="none is anchored"):
        SelfKnowledgeTask(tiny.wire(), ["speeches"], anchored=0.5)
    with pytest.raises(CandorError, match="share of rows"):
        SelfKnowledgeTask(tiny.wire(), TOYS, anchored=1.5)


@pytest.mark.parametrize(
    ("known", "has_one"),
    [
        ({"name": "Wanda", "year": "1991"}, True),
        ({"name": "Zelda", "year": "1991"}, False),  # 22 were born
        ({"name": "Wanda", "year": "1985"}, False),  # held out
        ({"name": "Wanda"}, False),  # held-out years are among all years
    ],
)
def test_an_anchor_has_enough_records_of_training(known: dict[str, str], has_one: bool) -> None:
    given = tuple(Binding(*pair) for pair in known.items())
    number = self_knowledge.anchor(Probability("names", (Binding("sex", "female"),), given))
    assert np.isfinite(number) == has_one


@given(st.integers(0, 2**32))
def test_what_is_asked_together_is_worked_out_together(seed: int) -> None:
    with toy.registered(*toy.all_toys()) as core:
        asked = Questions(TOYS).together(np.random.default_rng(seed))
        assert len({(query.corpus, query.given) for query in asked}) == 1
        assert len(asked) == len(set(asked))
        assert not any(held_out(query) for query in asked)
        alone = [self_knowledge.measure_of(core, query) for query in asked]
        together = self_knowledge.numbers_of(core, asked)
        assert together == pytest.approx(alone, abs=1e-9, nan_ok=True)


def test_where_nothing_is_possible_there_is_no_number() -> None:
    with toy.registered(toy.names()) as core:
        known = (Binding("name", "Nobody"),)
        asked = [
            Probability("names", (Binding("sex", "male"),), known),
            Entropy("names", ("sex",), known),
        ]
        assert np.isnan(self_knowledge.numbers_of(core, asked)).all()


def test_a_small_model_learns_to_state_probabilities_and_entropies() -> None:
    names = toy.names()
    with toy.registered(names) as core:
        task = SelfKnowledgeTask(tiny.wire(), ["names"], pool=8)
        task.expect(core, np.random.default_rng(0))
        learner = tiny.learnt(task, steps=120)
        asker = tiny.TorchCore(learner, tiny.wire(), learnt=["names", *task.corpora])
        pool = [pair for asked in task._answered(int(task.expectations["seed"])) for pair in asked]
        for kind in (Probability, Entropy):
            own = np.array([number for query, number in pool if type(query) is kind])
            said = np.array([asker.stated(query).value for query, _ in pool if type(query) is kind])
            constant = np.abs(own - np.median(own)).mean()
            assert np.abs(said - own).mean() < 0.7 * constant
            assert partial_correlation(said, own) > 0.6


def test_all_that_a_record_says_else_may_be_known_of_what_is_asked() -> None:
    """As it is where one question is drawn alone: what was never taught so can't be asked so."""
    with toy.registered(toy.names()):
        questions, rng = Questions(["names"]), np.random.default_rng(0)
        known = {len(query.given) for _ in range(60) for query in questions.together(rng)}
        assert known == {0, 1, 2}


@given(st.integers(0, 2**32), kinds)
def test_questions_keep_to_their_split_and_can_be_worked_out(
    seed: int, kind: type[Measure]
) -> None:
    with toy.registered(*toy.all_toys()) as core:
        query = Questions(TOYS).draw(np.random.default_rng(seed), kind)
        assert not held_out(query)
        number = self_knowledge.measure_of(core, query)
        assert np.isfinite(number) or kind is Correlation


# --- the measure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_the_measure_of_a_core_that_knows_itself_and_of_one_that_is_off(
    off: float, monkeypatch: pytest.MonkeyPatch, frank: Frank
) -> None:
    frank.off = off
    made = Questions(TOYS)
    monkeypatch.setattr(self_knowledge, "Questions", lambda names=None, split="train": made)
    monkeypatch.setattr(made, "draw", only_names_when_probable(made.draw))
    rows = {row.name: row for row in self_knowledge.self_knowledge(frank, Options(quick=True))}
    for name in ("asked P", "asked I", "asked corr"):
        assert rows[name].value == pytest.approx(off, abs=0.15 if off else 1e-9)
        assert (rows[name].value > 0.05) == bool(off)
    assert (rows["asked H"].value > 0.05) == bool(off)
    for name in ("asked P", "asked H", "asked I", "asked corr"):
        assert {"correlation", "partial correlation"} <= set(rows[name].guard)
    # It is as sure of a number that is off as of one that is not.
    within = rows["asked error within 2 sd"]
    assert within.n == 4 * 6
    assert within.value == (1.0 if not off else pytest.approx(0.0, abs=0.3))
    assert all(within.guard[f"sd of {name}"] < 0.03 for name in ("P", "H", "I", "corr"))


def test_a_core_that_is_wrong_and_knows_it_reports_itself_and_not_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = toy.names()
    rng = np.random.default_rng(0)
    skewed = {key: p * rng.exponential() for key, p in names.table.items()}
    monkeypatch.setattr(self_knowledge, "CORPORA", ("names",))
    with toy.registered(names):
        made = Questions(["names"])
        monkeypatch.setattr(self_knowledge, "Questions", lambda names=None, split="train": made)
        core = Frank(toy.ToyCorpus(names.schema, skewed))
        rows = {row.name: row for row in self_knowledge.self_knowledge(core, Options(quick=True))}
    partial = rows["asked P, partial correlation"]
    assert partial.value == rows["asked P"].guard["partial correlation"] > 0.99
    assert partial.floor is not None and partial.floor.met(partial.value)
    assert rows["asked H"].guard["partial correlation"] > 0.99


def only_names_when_probable(draw):  # type: ignore[no-untyped-def]
    def limited(rng: np.random.Generator, kind: type[Measure], name: str | None = None) -> Measure:
        return draw(rng, kind, "names" if kind is Probability else name)

    return limited


def test_what_is_measured_was_not_asked_in_training() -> None:
    rng = np.random.default_rng(0)
    for corpus, kind in (("names", Probability), ("insurance", Entropy)):
        for split in ("train", "held_out"):
            made = Questions([corpus], split)  # type: ignore[arg-type]
            drawn = [made.draw(rng, kind) for _ in range(40)]
            assert all(bool(held_out(query)) == (split == "held_out") for query in drawn)
            if split == "held_out" and kind is Probability:
                text = [notation.format(query) for query in drawn]
                assert all(re.search(r"year=\d\d\d5", t) for t in text)


def test_partial_correlation_by_hand() -> None:
    rng = np.random.default_rng(0)
    world = rng.normal(size=400)
    own = world + rng.normal(size=400)
    assert partial_correlation(own, own, world) == pytest.approx(1)
    assert abs(partial_correlation(world + 0.1 * rng.normal(size=400), own, world)) < 0.15
    holes = np.where(rng.random(400) < 0.5, np.nan, world)
    assert partial_correlation(own, own, holes) == pytest.approx(1)
    assert np.isnan(partial_correlation(own[:3], own[:3], world[:3]))
