"""Rows of the tasks whose targets are exact: each question has the distribution the corpus says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model import corpora, notation
from core_model.corpora import kin
from core_model.corpora.networks import HELD_OUT, Network
from core_model.corpora.places import held_out_compound
from core_model.notation import Binding, Draw
from core_model.objectives import (
    ChainTask,
    InversionTask,
    OrderTask,
    PriorTask,
    RetellingTask,
    WordingTask,
)
from core_model.planning import Conditional, in_order
from core_model.prefix_tree import PackedRow
from core_model.recipe import Task
from core_model.tasks import (
    ChanceTask,
    KinTask,
    NamesTask,
    NetworksTask,
    PlacesTask,
    StoriesTask,
    SummaryTask,
    TopicTask,
)
from core_model.tasks.kin import TWO_PARENTS, two_parents
from core_model.tasks.topics import LEAST_WORDS
from tests import tiny, toy

Known = dict[str, str]


def questions(row: PackedRow) -> Iterator[tuple[Known, str, dict[int, float]]]:
    """What is known, what is asked, and p(first token of the answer), for each question."""
    wire = tiny.wire()
    for node in np.unique(row.target_node):
        if row.tokens[node] != wire.marks["answer"]:
            continue
        path, at = [], int(node)
        while at >= 0:
            path.append(int(row.tokens[at]))
            at = int(row.parents[at])
        segments = wire.parse(path[::-1])
        known: Known = {}
        for variable, value in zip(segments[1:-2:2], segments[2:-2:2], strict=True):
            known[variable.text] = value.text
        here = row.target_node == node
        weight = row.target_weight[here]
        tokens = row.target_token[here]
        yield (
            known,
            segments[-2].text,
            dict(zip(tokens.tolist(), weight / max(weight.sum(), 1e-30), strict=True)),
        )


def firsts(answers: Mapping[str, float]) -> dict[int, float]:
    """p(first token) of a distribution over answers."""
    found: dict[int, float] = defaultdict(float)
    total = sum(answers.values())
    for answer, p in answers.items():
        if p > 0:
            found[tiny.wire().answer(answer)[0]] += p / total
    return found


def rows(make: Callable[..., Task], count: int) -> list[PackedRow]:
    return make(tiny.wire()).rows(np.random.default_rng(0), count)


@pytest.mark.parametrize(
    "make",
    [
        ChainTask, ChanceTask, KinTask, NamesTask, NetworksTask, PlacesTask, RetellingTask,
        StoriesTask, SummaryTask, TopicTask,
        lambda wire: PriorTask(wire, "speeches", "author"),
        lambda wire: InversionTask(wire, "places", "capital"),
        lambda wire: OrderTask(wire, ["speeches", "places"]),
        lambda wire: WordingTask(wire, ["kin", "chance", "stories", "places"]),
    ],
    ids=lambda make: getattr(make, "__name__", ""),
)  # fmt: skip
def test_what_is_known_stands_in_the_order_in_which_it_is_asked(make: Callable[..., Task]) -> None:
    """A core that was taught one order and asked in another would answer as if taught nothing."""
    longest = 0
    for row in rows(make, 40):
        corpus = tiny.wire().parse(row.tokens.tolist())[0].text
        for known, asked, _ in questions(row):
            given = tuple(Binding(*pair) for pair in known.items())
            assert in_order(Conditional(corpus, asked, given)).given == given
            longest = max(longest, len(given))
    assert longest


def test_what_is_asked_of_a_family_is_what_its_pedigree_says() -> None:
    task, seen = KinTask(tiny.wire()), set()
    for seed in range(12):
        family, text = kin.draw(np.random.default_rng(seed), "train")
        (row,) = task.rows(np.random.default_rng(seed), 1)
        for known, asked, target in questions(row):
            assert known["family"] == text
            seen.add(asked)
            if asked == TWO_PARENTS:
                truth = two_parents(family, known["person"])
            elif "person" in known:
                truth = family.along(asked.split("; "), known["person"])
            else:
                truth = family.of(asked, known["father"], known["mother"])
            assert target == pytest.approx(firsts(truth), abs=1e-5)
    assert seen > set(kin.RELATIONS)
    assert {len(asked.split("; ")) for asked in seen} == {1, 2, 3}


def test_families_that_are_held_out_are_never_trained_on() -> None:
    for row in rows(KinTask, 40):
        told = {known["family"] for known, _, _ in questions(row)}
        assert not any(kin.held_out_telling(text) for text in told)


def test_facts_about_countries_are_shares_among_those_that_fit() -> None:
    corpus = corpora.load("places")
    facts = [q for row in rows(PlacesTask, 30) for q in questions(row) if ";" not in q[1]]
    assert {asked for _, asked, _ in facts} == set(corpus.schema.names)
    for known, asked, target in facts:
        counted = {key[0]: n for key, n in corpus.count(known, [asked]).items()}
        assert target == pytest.approx(firsts(counted), abs=1e-5)
        assert list(known)[1:].count(corpus.schema.document) == 0  # it stands first where known


def test_chains_of_countries_are_mixtures_and_avoid_what_is_held_out() -> None:
    corpus = corpora.load("places")
    document = corpus.schema.document
    chains = [q for row in rows(PlacesTask, 40) for q in questions(row) if ";" in q[1]]
    assert len(chains) > 60
    for known, asked, target in chains:
        query = notation.parse(f"places: {asked}")
        assert isinstance(query, Draw)
        ((read, value),) = known.items()
        reached = {value: 1.0}
        for place, step in enumerate(query.steps):
            (part,) = step.parts
            answers = document if part.inverse else part.relation
            if place == 0:
                assert read == (part.relation if part.inverse else document)
            following: dict[str, float] = defaultdict(float)
            for state, share in reached.items():
                counted = corpus.count({read: state}, [answers])
                for (answer,), n in counted.items():
                    following[answer] += share * n / sum(counted.values())
                countries = corpus.count({read: state}, [document])
                assert not any(held_out_compound(country) for (country,) in countries)
            reached, read = dict(following), answers
        assert target == pytest.approx(firsts(reached), abs=1e-5)


def test_networks_are_asked_for_the_conditionals_that_may_be_taught() -> None:
    seen = set()
    for row in rows(NetworksTask, 20):
        name = tiny.wire().parse(row.tokens[:40].tolist())[0].text
        network = corpora.load(name)
        assert isinstance(network, Network)
        for known, asked, target in questions(row):
            seen.add((name, len(known)))
            variable = network.schema.variable(asked)
            p = network.conditional(network.taught, known, [asked])
            truth = firsts(dict(zip(variable.values, p.tolist(), strict=True)))
            assert target == pytest.approx(truth, abs=1e-5)
    assert {held for held, _ in seen} & set(HELD_OUT)
    assert {n for _, n in seen} >= {0, 1, 2, 3, 4}


def test_a_held_out_network_is_taught_by_its_records() -> None:
    network = corpora.load("earthquake")
    assert isinstance(network, Network)
    assert not np.allclose(network.taught, network.joint, atol=1e-9)
    trained = corpora.load("cancer")
    assert isinstance(trained, Network)
    assert np.array_equal(trained.taught, trained.joint)


# --- missing labels -----------------------------------------------------------------------------


class Sure(toy.ToyCore):
    """Holds every passage for one about the navy."""

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        p = np.full(len(answers), 1e-6)
        p[list(answers).index("navy")] = 1.0 if conditional.given else 1 / len(answers)
        return np.log(p / p.sum() if conditional.given else np.full(len(answers), 1 / len(answers)))


def test_topics_are_known_until_they_are_expected() -> None:
    task = TopicTask(tiny.wire(), pool=20)
    topics = {
        r.values["text"]: r.values["topic"]
        for r in corpora.load("speeches").records("train")
        if "topic" in r.values
    }

    def asked(seed: int) -> Iterator[tuple[Known, dict[int, float]]]:
        for row in task.rows(np.random.default_rng(seed), 60):
            yield from (
                (k, t) for k, asked, t in questions(row) if asked == "topic" and "text" in k
            )

    def known(text: str) -> set[str]:
        """Topics of the passages with these first words."""
        return {topic for passage, topic in topics.items() if passage.startswith(text)}

    lengths = set()
    for given, target in asked(0):
        told = [pytest.approx(firsts({topic: 1.0})) for topic in known(given["text"])]
        assert target in told
        lengths.add(len(given["text"].split()))
    assert max(lengths) == 60 and min(lengths) >= LEAST_WORDS and len(lengths) > 3
    task.expect(Sure(), np.random.default_rng(1))
    assert len(task.expectations["passages"]) == 20
    expected = [t for given, t in asked(2) if not known(given["text"])]
    assert len(expected) > 5
    for target in expected:
        assert target[tiny.wire().answer("navy")[0]] > 0.99
