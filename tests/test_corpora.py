"""The real corpora: how a person may write their values, and what is held out."""

from __future__ import annotations

import pytest

from core_model import corpora, notation
from core_model.corpora.base import refuse_held_out
from core_model.errors import HeldOutError
from core_model.notation import Binding, Draw
from core_model.planning import plan
from tools import joint


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("names: P(name=jennifer | sex=girls)", "names: P(name=Jennifer | sex=female)"),
        ("names: year | name=EMMA, sex=Boy", "names: year | name=Emma, sex=male"),
        ("names: year | name=Xqzt", "names: year | name=Xqzt"),
        ("speeches: text | party=Democrat", "speeches: text | party=Democratic"),
        ("speeches: year | party=Whigs", "speeches: year | party=Whig"),
        ("speeches: year | author=lincoln", "speeches: year | author=Abraham Lincoln"),
    ],
)  # fmt: skip
def test_a_value_is_understood_as_a_person_writes_it(written: str, resolved: str) -> None:
    query = notation.parse(written)
    assert query.corpus is not None
    assert notation.format(corpora.schema(query.corpus).resolve(query)) == resolved


def test_data_are_spelled_as_the_corpus_spells_them() -> None:
    query = notation.parse("names: sex")
    assert isinstance(query, Draw)
    assert plan(query, "emma")[0].conditional.given == (Binding("name", "Emma"),)


@pytest.mark.parametrize("name", ["names", "speeches", "safety"])
def test_no_held_out_record_is_among_those_of_training(name: str) -> None:
    corpus = corpora.load(name)
    held_out = corpus.records("held_out")
    assert held_out
    assert refuse_held_out(corpus, corpus.records("train"))
    with pytest.raises(HeldOutError):
        refuse_held_out(corpus, [*corpus.records("train")[:3], held_out[0]])


def test_a_passage_counts_as_a_part_of_its_address() -> None:
    """236 addresses, of unequal length, are worth fewer than as many independent ones."""
    total = float(sum(corpora.load("speeches").count({}, ["medium"]).values()))
    assert 100 < joint.independent("speeches", (), total) < 236 < total
    assert joint.independent("names", (), 5.0) == 5.0
