"""Generated families: what is told is what is so, and held-out tellings are never trained on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import corpora
from core_model.corpora import kin
from core_model.corpora.base import refuse_held_out
from core_model.errors import HeldOutError, InvalidQuery

seeds = st.integers(0, 10_000).map(np.random.default_rng)


def parents_told(text: str) -> dict[str, set[str]]:
    """Everybody's parents, read off a telling."""
    found: dict[str, set[str]] = {}
    for sentence in text.rstrip(".").split(". "):
        names = re.findall("[A-Z][a-z]+", sentence)
        if " have " in sentence:
            parents, children = names[:2], names[2:]
        elif "child" in sentence:
            parents, children = names[-2:], names[:-2]
        else:
            parents, children = names[1:], names[:1]
        found.update({child: set(parents) for child in children})
    return found


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_everything_asked_can_be_read_off_the_telling(rng: np.random.Generator) -> None:
    family = kin.generate(rng)
    told = parents_told(family.told(rng))
    for person in family.people:
        parents = {next(iter(family.of(role, person))) for role in ("father", "mother")}
        assert told.get(person, {kin.NOBODY}) == parents


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_relations_are_distributions_that_fit_together(rng: np.random.Generator) -> None:
    family = kin.generate(rng)
    for person in family.people:
        for relation in kin.RELATIONS:
            answers = family.of(relation, person)
            assert sum(answers.values()) == pytest.approx(1.0)
            assert set(answers) <= set(kin.PEOPLE)
        for child in family.of("child", person):
            if child != kin.NOBODY:
                assert person in {*family.of("father", child), *family.of("mother", child)}
        assert person not in family.of("sibling", person)
    assert len(set(family.people)) == len(family.people)
    mothers = {p for someone in family.people for p in family.of("mother", someone)}
    assert mothers <= {*kin.WOMEN, kin.NOBODY}


def test_nobody_has_no_relatives() -> None:
    family = kin.generate(np.random.default_rng(0))
    assert family.along(("father", "child", "spouse"), kin.NOBODY) == {kin.NOBODY: 1.0}
    with pytest.raises(InvalidQuery, match="No relation 'boss'"):
        family.of("boss", "Anna")


def test_a_fifth_of_the_tellings_is_held_out() -> None:
    corpus = corpora.load("kin")
    rng = np.random.default_rng(0)
    told = [kin.generate(rng).told(rng) for _ in range(1000)]
    assert 0.15 < np.mean([kin.held_out_telling(text) for text in told]) < 0.25
    refuse_held_out(corpus, corpus.records("train"))
    with pytest.raises(HeldOutError):
        refuse_held_out(corpus, corpus.records("held_out"))


def test_records_hold_what_their_family_says() -> None:
    corpus = corpora.load("kin")
    record = corpus.records("held_out")[0].values
    assert set(record) == set(corpus.schema.names)
    assert {record["father"], record["mother"]} == parents_told(record["family"]).get(
        record["person"], {kin.NOBODY}
    )
    asked = {"family": record["family"], "person": record["person"]}
    assert corpus.count(asked, ["father"]) == {(record["father"],): 1}
