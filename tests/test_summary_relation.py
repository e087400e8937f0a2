"""Summaries of passages: candidates, the choice among them, rows, and the gain that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model import corpora
from core_model.corpora.base import Record, Split
from core_model.corpora.speeches import SUMMARY
from core_model.errors import UnknownName
from core_model.graph import Schema, Variable
from core_model.measures.result import Options
from core_model.measures.summary import summary
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.tasks import SummaryTask, TopicTask
from core_model.tasks.summaries import WORDS, candidates, rarity
from tests import tiny, toy
from tests.test_tasks import questions

PASSAGES = (
    "the Senate and the House have met again and the canal at Panama is now open to all ships",
    "the Senate and the House have met again and the treaty of peace with Spain is before you",
    "the Senate and the House have met again and silver dollars are coined in every mint of ours",
)


class Passages(toy.ToyCorpus):
    """Three passages, each of an address of its own, all of them in both splits."""

    def __init__(self) -> None:
        variables = (
            Variable("text", "open", (), False, "a passage"),
            Variable("author", "closed", ("A", "B", "C"), False, "who"),
            Variable("year", "closed", ("1900", "1901", "1902"), True, "when"),
            Variable("summary", "open", (), False, "a passage in short"),
        )
        super().__init__(Schema("speeches", "text", variables), {})

    def records(self, split: Split) -> Sequence[Record]:
        return [
            Record("speeches", {"text": text, "author": "ABC"[i], "year": str(1900 + i)})
            for i, text in enumerate(PASSAGES)
        ]


class Reader(toy.ToyCore):
    """Writes a passage word by word: words that the summary says cost one nat, others three."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        said = {w for b in conditional.given if b.variable == "summary" for w in b.value.split()}
        return np.array([-sum(1.0 if w in said else 3.0 for w in a.split()) for a in answers])

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        (known,) = conditional.given
        yield " ".join(known.value.split()[-9:])


def test_candidates_are_short_in_order_and_the_same_again() -> None:
    rare = rarity(PASSAGES)
    for passage in PASSAGES:
        made = candidates(passage, rare, np.random.default_rng(3))
        assert made == candidates(passage, rare, np.random.default_rng(3))
        for text in made:
            words, at = text.split(), 0
            assert 1 <= len(words) <= WORDS
            for word in words:
                at = passage.split().index(word, at) + 1
        assert made[-2] == " ".join(passage.split()[:WORDS])
    rarest = candidates(PASSAGES[0], rare, np.random.default_rng(0))[0]
    assert {"canal", "Panama", "ships"} <= set(rarest.split())
    assert candidates("One word.", {}, np.random.default_rng(0))[0] == "One word"


def test_the_summary_is_the_candidate_that_makes_its_passage_most_probable() -> None:
    with corpora.register(Passages()):
        task = SummaryTask(tiny.wire(), pool=3)
        task.expect(Reader(), np.random.default_rng(0))
        core = Reader()
        found = (task.expectations[name].tolist() for name in ("passages", "chosen"))
        for place, chosen in zip(*found, strict=True):
            made = task._candidates(place)
            gains = [
                core.log_prob_of(
                    Conditional("speeches", "text", (Binding("summary", text),)),
                    [PASSAGES[place]],
                )[0]
                for text in made
            ]
            assert gains[chosen] == max(gains)


def test_rows_read_and_write_what_was_chosen() -> None:
    with corpora.register(Passages()):
        task = SummaryTask(tiny.wire(), pool=3)
        rng = np.random.default_rng(1)
        before = task.rows(rng, 4)
        task.expect(Reader(), rng)
        asked = []
        for row in (*before, *task.rows(rng, 20)):
            ((known, question, _),) = questions(row)
            ((name, text),) = known.items()
            assert {name, question} == {"text", "summary"}
            assert (text in PASSAGES) == (name == "text")
            asked.append(question)
        assert set(asked) == {"text", "summary"}


def test_the_gain_of_a_summary_by_hand() -> None:
    with corpora.register(Passages()):
        (row,) = summary(Reader(), Options(quick=True))
    # Its last nine words of seventeen or so are said: each is two nats cheaper.
    shares = [
        sum(w in text.split()[-9:] for w in text.split()) / len(text.split()) for text in PASSAGES
    ]
    assert row.value == pytest.approx(2 * np.mean(shares))
    assert row.guard["length"] == pytest.approx(np.mean([9 / len(t.split()) for t in PASSAGES]))
    assert row.guard["of another passage"] < row.value
    assert set(row.baselines) == {"first 10 words", "rarest words"}


def test_topics_came_later_than_the_passages() -> None:
    core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches"])
    for asked in ("topic", "what is this about?", "author; topic"):
        with pytest.raises(UnknownName, match="has not learnt 'topic' of speeches"):
            core.distribution_of(Conditional("speeches", asked))
    assert core.distribution_of(Conditional("speeches", "party")).answers
    knowing = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches", *TopicTask.corpora])
    assert knowing.distribution_of(Conditional("speeches", "topic")).answers


def test_a_core_that_has_not_learnt_to_summarise_says_so() -> None:
    asked = Conditional("speeches", "summary", (Binding("text", "We the people"),))
    back = Conditional("speeches", "text", (Binding("summary", "people"),))
    for conditional in (asked, back):
        core = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches"])
        with pytest.raises(UnknownName, match="has not learnt 'summary' of speeches"):
            core.log_prob_of(conditional, ["x"])
        knowing = tiny.TorchCore(tiny.decoder(), tiny.wire(), learnt=["speeches", SUMMARY])
        assert np.isfinite(knowing.log_prob_of(conditional, ["x"])).all()
