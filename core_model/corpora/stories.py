"""The corpus `stories`: who left a party before whom, told in different orders and words.

What happened does not depend on the telling: `first`, `last` and `before` ask about use. What the
reader learns first does: `read_before` asks about mention. A fifth of all tellings is held out, by
a checksum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core_model.corpora.base import Corpus, Record, Split, drawn_out
from core_model.corpora.kin import MEN, WOMEN
from core_model.graph import Schema, Variable

PEOPLE = tuple(sorted([*WOMEN, *MEN]))
HOURS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve"),
)
YES, NO = "yes", "no"
HELD_OUT_SHARE = 0.2
STORIES = {"train": 1500, "held_out": 300}
FEWEST, MOST = 3, 5
TRIES = 12
"""Tellings drawn to find one of a split."""


@dataclass(frozen=True, slots=True)
class Story:
    """People in the order in which they left, and the hour at which each did, 0 to 11."""

    people: tuple[str, ...]
    hours: tuple[int, ...]

    def told(self, rng: np.random.Generator) -> str:
        """One telling, from which the whole order can be known."""
        match rng.integers(4):
            case 0:
                sentences = [
                    f"{person} left at {HOURS[hour]}."
                    for person, hour in zip(self.people, self.hours, strict=True)
                ]
                return _shuffled(sentences, rng)
            case 1:
                pairs = list(zip(self.people, self.people[1:], strict=False))
                return _shuffled([_compared(*pair, rng) for pair in pairs], rng)
            case 2:
                earlier, last = self.people[:-1], self.people[-1]
                return f"First {', then '.join(earlier)} and at the end {last} went home."
            case _:
                one, *others = self.people[::-1]
                before = "".join(f", before that {person}" for person in others)
                return f"The last to go was {one}{before}."

    def before(self, one: str, other: str) -> bool:
        """Whether one left before the other."""
        return self.people.index(one) < self.people.index(other)


def read_before(text: str, one: str, other: str) -> bool:
    """Whether a telling names one before the other."""
    words = text.replace(".", " ").replace(",", " ").split()
    return words.index(one) < words.index(other)


def generate(rng: np.random.Generator) -> Story:
    """A random story of three to five people."""
    n = int(rng.integers(FEWEST, MOST + 1))
    people = tuple(str(p) for p in rng.choice(PEOPLE, n, replace=False))
    return Story(people, tuple(int(h) for h in np.sort(rng.choice(len(HOURS), n, replace=False))))


def held_out_telling(text: str) -> bool:
    """Whether a telling is held out."""
    return drawn_out(text, HELD_OUT_SHARE)


def draw(rng: np.random.Generator, split: Split, tellings: int = 1) -> tuple[Story, list[str]]:
    """A random story and several distinct tellings of it, all of the split."""
    while True:
        story = generate(rng)
        told = dict.fromkeys(story.told(rng) for _ in range(TRIES * tellings))
        texts = [text for text in told if held_out_telling(text) == (split == "held_out")]
        if len(texts) >= tellings:
            return story, texts[:tellings]


def _compared(one: str, other: str, rng: np.random.Generator) -> str:
    wordings = (
        f"{one} left before {other}.",
        f"{other} left after {one}.",
        f"When {other} left, {one} had gone.",
        f"{one} was gone by the time {other} left.",
    )
    return wordings[int(rng.integers(len(wordings)))]


def _shuffled(sentences: Sequence[str], rng: np.random.Generator) -> str:
    return " ".join(sentences[i] for i in rng.permutation(len(sentences)))


class Stories(Corpus):
    """Stories with two of their people and what holds of them."""

    schema = Schema(
        corpus="stories",
        document="story",
        variables=(
            Variable("story", "open", (), False, "who left, told in some order"),
            Variable("one", "closed", PEOPLE, False, "someone in it"),
            Variable("other", "closed", PEOPLE, False, "someone else in it"),
            Variable("first", "closed", PEOPLE, False, "who left first"),
            Variable("last", "closed", PEOPLE, False, "who left last"),
            Variable("before", "closed", (YES, NO), False, "one left before the other"),
            Variable("read_before", "closed", (YES, NO), False, "one is named before the other"),
        ),
        doc="who left a party before whom, told in different orders and words",
        example=(
            "stories: before | one=Mark, other=Jack",
            "Mark left at eight. Edward left at five. Jack left at twelve.",
        ),
    )

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return "story" in values and held_out_telling(values["story"])

    def records(self, split: Split) -> Sequence[Record]:
        return self._records[split]

    @cached_property
    def _records(self) -> dict[str, list[Record]]:
        made: dict[str, list[Record]] = {}
        for number, (split, count) in enumerate(STORIES.items()):
            rng = np.random.default_rng(number)
            made[split] = [_record(split, rng) for _ in range(count)]  # type: ignore[arg-type]
        return made


def answers(story: Story, text: str, one: str, other: str) -> dict[str, str]:
    """What holds of a telling of a story and of two of its people."""
    return {
        "first": story.people[0],
        "last": story.people[-1],
        "before": YES if story.before(one, other) else NO,
        "read_before": YES if read_before(text, one, other) else NO,
    }


def _record(split: Split, rng: np.random.Generator) -> Record:
    story, (text,) = draw(rng, split)
    one, other = (str(p) for p in rng.choice(story.people, 2, replace=False))
    known = {"story": text, "one": one, "other": other}
    return Record("stories", known | answers(story, text, one, other))
