"""The query notation: its syntax tree, its parser and its printer.

    query   := [corpus ":"] (draw | measure)
    draw    := step (";" step)* ["|" given]
    step    := relation ["^-1"] ["~" notion]
    given   := binding ("," binding)*           binding := variable "=" value
    measure := "P(" given ["|" given] ")"       "H(" variables ["|" given] ")"
             | "I(" variables ";" variables ["|" given] ")"
             | "corr(" variable "," variable ["|" given] ")"

Law: `parse(format(query)) == query`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Binding:
    """A variable that is known to have a value."""

    variable: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """One relation of a chain, perhaps backwards, perhaps under a notion of equivalence."""

    relation: str
    inverse: bool = False
    notion: str | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """Relations applied one after another: p(answer | data, given)."""

    corpus: str | None
    steps: tuple[Step, ...]
    given: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Probability:
    """P(event | given), a number from 0 to 1."""

    corpus: str | None
    event: tuple[Binding, ...]
    given: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Entropy:
    """H(variables | given), in nats."""

    corpus: str | None
    variables: tuple[str, ...]
    given: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class MutualInformation:
    """I(left; right | given), in nats."""

    corpus: str | None
    left: tuple[str, ...]
    right: tuple[str, ...]
    given: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's correlation of two coded variables, from -1 to 1."""

    corpus: str | None
    left: str
    right: str
    given: tuple[Binding, ...] = ()


Measure = Probability | Entropy | MutualInformation | Correlation
Query = Draw | Measure
