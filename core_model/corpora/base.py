"""What every corpus offers: a schema, records with a fixed split, and counts of its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core_model.errors import HeldOutError
from core_model.graph import Schema

Split = Literal["train", "held_out"]


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

    @abstractmethod
    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """Weighted counts of the values of `variables` among all records that match `given`.

        Both splits are counted: this is what the data say, not what the core was trained on.
        """


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
