"""The tool `confidence`: how sure the core is of what `infer` answers, and says that it is."""

from __future__ import annotations

import math

import numpy as np

from core_model import notation
from core_model.core import Estimate
from core_model.corpora import schema
from core_model.notation import Binding, Probability
from tools import distributions, inversion, measures, summaries
from tools.inversion import Infer
from tools.registry import Context, ToolResult, tool


@tool(Infer, lambda call: notation.format(inversion.query_of(call)[0]))
def confidence(call: Infer, context: Context) -> ToolResult:
    """How sure the most probable answer is that `infer` gives, and how sure the core says it is.

    P(v | text, given) of the most probable value v: worked out exactly, as the core states it when
    it is asked about itself, where it has learnt to, and as counted in the data. The entropy of
    all values stands beside it: they are all there is to answer, so it is the semantic entropy.
    """
    query, text = inversion.query_of(call)
    rng = np.random.default_rng(context.seed)
    model = distributions.exact(context.core, query, text, None, rng)
    first = model.answers[0]
    found = [Estimate("exact", first.probability, 0.0, 0)]
    asked: Estimate | None = None
    known = query.given
    if text is not None:
        known = (Binding(schema(call.corpus).document, text), *known)
    of_first = Probability(call.corpus, (Binding(call.variable, first.value),), known)
    if context.core.states_numbers:
        asked = context.core.stated(of_first)
        found.append(asked)
    is_shown = context.method != "spoken"
    data = distributions.counted_if_possible(query, text) if is_shown else None
    if data is not None:
        found.append(measures.counted(of_first))
    most = math.log(max(len(model.answers), 1))
    return ToolResult(
        tool="confidence",
        query=notation.format(query),
        estimates=tuple(found),
        distribution=model,
        data=data,
        samples=(),
        summary=summaries.confidence(model, asked, most),
        seed=context.seed,
        seconds=0.0,
    )
