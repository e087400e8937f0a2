"""The corpus `chance`: sources of random answers, told in words, with their exact distributions.

A source is a distribution with its parameters, a stochastic grammar, a phonology or a small
program; its document says all that decides its answers. A fifth of all parameters, grammars and
programs is held out, by a checksum, and so are three whole families.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb, erf, exp, lgamma, log

import numpy as np

from core_model.corpora import grammars
from core_model.corpora.base import Corpus, Record, Split, drawn_out
from core_model.corpora.grammars import Table
from core_model.errors import CandorError
from core_model.graph import Schema, Variable

HELD_OUT_SHARE = 0.2
SOURCES = {"train": 2000, "held_out": 400}
LIGHTEST = 1e-6
"""Answers of less are left out of a distribution without end."""
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
Rng = np.random.Generator
Told = tuple[str, Table]


@dataclass(frozen=True, slots=True)
class Source:
    """One source: its family, what is told of it, and p(answer), which sums to 1."""

    family: str
    text: str
    p: Mapping[str, float]

    @property
    def is_held_out(self) -> bool:
        """Whether no training row may be made of it, nor of what it is a mixture of."""
        parts = re.split(r"(?:^|; )in \d+% ", self.text)[1:] if self.family == "mixture" else []
        return self.family in HELD_OUT_FAMILIES or any(
            drawn_out(text, HELD_OUT_SHARE) for text in (self.text, *parts)
        )


def normalised(table: Mapping[str, float]) -> Table:
    """The table without its lightest answers, summing to 1."""
    total = sum(table.values())
    kept = {value: weight / total for value, weight in table.items() if weight > LIGHTEST * total}
    total = sum(kept.values())
    return {value: weight / total for value, weight in kept.items()}


def of_numbers(mass: Callable[[int], float], values: Sequence[int]) -> Table:
    """The table of a mass function over whole numbers."""
    return normalised({str(value): mass(value) for value in values})


def summed(tables: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The distribution of the sum of independent numbers."""
    total = {0: 1.0}
    for table in tables:
        following: dict[int, float] = {}
        for (one, p), (other, q) in itertools.product(total.items(), table.items()):
            following[one + other] = following.get(one + other, 0.0) + p * q
        total = following
    return total


# --- families of distributions ------------------------------------------------------------------


def _share(rng: Rng) -> float:
    return int(rng.integers(3, 98)) / 100


def _binomial_mass(n: int, p: float) -> Callable[[int], float]:
    return lambda k: comb(n, k) * p**k * (1 - p) ** (n - k)


def _poisson_mass(mean: float) -> Callable[[int], float]:
    return lambda k: exp(k * log(mean) - mean - lgamma(k + 1))


def _uniform(rng: Rng) -> Told:
    low = int(rng.integers(-20, 100))
    high = low + int(rng.integers(1, 40))
    return f"a whole number from {low} to {high}, all alike", of_numbers(
        lambda k: 1.0, range(low, high + 1)
    )


def _categorical(rng: Rng) -> Told:
    words = rng.permutation(COLOURS)[: int(rng.integers(2, 7))]
    percent = grammars.percentages(len(words), rng)
    listed = ", ".join(f"{word} {share}%" for word, share in zip(words, percent, strict=True))
    table = {str(word): float(share) for word, share in zip(words, percent, strict=True)}
    return f"one of {listed}", normalised(table)


def _bernoulli(rng: Rng) -> Told:
    p = _share(rng)
    return f"yes with probability {p}, else no", {"yes": p, "no": 1 - p}


def _binomial(rng: Rng) -> Told:
    n, p = int(rng.integers(2, 21)), _share(rng)
    return f"successes in {n} trials of probability {p}", of_numbers(
        _binomial_mass(n, p), range(n + 1)
    )


def _geometric(rng: Rng) -> Told:
    p = int(rng.integers(10, 91)) / 100
    return f"trials of probability {p} up to the first success", of_numbers(
        lambda k: p * (1 - p) ** (k - 1), range(1, 140)
    )


def _poisson(rng: Rng) -> Told:
    mean = int(rng.integers(2, 120)) / 10
    return f"events, {mean} expected, each alone", of_numbers(_poisson_mass(mean), range(60))


