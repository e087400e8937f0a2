"""One query in the notation, answered as JSON: what `candor query` prints.

A draw gives `{"query", "answers": [{"value", "probability"}…], "listed_mass", "entropy_nats",
"method", …}`, a measure `{"query", "estimates": [{"method", "value", "stderr", "n", "unit"}…]}`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np

from core_model import notation, priors
from core_model.core import Core, Distribution, Estimate
from core_model.errors import CandorError, InvalidQuery
from core_model.notation import Draw
from tools import distributions, joint, measures, summaries
from tools.joint import NoSuchMethod

Method = Literal["exact", "sampled", "gibbs", "asked", "data", "all"]
MOST_LISTED = 1000


def run_query(
    core: Core,
    query_text: str,
    data: str | None = None,
    top: int | None = None,
    method: str = "exact",
    seed: int = 0,
) -> dict[str, Any]:
    """Answer a query by one method ("exact", "sampled", "gibbs", "asked", "data") or by "all".

    data: what the first relation reads; top: how many answers to list, of free text how many to
    draw. Free text, asked exactly, is sampled. With "all", which leaves out Gibbs sampling, the
    first distribution stands at the top and every one under "methods". Raises CandorError, one
    line, on all that cannot be.
    """
    chosen = next((m for m in get_args(Method) if m == method), None)
    if chosen is None:
        raise CandorError(
            f"Unknown method '{method[:40]}'. There are: {', '.join(get_args(Method))}."
        )
    if top is not None and not 1 <= top <= MOST_LISTED:
        raise CandorError(f"Between 1 and {MOST_LISTED} answers can be listed, not {top}.")
    if seed < 0:
        raise CandorError(f"A seed is 0 or more, not {seed}.")
    query = joint.resolve(notation.parse(query_text))
    rng = np.random.default_rng(seed)
    head = {"query": notation.format(query)}
    if isinstance(query, Draw):
        found = draws(core, query, data, top, chosen, rng)
        body = distribution_json(found[0])
        if chosen == "all":
            body["methods"] = [distribution_json(each) for each in found]
    else:
        if data is not None:
            raise InvalidQuery("A measure reads no data: give what is known after '|'.")
        if chosen == "gibbs":
            raise NoSuchMethod("A measure is not drawn by Gibbs sampling. Use exact or sampled.")
        try:
            estimates = measures.estimates(core, query, chosen, rng)
        except NoSuchMethod:
            if chosen != "exact":
                raise
            estimates = measures.estimates(core, query, "sampled", rng)
        body = {"estimates": [estimate_json(each) for each in estimates]}
    return {**head, **body, "seed": seed}


def draws(
    core: Core,
    query: Draw,
    data: str | None,
    top: int | None,
    method: Method,
    rng: np.random.Generator,
) -> list[Distribution]:
    """Distributions of a draw by one method or all it has, the core's first.

    asked: a chain as one question.
    """
    if method == "asked":
        return [core.asked(query, data, _listed(query, data, top))]
    if method == "gibbs":
        return [distributions.gibbs_sampled(core, query, data, rng).top(top)]
    if method == "data":
        return [distributions.counted(query, data).top(_listed(query, data, top))]
    kind = distributions.answer_kind(query, data)
    if kind == "open" and (top or 0) > joint.SAMPLES_OF_TEXT:
        raise CandorError(f"At most {joint.SAMPLES_OF_TEXT} texts are drawn at once, not {top}.")
    n = (top or distributions.TEXTS) if kind == "open" else joint.SAMPLES
    found: list[Distribution] = []
    if method != "sampled" and kind != "open":
        found.append(distributions.exact(core, query, data, top, rng))
    stated = priors.split(query)[1] is not None
    if method == "sampled" or (method == "all" and not stated) or kind == "open":
        drawn = distributions.sampled(core, query, data, n, rng)[0]
        found.append(drawn.top(_listed(query, data, top)))
    if method == "all":
        counted = distributions.counted_if_possible(query, data)
        if counted is not None:
            listed = _listed(query, data, top) or len(counted.answers)
            found.append(distributions.beside(counted, found[0], listed))
    return found


def _listed(query: Draw, data: str | None, top: int | None) -> int | None:
    if top is None and distributions.answer_kind(query, data) == "enumerable":
        return distributions.LISTED
    return top


def distribution_json(found: Distribution) -> dict[str, Any]:
    """A distribution as JSON, without its query."""
    return {
        "answers": [asdict(answer) for answer in found.answers],
        "listed_mass": found.listed_mass,
        "entropy_nats": found.entropy_nats,
        "entropy_stderr": found.entropy_stderr,
        "method": found.method,
        "n": found.n,
    }


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON; one in nats also states its value in `bits`."""
    out: dict[str, Any] = asdict(estimate)
    if estimate.unit == "nats":
        out["bits"] = summaries.in_bits(estimate).value
    return out
