"""A prior that a query states: `author | prior="60% Abraham Lincoln, 40% Barack Obama"`.

It stands in the place of what the core holds of the answer before it reads the data, d:

    p(v | d, known, π) ∝ p(v | d, known) π(v) / p(v | known)

Values that it does not name are impossible. Shares are weights on any scale; `Abraham Lincoln 60%`
and `Abraham Lincoln 3` are read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from core_model.errors import InvalidQuery
from core_model.notation import AnyQuery, Binding, Draw, Step

if TYPE_CHECKING:
    from core_model.graph import Schema, Variable

NAME = "prior"
FORM = f'{NAME}="60% VALUE, 40% OTHER VALUE"'
_NUMBER = r"(?P<share>\d+(?:\.\d+)?|\.\d+)"
_SHARES = (
    re.compile(rf"{_NUMBER}\s*%\s+(?P<value>.*\S)"),
    re.compile(rf"(?P<value>.*\S)\s+{_NUMBER}\s*%?"),
)


def learnt(corpus: str) -> str:
    """What stands among what an adapter has learnt where a corpus's questions may state a prior."""
    return f"{corpus}:priors"


def split(query: AnyQuery) -> tuple[AnyQuery, str | None]:
    """The query without its prior, and the prior as it is written; measures have none."""
    if not isinstance(query, Draw):
        return query, None
    given = tuple(binding for binding in query.given if binding.variable != NAME)
    stated = next((b.value for b in query.given if b.variable == NAME), None)
    return replace(query, given=given), stated


def read(text: str, schema: Schema, variable: Variable) -> dict[str, float]:
    """The share of each value, summing to one; raises InvalidQuery and UnknownName."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        found = next(filter(None, (form.fullmatch(part.strip()) for form in _SHARES)), None)
        if found is None:
            raise InvalidQuery(
                f"The prior's part '{part.strip()[:40]}' has no value and share. Write {FORM}."
            )
        value = schema.spelled(Binding(variable.name, found["value"])).value
        if value in shares:
            raise InvalidQuery(f"The prior names '{value}' twice: name it once.")
        shares[value] = float(found["share"])
    total = sum(shares.values())
    if total <= 0:
        raise InvalidQuery(f"The prior gives nothing a share above 0. Write {FORM}.")
    return {value: share / total for value, share in shares.items()}


def written(shares: Mapping[str, float]) -> str:
    """The prior as it stands in a query, in percent to three figures, never in powers of ten."""
    percents = {value: Decimal(f"{100 * share:.3g}") for value, share in shares.items()}
    return ", ".join(f"{percent:f}% {value}" for value, percent in percents.items())


def stated_in(query: Draw, text: str, schema: Schema) -> Draw:
    """The query with a prior, in the corpus's spelling; InvalidQuery where it has no place."""
    step = query.steps[0]
    if len(query.steps) > 1 or not isinstance(step, Step) or step.inverse:
        raise InvalidQuery("A prior belongs to one relation that is read off data, asked alone.")
    variable = schema.variable(step.relation)
    if variable.kind != "closed":
        raise InvalidQuery(f"A prior lists values, and '{variable.name}' is not a closed list.")
    spelled = written(read(text, schema, variable))
    return replace(query, given=(*query.given, Binding(NAME, spelled)))
