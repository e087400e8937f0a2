"""The measure `transitivity`: compositions asked as one question against their mixtures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Answer, Core, Distribution, Remembering, from_weights
from core_model.corpora import kin
from core_model.corpora.places import held_out_compound
from core_model.measures.result import (
    Floats,
    Goal,
    MeasureRow,
    Options,
    jsd_bits,
    mean_of,
    measured,
)
from core_model.notation import Binding, Draw, Fork, Step
from core_model.planning import Conditional
from core_model.tasks.kin import SIMPLE, two_parents

COUNTRIES, QUICK_COUNTRIES = 40, 8
FAMILIES, QUICK_FAMILIES = 24, 6
DEPTHS = (2, 3)
ALONE = "last relation alone"
NAMES_OF_A_COUNTRY = ("french", "german", "spanish", "italian", "capital")
FLOORS = {2: (0.08, 0.03), 3: (0.12, 0.05)}
ACCURACY = {"places": 0.9, "kin": 0.8}
PARENTS = ("father", "mother")
HEAVIEST = 0.995
"""Mass of the fathers, and of the mothers beside each, whose children are asked for."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of relations, the data that its first one reads, and p(answer) in truth."""

    query: Draw
    data: str
    truth: Mapping[str, float]


def transitivity(core: Core, options: Options) -> list[MeasureRow]:
    """What a core states of a chain in one answer against what it works out step by step.

    Items: chains of two and of three relations. `places`: the 40 countries whose chains are held
    out (`--quick`: 8), from one name of a country to others, as `capital^-1; german`; what follows
    the first relation is the same for all. `kin`: 24 held-out families (`--quick`: 6), random
    relations of a random person that are not certain to be answered by nobody.

    - TV: total variation of the distribution asked as one question and the mixture; mean. The
      guard is the share of mixtures whose most probable answer is a true one.
    - accuracy: share of chains asked as one question whose most probable answer is a true one;
      its guard is the mean probability of true answers, its baseline the mixture's accuracy.
    - kin TV, two parents: the same of `father & mother; child`, which is no chain, of a person of
      each family who has both; the mixture is over pairs of parents that have 99% of the mass.
      The guards are the accuracies of the mixture and of the one question.
    - compound names JSD: of a relation under its own name, as `paternal_grandfather`, and as the
      chain that it is, `father; father`, asked as one question; mean, bits. Each family is asked
      for all five, of persons who may have one. The guards are the accuracies of either.

    A name of a country names one country, so a chain of `places` has the answer of its last
    relation alone, of what its first one is given: that is a baseline of both. Of `kin` a baseline
    of the accuracy always says nobody.

    Intervals resample countries and families.
    """
    rows = []
    kept = Remembering(core)
    for corpus, chains in (("places", _places(options)), ("kin", _kin(options))):
        found: dict[int, list[tuple[float, ...]]] = {depth: [] for depth in DEPTHS}
        for chain in tqdm(list(chains), desc=f"transitivity, {corpus}", unit="chain", disable=None):
            once = core.asked(chain.query, chain.data)
            steps = kept.distribution(chain.query, chain.data)
            last = _last_alone(core, chain) if corpus == "places" else once
            found[len(chain.query.steps)].append(
                (
                    _distance(once, steps), once.answers[0].value in chain.truth,
                    steps.answers[0].value in chain.truth,
                    sum(once.probability_of(answer) for answer in chain.truth),
                    _distance(last, steps), last.answers[0].value in chain.truth,
                    kin.NOBODY in chain.truth,
                )
            )  # fmt: skip
        for depth in DEPTHS:
            table = np.array(found[depth], float)
            floor, aim = FLOORS[depth]
            rows.append(
                measured(
                    f"{corpus} TV, depth {depth}", "TV", mean_of(table[:, 0]),
                    range(len(table)), options, {"mixture accuracy": float(table[:, 2].mean())},
                    {ALONE: float(table[:, 4].mean())} if corpus == "places" else {},
                    Goal("at most", floor), Goal("at most", aim),
                )
            )  # fmt: skip
        table = np.concatenate([np.array(found[depth], float) for depth in DEPTHS])
        columns = {"mixture": 2} | ({ALONE: 5} if corpus == "places" else {"always nobody": 6})
        baselines = {what: float(table[:, column].mean()) for what, column in columns.items()}
        items = [index for depth in DEPTHS for index in range(len(found[depth]))]
        rows.append(
            measured(
                f"{corpus} chain accuracy", "share", mean_of(table[:, 1]), items, options,
                {"p(true)": float(table[:, 3].mean())}, baselines,
                Goal("at least", ACCURACY[corpus]),
            )
        )  # fmt: skip
    return [*rows, _two_parents(kept, options), _compounds(kept, options)]


def _two_parents(core: Core, options: Options) -> MeasureRow:
    """The row of a step that reads the answers of two relations side by side."""
    query = Draw("kin", (Fork(tuple(map(Step, PARENTS))), Step("child")))
    found, rng = [], options.rng(42)
    for family, text in tqdm(_families(options, rng), desc="transitivity, parents", disable=None):
        children = [p for p in family.people if kin.NOBODY not in two_parents(family, p)]
        person = str(rng.choice(children))
        about = Binding("person", person)
        once = core.asked(Draw("kin", query.steps, (about,)), text)
        steps = _through_both(core, about, text)
        truth = two_parents(family, person)
        right = [said.answers[0].value in truth for said in (steps, once)]
        found.append((_distance(once, steps), *right))
    table = np.array(found, float)
    floor, aim = FLOORS[2]
    return measured(
        "kin TV, two parents", "TV", mean_of(table[:, 0]), range(len(table)), options,
        {"mixture accuracy": float(table[:, 1].mean()), "accuracy": float(table[:, 2].mean())},
        {}, Goal("at most", floor), Goal("at most", aim),
    )  # fmt: skip


