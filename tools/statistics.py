"""The tools `probability`, `entropy`, `mutual_information` and `correlation`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from core_model import notation
from core_model.core import Estimate
from core_model.notation import Correlation, Entropy, Measure, MutualInformation, Probability
from tools import arguments, joint, measures, summaries
from tools.registry import Arguments, Context, ToolResult, tool

Summary = Callable[[Estimate | None, Estimate | None], str]


class ProbabilityOf(Arguments):
    """Arguments of `probability`."""

    corpus: arguments.Corpus
    event: Annotated[
        dict[str, str],
        Field(min_length=1, description="What may be the case, as variable: value."),
    ]
    given: arguments.Given


class EntropyOf(Arguments):
    """Arguments of `entropy`."""

    corpus: arguments.Corpus
    variable: arguments.Name
    given: arguments.Given


class TwoVariables(Arguments):
    """Arguments of `mutual_information` and `correlation`."""

    corpus: arguments.Corpus
    left: arguments.Name
    right: arguments.Name
    given: arguments.Given


def _probability(call: ProbabilityOf) -> Probability:
    event, given = arguments.bindings(call.event), arguments.bindings(call.given)
    return joint.resolve(Probability(call.corpus, event, given))


def _entropy(call: EntropyOf) -> Entropy:
    given = arguments.bindings(call.given)
    return joint.resolve(Entropy(call.corpus, (call.variable,), given))


def _information(call: TwoVariables) -> MutualInformation:
    given = arguments.bindings(call.given)
    return joint.resolve(MutualInformation(call.corpus, (call.left,), (call.right,), given))


def _correlation(call: TwoVariables) -> Correlation:
    given = arguments.bindings(call.given)
    return joint.resolve(Correlation(call.corpus, call.left, call.right, given))


@tool(ProbabilityOf, lambda call: notation.format(_probability(call)))
def probability(call: ProbabilityOf, context: Context) -> ToolResult:
    """Probability that variables have given values.

    P(event | given) = Π_i p(v_i | v_1, …, v_(i-1), given). Sampled and counted in the data it is
    a share of n with the error sqrt(p(1-p)/n), n being the independent records among those counted.
    """
    return _result("probability", _probability(call), context, summaries.probability)


@tool(EntropyOf, lambda call: notation.format(_entropy(call)))
def entropy(call: EntropyOf, context: Context) -> ToolResult:
    """Entropy of a variable: how unpredictable it is, in nats (spoken in bits).

    H(variable | given) = -Σ_v p(v | given) log p(v | given). Sampled: the mean of -log p over
    samples. Data: that of the counted shares.
    """
    return _result("entropy", _entropy(call), context, summaries.entropy)


@tool(TwoVariables, lambda call: notation.format(_information(call)))
def mutual_information(call: TwoVariables, context: Context) -> ToolResult:
    """Mutual information of two variables: what one tells of the other, in nats (spoken in bits).

    I = Σ_xy p(x) p(y|x) log(p(y|x) / Σ_x p(x) p(y|x)), all given what is given. Where one is
    text or a name: H(mean of p(x|y)) - mean of H(p(x|y)) over samples y.
    """
    return _result("mutual_information", _information(call), context, summaries.mutual_information)


@tool(TwoVariables, lambda call: notation.format(_correlation(call)))
def correlation(call: TwoVariables, context: Context) -> ToolResult:
    """Correlation of two variables that are numbers or have two values (coded 0 and 1 as listed).

    Pearson's r = cov(x, y) / (sd(x) sd(y)) under p(x) p(y|x), given what is given; its error,
    where sampled or counted, is (1 - r²) / sqrt(n - 1), n being the independent ones.
    """
    return _result("correlation", _correlation(call), context, summaries.correlation)


def _result(name: str, query: Measure, context: Context, summary: Summary) -> ToolResult:
    rng = np.random.default_rng(context.seed)
    found = measures.estimates(context.core, query, context.method, rng)
    by_method = {estimate.method: estimate for estimate in found}
    model = by_method.get("exact", by_method.get("sampled"))
    return ToolResult(
        tool=name,
        query=notation.format(query),
        estimates=found,
        distribution=None,
        data=None,
        samples=(),
        summary=summary(model, by_method.get("data")),
        seed=context.seed,
        seconds=0.0,
    )
