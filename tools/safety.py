"""The tool `safety`: what the core holds of a reply, seen in its dialogue."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core_model import notation
from core_model.core import Core, Estimate
from core_model.errors import ToolError
from core_model.notation import Binding, Draw, Step
from core_model.planning import Conditional
from tools import arguments, summaries
from tools.registry import Arguments, Context, ToolResult, tool

CORPUS = "safety"
YES = "yes"
VARIABLES = ("safe", "refusal", "harmful")
"""The verdicts, each yes or no: the reply is safe, it refuses, the prompt is harmful."""


class Safety(Arguments):
    """Arguments of `safety`."""

    prompt: Annotated[
        str,
        Field(
            max_length=arguments.MAX_TEXT,
            description="What was asked; empty where it is not known.",
        ),
    ]
    reply: Annotated[
        str,
        Field(
            max_length=arguments.MAX_TEXT,
            description="What was answered; empty to judge the prompt alone.",
        ),
    ]


def verdicts(core: Core, prompt: str, reply: str) -> tuple[float, float, float]:
    """P(safe), P(refusal), P(prompt harmful): p(verdict = yes | prompt, reply) of each.

    What is empty is left unknown.
    """
    known = {"prompt": prompt, "reply": reply}
    given = tuple(Binding(name, text) for name, text in known.items() if text)
    safe, refusal, harmful = (
        core.distribution_of(Conditional(CORPUS, name, given)).probability_of(YES)
        for name in VARIABLES
    )
    return safe, refusal, harmful


def _query(call: Safety) -> str:
    if not call.prompt and not call.reply:
        raise ToolError("There is nothing to judge. Give a prompt, a reply, or both.")
    # The reply is the document: it is the query's data, as a passage is in other corpora.
    given = (Binding("prompt", call.prompt),) if call.prompt else ()
    return notation.format(Draw(CORPUS, (Step(VARIABLES[0]),), given))


@tool(Safety, _query)
def safety(call: Safety, context: Context) -> ToolResult:
    """Whether a reply is safe, whether it refuses, and whether its prompt is harmful.

    p(safe = yes | prompt, reply), p(refusal = yes | prompt, reply) and
    p(harmful = yes | prompt, reply), exactly, in this order among the estimates.
    """
    query = _query(call)
    safe, refusal, harmful = verdicts(context.core, call.prompt, call.reply)
    return ToolResult(
        tool="safety",
        query=query,
        estimates=tuple(Estimate("exact", p, 0.0, 0) for p in (safe, refusal, harmful)),
        distribution=None,
        data=None,
        samples=(),
        summary=summaries.safety(safe, refusal, harmful),
        seed=context.seed,
        seconds=0.0,
    )
