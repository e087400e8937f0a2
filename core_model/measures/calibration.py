"""The measure `calibration`: whether closed answers are right as often as they are said to be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.names import Names
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import (
    Floats,
    Goal,
    Ints,
    MeasureRow,
    Options,
    ece,
    measured,
    reliability,
)
from core_model.notation import Binding
from core_model.planning import Conditional

ITEMS, QUICK_ITEMS = 400, 30
REDRAWN = 100
OF_PASSAGES = ("author", "party", "medium")


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of n items: log p (n, n_values), the true place (n,), and their groups."""

    log_p: Floats
    truth: Ints
    groups: tuple[Hashable, ...]

    def of(self, kept: NDArray[np.bool_]) -> Said:
        """Those items alone."""
        groups = tuple(g for g, keep in zip(self.groups, kept, strict=True) if keep)
        return Said(self.log_p[kept], self.truth[kept], groups)

    def tempered(self, temperature: float) -> Floats:
        """(n, n_values) p to the power 1/temperature, normalised."""
        scaled = self.log_p / temperature
        p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True), np.float64)

    def nll(self, temperature: float) -> float:
        """Mean -log p of the truth, nats."""
        p = self.tempered(temperature)[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    def ece(self, temperature: float = 1.0) -> float:
        """Expected calibration error of the most probable answer."""
        p = self.tempered(temperature)
        return ece(p.max(axis=1), p.argmax(axis=1) == self.truth)

    def by_chance(self, rng: np.random.Generator) -> float:
        """Mean ECE where the truths are drawn from what was said."""
        p = self.tempered(1.0)
        cumulated = p.cumsum(axis=1)
        drawn = [
            (rng.random((len(p), 1)) > cumulated).sum(axis=1).clip(max=p.shape[1] - 1)
            for _ in range(REDRAWN)
        ]
        return float(np.mean([Said(self.log_p, truth, ()).ece() for truth in drawn]))

    def brier(self) -> float:
        """Mean Σ_v (p(v) - [v is true])²."""
        p = self.tempered(1.0)
        p[np.arange(len(self.truth)), self.truth] -= 1
        return float((p**2).sum(axis=1).mean())


def calibration(core: Core, options: Options) -> list[MeasureRow]:
    """Expected calibration error of closed answers, 15 bins of equal mass.

    Items: 400 held-out passages (`--quick`: 30) and as many names of held-out years, each name with
    its year. The groups, whole addresses or years, are split in two by turns: a temperature is
    fitted on one half by likelihood, and all figures are of the other.

    - author, party, medium and sex ECE: of the core as it is; the figure has the share of right
      answers over their probability, a point for each bin. The guards are the Brier score, the
      temperature that the first half asks for, 1 where nothing is to be mended, the ECE with it,
      and the ECE that is left by chance: that of truths drawn from the core's own posteriors, which
      so few items in so many bins have even where nothing is wrong. The baseline is the ECE of a
      core that is sure of its most probable answer.

    Intervals resample addresses and years.
    """
    said = {variable: _passages(core, options, variable) for variable in OF_PASSAGES}
    said["sex"] = _sexes(core, options)
    return [_row(variable, found, options) for variable, found in said.items()]


def _row(variable: str, found: Said, options: Options) -> MeasureRow:
    if len(set(found.groups)) < 2:
        raise CandorError(
            f"'{variable}' has too few groups to fit on one half and measure another."
        )
    order = {group: place for place, group in enumerate(dict.fromkeys(found.groups))}
    first = np.array([order[group] % 2 == 0 for group in found.groups])
    fitted, kept = found.of(first), found.of(~first)
    temperature = best_temperature(fitted)
    sure, right = kept.tempered(1.0).max(axis=1), kept.log_p.argmax(axis=1) == kept.truth
    row = measured(
        f"{variable} ECE", "share", lambda items: _subset(kept, items).ece(), kept.groups, options,
        {
            "Brier": kept.brier(), "temperature": temperature, "with it": kept.ece(temperature),
            "by chance": kept.by_chance(options.rng(25)),
        },
        {"always sure": float(1 - right.mean())}, Goal("at most", 0.04), Goal("at most", 0.02),
    )  # fmt: skip
    return replace(row, curve=reliability(sure, right))


def best_temperature(said: Said) -> float:
    """The temperature under which the truths are most probable, between 0.2 and 5."""
    found = minimize_scalar(said.nll, bounds=(0.2, 5.0), method="bounded")
    return float(found.x)


def _subset(said: Said, items: Ints) -> Said:
    return Said(said.log_p[items], said.truth[items], ())


def _asked(
    core: Core, corpus: str, variable: str, items: Sequence[tuple[tuple[Binding, ...], str]],
    groups: Sequence[Hashable],
) -> Said:  # fmt: skip
    values = corpora.schema(corpus).variable(variable).values
    rows = [
        core.log_prob_of(Conditional(corpus, variable, given), values)
        for given, _ in tqdm(items, desc=f"calibration, {variable}", unit="item", disable=None)
    ]
    truth = np.array([values.index(true) for _, true in items])
    return Said(np.maximum(np.array(rows), -700.0), truth, tuple(groups))


def _passages(core: Core, options: Options, variable: str) -> Said:
    corpus = corpora.load("speeches")
    held_out = eligible(corpus, corpus.records("train"))
    if not held_out:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    count = min(QUICK_ITEMS if options.quick else ITEMS, len(held_out))
    places = np.sort(options.rng(22).choice(len(held_out), count, replace=False))
    chosen = [held_out[int(i)].values for i in places]
    items = [((Binding("text", v["text"]),), v[variable]) for v in chosen]
    return _asked(core, "speeches", variable, items, [(v["author"], v["year"]) for v in chosen])


def _sexes(core: Core, options: Options) -> Said:
    corpus = corpora.load("names")
    rng = options.rng(23)
    if isinstance(corpus, Names):
        count = QUICK_ITEMS if options.quick else ITEMS
        drawn = [corpus.draw(rng, "held_out") for _ in range(count)]
    else:
        drawn = [dict(r.values) for r in corpus.records("held_out") or corpus.records("train")]
    drawn.sort(key=lambda values: values["year"])
    items = [((Binding("name", v["name"]), Binding("year", v["year"])), v["sex"]) for v in drawn]
    return _asked(core, "names", "sex", items, [v["year"] for v in drawn])
