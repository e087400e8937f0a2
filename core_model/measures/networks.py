"""The measure `networks`: conditionals of Bayesian networks against the exact ones."""

from __future__ import annotations

import itertools
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
from core_model.notation import Binding, Draw, Fork, Step, format_bindings
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
      cell), in the held-out cases in which two variables or more are known; the guard is the mean
      KL(exact ‖ core), nats, of these.
    - Gibbs TV: total variation of three variables drawn by Gibbs sampling, 4,000 chains, and their
      exact joint given one other variable, in held-out networks; the guards are the distance that
      as many draws of the exact joint have, and that of the ancestral joint, the product of the
      core's conditionals one after the other.
    - Gibbs to ancestral TV: total variation of these draws and the ancestral joint: no more than
      chance leaves, where the core's conditionals are those of one joint. The guards are the
      distance that as many draws of the ancestral joint have, and KL(exact ‖ ancestral), nats.

    Intervals resample cases, and networks where there are chains.
    """
    rows = []
    for kind, names in (("held-out", HELD_OUT), ("training", TRAINING)):
        kl, entropy, marginal, counted, groups = [], [], [], [], []
        spread, kl_ordered, ordered = [], [], []
        rng = options.rng(10)
        for name in tqdm(names, desc=f"networks, {kind}", unit="network", disable=None):
            network = _load(name)
            for case in range(QUICK_CASES if options.quick else CASES):
                known, asked, value = _case(network, rng)
                exact = network.exact(known, [asked])
                count = ORDERS if kind == "held-out" else 1
                found = _orders(core, network, known, asked, count, rng)
                kl.append(kl_nats(exact, found[0]))
                if len(found) > 1:
                    place = network.schema.variable(asked).values.index(value)
                    spread.append(float(np.log(np.maximum(found[:, place], SMALLEST)).std(ddof=1)))
                    kl_ordered.append(kl[-1])
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
                    {"KL to exact": float(np.mean(kl_ordered))}, {},
                    Goal("at most", 0.05), Goal("at most", 0.02),
                )
            )  # fmt: skip
    return [*rows, *_chains(core, options)]


def _chains(core: Core, options: Options) -> list[MeasureRow]:
    """The rows of Gibbs sampling, of each held-out network one joint of three variables."""
    found = [_gibbs(core, _load(name), options) for name in HELD_OUT]
    to_exact, to_ancestral, *guards = np.array(found).T
    of_exact, exact_to_ancestral, of_ancestral, kl = (float(guard.mean()) for guard in guards)
    return [
        measured(
            "Gibbs TV", "TV", mean_of(to_exact), HELD_OUT, options,
            {"of exact draws": of_exact, "ancestral": exact_to_ancestral}, {},
            Goal("at most", 0.08), Goal("at most", 0.03),
        ),
        measured(
            "Gibbs to ancestral TV", "TV", mean_of(to_ancestral), HELD_OUT, options,
            {"of ancestral draws": of_ancestral, "KL to exact": kl},
        ),
    ]  # fmt: skip


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
    core: Core, network: Network, known: dict[str, str], asked: str, count: int,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """(n_orders, n_values) p(asked | known) with what is known in several orders, all distinct."""
    values = network.schema.variable(asked).values
    tables = []
    drawn = [tuple(map(str, rng.permutation(list(known)))) for _ in range(3 * ORDERS)]
    for order in list(dict.fromkeys(drawn))[:count]:
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


def _gibbs(core: Core, network: Network, options: Options) -> tuple[float, ...]:
    """Distances of Gibbs draws of three variables, and what to read them by.

    Total variation of the draws from the exact joint and from the ancestral one; of exact draws
    from their joint; of the two joints; of ancestral draws from theirs; KL(exact ‖ ancestral).
    """
    rng = options.rng(11)
    known, *unknown = (str(name) for name in rng.permutation(network.schema.names)[: UNKNOWN + 1])
    exact_known = network.exact({}, [known])
    value = network.schema.variable(known).values[int(exact_known.argmax())]
    exact = network.exact({known: value}, unknown).ravel()
    n = QUICK_CHAINS if options.quick else CHAINS
    given = (Binding(known, value),)
    counts = Counter(gibbs(core, network.schema.corpus, unknown, given, n, rng))
    cells = list(itertools.product(*(network.schema.variable(name).values for name in unknown)))
    shares = np.array([counts[cell] / n for cell in cells])
    query = Draw(network.schema.corpus, (Fork(tuple(map(Step, unknown))),), given)
    printed = [format_bindings(map(Binding, unknown, cell)) for cell in cells]
    ancestral = np.exp(core.log_prob(query, printed))
    ancestral /= ancestral.sum()
    drawn = [rng.multinomial(n, p) / n for p in (exact, ancestral)]
    return (
        total_variation(shares, exact), total_variation(shares, ancestral),
        total_variation(drawn[0], exact), total_variation(ancestral, exact),
        total_variation(drawn[1], ancestral), kl_nats(exact, ancestral),
    )  # fmt: skip
