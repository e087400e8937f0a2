"""Gibbs sampling over the graph of variables: several unknowns, resampled one at a time.

Each sweep draws every unknown variable from p(v | all others, given). Where the conditionals are
those of one joint distribution, the states come to follow it (Geman and Geman 1984); where they
are not, the sampler still has a limit, and how far that lies from the ancestral route's joint
tells how well the conditionals agree (a dependency network, Heckerman et al. 2000).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core_model import corpora
from core_model.core import Core
from core_model.errors import InvalidQuery
from core_model.notation import Binding
from core_model.planning import Conditional

SWEEPS = 20


def gibbs(
    core: Core, corpus: str, unknown: Sequence[str], given: Sequence[Binding], n: int,
    rng: np.random.Generator, sweeps: int = SWEEPS,
) -> list[tuple[str, ...]]:  # fmt: skip
    """n states of the unknown variables, in their order, each from a chain of its own.

    Chains begin with every variable drawn as if no other were unknown, so that nothing but the
    sweeps relates them. Those that stand at the same place are drawn in one call, and a closed
    variable's conditional is worked out once. Raises InvalidQuery without an unknown variable.
    """
    if not unknown:
        raise InvalidQuery("Gibbs sampling needs at least one unknown variable.")
    values_of = {v: corpora.schema(corpus).variable(v).values for v in unknown}
    worked_out: dict[Conditional, NDArray[np.float64]] = {}

    def draw(variable: str, known: Sequence[Binding], count: int) -> Sequence[str]:
        conditional, values = Conditional(corpus, variable, tuple(known)), values_of[variable]
        if not values:
            return core.sample_of(conditional, count, rng)
        if conditional not in worked_out:
            p = np.exp(core.log_prob_of(conditional, values))
            worked_out[conditional] = p / p.sum()
        return [values[i] for i in rng.choice(len(values), count, p=worked_out[conditional])]

    columns = [draw(variable, given, n) for variable in unknown]
    states = [list(state) for state in zip(*columns, strict=True)]
    for _ in range(sweeps if len(unknown) > 1 else 0):
        for place in rng.permutation(len(unknown)):
            others = [tuple(s[:place] + s[place + 1 :]) for s in states]
            names = [v for i, v in enumerate(unknown) if i != place]
            drawn = {}
            for values, count in Counter(others).items():
                known = (*given, *map(Binding, names, values))
                drawn[values] = iter(draw(unknown[place], known, count))
            for state, values in zip(states, others, strict=True):
                state[place] = next(drawn[values])
    return [tuple(state) for state in states]
