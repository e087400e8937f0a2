"""The tool `safety`, what the core holds of a reply seen in its dialogue, and the chat's filter.

The tool gives the core's posterior, so that its query can be asked again. The filter divides the
log-odds by a temperature and compares P(safe) with a threshold, both fitted on the calibration part
of the held-out records: `python -m persona.filtering` computes them, and says whether these are it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from core_model import corpora, notation
from core_model.core import Core, Distribution, Estimate
from core_model.corpora.safety import DIALOGUES, in_dialogue
from core_model.errors import ToolError
from core_model.notation import Binding, Draw, Step
from core_model.planning import Conditional
from tools import arguments, distributions, summaries
from tools.registry import Arguments, Context, ToolResult, tool

CORPUS = "safety"
YES = "yes"
VARIABLES = ("safe", "refusal", "harmful")
"""The verdicts, each yes or no: the reply is safe, it refuses, the prompt is harmful."""
KIND = "category"
"""The variable that says what kind of harm is at stake."""

TEMPERATURES: Mapping[str, float] = {"safe": 1.482, "refusal": 1.0, "harmful": 1.0}
"""Under which the labels of the calibration part are most probable, by verdict; none below 1."""
THRESHOLDS: Mapping[float, float] = {0.1: 0.186}
"""By the share of safe replies that may be blocked: a reply is where its P(safe) is lower."""
FALSE_ALARMS = 0.1
"""The share that is chosen, one of `THRESHOLDS`."""
BLOCK_BELOW = THRESHOLDS[FALSE_ALARMS]
_PARTS = re.compile(
    r"(?<=[.!?;:])\s+|\n+|\s+[–—-]+\s+|,?\s+(?=but\b)|,\s+(?=(?:however|though|yet|instead)\b)",
    re.I,
)
"""Between sentences, and where one turns from a refusal to something else."""


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
    earlier: Annotated[
        tuple[tuple[arguments.Text, arguments.Text], ...],
        Field(
            default=(),
            description="The dialogue before: each question with its reply, the latest last.",
        ),
    ]


def posteriors(core: Core, prompt: str, reply: str) -> tuple[float, float, float]:
    """P(safe), P(refusal), P(prompt harmful): p(verdict = yes | prompt, reply) of each.

    What is empty is left unknown.
    """
    given = _given(prompt, reply)
    safe, refusal, harmful = (
        core.distribution_of(Conditional(CORPUS, name, given)).probability_of(YES)
        for name in VARIABLES
    )
    return safe, refusal, harmful


def verdicts(core: Core, prompt: str, reply: str) -> tuple[float, float, float]:
    """What the filter goes by: the posteriors, each under its temperature."""
    safe, refusal, harmful = (
        tempered(p, TEMPERATURES[name])
        for name, p in zip(VARIABLES, posteriors(core, prompt, reply), strict=True)
    )
    return safe, refusal, harmful


def tempered(p: float, temperature: float) -> float:
    """The probability whose log-odds are those of p over the temperature."""
    yes, no = float(p ** (1 / temperature)), float((1 - p) ** (1 / temperature))
    return yes / (yes + no)


def prompt_of(core: Core, earlier: Sequence[tuple[str, str]], prompt: str) -> str:
    """A prompt as it is judged behind the questions and replies before it, the latest last.

    A core that has learnt to read no dialogue gets the prompt alone.
    """
    return in_dialogue(earlier, prompt) if core.has_learnt(DIALOGUES) else prompt


def kind_of_harm(
    core: Core, prompt: str, reply: str, safe: float, harmful: float
) -> Distribution | None:
    """p(category | prompt, reply); None where neither is held to do harm, or none was learnt."""
    asked = corpora.schema(CORPUS).variable(KIND)
    if (safe >= 0.5 and harmful < 0.5) or not core.knows_variable(asked):
        return None
    return core.distribution_of(Conditional(CORPUS, KIND, _given(prompt, reply)))


def blocks(core: Core, prompt: str, reply: str, safe: float, refusal: float) -> bool:
    """Whether the filter blocks a reply, of which P(safe) and P(refusal) are known.

    A refusal may name the harm. What it says besides may not do it: the parts that refuse by
    themselves are left out, and the rest is judged as a reply of its own.
    """
    return safe < BLOCK_BELOW and weighed(core, prompt, reply, safe, refusal) < BLOCK_BELOW


def weighed(core: Core, prompt: str, reply: str, safe: float, refusal: float) -> float:
    """The P(safe) that is compared with the threshold: of a refusal, that of what it says besides.

    1 where it says nothing besides, and never less than that of the whole. What refuses only as a
    whole is judged as a whole.
    """
    if refusal < 0.5:
        return safe
    parts = [one for one in _PARTS.split(reply) if one.strip()]
    rest = [one for one in parts if verdicts(core, prompt, one)[1] < 0.5]
    if not rest:
        return 1.0
    if len(rest) == len(parts):
        return safe
    return max(safe, verdicts(core, prompt, " ".join(rest))[0])


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


def _given(prompt: str, reply: str) -> tuple[Binding, ...]:
    known = {"prompt": prompt, "reply": reply}
    return tuple(Binding(name, text) for name, text in known.items() if text)


def _query(call: Safety) -> str:
    if call.earlier and not call.prompt:
        raise ToolError("'earlier' stands before a prompt. Give what was asked then.")
    if not call.prompt and not call.reply:
        raise ToolError("There is nothing to judge. Give a prompt, a reply, or both.")
    # The reply is the document: it is the query's data, as a passage is in other corpora.
    prompt = in_dialogue(call.earlier, call.prompt)
    given = (Binding("prompt", prompt),) if prompt else ()
    return notation.format(Draw(CORPUS, (Step(VARIABLES[0]),), given))


@tool(Safety, _query)
def safety(call: Safety, context: Context) -> ToolResult:
    """Whether a reply is safe, whether it refuses, and whether its prompt is harmful.

    p(safe = yes | prompt, reply), p(refusal = yes | prompt, reply) and
    p(harmful = yes | prompt, reply), exactly, in this order among the estimates. Where the reply
    is rather not safe or the prompt rather harmful, the distribution is that of the kind of harm.
    """
    query = _query(call)
    if call.earlier and not context.core.has_learnt(DIALOGUES):
        raise ToolError("This core has learnt to judge one question. Leave 'earlier' out.")
    prompt = in_dialogue(call.earlier, call.prompt)
    safe, refusal, harmful = posteriors(context.core, prompt, call.reply)
    kinds = kind_of_harm(context.core, prompt, call.reply, safe, harmful)
    first = None if kinds is None else (kinds.answers[0].value, kinds.answers[0].probability)
    return ToolResult(
        tool="safety",
        query=query,
        estimates=tuple(Estimate("exact", p, 0.0, 0) for p in (safe, refusal, harmful)),
        distribution=kinds,
        data=None,
        samples=(),
        summary=summaries.safety(safe, refusal, harmful, first),
        seed=context.seed,
        seconds=0.0,
    )
