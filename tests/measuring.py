"""Cores and corpora that the measures are tested on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from core_model.core import Core
from core_model.corpora.base import Record, Split
from core_model.measures.result import MeasureRow, Options
from core_model.planning import Conditional
from tests import toy
from tests.toy import ToyCorpus

QUICK = Options(seed=3, quick=True)
FULL = Options(seed=3)


class ToyCore(toy.ToyCore):
    """A toy core that only answers: no measure writes."""

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def write(
        self,
        conditional: Conditional,
        rng: np.random.Generator,
        numbers: Sequence[str] | None,
        temperature: float = 1.0,
        max_tokens: int = 120,
        opening: str = "",
    ) -> Iterator[str]:
        raise NotImplementedError


@contextmanager
def registered(*known: ToyCorpus) -> Iterator[ToyCore]:
    """Make the corpora known by name; gives a core over them."""
    with toy.registered(*known):
        yield ToyCore(*known)


class Split1985(ToyCorpus):
    """Toy names whose year 1985 is held out: one record a cell of sex and year."""

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return values.get("year") == "1985"

    def records(self, split: Split) -> Sequence[Record]:
        if split == "held_out":
            return [Record("names", {"sex": s, "year": "1985"}) for s in ("female", "male")]
        return super().records("train")


NAMES: Mapping[tuple[str, str, str], float] = {
    ("Anna", "female", "1984"): 8, ("Ruth", "female", "1984"): 2,
    ("Anna", "female", "1985"): 5, ("Ruth", "female", "1985"): 5,
    ("Anna", "female", "1986"): 2, ("Ruth", "female", "1986"): 8,
    ("John", "male", "1984"): 4,
    ("John", "male", "1985"): 5, ("James", "male", "1985"): 5,
    ("John", "male", "1986"): 4,
}  # fmt: skip


def split_names() -> Split1985:
    return Split1985(toy.names().schema, NAMES)


def core_of(table: Mapping[tuple[str, ...], float], like: ToyCorpus) -> Core:
    """A core that believes another table than the data's."""
    return ToyCore(ToyCorpus(like.schema, table))


def by_name(rows: Sequence[MeasureRow]) -> dict[str, MeasureRow]:
    return {row.name: row for row in rows}
