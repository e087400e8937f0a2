"""The tool `safety`: what the core holds of a reply, seen in its dialogue."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from core_model import notation
from core_model.core import Core, Estimate
from core_model.errors import ToolError
from core_model.notation import Binding, Draw, Step
from core_model.planning import Conditional
from tools import arguments, distributions, summaries
from tools.registry import Arguments, Context, ToolResult, tool

CORPUS = "safety"
YES = "yes"
VARIABLES = ("safe", "refusal", "harmful")
"""The verdicts, each yes or no: the reply is safe, it refuses, the prompt is harmful."""

BLOCK_BELOW = 0.15
"""A reply is blocked where P(safe) is lower; set on training dialogues, see docs/decisions."""
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")


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


def blocks(core: Core, prompt: str, reply: str, safe: float, refusal: float) -> bool:
    """Whether the filter blocks a reply, of which P(safe) and P(refusal) are known.

    A refusal may name the harm. What it says besides may not do it: the sentences that refuse by
    themselves are left out, and the rest is judged as a reply of its own.
    """
    if safe >= BLOCK_BELOW or refusal < 0.5:
        return safe < BLOCK_BELOW
    sentences = _SENTENCE_ENDS.split(reply)
    rest = [one for one in sentences if verdicts(core, prompt, one)[1] < 0.5] if sentences else []
    if not rest or len(rest) == len(sentences):
        return False
    safe, refusal, _ = verdicts(core, prompt, " ".join(rest))
    return safe < BLOCK_BELOW and refusal < 0.5


def withhold(core: Core, result: ToolResult) -> ToolResult:
    """A tool's result without the texts that the filter blocks, and with how many there were.

    Names and other short values are no texts. What is counted in a corpus is people's own.
    """
    if result.distribution is None:
        return result
    texts = [t for t in dict.fromkeys(result.samples) if len(t) > summaries.LONG_SAMPLE]
    unsafe = set()
    for text in texts:
        safe, refusal, _ = verdicts(core, "", text)
        if blocks(core, "", text, safe, refusal):
            unsafe.add(text)
    if not unsafe:
        return result
    kept = tuple(text for text in result.samples if text not in unsafe)
    return replace(
        result,
        samples=kept,
        distribution=distributions.only(result.distribution, kept),
        summary=summaries.samples(kept) if kept else summaries.NOTHING_SAFE,
        withheld=len(result.samples) - len(kept),
    )


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
