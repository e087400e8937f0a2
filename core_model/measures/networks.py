"""The measure `networks`: conditionals of Bayesian networks against the exact ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.networks import HELD_OUT, TRAINING, Network
from core_model.gibbs import gibbs
from core_model.measures.result import (
    SMALLEST,
    Floats,
    Goal,
    MeasureRow,
    Options,
    kl_nats,
    mean_of,
    measured,
    total_variation,
)
from core_model.notation import Binding
from core_model.planning import Conditional

CASES, QUICK_CASES = 40, 6
MOST_KNOWN = 6
ORDERS = 4
UNKNOWN = 3
CHAINS, QUICK_CHAINS = 4000, 400


def networks(core: Core, options: Options) -> list[MeasureRow]:
    """Each variable of a network given any others, against the network's own conditional.

    Items: of each network 40 cases (`--quick`: 6): a random cell of the joint, up to six of its
    variables known in random order, one of the others asked. Held-out networks are those of which
    training saw 4,000 records and never the probabilities.

    - conditional KL: mean KL(exact ‖ core), nats, of held-out networks, and of the six others. The
      guard is the mean entropy of the exact conditionals; the baselines are the marginal of the
      variable, and the counts of the training records, add-one smoothed.
    - order SD: standard deviation over up to four orders of what is known of log p(value of the
      cell), in the held-out cases in which two variables or more are known.
    - Gibbs TV: total variation of three variables drawn by Gibbs sampling, 4,000 chains, and their
      exact joint given one other variable, in held-out networks; the guard is the distance that
      as many draws of the exact joint have.

    Intervals resample cases.
    """
    rows = []
    for kind, names in (("held-out", HELD_OUT), ("training", TRAINING)):
        kl, spread, entropy, marginal, counted, groups, ordered = [], [], [], [], [], [], []
        rng = options.rng(10)
        for name in tqdm(names, desc=f"networks, {kind}", unit="network", disable=None):
            network = _load(name)
            for case in range(QUICK_CASES if options.quick else CASES):
                known, asked, value = _case(network, rng)
                exact = network.exact(known, [asked])
                found = _orders(core, network, known, asked, rng)
                kl.append(kl_nats(exact, found[0]))
                if len(found) > 1:
                    place = network.schema.variable(asked).values.index(value)
                    spread.append(float(np.log(np.maximum(found[:, place], SMALLEST)).std()))
                    ordered.append((name, case))
                entropy.append(-kl_nats(exact, np.ones_like(exact)))
                marginal.append(kl_nats(exact, network.exact({}, [asked])))
                counted.append(kl_nats(exact, _counted(network, known, asked)))
                groups.append((name, case))
        is_held_out = kind == "held-out"
        goals = (Goal("at most", 0.10), Goal("at most", 0.05)) if is_held_out else (None, None)
        rows.append(
            measured(
                f"conditional KL, {kind}", "nats", mean_of(np.array(kl)), groups, options,
                {"exact entropy": float(np.mean(entropy))},
                {"marginal": float(np.mean(marginal)), "records": float(np.mean(counted))},
                *goals,
            )
        )  # fmt: skip
        if is_held_out:
            rows.append(
                measured(
                    "network order SD", "nats", mean_of(np.array(spread)), ordered, options,
                    {}, {}, Goal("at most", 0.05), Goal("at most", 0.02),
                )
            )  # fmt: skip
    distances = [_gibbs(core, _load(name), options) for name in HELD_OUT]
    rows.append(
        MeasureRow(
            "Gibbs TV", float(np.mean([d for d, _ in distances])), None, None, "TV",
            len(distances), {"of exact draws": float(np.mean([e for _, e in distances]))}, {},
            Goal("at most", 0.08), Goal("at most", 0.03),
        )
    )  # fmt: skip
    return rows


def _load(name: str) -> Network:
    network = corpora.load(name)
    assert isinstance(network, Network)
    return network


def _case(network: Network, rng: np.random.Generator) -> tuple[dict[str, str], str, str]:
    """(what is known, what is asked, its value) of a random cell of the joint."""
    cell = np.unravel_index(
        rng.choice(network.joint.size, p=network.joint.ravel()), network.joint.shape
    )
    values = {
        variable.name: variable.values[place]
        for variable, place in zip(network.schema.variables, cell, strict=True)
    }
    asked, *others = (str(name) for name in rng.permutation(list(values)))
    known = others[: int(rng.integers(0, min(MOST_KNOWN, len(others)) + 1))]
    return {name: values[name] for name in known}, asked, values[asked]


def _orders(
    core: Core, network: Network, known: dict[str, str], asked: str, rng: np.random.Generator
) -> Floats:
    """(n_orders, n_values) p(asked | known) with what is known in several orders, all distinct."""
    values = network.schema.variable(asked).values
    tables = []
    drawn = [tuple(map(str, rng.permutation(list(known)))) for _ in range(3 * ORDERS)]
    for order in list(dict.fromkeys(drawn))[:ORDERS]:
        given = tuple(Binding(name, known[name]) for name in order)
        conditional = Conditional(network.schema.corpus, asked, given)
        tables.append(np.exp(core.log_prob_of(conditional, values)))
    return np.array(tables)


def _counted(network: Network, known: dict[str, str], asked: str) -> Floats:
    """(n_values,) the records' shares among those that match, with one more of each value."""
    counts = network.count(known, [asked])
    values = network.schema.variable(asked).values
    shares = np.array([counts.get((value,), 0.0) + 1.0 for value in values])
    return np.asarray(shares / shares.sum(), np.float64)


def _gibbs(core: Core, network: Network, options: Options) -> tuple[float, float]:
    """Distances from the exact joint of three variables: of Gibbs draws, and of exact ones."""
    rng = options.rng(11)
    known, *unknown = (str(name) for name in rng.permutation(network.schema.names)[: UNKNOWN + 1])
    exact_known = network.exact({}, [known])
    value = network.schema.variable(known).values[int(exact_known.argmax())]
    exact = network.exact({known: value}, unknown)
    n = QUICK_CHAINS if options.quick else CHAINS
    drawn = gibbs(core, network.schema.corpus, unknown, (Binding(known, value),), n, rng)
    counts = Counter(drawn)
    values = [network.schema.variable(name).values for name in unknown]
    shares = np.zeros(exact.shape)
    for state, count in counts.items():
        place = tuple(v.index(s) for v, s in zip(values, state, strict=True))
        shares[place] = count / n
    ideal = rng.multinomial(n, exact.ravel()) / n
    return total_variation(shares.ravel(), exact.ravel()), total_variation(ideal, exact.ravel())
