"""The measure `names`: p(name | year, sex) against the births of held-out years."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.base import Corpus
from core_model.measures.result import (
    Floats,
    Goal,
    MeasureRow,
    Options,
    entropy_bits,
    jsd_bits,
    mean_of,
    measured,
)
from core_model.notation import Binding
from core_model.planning import Conditional

FIRST_YEAR, LAST_YEAR = 1885, 2015
QUICK_CELLS = 6
QUICK_COVER = 0.99

Shares = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """One sex and year, the names scored in it, and their shares of births.

    data: (n_names + 1,) shares; the last is that of names not scored.
    """

    sex: str
    year: str
    names: tuple[str, ...]
    data: Floats

    def lumped(self, shares: Floats) -> Floats:
        """(n_names + 1,) the shares of the scored names, and all other mass as one outcome."""
        return np.append(shares, max(0.0, 1.0 - float(shares.sum())))


def names(core: Core, options: Options) -> list[MeasureRow]:
    """Distance between the core's names and the births of held-out years.

    Cells: the held-out years from 1885 to 2015, both sexes. p = p(name | year, sex) of the core,
    q = births of the name / births of the cell. Every name of the cell is scored, and p's mass on
    anything else is one more outcome o with q(o) = 0. With `--quick`: 6 cells spread over the
    years, the most frequent names that cover 99% of births, and in both p and q all else is the
    outcome o; the divergence is then a lower bound of the full one, and `outside` includes the
    data's own 1%.

    - names JSD: mean over cells of ½ Σ p log2(p/m) + ½ Σ q log2(q/m), m = (p + q)/2, bits. Mass
      outside the support adds ½ p(o).
    - names entropy ratio: mean over cells of H(p)/H(q), o counting as one outcome, which makes
      H(p) a lower bound; its guard is the mean of |H(p)/H(q) - 1|, in which cells can't cancel.
    - names mass outside support: mean over cells of p(o).

    Intervals resample cells. Baselines: `neighbour years`, the mean of the frequencies of the
    years before and after; `all years`, p(name | sex) over all training years.
    """
    corpus = corpora.load("names")
    chosen = cells(corpus, options.quick)
    core_shares = []
    for cell in tqdm(chosen, desc="names", unit="cell", disable=None):
        given = (Binding("year", cell.year), Binding("sex", cell.sex))
        log_p = core.log_prob_of(Conditional("names", "name", given), cell.names)
        core_shares.append(cell.lumped(np.exp(log_p)))
    scores = _scores(chosen, core_shares)
    pooled = {sex: _training_shares(corpus, sex) for sex in {cell.sex for cell in chosen}}
    others = {
        "neighbour years": [_neighbours(corpus, cell) for cell in chosen],
        "all years": [pooled[cell.sex] for cell in chosen],
    }
    baselines = {
        name: _scores(chosen, [_listed(cell, s) for cell, s in zip(chosen, shares, strict=True)])
        for name, shares in others.items()
        if all(shares)
    }
    jsd, ratio, outside = scores
    groups = [(cell.sex, cell.year) for cell in chosen]
    means = [{k: float(v[i].mean()) for k, v in baselines.items()} for i in range(3)]
    return [
        measured(
            "names JSD", "bits", mean_of(jsd), groups, options,
            {"entropy ratio": float(ratio.mean()), "mass outside": float(outside.mean()),
             "worst cell": float(jsd.max())},
            means[0], Goal("at most", 0.04), Goal("at most", 0.02),
        ),
        measured(
            "names entropy ratio", "ratio", mean_of(ratio), groups, options,
            {"mean |ratio - 1|": float(np.abs(ratio - 1).mean()), "JSD": float(jsd.mean())},
            means[1], Goal("around one", 0.04), Goal("around one", 0.03),
        ),
        measured(
            "names mass outside support", "share", mean_of(outside), groups, options,
            {"data's own": float(np.mean([cell.data[-1] for cell in chosen]))}, means[2],
        ),
    ]  # fmt: skip


def cells(corpus: Corpus, quick: bool) -> list[Cell]:
    """The held-out cells, by sex and year; when quick, some of them and their frequent names."""
    keys = sorted(
        (record.values["sex"], record.values["year"])
        for record in corpus.records("held_out")
        if FIRST_YEAR <= int(record.values["year"]) <= LAST_YEAR
    )
    if quick and len(keys) > QUICK_CELLS:
        keys = [keys[int(i)] for i in np.linspace(0, len(keys) - 1, QUICK_CELLS).round()]
    return [_cell(corpus, sex, year, QUICK_COVER if quick else 1.0) for sex, year in keys]


def _cell(corpus: Corpus, sex: str, year: str, cover: float) -> Cell:
    shares = _shares(corpus, sex, int(year))
    listed = sorted(shares, key=lambda name: (-shares[name], name))
    births = np.array([shares[name] for name in listed])
    if cover < 1:
        # A hair less, so that rounding doesn't ask for one name more.
        listed = listed[: int(np.searchsorted(np.cumsum(births), cover - 1e-9)) + 1]
    kept = births[: len(listed)]
    rest = float(births[len(listed) :].sum())  # exactly 0 when every name is kept
    return Cell(sex, year, tuple(listed), np.append(kept, rest))


def _scores(chosen: list[Cell], shares: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """(n_cells,) each: JSD in bits, entropy ratio, mass outside the scored names."""
    pairs = list(zip(shares, (cell.data for cell in chosen), strict=True))
    return (
        np.array([jsd_bits(p, q) for p, q in pairs]),
        np.array([entropy_bits(p) / entropy_bits(q) for p, q in pairs]),
        np.array([p[-1] for p, _ in pairs]),
    )


def _listed(cell: Cell, shares: Shares) -> Floats:
    return cell.lumped(np.array([shares.get(name, 0.0) for name in cell.names]))


def _shares(corpus: Corpus, sex: str, year: int) -> Shares:
    return _normalised(
        {name: n for (name,), n in corpus.count({"sex": sex, "year": str(year)}, ["name"]).items()}
    )


def _neighbours(corpus: Corpus, cell: Cell) -> Shares:
    """The mean of the frequencies of the two years around a cell; empty where one has no data."""
    known = corpus.schema.variable("year").values
    around = [year for year in (int(cell.year) - 1, int(cell.year) + 1) if str(year) in known]
    tables = [_shares(corpus, cell.sex, year) for year in around]
    if len(tables) < 2 or not all(tables):
        return {}
    before, after = tables
    return {n: (before.get(n, 0.0) + after.get(n, 0.0)) / 2 for n in {*before, *after}}


def _training_shares(corpus: Corpus, sex: str) -> Shares:
    """p(name | sex) over the training years."""
    counts = {name: n for (name,), n in corpus.count({"sex": sex}, ["name"]).items()}
    for record in corpus.records("held_out"):
        if record.values["sex"] == sex:
            given = {"sex": sex, "year": record.values["year"]}
            for (name,), n in corpus.count(given, ["name"]).items():
                counts[name] -= n
    return _normalised(counts)


def _normalised(counts: Mapping[str, float]) -> Shares:
    total = sum(counts.values())
    return {name: n / total for name, n in counts.items() if n > 0} if total > 0 else {}
