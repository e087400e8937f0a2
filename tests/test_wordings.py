"""Plain words for relations: what they stand for, what is held out, and that they come to agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core_model import corpora, notation, wordings
from core_model.corpora import stories
from core_model.corpora.kin import RELATIONS
from core_model.errors import NotationError, UnknownName
from core_model.measures import paraphrase as measure
from core_model.measures.in_words import in_words
from core_model.measures.result import Options
from core_model.notation import Binding, Draw
from core_model.objectives import WordingTask
from core_model.objectives.paraphrase import wording_gap
from core_model.planning import Conditional, at_once
from tests import tiny, toy
from tests.exact import ExactCore
from tests.test_objectives import closed_by_training
from tools.query import run_query

ALL = [(corpus, relation) for corpus in measure.CORPORA for relation in wordings.wordings(corpus)]


@pytest.mark.parametrize(("corpus", "relation"), ALL)
def test_each_relation_has_thirty_wordings_and_eight_that_training_never_sees(
    corpus: str, relation: str
) -> None:
    trained, kept = wordings.trained(corpus)[relation], wordings.held_out(corpus)[relation]
    assert len(trained) + len(kept) >= 38
    assert len(kept) == 8
    assert not set(trained) & set(kept)
    schema = corpora.schema(corpus)
    for text in (*trained, *kept):
        assert wordings.relation_of(corpus, text) == relation
        assert schema.asked(text) == schema.variable(relation)
        assert text.isascii()


def test_no_wording_stands_for_two_relations() -> None:
    for corpus in measure.CORPORA:
        texts = [t for given in wordings.wordings(corpus).values() for t in given]
        assert len(texts) == len(set(texts))
    assert set(wordings.wordings("kin")) == set(RELATIONS)
    assert set(wordings.wordings("chance")) == {"value", "family"}
    assert set(wordings.wordings("safety")) == {"safe", "refusal", "harmful"}
    assert set(wordings.wordings("stories")) == {"first", "last", "before", "read_before"}
    assert wordings.relation_of("asia", "who wrote this?") is None


def test_a_wording_is_put_to_the_base_as_it_stands() -> None:
    (text, *_) = wordings.held_out("speeches")["author"]
    assert text in in_words(Conditional("speeches", text)).splitlines()


# --- queries in words ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ['"who wrote this?"', 'speeches: "Who wrote this" | year=1862', '"a \\"b\\""; author']
)
def test_questions_in_words_are_printed_as_they_are_read(text: str) -> None:
    query = notation.parse(text)
    assert notation.parse(notation.format(query)) == query


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('""', "stands alone"),
        ('"who?"^-1', "stands alone, without what follows at character 7"),
        ('"who?"~technical', "stands alone, without what follows at character 8"),
    ],
)
def test_words_take_no_inverse_and_no_notion(text: str, says: str) -> None:
    with pytest.raises(NotationError, match=says):
        notation.parse(text)


def test_a_question_in_words_is_the_relation_it_stands_for() -> None:
    with toy.registered(*toy.all_toys()) as core:
        words, name = '"WHO wrote this"', "author"
        text = next(iter(toy.PASSAGES))
        by_words, by_name = (run_query(core, f"speeches: {q}", text) for q in (words, name))
        assert by_words["answers"] == by_name["answers"]
        assert by_words["query"] == 'speeches: "WHO wrote this"'
        assert run_query(core, f"speeches: {words}; party", text)["answers"]
        with pytest.raises(
            UnknownName, match=r"'who writes this\?'.* Did you mean 'who wrote this\?'"
        ):
            run_query(core, 'speeches: "who writes this?"', text)


def test_asked_puts_the_words_themselves_to_the_core() -> None:
    query = corpora.schema("speeches").resolve(notation.parse('speeches: "who said this?"'))
    assert isinstance(query, Draw)
    assert at_once(query, "We…").variable == "who said this?"
    chain = corpora.schema("kin").resolve(notation.parse('kin: "who is their dad?"; father'))
    assert isinstance(chain, Draw)
    assert (
        at_once(replace(chain, given=(Binding("person", "Anna"),)), "…").variable
        == "father; father"
    )


# --- the objective --------------------------------------------------------------------------------


def test_wordings_that_agree_have_no_gap_and_the_name_is_not_trained() -> None:
    named = torch.tensor([0.5, 0.3, 0.2]).log().requires_grad_()
    worded = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]).log().requires_grad_()
    assert wording_gap(named, worded[:1]).item() == pytest.approx(0, abs=1e-6)
    gap = wording_gap(named, worded)
    # Of two wordings one agrees; the other has KL = 0.5 log(0.5/0.2) + 0.2 log(0.2/0.5).
    assert gap.item() == pytest.approx(0.3 * math.log(2.5) / 2, abs=1e-6)
    gap.backward()  # type: ignore[no-untyped-call]
    assert named.grad is None
    assert worded.grad is not None
    # Scores are taken up to a constant.
    assert wording_gap(named + 3, worded - 2).item() == pytest.approx(gap.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "seed"), [("names", 2), ("places", 2), ("kin", 2), ("chance", 5), ("stories", 4)]
)
def test_a_row_of_wordings_has_a_gap_that_its_model_can_close(name: str, seed: int) -> None:
    (row,) = WordingTask(tiny.wire(), [name]).rows(np.random.default_rng(seed), 1)
    gap = closed_by_training(tiny.decoder(rank=8), row)
    assert gap[0] > 1e-5
    assert gap[-1] < 0.5 * gap[0]


def test_what_must_be_known_is_and_in_the_order_that_a_core_is_asked_in() -> None:
    rng = np.random.default_rng(0)
    with toy.registered(toy.safety()):
        task = WordingTask(tiny.wire(), ["stories", "chance", "safety"])
        for name in ("stories", "chance", "safety"):
            schema, seen = corpora.schema(name), set()
            for _ in range(60):
                given, relation, true, values = task._question(name, rng)
                known = [binding.variable for binding in given]
                assert known == list(wordings.known(name, relation))
                order = [v for v in (*schema.before, schema.document) if v in known]
                assert known[: len(order)] == order
                assert true in values
                seen.add(relation)
            assert seen == set(wordings.trained(name))
    assert task.corpora == ("in-words:stories", "in-words:chance", "in-words:safety")
    assert WordingTask(tiny.wire(), ["names", "kin"]).corpora == (wordings.LEARNT,)


def test_a_core_is_asked_in_words_about_what_it_has_learnt_so() -> None:
    _, (text,) = stories.draw(np.random.default_rng(0), "train")
    asked = Conditional("stories", "who left first?", (Binding("story", text),))
    core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["stories", wordings.LEARNT])
    with pytest.raises(UnknownName, match="questions in words"):
        core.distribution_of(asked)
    learnt = ["stories", wordings.learnt("stories")]
    assert tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=learnt).distribution_of(asked).answers


# --- the measure ----------------------------------------------------------------------------------


class Wavering(ExactCore):
    """Knows all, and answers every other wording evenly."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        relation = wordings.relation_of(conditional.corpus, conditional.variable)
        if relation is None:
            return super().log_prob_of(conditional, answers)
        kept = wordings.held_out(conditional.corpus)[relation]
        if self.wavers and kept.index(conditional.variable) % 2:
            return np.full(len(answers), -math.log(len(answers)))
        named = Conditional(conditional.corpus, relation, conditional.given)
        return super().log_prob_of(named, answers)

    wavers = True


