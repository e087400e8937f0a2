"""A measured figure with its interval, guards and baselines, and the statistics they share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Ints], float]
Point = tuple[float, float, float]
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Goal:
    """What a value should reach; `around one` asks for |value - 1| ≤ `bound`."""

    kind: Literal["at most", "at least", "around one"]
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        if self.kind == "at most":
            return value <= self.bound
        return value >= self.bound if self.kind == "at least" else abs(value - 1) <= self.bound

    def edges(self) -> tuple[float, ...]:
        """Where it begins and ends on the axis of the value."""
        return (1 - self.bound, 1 + self.bound) if self.kind == "around one" else (self.bound,)

    def __str__(self) -> str:
        sign = {"at most": "≤ ", "at least": "≥ ", "around one": "1 ± "}[self.kind]
        return f"{sign}{self.bound:g}"


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One figure: value, bootstrap 95% interval (None where it has none), and what to read it by.

    guard: figures that would show that the value was bought at another's expense. baselines: the
    same figure for other models on the same items. n: items measured. curve: points (x, y, share
    of the items) of a figure that is drawn beside it.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    n: int
    guard: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    floor: Goal | None = None
    aim: Goal | None = None
    curve: tuple[Point, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for the JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> MeasureRow:
        """The row that `to_json` wrote."""
        goals = {k: Goal(**stored[k]) if stored[k] else None for k in ("floor", "aim")}
        curve = tuple((x, y, share) for x, y, share in stored.get("curve", ()))
        return cls(**{**stored, **goals, "curve": curve})


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure. `quick` takes fewer items; `cache_dir` keeps the fitted baselines."""

    seed: int = 0
    quick: bool = False
    cache_dir: Path | None = None

    def rng(self, stream: int) -> np.random.Generator:
        """A generator of its own for each use, so that one measure never moves another."""
        return np.random.default_rng([self.seed, stream])


def measured(
    name: str, unit: str, statistic: Statistic, groups: Sequence[Hashable], options: Options,
    guard: Mapping[str, float] | None = None, baselines: Mapping[str, float] | None = None,
    floor: Goal | None = None, aim: Goal | None = None,
) -> MeasureRow:  # fmt: skip
    """A row whose value is `statistic` of all items, with its interval from `bootstrap`."""
    low, high = bootstrap(statistic, groups, options.rng(99))
    value = float(statistic(np.arange(len(groups))))
    return MeasureRow(
        name, value, low, high, unit, len(groups), guard or {}, baselines or {}, floor, aim
    )


def bootstrap(
    statistic: Statistic, groups: Sequence[Hashable], rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float | None, float | None]:  # fmt: skip
    """Percentile bootstrap 95% interval of a statistic of item indices, resampling whole groups.

    groups: (n,) the group of each item. Passages of one address share what they say, so an
    interval that resampled them one by one would be too narrow. Resamples in which the statistic
    is undefined (nan) are left out. One group alone has no interval, and of few it says little.
    Of a `Share` it draws from the groups and its two further items, or all or nothing would have
    no width; of an `Error` the resamples are moved to have its value as their mean. Efron 1979.
    """
    of_group: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        of_group.setdefault(group, []).append(index)
    members = [np.array(indices) for indices in of_group.values()]
    if len(members) < 2:
        return None, None
    n = len(members)
    if isinstance(statistic, Share):
        members += [np.array([len(groups)]), np.array([len(groups) + 1])]
    draws = rng.integers(len(members), size=(resamples, n))
    values = [statistic(np.concatenate([members[i] for i in drawn])) for drawn in draws]
    if np.isnan(values).all():
        return None, None
    low, high = np.nanpercentile(values, [2.5, 97.5])
    if isinstance(statistic, Error):
        moved = float(np.nanmean(values)) - statistic(np.arange(len(groups)))
        low, high = max(0.0, low - moved), high - moved
    return float(low), float(high)


class Error:
    """A sum of absolute differences, as a calibration error: resampling alone makes it larger.

    So the value would stand at the lower end of the percentiles of resamples, or below it.
    """

    def __init__(self, statistic: Statistic) -> None:
        self._statistic = statistic

    def __call__(self, indices: Ints) -> float:
        """The error of the items of these indices."""
        return self._statistic(indices)


class Share:
    """The statistic 'share of these items'. The two indices behind the last are a no and a yes.

    Where all items agree, what is known of the share is not that it is 0 or 1: `bootstrap` draws
    from these two as well. Agresti and Coull 1998 add as many of each to a proportion, and more.
    """

    def __init__(self, values: Floats) -> None:
        """values: (n,) of 0 and 1."""
        self._values = np.append(values, [0.0, 1.0])

    def __call__(self, indices: Ints) -> float:
        """The share of the items of these indices that are a yes."""
        return float(self._values[indices].mean())


def mean_of(values: Floats, fractions: bool = False) -> Statistic:
    """The statistic 'mean of these values', a `Share` where all are 0 or 1.

    fractions: whether what is 1 is itself a share of several, which is no yes.
    """
    values = np.asarray(values, float)
    if not fractions and np.isin(values, (0, 1)).all():
        return Share(values)
    return lambda indices: float(values[indices].mean())


SMALLEST = 1e-9
"""Smaller probabilities count as that much where a logarithm is taken."""


def kl_nats(p: Floats, q: Floats) -> float:
    """KL(p ‖ q) in nats, of (n,) probabilities over the same outcomes."""
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], SMALLEST))).sum())


def total_variation(p: Floats, q: Floats) -> float:
    """½ Σ |p - q| of (n,) probabilities over the same outcomes."""
    return float(np.abs(p - q).sum() / 2)


def jsd_bits(p: Floats, q: Floats) -> float:
    """Jensen-Shannon divergence, ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2, in bits.

    p, q: (n,) probabilities over the same outcomes. Between 0 and 1. Lin 1991.
    """
    m = (p + q) / 2
    return float(sum(0.5 * (a[a > 0] * np.log2(a[a > 0] / m[a > 0])).sum() for a in (p, q)))


def entropy_bits(p: Floats) -> float:
    """-Σ p log2 p of (n,) probabilities."""
    return float(-(p[p > 0] * np.log2(p[p > 0])).sum())


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """P(score of a positive > score of a negative), ties counting half; nan with one class only.

    The Mann-Whitney statistic over n₊ n₋, from mid-ranks.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN); nan when nothing is positive and nothing predicted."""
    named = int(predicted.sum() + positive.sum())
    return float(2 * (predicted & positive).sum() / named) if named else float("nan")


def ece(confidence: Floats, correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error, Σ_b n_b/n |accuracy_b - mean confidence_b|, equal-mass bins."""
    points = reliability(confidence, correct, bins)
    return float(sum(share * abs(right - said) for said, right, share in points))


def reliability(
    confidence: Floats, correct: NDArray[np.bool_], bins: int = 15
) -> tuple[Point, ...]:
    """(mean confidence, accuracy, share of the items) of each of the bins of equal mass."""
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return tuple(
        (float(confidence[b].mean()), float(correct[b].mean()), len(b) / len(order)) for b in parts
    )


def fpr_at_recall(scores: Floats, positive: NDArray[np.bool_], recall: float = 0.95) -> float:
    """Share of negatives at or above the highest threshold that finds `recall` of the positives."""
    found = np.sort(scores[positive])[::-1]
    if not len(found) or positive.all():
        return float("nan")
    threshold = found[int(np.ceil(recall * len(found))) - 1]
    return float((scores[~positive] >= threshold).mean())
