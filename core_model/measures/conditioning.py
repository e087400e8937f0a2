"""The measure `conditioning`: what is known, in any order, left out or put in, must agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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
    MeasureRow,
    Options,
    kl_nats,
    mean_of,
    measured,
)
from core_model.notation import Binding, Draw, Fork, Step
from core_model.planning import Conditional

PASSAGES, QUICK_PASSAGES = 60, 12
MASKED, QUICK_MASKED = 30, 6
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
    - presence leak: max over masks of the mean over 30 of the passages (`--quick`: 6) of
      KL(m ‖ q), nats, of party or medium asked directly, q, and through the other of them, left
      out, m(v) = Σ_l p(l | known) p(v | known, l). A mask is which of both is asked and which of
      text, author and year are known, sixteen in all. The guards are the mean over all masks, and
      that of -log q(true value).
    - two routes: total variation of p(x) p(y | x) and p(y) p(x | y), mean over pairs of labels.
    - EM bias removed: labels of `party` are dropped from 300 held-out passages (`--quick`: 60),
      those of the most frequent value with chance 0.2 and the others with 0.8; then shares are
      estimated by EM from the core's posteriors. 1 - TV(estimate, truth) / TV(labels kept, truth).

    Intervals resample whole addresses; two routes has none, its pairs being all there are,
    nor has the bias, which is one experiment.
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
    routes = [_two_routes(core, *pair) for pair in PAIRS]
    return [
        measured(
            "order SD", "nats", mean_of(spread), groups, options, {"NLL": float(nll.mean())},
            floor=Goal("at most", 0.05), aim=Goal("at most", 0.02),
        ),
        _presence(core, chosen, options),
        MeasureRow(
            "two routes", float(np.mean(routes)), None, None, "TV", len(routes),
            {"largest": max(routes)}, aim=Goal("at most", 0.03),
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
    return float(np.std(np.maximum(found, -700))), float(-np.mean(found))


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


def _two_routes(core: Core, corpus: str, one: str, other: str) -> float:
    """Total variation of the joint of two variables by either route."""
    tables = []
    for names in ((one, other), (other, one)):
        found = core.distribution(Draw(corpus, (Fork(tuple(map(Step, names))),)))
        tables.append(
            {frozenset(answer.value.split(", ")): answer.probability for answer in found.answers}
        )
    cells = {*tables[0], *tables[1]}
    return sum(abs(tables[0].get(c, 0.0) - tables[1].get(c, 0.0)) for c in cells) / 2


def _bias_removed(core: Core, held_out: Sequence[Record], options: Options) -> MeasureRow:
    rng = options.rng(7)
    count = min(QUICK_UNLABELLED if options.quick else UNLABELLED, len(held_out))
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, replace=False))]
    values = corpora.schema("speeches").variable("party").values
    true = np.array([values.index(record.values["party"]) for record in chosen])
    truth = np.bincount(true, minlength=len(values)) / count
    frequent, rare = KEPT_LABEL
    kept = rng.random(count) < np.where(true == truth.argmax(), frequent, rare)
    known = np.bincount(true[kept], minlength=len(values)) / max(1, int(kept.sum()))
    prior = np.maximum(_table(core, "party", ()), 1e-6)
    posteriors = np.array(
        [
            _table(core, "party", (Binding("text", record.values["text"]),))
            for record, is_kept in zip(chosen, kept, strict=True)
            if not is_kept
        ]
    )
    unknown = em.estimate_shares(posteriors, prior / prior.sum())
    estimate = kept.mean() * known + (1 - kept.mean()) * unknown
    naive, left = (float(np.abs(p - truth).sum() / 2) for p in (known, estimate))
    plain = _without(posteriors, kept, known, truth)
    return MeasureRow(
        "EM bias removed", 1 - left / naive if naive else 1.0, None, None, "share", count,
        {"TV of labels kept": naive, "TV of EM": left},
        {"posteriors without EM": 1 - plain / naive if naive else 1.0},
        Goal("at least", 0.6), Goal("at least", 0.8),
    )  # fmt: skip


def _without(posteriors: Floats, kept: NDArray[np.bool_], known: Floats, truth: Floats) -> float:
    """TV of the shares when the core's posteriors are averaged as they are."""
    estimate = kept.mean() * known + (1 - kept.mean()) * posteriors.mean(axis=0)
    return float(np.abs(estimate - truth).sum() / 2)
