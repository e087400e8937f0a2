"""The tool `sample`: draw from the core, beside what the data say."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from core_model import notation
from core_model.core import Distribution
from core_model.errors import ToolError
from tools import arguments, distributions, joint, summaries
from tools.registry import Arguments, Context, ToolResult, tool


class Sample(Arguments):
    """Arguments of `sample`."""

    corpus: arguments.Corpus
    variable: Annotated[str, Field(min_length=1, description="The variable to draw.")]
    given: arguments.Given
    n: Annotated[int, Field(ge=1, le=400, description="How many to draw.")] = 10


def _query(call: Sample) -> notation.Draw:
    return distributions.draw(call.corpus, call.variable, arguments.bindings(call.given))


@tool(Sample, lambda call: notation.format(_query(call)))
def sample(call: Sample, context: Context) -> ToolResult:
    """Draw samples of a variable given what is known.

    v_1, …, v_n ~ p(variable | given), independent. Returned in the order drawn, with their
    counts as a distribution, and the data's share of each where the records can be counted.
    """
    query = _query(call)
    if distributions.answer_kind(query) == "open" and call.n > joint.SAMPLES_OF_TEXT:
        raise ToolError(f"At most {joint.SAMPLES_OF_TEXT} texts are drawn at once, not {call.n}.")
    rng = np.random.default_rng(context.seed)
    model: Distribution | None = None
    data: Distribution | None = None
    if context.method == "data":
        data = distributions.counted(query, None)
        values = distributions.draw_counted(data, call.n, rng)
    else:
        is_shown = context.method != "spoken"
        model, values = distributions.sampled(
            context.core, query, None, call.n, rng, is_scored=is_shown
        )
        if context.method == "all":
            data = distributions.counted_if_possible(query, None)
    return ToolResult(
        tool="sample",
        query=notation.format(query),
        estimates=(),
        distribution=model,
        data=None if data is None else distributions.only(data, values),
        samples=values,
        summary=summaries.samples(values),
        seed=context.seed,
        seconds=0.0,
    )
