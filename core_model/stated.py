"""Numbers that the core states of itself: P, H, I and corr asked as questions with short answers.

The question is the measure in the notation, what is given stands before it as ever, and the answer
is one of the numbers of a grid. So the core gives a distribution over numbers: its mean is what it
states, its standard deviation the error that it states with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace

from core_model import notation
from core_model.notation import Correlation, Entropy, Measure, MutualInformation, Probability

STATED = "own-numbers"
"""Stands among what an adapter has learnt where it can be asked so."""
_DECADES = 5
GRIDS: Mapping[type[Measure], tuple[str, ...]] = {
    Probability: (
        "0",
        *(
            f"{digits * 10.0**-place:.{place}f}"
            for place in range(_DECADES + 1, 1, -1)
            for digits in range(10, 100)
        ),
        "1",
    ),
    Entropy: tuple(f"{step * 0.05:.2f}" for step in range(241)),
    MutualInformation: tuple(f"{step * 0.02:.2f}" for step in range(151)),
    Correlation: tuple(f"{step * 0.02:.2f}" for step in range(-50, 51)),
}
"""Two digits of a probability down to 0.000010; entropies in nats."""
_SPREAD = (1, 2, 3, 2, 1)
"""Weights of a number's neighbours on the grid where a number is taught."""
UNITS: Mapping[type[Measure], str] = {Entropy: "nats", MutualInformation: "nats"}


def question(query: Measure) -> str:
    """What is asked, as it stands in the wire format: `P(name=Anna)`, without what is given."""
    return notation.format(replace(query, corpus=None, given=()))


def numbers(kind: type[Measure]) -> tuple[float, ...]:
    """The numbers of a measure's grid, from the smallest."""
    return tuple(float(text) for text in GRIDS[kind])


def on_grid(kind: type[Measure], value: float) -> list[float]:
    """Weights of a grid's numbers: the two about a value have it as mean; others are moved in."""
    grid = numbers(kind)
    value = min(max(value, grid[0]), grid[-1])
    above = min(max(bisect_left(grid, value), 1), len(grid) - 1)
    share = (value - grid[above - 1]) / (grid[above] - grid[above - 1])
    weights = [0.0] * len(grid)
    weights[above - 1], weights[above] = 1 - share, share
    return weights


def around(kind: type[Measure], value: float) -> list[float]:
    """Weights of a grid's numbers that teach a value: those of `on_grid`, spread over neighbours.

    Numbers that are nearly right are taught as such. At an end of the grid less is spread, evenly
    to both sides: what is sure stays so.
    """
    exact = on_grid(kind, value)
    weights = [0.0] * len(exact)
    for place, share in enumerate(exact):
        if share:
            middle = len(_SPREAD) // 2
            reach = min(middle, place, len(exact) - 1 - place)
            spread = _SPREAD[middle - reach : middle + reach + 1]
            for offset, weight in enumerate(spread, start=-reach):
                weights[place + offset] += share * weight / sum(spread)
    return weights
