"""What every corpus offers: a schema, records with a fixed split, and counts of its data."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core_model.errors import HeldOutError
from core_model.graph import Schema

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "held_out"]
Drawer = Callable[["np.random.Generator"], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Record:
    """The known variables of one document, and its weight (how often it stands in the data)."""

    corpus: str
    values: Mapping[str, str]
    weight: float = 1.0


class Corpus(ABC):
    """A named collection of records with a schema and a fixed split."""

    schema: Schema

    @abstractmethod
    def is_held_out(self, values: Mapping[str, str]) -> bool:
        """Whether a record with these values belongs to the held-out split."""

    @abstractmethod
    def records(self, split: Split) -> Sequence[Record]:
        """All records of one split, in a fixed order."""

    def drawer(self, split: Split) -> Drawer:
        """What draws the values of one record of a split, each as often as any other.

        A corpus without held-out records gives its others. Raises HeldOutError.
        """
        records = self.records(split) or self.records("train")
        if split == "train":
            records = refuse_held_out(self, records)
        return lambda rng: records[int(rng.integers(len(records)))].values

    def listing(self, variable: str) -> Sequence[str]:
        """All values that a variable with many can have, as training has them; else none."""
        return ()

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """Weighted counts of the values of `variables` among all records that match `given`.

        Both splits are counted: this is what the data say, not what the core was trained on.
        Records that don't have all of the variables are left out.
        """
        counts: dict[tuple[str, ...], float] = defaultdict(float)
        for record in itertools.chain(self.records("train"), self.records("held_out")):
            values = record.values
            fits = all(values.get(name) == value for name, value in given.items())
            if fits and all(name in values for name in variables):
                counts[tuple(values[name] for name in variables)] += record.weight
        return counts


def drawn_out(text: str, share: float) -> bool:
    """Whether a text is in a share of all texts, by its checksum; so no list need be kept."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) < share * 2**32


def refuse_held_out(corpus: Corpus, records: Iterable[Record]) -> list[Record]:
    """The records, unless one is held out: every training task loads through here.

    Raises HeldOutError that names the first such record.
    """
    kept = list(records)
    for record in kept:
        if corpus.is_held_out(record.values):
            shown = ", ".join(f"{k}={v[:40]}" for k, v in record.values.items())
            raise HeldOutError(
                f"Refused to train on a held-out record of '{record.corpus}' ({shown}). "
                "Train on records('train')."
            )
    return kept
