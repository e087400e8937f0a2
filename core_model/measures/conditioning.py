"""The measure `conditioning`: what is known, in any order, left out or put in, must agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core_model import corpora, em
from core_model.core import Core, Remembering
from core_model.corpora.base import Record
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import (
    SMALLEST,
    Floats,
    Goal,
    Ints,
    MeasureRow,
    Options,
    kl_nats,
    mean_of,
    measured,
    total_variation,
)
from core_model.notation import Binding, Draw, Fork, Step, format_bindings
from core_model.planning import Conditional

PASSAGES, QUICK_PASSAGES = 60, 12
MASKED, QUICK_MASKED = 30, 3
"""Passages that are asked under every mask."""
UNLABELLED, QUICK_UNLABELLED = 300, 60
ORDERS = 4
LABELS = ("author", "year", "party", "medium")
FEW = ("party", "medium")
"""Labels with few values, which are gone through where one is left out."""
MASKS = tuple(
    (asked, left_out, kept)
    for asked, left_out in itertools.permutations(FEW)
    for size in range(4)
    for kept in itertools.combinations(("text", "author", "year"), size)
)
"""What is asked, what is left out and what is known: all that is possible."""
PAIRS = (
    ("names", "sex", "year"),
    ("speeches", "party", "medium"),
    ("speeches", "author", "party"),
    ("speeches", "author", "medium"),
)
KEPT_LABEL = (0.8, 0.2)
"""How often a label stays known, of the value most frequent and of all others."""


def conditioning(core: Core, options: Options) -> list[MeasureRow]:
    """Whether what a core says depends on how it is told, and not on what it knows.

    Items: 60 held-out passages (`--quick`: 12), each with a random label asked and others known.

    - order SD: standard deviation of log p(true value) over four orders of the other three labels,
      beside the text; mean, nats. The guard is the mean -log p(true value).
    - presence leak: max over masks of the mean over 30 of the passages (`--quick`: 3) of
      KL(m ‖ q), nats, of party or medium asked directly, q, and through the other of them, left
      out, m(v) = Σ_l p(l | known) p(v | known, l). A mask is which of both is asked and which of
      text, author and year are known, sixteen in all. The guards are the mean over all masks, and
      that of -log q(true value).
    - two routes: total variation of p(x) p(y | x) and p(y) p(x | y), mean over four pairs of
      variables. The guards are the largest, and KL(data ‖ route), nats, of the pair's share of all
      records, mean over pairs and routes.
    - EM bias removed: labels of `party` are dropped from 300 held-out passages (`--quick`: 60),
      those of the most frequent value with chance 0.2 and the others with 0.8; then shares are
      estimated by EM from the core's posteriors. 1 - TV(estimate, truth) / TV(labels kept, truth).
      The guards are both, and the mean -log p(true party | text) of the passages whose labels are
      dropped; the baseline is the share that these posteriors remove without EM.

    Intervals resample whole addresses, and pairs of variables.
    """
    corpus = corpora.load("speeches")
    held_out = eligible(corpus, corpus.records("train"))
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    if not count:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    rng = options.rng(6)
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, replace=False))]
    spread, nll = np.zeros(count), np.zeros(count)
    for row, record in enumerate(tqdm(chosen, desc="conditioning", unit="passage", disable=None)):
        spread[row], nll[row] = _order(core, record, rng)
    groups = _addresses(chosen)
    routes, losses = np.array([_two_routes(core, *pair) for pair in PAIRS]).T
    return [
        measured(
            "order SD", "nats", mean_of(spread), groups, options, {"NLL": float(nll.mean())},
            floor=Goal("at most", 0.05), aim=Goal("at most", 0.02),
        ),
        _presence(core, chosen, options),
        measured(
            "two routes", "TV", mean_of(routes), PAIRS, options,
            {"largest": float(routes.max()), "KL to the data": float(losses.mean())},
            aim=Goal("at most", 0.03),
        ),
        _bias_removed(core, held_out, options),
    ]  # fmt: skip


def _addresses(passages: Sequence[Record]) -> list[tuple[str, str]]:
    return [(record.values["author"], record.values["year"]) for record in passages]


def _order(core: Core, record: Record, rng: np.random.Generator) -> tuple[float, float]:
    """(SD, -mean) of log p(true value) of a random label over orders of the others."""
    asked = str(rng.choice(LABELS))
    others = [label for label in LABELS if label != asked]
    found = []
    orders = list(itertools.permutations(others))
    for place in rng.choice(len(orders), ORDERS, replace=False):
        order = ["text", *orders[int(place)]]
        known = tuple(Binding(name, record.values[name]) for name in order)
        conditional = Conditional("speeches", asked, known)
        found.append(float(core.log_prob_of(conditional, [record.values[asked]])[0]))
    return float(np.std(np.maximum(found, -700), ddof=1)), float(-np.mean(found))


def _presence(core: Core, chosen: Sequence[Record], options: Options) -> MeasureRow:
    """The row of labels left out, each passage under every mask."""
    most = QUICK_MASKED if options.quick else MASKED
    places = np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)
    passages = [chosen[int(place)] for place in places]
    kept = Remembering(core)  # what is known without the text is known of many passages
    found = np.array(
        [
            [_leak(kept, record, *mask) for mask in MASKS]
            for record in tqdm(passages, desc="presence", unit="passage", disable=None)
        ]
    )
    gaps, losses = found[..., 0], found[..., 1]
    return measured(
        "presence leak", "nats", lambda items: float(gaps[items].mean(axis=0).max()),
        _addresses(passages), options,
        {"over all masks": float(gaps.mean()), "NLL": float(losses.mean())},
        floor=Goal("at most", 0.02), aim=Goal("at most", 0.005),
    )  # fmt: skip


def _leak(
    core: Core, record: Record, asked: str, left_out: str, kept: Sequence[str]
) -> tuple[float, float]:
    """KL of a label through one left out from the same asked directly, and -log q(true), nats."""
    known = tuple(Binding(name, record.values[name]) for name in kept)
    labels = corpora.schema("speeches").variable(left_out).values
    shares = _table(core, left_out, known)
    direct = np.maximum(_table(core, asked, known), SMALLEST)
    mixture = np.zeros_like(direct)
    for share, label in zip(shares, labels, strict=True):
        if share > 0:
            mixture += share * _table(core, asked, (*known, Binding(left_out, label)))
    true = corpora.schema("speeches").variable(asked).values.index(record.values[asked])
    return kl_nats(mixture, direct), float(-np.log(direct[true]))


def _table(core: Core, variable: str, known: Sequence[Binding]) -> Floats:
    """(n_values,) probabilities of a closed variable in the order of its values."""
    values = corpora.schema("speeches").variable(variable).values
    conditional = Conditional("speeches", variable, tuple(known))
    return np.asarray(np.exp(core.log_prob_of(conditional, values)), np.float64)


def _two_routes(core: Core, corpus: str, one: str, other: str) -> tuple[float, float]:
    """Total variation of the joint of two variables by either route, and KL from the data's."""
    tables = []
    for names in ((one, other), (other, one)):
        found = core.distribution(Draw(corpus, (Fork(tuple(map(Step, names))),)))
        tables.append({_cell(answer.value): answer.probability for answer in found.answers})
    counts = corpora.load(corpus).count({}, (one, other))
    data = {
        _cell(format_bindings(map(Binding, (one, other), values))): count
        for values, count in counts.items()
    }
    cells = list({*tables[0], *tables[1], *data})
    p, q, truth = (np.array([t.get(cell, 0.0) for cell in cells]) for t in (*tables, data))
    losses = [kl_nats(truth / truth.sum(), route) for route in (p, q)]
    return total_variation(p, q), float(np.mean(losses))


