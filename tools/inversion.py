"""The tool `infer`: read a variable off a document."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from core_model import notation
from core_model.core import Distribution
from core_model.corpora import schema
from core_model.errors import ToolError
from core_model.notation import Binding, Draw
from tools import arguments, distributions, joint, summaries
from tools.registry import Arguments, Context, ToolResult, tool


class Infer(Arguments):
    """Arguments of `infer`."""

    corpus: arguments.Corpus
    variable: Annotated[str, Field(min_length=1, description="The closed variable to infer.")]
    text: Annotated[
        str,
        Field(
            min_length=1,
            max_length=arguments.MAX_TEXT,
            description="The document: a passage of speeches, a name, a country of places.",
        ),
    ]
    given: arguments.Given


def query_of(call: Infer) -> tuple[Draw, str | None]:
    """The query and the text it reads; a document that is listed, as a name, is given instead."""
    corpus = schema(call.corpus)
    variable = corpus.variable(call.variable)
    if not corpus.document:
        raise ToolError(
            f"{call.corpus} has no document to read. Use the tool distribution with what is given."
        )
    if variable.name == corpus.document:
        raise ToolError(f"'{variable.name}' is the text itself. Infer another variable of it.")
    if variable.kind != "closed":
        raise ToolError(
            f"'{variable.name}' has no fixed set of values to infer. Use the tool sample."
        )
    given = arguments.bindings(call.given)
    if corpus.document in call.given:
        raise ToolError(f"'{corpus.document}' is given twice: 'text' stands for it.")
    if corpus.variable(corpus.document).kind == "open":
        return distributions.draw(call.corpus, call.variable, given), call.text
    given = (*given, Binding(corpus.document, call.text))
    return distributions.draw(call.corpus, call.variable, given), None


@tool(Infer, lambda call: notation.format(query_of(call)[0]))
def infer(call: Infer, context: Context) -> ToolResult:
    """Infer a variable from a document: its posterior over all values, exactly.

    p(variable = v | text, given) for each value v, which sums to 1. Long text is the query's
    data and does not stand in the query; the data's own posterior is counted where documents
    come more than once, as names do.
    """
    query, text = query_of(call)
    rng = np.random.default_rng(context.seed)
    model: Distribution | None = None
    data: Distribution | None = None
    values: tuple[str, ...] = ()
    if context.method == "data":
        # Counting free text is refused here rather than answered for another question.
        data = distributions.counted(query, text)
    elif context.method == "sampled":
        model, values = distributions.sampled(context.core, query, text, joint.SAMPLES, rng)
    else:
        model = distributions.exact(context.core, query, text, None, rng)
        if context.method == "all":
            data = distributions.counted_if_possible(query, text)
    spoken = model if model is not None else data
    assert spoken is not None
    return ToolResult(
        tool="infer",
        query=notation.format(query),
        estimates=tuple(distributions.entropy(d) for d in (model, data) if d is not None),
        distribution=model,
        data=data,
        samples=values,
        summary=summaries.infer(spoken),
        seed=context.seed,
        seconds=0.0,
    )
