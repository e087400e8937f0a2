"""Argument fields that several tools share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from core_model.errors import CandorError, ToolError
from core_model.notation import Binding

MAX_TEXT = 20_000

Corpus = Annotated[
    str, Field(min_length=1, description="The corpus to ask: names, speeches, or another.")
]
Given = Annotated[
    dict[str, str],
    Field(
        default_factory=dict,
        description="What is known, as variable: value. Empty when nothing is.",
    ),
]
Name = Annotated[str, Field(min_length=1, description="A variable of the corpus.")]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


def bindings(table: Mapping[str, str]) -> tuple[Binding, ...]:
    """The table as bindings; raises ToolError for a key that cannot name a variable."""
    try:
        return tuple(Binding(variable, value) for variable, value in table.items())
    except (CandorError, ValueError) as error:
        raise ToolError(str(error)) from error
