"""The measure `calibration`: whether closed answers are right as often as they are said to be."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core, Remembering
from core_model.corpora.names import Names
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import (
    Error,
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

ITEMS, QUICK_ITEMS = 1200, 30
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

    Items: 1,200 held-out passages (`--quick`: 30) and as many names of held-out years, each name
    with its year.

    - author, party, medium and sex ECE: of the core as it is; the figure has the share of right
      answers over their probability, a point for each bin. The groups, whole addresses or years,
      are split in two by turns. The guards are the Brier score; the temperature under which the
      truths of the first half are most probable, 1 where nothing is to be mended, which is the one
      of the model card; the ECE of the other half with it and without it; and the ECE that is left
      by chance, that of truths drawn from the core's own posteriors, which so few items in so many
      bins have even where nothing is wrong. The baseline is the ECE of a core that is sure of its
      most probable answer.

    Of truths drawn from a core's own posteriors of so many passages the error is about 0.04, by a
    simulation: a value near the floor tells little without the guard.

    Intervals resample addresses and years.
    """
    said = _passages(core, options) | {"sex": _sexes(core, options)}
    return [_row(variable, found, options) for variable, found in said.items()]


def _row(variable: str, found: Said, options: Options) -> MeasureRow:
    if len(set(found.groups)) < 2:
        raise CandorError(
            f"'{variable}' has too few groups to fit on one half and to measure on the other."
        )
    order = {group: place for place, group in enumerate(dict.fromkeys(found.groups))}
    first = np.array([order[group] % 2 == 0 for group in found.groups])
    temperature, other = best_temperature(found.of(first)), found.of(~first)
    sure, right = found.tempered(1.0).max(axis=1), found.log_p.argmax(axis=1) == found.truth
    row = measured(
        f"{variable} ECE", "share", Error(lambda items: _subset(found, items).ece()),
        found.groups, options,
        {
            "Brier": found.brier(), "temperature": temperature, "with it": other.ece(temperature),
            "without it": other.ece(), "by chance": found.by_chance(options.rng(25)),
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


def _passages(core: Core, options: Options) -> dict[str, Said]:
    """The three variables of passages, asked one after another, so that each is read once."""
    corpus = corpora.load("speeches")
    held_out = eligible(corpus, corpus.records("train"))
    if not held_out:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    count = min(QUICK_ITEMS if options.quick else ITEMS, len(held_out))
    places = np.sort(options.rng(22).choice(len(held_out), count, replace=False))
    chosen = [held_out[int(i)].values for i in places]
    known = [(Binding("text", values["text"]),) for values in chosen]
    groups = [(values["author"], values["year"]) for values in chosen]
    return _asked(core, "speeches", OF_PASSAGES, known, chosen, groups)


def _sexes(core: Core, options: Options) -> Said:
    corpus = corpora.load("names")
    rng = options.rng(23)
    if isinstance(corpus, Names):
        count = QUICK_ITEMS if options.quick else ITEMS
        drawn = [corpus.draw(rng, "held_out") for _ in range(count)]
    else:
        drawn = [dict(r.values) for r in corpus.records("held_out") or corpus.records("train")]
    drawn.sort(key=lambda values: values["year"])
    known = [(Binding("name", v["name"]), Binding("year", v["year"])) for v in drawn]
    core = Remembering(core)  # frequent names are drawn several times
    return _asked(core, "names", ("sex",), known, drawn, [v["year"] for v in drawn])["sex"]


def _asked(
    core: Core, corpus: str, variables: Sequence[str], known: Sequence[tuple[Binding, ...]],
    truths: Sequence[Mapping[str, str]], groups: Sequence[Hashable],
) -> dict[str, Said]:  # fmt: skip
    """What is said of each variable where this is known, and what is true."""
    values = {v: corpora.schema(corpus).variable(v).values for v in variables}
    rows: dict[str, list[Floats]] = {v: [] for v in variables}
    for given in tqdm(known, desc=f"calibration, {corpus}", unit="item", disable=None):
        for variable in variables:
            conditional = Conditional(corpus, variable, given)
            rows[variable].append(core.log_prob_of(conditional, values[variable]))
    return {
        v: Said(
            np.maximum(np.array(rows[v]), -700.0),
            np.array([values[v].index(true[v]) for true in truths]),
            tuple(groups),
        )
        for v in variables
    }