def _normal(rng: Rng) -> Told:
    mean, deviation = int(rng.integers(-30, 100)), int(rng.integers(5, 80)) / 10
    reach = int(6 * deviation) + 1

    def below(x: float) -> float:
        return 0.5 * (1 + erf((x - mean) / deviation / 2**0.5))

    return f"normal with mean {mean} and deviation {deviation}, rounded", of_numbers(
        lambda k: below(k + 0.5) - below(k - 0.5), range(mean - reach, mean + reach + 1)
    )


def _hypergeometric(rng: Rng) -> Told:
    red, blue = int(rng.integers(2, 16)), int(rng.integers(2, 16))
    n = int(rng.integers(1, min(10, red + blue)))
    return f"red ones among {n} drawn from {red} red and {blue} blue, none put back", of_numbers(
        lambda k: comb(red, k) * comb(blue, n - k) if n - k <= blue else 0.0,
        range(min(red, n) + 1),
    )


def _zipf(rng: Rng) -> Told:
    n, power = int(rng.integers(3, 31)), int(rng.integers(5, 25)) / 10
    return f"a rank from 1 to {n}, as rank to the power -{power}", of_numbers(
        lambda k: k**-power, range(1, n + 1)
    )


def _dice(rng: Rng) -> Told:
    count, sides = int(rng.integers(1, 6)), int(rng.choice([4, 6, 8, 10, 12]))
    die = dict.fromkeys(range(1, sides + 1), 1 / sides)
    total = summed([die] * count)
    dice = "die" if count == 1 else "dice"
    return f"the sum of {count} {dice} of {sides} sides", of_numbers(total.__getitem__, list(total))


def _extreme(rng: Rng) -> Told:
    count, sides = int(rng.integers(2, 6)), int(rng.choice([4, 6, 8, 10, 12]))
    which = str(rng.choice(["largest", "smallest"]))

    def mass(k: int) -> float:
        k = k if which == "largest" else sides + 1 - k
        return float(k**count - (k - 1) ** count)

    return f"the {which} of {count} dice of {sides} sides", of_numbers(mass, range(1, sides + 1))


def _difference(rng: Rng) -> Told:
    one, other = (int(sides) for sides in rng.choice([4, 6, 8, 10, 12, 20], 2))
    table = summed(
        [dict.fromkeys(range(1, one + 1), 1 / one), dict.fromkeys(range(-other, 0), 1 / other)]
    )
    return f"a die of {one} sides less a die of {other} sides", of_numbers(
        table.__getitem__, sorted(table)
    )


def _without_replacement(rng: Rng) -> Told:
    colours = [str(c) for c in rng.permutation(COLOURS)[: int(rng.integers(2, 4))]]
    urn = {colour: int(rng.integers(2, 7)) for colour in colours}
    n = int(rng.integers(2, 4))
    table: Table = {}
    for drawn in itertools.product(colours, repeat=n):
        p, left = 1.0, Counter(urn)
        for colour in drawn:
            p *= max(left[colour], 0) / max(left.total(), 1)
            left[colour] -= 1
        table[" ".join(drawn)] = p
    listed = ", ".join(f"{count} {colour}" for colour, count in urn.items())
    return f"{n} drawn in turn from {listed}, none put back", normalised(table)


def _mixture(rng: Rng) -> Told:
    share = int(rng.integers(10, 91))
    parts = [MIXED[int(i)](rng) for i in rng.integers(len(MIXED), size=2)]
    (one, p), (other, q) = parts
    table = {
        value: share * p.get(value, 0.0) + (100 - share) * q.get(value, 0.0)
        for value in dict.fromkeys([*p, *q])
    }
    return f"in {share}% {one}; in {100 - share}% {other}", normalised(table)


def _negative_binomial(rng: Rng) -> Told:
    wanted, p = int(rng.integers(2, 6)), int(rng.integers(25, 91)) / 100
    return f"trials of probability {p} up to success number {wanted}", of_numbers(
        lambda k: comb(k - 1, wanted - 1) * p**wanted * (1 - p) ** (k - wanted), range(wanted, 120)
    )


