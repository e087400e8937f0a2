"""A core that knows the graph corpora exactly: countries, families and networks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core_model import corpora, notation
from core_model.core import Core, Distribution, from_weights
from core_model.corpora import kin, schema
from core_model.corpora.networks import Network
from core_model.notation import Draw
from core_model.planning import Conditional
from core_model.tasks.kin import TWO_PARENTS, two_parents
from tests.test_kin import parents_told


class ExactCore(Core):
    """Answers closed variables, and chains asked as one question by their mixture.

    power: what probabilities of chains asked as one question are raised to; 1 is coherent.
    """

    name = "exact"

    def __init__(self, power: float = 1.0) -> None:
        self._power = power

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        found = self._weights(conditional)
        total = sum(found.values())
        with np.errstate(divide="ignore"):
            return np.log(np.array([found.get(answer, 0.0) / total for answer in answers]))

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        found = self._weights(conditional)
        p = np.array(list(found.values()))
        return [list(found)[i] for i in rng.choice(len(p), n, p=p / p.sum())]

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        return from_weights("", "exact", self._weights(conditional), 0).top(top)

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def write(self, *_: object, **__: object) -> Iterator[str]:  # type: ignore[override]
        raise NotImplementedError

    def _weights(self, conditional: Conditional) -> dict[str, float]:
        known = {binding.variable: binding.value for binding in conditional.given}
        corpus, asked = corpora.load(conditional.corpus), conditional.variable
        if ";" in asked:
            found = self._chained(conditional.corpus, asked, known)
            return {answer: p**self._power for answer, p in found.items() if p > 0}
        if isinstance(corpus, Network):
            values = schema(conditional.corpus).variable(asked).values
            return dict(zip(values, corpus.exact(known, [asked]).tolist(), strict=True))
        if conditional.corpus == "kin":
            family = told(known.pop("family"))
            return family.of(asked, *known.values())
        return {key[0]: count for key, count in corpus.count(known, [asked]).items()}

    def _chained(self, corpus: str, asked: str, known: dict[str, str]) -> dict[str, float]:
        if corpus == "kin":
            family = told(known["family"])
            if asked == TWO_PARENTS:
                return two_parents(family, known["person"])
            return family.along(asked.split("; "), known["person"])
        query = notation.parse(f"{corpus}: {asked}")
        assert isinstance(query, Draw)
        (data,) = known.values()
        answers: dict[str, float] = defaultdict(float)
        for answer in self.distribution(query, data).answers:
            answers[answer.value] += answer.probability
        return answers


def told(text: str) -> kin.Family:
    """The family of a telling."""
    couples: dict[frozenset[str], list[str]] = defaultdict(list)
    for child, parents in parents_told(text).items():
        couples[frozenset(parents)].append(child)
    made = []
    for parents, children in couples.items():
        mother = next(p for p in parents if p in kin.WOMEN)
        father = next(p for p in parents if p in kin.MEN)
        made.append((mother, father, tuple(children)))
    return kin.Family(tuple(made))