@pytest.mark.parametrize("wavers", [False, True])
def test_the_measure_of_a_core_that_hears_the_question_and_of_one_that_wavers(
    wavers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "CORPORA", ("places", "kin"))
    monkeypatch.setattr(measure, "_retold", lambda core, options: [])
    core = Wavering()
    core.wavers = wavers
    rows = {row.name: row for row in measure.paraphrase(core, Options(quick=True))}
    jsd, flips = rows["paraphrase JSD"], rows["paraphrase flips"]
    assert jsd.guard["between questions"] > 0.2
    ratio = rows["paraphrase ratio"]
    assert ratio.value == jsd.guard["ratio"]
    assert ratio.floor is not None and ratio.floor.met(ratio.value) is not wavers
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high
    if wavers:
        assert jsd.value > 0.1
        assert 0.3 < flips.value <= 0.5
        assert ratio.value == pytest.approx(jsd.guard["between questions"] / jsd.value)
    else:
        assert jsd.value == pytest.approx(0, abs=1e-9)
        assert flips.value == 0


def test_what_lies_between_questions_is_never_an_item_beside_itself() -> None:
    one, other = np.array([[0, 0.5], [0.5, 0]]), np.array([[0, 0.1], [0.1, 0]])
    apart = [measure._apart([one, other], np.array(items)) for items in ([0, 1, 2, 3], [0, 0, 1])]
    assert apart == pytest.approx([0.3, 0.5])
    assert math.isnan(measure._apart([one, other], np.array([0, 0, 3])))


def test_items_are_held_out_where_there_are_held_out_ones() -> None:
    rng = np.random.default_rng(0)
    (given,) = measure._given("speeches", "author", rng)
    texts = {r.values["text"] for r in corpora.load("speeches").records("held_out")}
    assert given.value in texts
    known = measure._given("places", "country", rng)[0]
    assert known.variable != "country"
    assert isinstance(known, Binding)


@pytest.mark.parametrize("name", ["stories", "chance", "safety"])
def test_items_know_what_their_question_needs(name: str) -> None:
    rng = np.random.default_rng(0)
    with toy.registered(toy.safety()):
        for relation in wordings.held_out(name):
            given = measure._given(name, relation, rng)
            assert tuple(b.variable for b in given) == wordings.known(name, relation)
            if name != "safety":
                values = {binding.variable: binding.value for binding in given}
                assert corpora.load(name).is_held_out(values)


def test_the_measure_asks_about_what_was_learnt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(measure, "_worded", lambda core, options, names: asked.extend(names) or [])
    monkeypatch.setattr(measure, "_retold", lambda core, options: [])
    for learnt in (["kin", "stories", wordings.LEARNT], ["kin", "stories", "in-words:stories"]):
        measure.paraphrase(
            tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=learnt), Options(quick=True)
        )
    assert asked == ["kin", "stories"]


def test_a_core_that_has_not_learnt_words_says_what_to_ask() -> None:
    asked = Conditional("speeches", "who wrote this?", (Binding("text", "We the people"),))
    core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches"])
    with pytest.raises(UnknownName, match=r"questions in words\. Ask for 'author' by its name"):
        core.distribution_of(asked)
    knowing = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches", wordings.LEARNT])
    assert knowing.distribution_of(asked).answers


@pytest.mark.parametrize(
    ("asked", "says", "marker"),
    [
        (Conditional("speeches", "author; party"), "chains of speeches", "speeches:chains"),
        (
            Conditional("speeches", "party", (Binding("prior", "50% Whig"),)),
            "priors in speeches",
            "speeches:priors",
        ),
    ],
)
def test_chains_and_priors_that_were_not_learnt_are_refused_too(
    asked: Conditional, says: str, marker: str
) -> None:
    core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches"])
    with pytest.raises(UnknownName, match=f"has not learnt {says}"):
        core.distribution_of(asked)
    knowing = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches", marker])
    assert knowing.distribution_of(asked).answers
    # The semicolon of a measure makes no chain.
    number = Conditional("speeches", "I(party; medium)")
    assert core.distribution_of(number).answers
