"""Passages written anew: which draft is kept, what it tells, and the measure of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core_model.anonymity import (
    DRAFTS,
    RUN,
    SUMMARIES,
    anonymised,
    copied,
    posterior,
    told_of_author,
)
from core_model.corpora.base import Record, Split
from core_model.errors import EngineError
from core_model.graph import Schema, Variable
from core_model.measures.anonymity import anonymity
from core_model.measures.result import Options
from core_model.planning import Conditional
from tests import toy
from tui.queries import anonymous

PASSAGE = "ships of the line under sail and steam, as I have said"
AUTHORS, TOPICS = ("A", "B", "C", "D"), ("navy", "mail")
PRIOR = np.array([0.4, 0.3, 0.2, 0.1])
WRITTEN = ("as I have said", "ships and steam", "letters and stamps", PASSAGE)
"""The author's own manner; the same topic, nobody's manner; another topic; a copy."""


class Speeches(toy.ToyCorpus):
    """Two passages about the navy, both by B, in both splits."""

    def __init__(self) -> None:
        variables = (
            Variable("text", "open", (), False, "a passage"),
            Variable("author", "closed", AUTHORS, False, "who"),
            Variable("topic", "closed", TOPICS, False, "what about"),
            Variable("year", "closed", ("1900",), True, "when"),
            Variable("summary", "open", (), False, "a passage in short"),
        )
        super().__init__(Schema("speeches", "text", variables), {})

    def records(self, split: Split) -> Sequence[Record]:
        values = {"text": PASSAGE, "author": "B", "topic": "navy", "year": "1900"}
        return [Record("speeches", values), Record("speeches", values | {"text": WRITTEN[0]})]


class Writer(toy.ToyCore):
    """`have said` is B's manner, unless the text is a copy: that it takes for anybody's."""

    summaries: list[str]

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        text = next((b.value for b in conditional.given if b.variable == "text"), "")
        if conditional.variable == "topic":
            p = [0.1, 0.9] if "letters" in text else [0.9, 0.1] if text else [0.5, 0.5]
        else:
            p = [0.05, 0.85, 0.05, 0.05] if "have said" in text and "ships" not in text else PRIOR
        values = TOPICS if conditional.variable == "topic" else AUTHORS
        return np.log([p[values.index(answer)] for answer in answers])

    def write(self, *_: object, **__: object) -> Iterator[str]:
        yield self.summaries.pop(0) if self.summaries else ""

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        assert [b.value for b in conditional.given] == ["in short"]
        return [WRITTEN[i % len(WRITTEN)] for i in range(n)]


@pytest.fixture
def core() -> Iterator[Writer]:
    with toy.registered(Speeches()):
        made = Writer(Speeches())
        made.summaries = ["in short"] * 99
        yield made


def test_the_draft_that_keeps_the_topic_and_hides_the_author_is_first(core: Writer) -> None:
    drafts = anonymised(core, PASSAGE, np.random.default_rng(0))
    assert len(drafts) == SUMMARIES * DRAFTS
    texts = list(dict.fromkeys(draft.text for draft in drafts))
    assert texts[0] == "ships and steam" and texts[-1] == PASSAGE  # a copy comes last
    assert drafts[0].told == pytest.approx(0, abs=1e-9) and drafts[-1].copied > RUN


def test_nothing_written_is_one_line(core: Writer) -> None:
    core.summaries = ["", " "]
    with pytest.raises(EngineError, match="Give a longer one"):
        anonymised(core, PASSAGE, np.random.default_rng(0))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_what_is_told_is_nothing_of_the_prior_itself_and_else_more(weights: list[float]) -> None:
    p = np.array(weights) / sum(weights)
    even = np.full(len(p), 1 / len(p))
    assert told_of_author(p, p) == pytest.approx(0, abs=1e-12)
    assert told_of_author(p, even) >= -1e-12
    sure = np.eye(len(p))[0]
    assert told_of_author(sure, p) == pytest.approx(-np.log(p[0]))


@given(st.lists(st.sampled_from("ab"), max_size=12), st.lists(st.sampled_from("ab"), max_size=12))
def test_a_shared_run_is_in_both_and_no_longer_one_is(one: list[str], other: list[str]) -> None:
    found = copied(" ".join(one), " ".join(other).upper() + ".")
    runs = [{tuple(w[i : i + found]) for i in range(len(w) - found + 1)} for w in (one, other)]
    longer = [{tuple(w[i : i + found + 1]) for i in range(len(w) - found)} for w in (one, other)]
    assert runs[0] & runs[1] and not longer[0] & longer[1]


def test_the_measure_counts_authors_and_topics(core: Writer) -> None:
    out, kept = anonymity(core, Options(quick=True))
    assert (out.value, out.n) == (0.0, 2)  # the prior's guess is A
    assert out.guard["of the passages"] == 0.5 and out.guard["words in a row"] == 0.0
    assert out.baselines["chance"] == 0.25 and out.baselines["any draft"] == 0.25
    assert kept.value == 1.0 and kept.baselines["any draft"] == 0.75


def test_a_core_that_always_tells_is_found_out(
    core: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "WRITTEN", (WRITTEN[0],))
    out, _ = anonymity(core, Options(quick=True))
    assert out.value == 1.0


def test_the_command_says_what_is_still_told(core: Writer) -> None:
    shown = anonymous(core, WRITTEN[0], 0, as_json=False)
    assert shown.startswith("ships and steam\n\ntells 0.00 nats of its author, the passage 0.6")
    assert "!" not in shown
    found = json.loads(anonymous(core, WRITTEN[0], 0, as_json=True))
    prior = posterior(core, "author")
    assert found["told"] == pytest.approx(
        told_of_author(posterior(core, "author", WRITTEN[0]), prior)
    )
    assert len(found["drafts"]) == SUMMARIES * DRAFTS


def test_a_text_that_hides_nothing_is_said_to(core: Writer) -> None:
    shown = anonymous(core, "letters", 0, as_json=False)  # which tell nothing of anybody
    assert shown.endswith(
        "! It tells no less than the passage did. Another --seed may do better.\n"
    )
