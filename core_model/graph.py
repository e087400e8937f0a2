"""Schemas: the variables of a corpus, and whether a query makes sense for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core_model.errors import UnknownName

Kind = Literal["closed", "enumerable", "open"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One named piece of text in a record.

    kind: `closed` is a small fixed set, `enumerable` a large listed set outside which other
    strings are possible, `open` free text. `numeric`: the values are written numbers.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    numeric: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """The variables of a corpus; `document` is the one that a relation reads by default."""

    corpus: str
    document: str
    variables: tuple[Variable, ...]
    doc: str = ""

    def variable(self, name: str) -> Variable:
        """The variable of that name. Raises UnknownName."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        has = ", ".join(v.name for v in self.variables)
        raise UnknownName(f"Unknown variable '{name}' for corpus '{self.corpus}'. It has: {has}.")
