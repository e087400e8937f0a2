"""Rows about families: relatives of several people, in one step and along chains of relations.

One row tells a family and asks a dozen questions behind it. A chain asked as one question has the
mixture over who lies between as its target, and so has the same relation under its own name.
"""

from __future__ import annotations

import numpy as np

from core_model.corpora.kin import COMPOUNDS, NOBODY, PEOPLE, RELATIONS, Family, draw
from core_model.planning import learnt_chains
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire

PEOPLE_A_ROW = 6
QUESTIONS_A_PERSON = 3
CHAIN_SHARE = 0.4
"""Questions that are chains of two or three relations."""
NOBODY_SHARE = 0.3
"""Of the questions that `nobody` answers, how many are asked."""
SIMPLE = tuple(name for name in RELATIONS if name not in COMPOUNDS)
TWO_PARENTS = "father & mother; child"


class KinTask:
    """Rows of generated families that are not held out."""

    corpora: tuple[str, ...] = ("kin", learnt_chains("kin"))

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._closed = ClosedAnswers(wire, PEOPLE)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Each row is one family."""
        return [self._row(*draw(rng, "train"), rng) for _ in range(count)]

    def _row(self, family: Family, text: str, rng: np.random.Generator) -> PackedRow:
        builder = RowBuilder()
        start = builder.extend(
            self._wire.segment("corpus", "kin") + self._wire.binding("family", text)
        )
        for person in rng.permutation(family.people)[:PEOPLE_A_ROW]:
            after = builder.extend(self._wire.binding("person", str(person)), start)
            for _ in range(QUESTIONS_A_PERSON):
                question, answers = asked(family, str(person), rng)
                self._ask(builder, after, question, answers, rng)
        mother, father, children = family.couples[int(rng.integers(len(family.couples)))]
        pair = [("father", father), ("mother", mother)]
        after = start
        for place in rng.permutation(2):
            after = builder.extend(self._wire.binding(*pair[place]), after)
        self._ask(builder, after, "child", family.of("child", father, mother), rng)
        # Asked jointly, the second of two relations of a person is asked with the first one known.
        (known, one), (other, true) = (pair[place] for place in rng.permutation(2))
        after = builder.extend(self._wire.binding("person", str(rng.choice(children))), start)
        after = builder.extend(self._wire.binding(known, one), after)
        self._ask(builder, after, other, {true: 1.0}, rng)
        if rng.random() < 0.1:
            after = builder.extend(self._wire.binding("person", NOBODY), start)
            self._ask(builder, after, str(rng.choice(SIMPLE)), {NOBODY: 1.0}, rng)
        return builder.build()

    def _ask(
        self, builder: RowBuilder, after: int, question: str, answers: dict[str, float],
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        weights = np.array([answers.get(value, 0.0) for value in PEOPLE])
        behind = builder.extend(self._wire.query(question), after)
        self._closed.ask(builder, behind, weights, rng, 3)


def asked(family: Family, person: str, rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    """A random question about someone, as it stands in a query, and p(answer)."""
    while True:
        kind = rng.random()
        if kind < CHAIN_SHARE:
            chain = [str(r) for r in rng.choice(SIMPLE, 2 if rng.random() < 0.6 else 3)]
            question, answers = "; ".join(chain), family.along(chain, person)
        elif kind < CHAIN_SHARE + 0.06:
            question, answers = TWO_PARENTS, two_parents(family, person)
        else:
            question = str(rng.choice(list(RELATIONS)))
            answers = family.of(question, person)
        if answers.get(NOBODY, 0.0) < 1 or rng.random() < NOBODY_SHARE:
            return question, answers


def two_parents(family: Family, person: str) -> dict[str, float]:
    """p(answer) of `father & mother; child`: a child of both parents of someone."""
    father, mother = (next(iter(family.of(role, person))) for role in ("father", "mother"))
    return family.of("child", father, mother)