def _cell(printed: str) -> frozenset[str]:
    """The values of two variables, in either order."""
    return frozenset(printed.split(", "))


def _bias_removed(core: Core, held_out: Sequence[Record], options: Options) -> MeasureRow:
    rng = options.rng(7)
    count = min(QUICK_UNLABELLED if options.quick else UNLABELLED, len(held_out))
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, replace=False))]
    values = corpora.schema("speeches").variable("party").values
    true = np.array([values.index(record.values["party"]) for record in chosen])
    shares = np.bincount(true, minlength=len(values))
    frequent, rare = KEPT_LABEL
    kept = rng.random(count) < np.where(true == shares.argmax(), frequent, rare)
    prior = np.maximum(_table(core, "party", ()), 1e-6)
    posteriors = np.full((count, len(values)), 1 / len(values))
    for row in np.flatnonzero(~kept):
        read = (Binding("text", chosen[row].values["text"]),)
        posteriors[row] = _table(core, "party", read)
    experiment = Unlabelled(true, kept, posteriors, prior / prior.sum())
    every = np.arange(count)
    naive, left, plain = experiment.distances(every)
    surprise = -np.log(np.maximum(posteriors[every, true], SMALLEST))[~kept]
    return measured(
        "EM bias removed", "share", experiment.removed, _addresses(chosen), options,
        {
            "TV of labels kept": naive, "TV of EM": left,
            "NLL": float(surprise.mean()) if len(surprise) else float("nan"),
        },
        {"posteriors without EM": 1 - plain / naive if naive else 1.0},
        Goal("at least", 0.6), Goal("at least", 0.8),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Items of which some have lost their label.

    true: (n,) places of the labels; kept: (n,) whose is known; posteriors: (n, k) of the others;
    prior: (k,) of the core.
    """

    true: Ints
    kept: NDArray[np.bool_]
    posteriors: Floats
    prior: Floats

    def distances(self, items: Ints) -> tuple[float, float, float]:
        """TV from the true shares of these items: of labels kept, of EM, of posteriors as such."""
        true, kept, k = self.true[items], self.kept[items], len(self.prior)
        truth = np.bincount(true, minlength=k) / len(items)
        known = np.bincount(true[kept], minlength=k) / max(1, int(kept.sum()))
        posteriors, share = self.posteriors[items][~kept], kept.mean()
        if not len(posteriors):
            return 0.0, 0.0, 0.0
        by_em = em.estimate_shares(posteriors, self.prior)
        guesses = (known, *(share * known + (1 - share) * u for u in (by_em, posteriors.mean(0))))
        naive, left, plain = (total_variation(guess, truth) for guess in guesses)
        return naive, left, plain

    def removed(self, items: Ints) -> float:
        """1 - TV(estimate, truth) / TV(labels kept, truth); 1 where nothing was to be removed."""
        naive, left, _ = self.distances(items)
        return 1 - left / naive if naive else 1.0
