"""The tool `distribution`: the most probable answers, beside what the data say of them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from core_model import notation
from core_model.core import Distribution
from core_model.corpora import schema
from core_model.errors import ToolError
from tools import arguments, distributions, joint, summaries
from tools.registry import Arguments, Context, ToolResult, tool


class DistributionOf(Arguments):
    """Arguments of `distribution`."""

    corpus: arguments.Corpus
    variable: arguments.Name
    given: arguments.Given
    top: Annotated[int, Field(ge=1, le=20, description="How many answers to list.")] = 5


def _query(call: DistributionOf) -> notation.Draw:
    variable = schema(call.corpus).variable(call.variable)
    if variable.kind == "open":
        raise ToolError(
            f"'{variable.name}' is free text, which has no list of answers. Use the tool sample."
        )
    return distributions.draw(call.corpus, call.variable, arguments.bindings(call.given))


@tool(DistributionOf, lambda call: notation.format(_query(call)))
def distribution(call: DistributionOf, context: Context) -> ToolResult:
    """List the most probable answers of a variable given what is known, with their probabilities.

    p(variable = v | given) for the `top` values v, exactly; the entropy is that of all values.
    Beside them stand the data's shares of the same values and the data's own `top`.
    """
    query = _query(call)
    rng = np.random.default_rng(context.seed)
    model: Distribution | None = None
    data: Distribution | None = None
    values: tuple[str, ...] = ()
    if context.method == "data":
        data = distributions.counted(query, None)
    elif context.method == "sampled":
        model, values = distributions.sampled(context.core, query, None, joint.SAMPLES, rng)
        model = model.top(call.top)
    else:
        model = distributions.exact(context.core, query, None, call.top, rng)
        if context.method == "all":
            data = distributions.counted_if_possible(query, None)
    spoken = model if model is not None else data
    assert spoken is not None
    return ToolResult(
        tool="distribution",
        query=notation.format(query),
        estimates=tuple(distributions.entropy(d) for d in (model, data) if d is not None),
        distribution=model,
        data=None if data is None else distributions.beside(data, model, call.top),
        samples=values,
        summary=summaries.distribution(spoken, call.top),
        seed=context.seed,
        seconds=0.0,
    )
