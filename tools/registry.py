"""What a tool is: a documented function from typed arguments to a `ToolResult`.

A tool turns its arguments into one query in the notation, runs it on a core by the methods the
context allows, and returns numbers with their errors plus one line that may be spoken. The
modules beside this one define the tools; `tools.TOOLS` lists them and `tools.run` calls one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core_model.core import Core, Distribution, Estimate
from core_model.errors import ToolError

ContextMethod = Literal["exact", "sampled", "data", "all"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool runs on: the core, the seed of its random draws, and the methods it may use."""

    core: Core
    seed: int = 0
    method: ContextMethod = "all"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returns.

    query is the call in the notation; distribution is the core's, data the one counted in the
    corpus; summary is one line in which each number stands as it is to be written.
    """

    tool: str
    query: str
    estimates: tuple[Estimate, ...]
    distribution: Distribution | None
    data: Distribution | None
    samples: tuple[str, ...]
    summary: str
    seed: int
    seconds: float


class Arguments(BaseModel):
    """Base of every tool's arguments: no field but those named, values never coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


@dataclass(frozen=True, slots=True)
class Tool:
    """A named function with typed arguments. `describe` gives a call's query in the notation."""

    name: str
    doc: str
    arguments: type[Arguments]
    run: Callable[[Any, Context], ToolResult]
    describe: Callable[[Any], str]

    def json_schema(self) -> dict[str, Any]:
        """The tool as a function schema: name, description and JSON Schema of its arguments."""
        parameters = self.arguments.model_json_schema()
        parameters.pop("title", None)
        parameters.pop("description", None)
        return {"name": self.name, "description": self.doc, "parameters": parameters}

    def validate(self, arguments: Mapping[str, Any]) -> Arguments:
        """Arguments as their model; raises ToolError, one line, on any that do not fit."""
        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(self._explain(error)) from error

    def query(self, arguments: Mapping[str, Any]) -> str:
        """The notation of a call, without running it; raises CandorError."""
        return self.describe(self.validate(arguments))

    def __call__(self, arguments: Mapping[str, Any], context: Context) -> ToolResult:
        """Validate and run; raises CandorError, always one line."""
        return self.run(self.validate(arguments), context)

    def command_line(self) -> str:
        """The tool's usage: required arguments first, optional ones in brackets."""
        words = [self.name]
        for name, info in self.arguments.model_fields.items():
            is_table = "dict" in str(info.annotation)
            form = f"{name}.VARIABLE=VALUE" if is_table else f"{name}={name.upper()}"
            words.append(form if info.is_required() else f"[{form}]")
        return " ".join(words)

    def _explain(self, error: ValidationError) -> str:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its arguments"
        takes = ", ".join(self.arguments.model_fields)
        problem = {
            "missing": "is missing",
            "extra_forbidden": "is not an argument",
        }.get(first["type"], first["msg"][0].lower() + first["msg"][1:])
        return f"Tool '{self.name}': '{where}' {problem}. It takes: {takes}."
