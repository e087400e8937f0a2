"""Discrete Bayesian networks in the interchange format BIF, as the Bayesian Network Repository
writes it: variables with their values, and a table of each given its parents.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar, cast

import numpy as np
from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from numpy.typing import NDArray

ROUNDING = 1e-3
"""How far from one the probabilities of a row may sum; `read` scales them to one."""

# A list is one token, taken apart in Python: most of a file is numbers.
_GRAMMAR = r"""
start: "network" NAME "{" "}" (variable | probability)*
variable: "variable" NAME "{" "type" "discrete" "[" COUNT "]" "{" LIST "}" ";" "}"
probability: "probability" "(" NAME ["|" LIST] ")" "{" (table | row)* "}"
table: "table" LIST ";"
row: "(" LIST ")" LIST ";"

NAME: /[^\s(){}\[\];|,]+/
COUNT: /\d+/
LIST: /[^(){}\[\];|]+/
BLANK: /\s+/
%ignore BLANK
"""


@dataclass(frozen=True, slots=True)
class Node:
    """One variable of a network: p(value | values of the parents).

    table: shape (values of each parent in order..., own values), sums to one over the last axis.
    """

    values: tuple[str, ...]
    parents: tuple[str, ...]
    table: NDArray[np.float64]


def read(text: str) -> dict[str, Node]:
    """The variables of a network in the order of the file.

    Raises ValueError, one line, for text that is not BIF or describes no network.
    """
    try:
        parts = cast(list[_Variable | _Table], _grammar().parse(text))
    except UnexpectedInput as error:
        if isinstance(error, UnexpectedToken) and error.token.type == "$END":
            raise ValueError("it ends too early") from error
        raise ValueError(f"line {error.line}, column {error.column} is not BIF") from error
    values = {p.name: p.values for p in _distinct(p for p in parts if isinstance(p, _Variable))}
    nodes = {}
    for table in _distinct(p for p in parts if isinstance(p, _Table)):
        for name in (table.name, *table.parents):
            if name not in values:
                raise ValueError(f"'{name}' in the probabilities of '{table.name}' is no variable")
        nodes[table.name] = _node(table, values)
    for name in values:
        if name not in nodes:
            raise ValueError(f"'{name}' has no probabilities")
    try:
        TopologicalSorter({name: node.parents for name, node in nodes.items()}).prepare()
    except CycleError as error:
        raise ValueError(f"its arrows run in a circle: {' -> '.join(error.args[1])}") from error
    return {name: nodes[name] for name in values}


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """What the file says of one variable: its parents, and rows of (parents' values, numbers)."""

    name: str
    parents: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


_Part = TypeVar("_Part", _Variable, _Table)


def _distinct(parts: Iterable[_Part]) -> list[_Part]:
    found = list(parts)
    _refuse_repeats(part.name for part in found)
    return found


def _refuse_repeats(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"'{name}' stands twice")
        seen.add(name)


def _node(table: _Table, values: Mapping[str, tuple[str, ...]]) -> Node:
    """The variable with its rows in the order of its parents' values, scaled to one."""
    own = values[table.name]
    cases = list(itertools.product(*(values[parent] for parent in table.parents)))
    rows = dict(table.rows)
    if len(table.rows) != len(cases) or rows.keys() != set(cases):
        raise ValueError(f"'{table.name}' needs one row for each case of its parents: {len(cases)}")
    try:
        flat = np.array([[float(number) for number in rows[case]] for case in cases])
        is_sound = flat.shape == (len(cases), len(own)) and bool((flat >= 0).all())
    except ValueError:  # no number, or rows of unequal length
        is_sound = False
    if not is_sound or not (abs(flat.sum(axis=1) - 1) <= ROUNDING).all():
        raise ValueError(f"a row of '{table.name}' is not {len(own)} numbers that sum to one")
    sizes = [len(values[parent]) for parent in table.parents]
    flat /= flat.sum(axis=1, keepdims=True)
    return Node(own, table.parents, flat.reshape(*sizes, len(own)))


@cache
def _grammar() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Build())


@v_args(inline=True)
class _Build(Transformer[Token, list[_Variable | _Table]]):
    """Turns each rule into its part while parsing."""

    def start(self, _: Token, *parts: _Variable | _Table) -> list[_Variable | _Table]:
        return list(parts)

    def variable(self, name: Token, count: Token, values: Token) -> _Variable:
        listed = _items(values)
        _refuse_repeats(listed)
        if len(listed) != int(count):
            raise ValueError(f"'{name}' has {len(listed)} values, not {count}")
        return _Variable(str(name), listed)

    def probability(
        self, name: Token, parents: Token | None, *rows: tuple[tuple[str, ...], tuple[str, ...]]
    ) -> _Table:
        listed = () if parents is None else _items(parents)
        _refuse_repeats(listed)
        return _Table(str(name), listed, rows)

    def table(self, numbers: Token) -> object:
        return (), _items(numbers)

    def row(self, case: Token, numbers: Token) -> object:
        return _items(case), _items(numbers)


def _items(token: Token) -> tuple[str, ...]:
    return tuple(item.strip() for item in token.split(","))