def _through_both(core: Core, about: Binding, text: str) -> Distribution:
    """The mixture Σ p(father) p(mother | father) p(child | father, mother) over heavy pairs."""
    known = (Binding("family", text), about)
    mixture: Counter[str] = Counter()
    for father in _heaviest(core.distribution_of(Conditional("kin", "father", known))):
        one = Binding("father", father.value)
        for mother in _heaviest(core.distribution_of(Conditional("kin", "mother", (*known, one)))):
            parents = (known[0], one, Binding("mother", mother.value))
            share = father.probability * mother.probability
            for child in core.distribution_of(Conditional("kin", "child", parents)).answers:
                mixture[child.value] += share * child.probability  # type: ignore[assignment]
    return from_weights("", "exact", dict(mixture), 0)


def _heaviest(found: Distribution) -> Iterator[Answer]:
    """The most probable answers, until they have `HEAVIEST` of the mass."""
    mass = 0.0
    for answer in found.answers:
        yield answer
        mass += answer.probability
        if mass >= HEAVIEST:
            return


def _compounds(core: Core, options: Options) -> MeasureRow:
    """The row of relations that are chains under a name of their own."""
    gaps, named_right, joined_right, groups = [], [], [], []
    rng = options.rng(43)
    for family, text in tqdm(_families(options, rng), desc="transitivity, names", disable=None):
        for name, chain in kin.COMPOUNDS.items():
            possible = [p for p in family.people if family.of(name, p).get(kin.NOBODY, 0.0) < 1]
            if not possible:
                continue
            about = (Binding("person", str(rng.choice(possible))),)
            named = core.distribution(Draw("kin", (Step(name),), about), text)
            joined = core.asked(Draw("kin", tuple(map(Step, chain)), about), text)
            gaps.append(jsd_bits(*(_over_people(found) for found in (named, joined))))
            truth = family.of(name, about[0].value)
            named_right.append(named.answers[0].value in truth)
            joined_right.append(joined.answers[0].value in truth)
            groups.append(text)
    return measured(
        "compound names JSD", "bits", mean_of(np.array(gaps)), groups, options,
        {
            "accuracy of names": float(np.mean(named_right)),
            "accuracy of chains": float(np.mean(joined_right)),
        },
        {}, Goal("at most", 0.02), Goal("at most", 0.005),
    )  # fmt: skip


def _over_people(found: Distribution) -> Floats:
    """(n_people,) the probabilities of all whom a relation of `kin` may name."""
    of = {answer.value: answer.probability for answer in found.answers}
    return np.array([of.get(person, 0.0) for person in kin.PEOPLE])


def _families(options: Options, rng: np.random.Generator) -> Iterator[tuple[kin.Family, str]]:
    """Held-out families and their tellings."""
    for _ in range(QUICK_FAMILIES if options.quick else FAMILIES):
        yield kin.draw(rng, "held_out")


def _last_alone(core: Core, chain: Chain) -> Distribution:
    """The last relation's answer where only what the first one reads is known."""
    first, *_, last = (step for step in chain.query.steps if isinstance(step, Step))
    known = (Binding(first.relation, chain.data),)
    return core.distribution_of(Conditional(chain.query.corpus or "", last.relation, known))


def _distance(one: Distribution, other: Distribution) -> float:
    """Total variation of two whole distributions."""
    values = {answer.value for answer in (*one.answers, *other.answers)}
    return sum(abs(one.probability_of(v) - other.probability_of(v)) for v in values) / 2


def _places(options: Options) -> Iterator[Chain]:
    """Of each country one chain of either depth; what follows the first relation is the same."""
    corpus = corpora.load("places")
    document = corpus.schema.document
    records = [r.values for r in corpus.records("train") if held_out_compound(r.values[document])]
    rng = options.rng(8)
    count = min(QUICK_COUNTRIES if options.quick else COUNTRIES, len(records))
    behind = {d: [str(n) for n in rng.permutation(NAMES_OF_A_COUNTRY)[: d - 1]] for d in DEPTHS}
    for place in np.sort(rng.choice(len(records), count, replace=False)):
        values = records[int(place)]
        for others in behind.values():
            first = str(rng.choice([name for name in NAMES_OF_A_COUNTRY if name not in others]))
            steps = (Step(first, inverse=True), *map(Step, others))
            yield Chain(Draw("places", steps), values[first], {values[others[-1]]: 1.0})


def _kin(options: Options) -> Iterator[Chain]:
    """Of each family one chain of either depth."""
    rng = options.rng(9)
    for family, text in _families(options, rng):
        for depth in DEPTHS:
            while True:
                person = str(rng.choice(family.people))
                chain = [str(name) for name in rng.choice(SIMPLE, depth)]
                truth = family.along(chain, person)
                if truth.get(kin.NOBODY, 0.0) < 1:
                    break
            steps = tuple(map(Step, chain))
            yield Chain(Draw("kin", steps, (Binding("person", person),)), text, truth)
