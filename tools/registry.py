"""What a tool is: a documented function from typed arguments to a `ToolResult`.

A tool turns its arguments into one query in the notation, runs it on a core by the methods the
context allows, and returns numbers with their errors plus one line that may be spoken. The
modules beside this one define the tools with `@tool`, which lists them in `TOOLS`; `run` calls
one by name.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core_model.core import Core, Distribution, Estimate
from core_model.errors import CandorError, ToolError

ContextMethod = Literal["exact", "sampled", "data", "all", "spoken"]
"""One method, all there are, or of all only what the line that may be spoken has."""


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
    corpus; summary is one line in which each number stands as it is to be written; withheld counts
    the samples that the safety query took out.
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
    withheld: int = 0


class Arguments(BaseModel):
    """Base of every tool's arguments: no field but those named; numbers may stand for text."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, coerce_numbers_to_str=True
    )


A = TypeVar("A", bound=Arguments)


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
        for key in ("title", "description"):
            parameters.pop(key, None)
        return {"name": self.name, "description": self.doc, "parameters": parameters}

    def validate(self, arguments: Mapping[str, Any]) -> Arguments:
        """Arguments as their model; raises ToolError, one line, on any that do not fit."""
        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(self._explain(error)) from error

    def query(self, arguments: Mapping[str, Any]) -> str:
        """The notation of a call, without running it; raises ToolError."""
        checked = self.validate(arguments)
        with _as_tool_error():
            return self.describe(checked)

    def __call__(self, arguments: Mapping[str, Any], context: Context) -> ToolResult:
        """Validate, run and time a call; raises ToolError, always one line."""
        began = time.perf_counter()
        checked = self.validate(arguments)
        with _as_tool_error():
            result = self.run(checked, context)
        return replace(result, seconds=time.perf_counter() - began)

    def command_line(self) -> str:
        """The tool's usage: required arguments first, optional ones in brackets."""
        words = [self.name]
        for name, field in self.arguments.model_fields.items():
            is_table = "dict" in str(field.annotation)
            form = f"{name}.VARIABLE=VALUE" if is_table else f"{name}={name.upper()}"
            words.append(form if field.is_required() else f"[{form}]")
        return " ".join(words)

    def _explain(self, error: ValidationError) -> str:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its arguments"
        takes = ", ".join(self.arguments.model_fields)
        message = first["msg"].removeprefix("Value error, ")
        problem = {
            "missing": "is missing",
            "extra_forbidden": "is not an argument",
        }.get(first["type"], f"is wrong: {message[0].lower()}{message[1:]}")
        where = " ".join(where.split())[:60]
        return f"Tool '{self.name}': '{where}' {problem}. It takes: {takes}."


TOOLS: dict[str, Tool] = {}
"""Every tool by name; filled when the package is imported."""


def tool(
    arguments: type[A], describe: Callable[[A], str]
) -> Callable[[Callable[[A, Context], ToolResult]], Callable[[A, Context], ToolResult]]:
    """List a function as the tool of its name; its docstring becomes the tool's documentation."""

    def add(function: Callable[[A, Context], ToolResult]) -> Callable[[A, Context], ToolResult]:
        name, doc = function.__name__, inspect.getdoc(function) or ""
        TOOLS[name] = Tool(name, doc, arguments, function, describe)
        return function

    return add


def run(name: str, arguments: Mapping[str, Any], context: Context) -> ToolResult:
    """Call a tool by name. Raises ToolError, one line: no such tool, bad arguments, no answer."""
    return find(name)(arguments, context)


def find(name: str) -> Tool:
    """The tool of this name; raises ToolError that lists what there is."""
    if name not in TOOLS:
        raise ToolError(f"Unknown tool '{name[:40]}'. There are: {', '.join(TOOLS)}.")
    return TOOLS[name]


class _as_tool_error:
    """Within it, every CandorError becomes a ToolError that says the same on one line."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CandorError) and not isinstance(error, ToolError):
            raise ToolError(" ".join(str(error).split())) from error