def _triangular(rng: Rng) -> Told:
    low = int(rng.integers(-20, 60))
    peak = low + int(rng.integers(1, 15))
    high = peak + int(rng.integers(1, 15))

    def mass(k: int) -> float:
        return (k - low + 1) / (peak - low + 1) if k <= peak else (high + 1 - k) / (high + 1 - peak)

    return f"a whole number from {low} to {high}, triangular with its peak at {peak}", of_numbers(
        mass, range(low, high + 1)
    )


def _urn_with_reinforcement(rng: Rng) -> Told:
    red, blue, n = (int(k) for k in rng.integers(1, 7, 3))
    n += 1

    def rising(start: int, times: int) -> float:
        return float(np.prod([start + i for i in range(times)], dtype=float))

    return (
        f"red ones in {n} draws from {red} red and {blue} blue, each put back with one like it",
        of_numbers(lambda k: comb(n, k) * rising(red, k) * rising(blue, n - k), range(n + 1)),
    )


MIXED = (_uniform, _binomial, _poisson, _dice)
FAMILIES: dict[str, Callable[[Rng], Told]] = {
    "uniform": _uniform,
    "categorical": _categorical,
    "Bernoulli": _bernoulli,
    "binomial": _binomial,
    "geometric": _geometric,
    "Poisson": _poisson,
    "normal": _normal,
    "hypergeometric": _hypergeometric,
    "Zipf": _zipf,
    "dice": _dice,
    "extreme": _extreme,
    "difference": _difference,
    "without replacement": _without_replacement,
    "mixture": _mixture,
    "negative binomial": _negative_binomial,
    "triangular": _triangular,
    "reinforced urn": _urn_with_reinforcement,
    "grammar": grammars.grammar,
    "phonology": grammars.phonology,
    "program": grammars.program,
}
HELD_OUT_FAMILIES = ("negative binomial", "triangular", "reinforced urn")
STRUCTURED = ("grammar", "phonology", "program")


def draw(rng: Rng, split: Split, families: Sequence[str] | None = None) -> Source:
    """A random source of one split, of one of these families or of any that the split may have.

    Raises CandorError for families that are none, or that the split has nothing of.
    """
    of_split = [f for f in FAMILIES if split == "held_out" or f not in HELD_OUT_FAMILIES]
    names = list(families or of_split)
    if not set(names) <= set(of_split):
        raise CandorError(f"No such families for '{split}'. There are: {', '.join(of_split)}.")
    while True:
        name = names[int(rng.integers(len(names)))]
        source = Source(name, *FAMILIES[name](rng))
        while split == "train" and source.is_held_out:  # each family as often as another
            source = Source(name, *FAMILIES[name](rng))
        if source.is_held_out == (split == "held_out"):
            return source


class Chance(Corpus):
    """Sources with one answer drawn from each."""

    schema = Schema(
        corpus="chance",
        document="source",
        variables=(
            Variable("source", "open", (), False, "what is drawn, and from what"),
            Variable("value", "enumerable", (), False, "what comes out"),
            Variable("family", "closed", tuple(FAMILIES), False, "the kind of source"),
        ),
        doc="sources of random numbers and words, told in words",
        example=("chance: value", "successes in 4 trials of probability 0.3"),
    )

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        if "source" not in values:
            return False
        # Without its family a source may be of one that is held out.
        return "family" not in values or Source(values["family"], values["source"], {}).is_held_out

    def records(self, split: Split) -> Sequence[Record]:
        return self._records[split]

    @cached_property
    def _records(self) -> dict[str, list[Record]]:
        made: dict[str, list[Record]] = {}
        for number, (split, count) in enumerate(SOURCES.items()):
            rng = np.random.default_rng(number)
            made[split] = [_record(draw(rng, split), rng) for _ in range(count)]  # type: ignore[arg-type]
        return made


def _record(source: Source, rng: Rng) -> Record:
    value = str(rng.choice(list(source.p), p=list(source.p.values())))
    return Record("chance", {"source": source.text, "value": value, "family": source.family})
