"""A text and what it is about, written in step: each estimate is of what stands there by then."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from core_model import corpora
from core_model.core import Core
from core_model.corpora.base import Record, Split
from core_model.errors import CandorError, InvalidQuery
from core_model.graph import Schema, Variable
from core_model.joint_writing import Estimated, Written, write_jointly
from core_model.measures.result import Options
from core_model.measures.writing import writing
from core_model.notation import Binding
from core_model.planning import Conditional
from tests import toy
from tui.queries import written

TEXT = Conditional("weather", "text")


class Continuing(toy.ToyCore):
    """Goes on with the listed text that begins as the opening does, if the sky is as it is told."""

    asked: list[tuple[str, str]]

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        sky = next(b.value for b in conditional.given if b.variable == "sky")
        self.asked.append((sky, opening))
        sentence = {"clear": "The sun was out.", "cloudy": "Clouds hung low."}[sky]
        if opening.count(".") < 3:
            for place, word in enumerate(f"{sentence} {sentence}".split()):
                yield f" {word}" if opening or place else word


@pytest.fixture
def core() -> Iterator[Continuing]:
    with toy.registered(*toy.all_toys()):
        made = Continuing(*toy.all_toys())
        made.asked = []
        yield made


def events(core: Core, conditional: Conditional = TEXT, sentences: int = 2, seed: int = 0):  # type: ignore[no-untyped-def]
    return list(write_jointly(core, conditional, "sky", np.random.default_rng(seed), sentences))


def test_an_estimate_stands_before_and_behind_every_sentence(core: Continuing) -> None:
    found = events(core, sentences=2)
    estimates = [event for event in found if isinstance(event, Estimated)]
    assert [event.sentences for event in estimates] == [0, 1, 2]
    text = ""
    for event in found:
        if isinstance(event, Written):
            text += event.text
            continue
        known = (Binding("text", text),) if text else ()
        assert event.estimate == core.distribution_of(Conditional("weather", "sky", known))
    assert text.count(".") == 2


def test_each_sentence_is_written_about_what_was_drawn_before_it(core: Continuing) -> None:
    found = events(core, sentences=3, seed=4)
    drawn = [event.drawn for event in found if isinstance(event, Estimated)]
    assert [sky for sky, _ in core.asked] == drawn[:3]
    openings = [opening for _, opening in core.asked]
    assert openings[0] == ""
    assert all(later.startswith(before) for before, later in itertools.pairwise(openings))


def test_what_is_given_holds_for_the_first_sentence(core: Continuing) -> None:
    """A text that contradicts what it was said to be about decides from there on."""
    given = Conditional("weather", "text", (Binding("sky", "cloudy"),))
    first, *others = (e for e in events(core, given, 2) if isinstance(e, Estimated))
    assert first.drawn == "cloudy"
    assert core.asked[0][0] == "cloudy"
    assert others


def test_a_text_that_ends_is_estimated_as_a_whole(core: Continuing) -> None:
    found = events(core, sentences=9)
    assert isinstance(found[-1], Estimated)
    text = "".join(event.text for event in found if isinstance(event, Written))
    known = (Binding("text", text),)
    assert found[-1].estimate == core.distribution_of(Conditional("weather", "sky", known))
    assert found[-1].sentences == 3


@pytest.mark.parametrize(
    ("conditional", "latent", "says"),
    [
        (Conditional("weather", "word"), "sky", "Only a document"),
        (TEXT, "word", "not a closed list"),
        (TEXT, "colour", "Unknown variable"),
    ],
)
def test_what_cannot_be_written_so_is_one_line(
    core: Continuing, conditional: Conditional, latent: str, says: str
) -> None:
    with pytest.raises(CandorError, match=says):
        list(write_jointly(core, conditional, latent, np.random.default_rng(0)))


def test_the_command_shows_text_and_estimates(core: Continuing) -> None:
    lines = "".join(written(core, "weather: text", "sky", 2, 0, False)).splitlines()
    assert lines[0].startswith("[sky: clear 6")
    assert sum(line.startswith("[sky:") for line in lines) == 3
    parsed = [json.loads(line) for line in written(core, "weather: text", "sky", 2, 0, True)]
    assert [event["sentences"] for event in parsed if "sentences" in event] == [0, 1, 2]
    for query in ("weather: text; sky", "weather: H(sky)"):
        with pytest.raises(InvalidQuery, match="One relation is written"):
            list(written(core, query, "sky", 2, 0, False))


class Piecemeal(Continuing):
    """Writes one piece after another, as it is told."""

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        whole = "Mr. Poe paid 3.5 dollars. He left."
        assert whole.startswith(opening)
        yield from re.findall(r" ?\w+|[.]", whole[len(opening) :])


def test_a_sentence_ends_neither_in_a_number_nor_behind_a_title() -> None:
    with toy.registered(*toy.all_toys()):
        found = events(Piecemeal(*toy.all_toys()), sentences=5)
    texts = "".join(e.text if isinstance(e, Written) else "|" for e in found)
    assert texts == "|Mr. Poe paid 3.5 dollars.| He left.|"


# --- the measure ----------------------------------------------------------------------------------

ABOUT = {
    "ships": "Our ships sail all the seas and guard the coast",
    "coins": "Silver coins and gold are money in every bank",
}


class Passages(toy.ToyCorpus):
    """Two passages, one a topic; each is written under the other topic one time in five."""

    def __init__(self) -> None:
        variables = (
            Variable("text", "open", (), False, "a passage"),
            Variable("topic", "closed", tuple(ABOUT), False, "what it is about"),
            Variable("author", "closed", ("A", "B"), False, "who wrote it"),
            Variable("year", "closed", ("1790", "1800"), True, "when"),
        )
        table = {
            (text, topic, "A", year): 0.8 if ABOUT[topic] == text else 0.2
            for text in ABOUT.values()
            for topic in ABOUT
            for year in ("1790", "1800")
        }
        super().__init__(Schema("speeches", "text", variables), table)

    def records(self, split: Split) -> Sequence[Record]:
        return [r for r in super().records("train") if ABOUT[r.values["topic"]] == r.values["text"]]


class Writer(toy.ToyCore):
    """Goes on about the topic that it is given, with none about ships."""

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        given = {b.variable: b.value for b in conditional.given}
        yield ABOUT[given.get("topic", "ships")]


def test_a_topic_makes_its_own_text_likelier_and_another_less() -> None:
    corpus = Passages()
    with corpora.register(corpus):
        rows = {row.name: row for row in writing(Writer(corpus), Options(quick=True))}
        gain, loss, turned = rows.values()
    # Given its topic a passage has 0.8, given the other one 0.2, given nothing a half.
    words = [len(text.split()) for text in ABOUT.values()]
    assert gain.value == pytest.approx(np.mean([np.log(1.6) / n for n in words]), rel=0.1)
    assert loss.value == pytest.approx(np.mean([np.log(0.4) / n for n in words]), rel=0.1)
    assert turned.value == pytest.approx(0.8)
    assert turned.guard["the text's own"] == pytest.approx(0.2)
    assert turned.baselines["no topic given"] < 0.8


def test_without_topics_there_is_nothing_to_measure() -> None:
    with (
        corpora.register(toy.speeches()) as corpus,
        pytest.raises(CandorError, match="no held-out"),
    ):
        writing(Writer(corpus), Options(quick=True))
