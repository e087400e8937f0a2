r"""Paraphrase: a question in other words has the answer that it has under its own name.

    gap = mean_i KL(q ‖ w_i),   q(v) = q(v | S, name),   w_i(v) = q(v | S, wording i)

What is known, S, stays the same. The name's own answer, which is fitted on data, is the target and
is not trained by it: a consensus of untrained wordings would pull it towards theirs. The gap is
taken among some values, and between them and all others.

Retelling: what happened is the same however it is told.

    gap = mean_i KL(m ‖ t_i),   t_i(v) = q(v | telling i, question),   m = mean_i t_i

No telling is the right one, so the target is their mean, which the row does not train. What the
reader learns first is not asked: that depends on the telling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from core_model import corpora, wordings
from core_model.corpora import chance, kin, stories
from core_model.errors import CandorError
from core_model.notation import Binding
from core_model.objectives.outcomes import split
from core_model.planning import Conditional, in_order
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.wire import Wire

WAYS = 4
FACTS = ("first", "last", "before")
"""What is asked of a story that does not depend on how it is told."""
ANSWERS = 16
"""Values scored of one question; of more, the true one and some others, beside the rest."""
MOST_KNOWN = 2
LONGEST = 2000
"""Characters of what is known of a record, as a reply."""
Question = tuple[tuple[Binding, ...], str, str, Sequence[str]]
"""What is known, what is asked, a true answer, and answers that may be scored beside it."""


def wording_gap(named: Tensor, worded: Tensor) -> Tensor:
    """Mean KL(named ‖ worded), nats, of (n,) and (ways, n) log-probabilities up to a constant."""
    target = torch.log_softmax(named, dim=0).detach()
    return (target.exp() * (target - torch.log_softmax(worded, dim=1))).sum(dim=1).mean()


def retelling_gap(told: Tensor) -> Tensor:
    """Mean KL(m ‖ t_i), nats, of log-probabilities (tellings, n) up to a constant each."""
    log_p = torch.log_softmax(told, dim=1)
    mean = log_p.exp().mean(dim=0).detach()
    return (torch.xlogy(mean, mean) - mean * log_p).sum(dim=1).mean()


class WordingTask:
    """Variables of records, relatives in families and sources of chance, asked in several wordings.

    Raises CandorError for a corpus without wordings.
    """

    def __init__(self, wire: Wire, names: Sequence[str] = wordings.FIRST_CORPORA) -> None:
        self._wire = wire
        self._wordings = {name: wordings.trained(name) for name in names}
        for name in names:
            if not self._wordings[name]:
                raise CandorError(f"'{name}' has no wordings for its relations.")
        # Families and sources are drawn anew, by themselves.
        self._draw = {n: corpora.load(n).drawer("train") for n in names if n not in _DRAWN_ANEW}
        self.corpora: tuple[str, ...] = tuple(dict.fromkeys(map(wordings.learnt, names)))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One question a row; a corpus with many relations is asked as many times as often."""
        names, n = list(self._wordings), np.array([len(of) for of in self._wordings.values()])
        return [self._row(str(rng.choice(names, p=n / n.sum())), rng) for _ in range(count)]

    def _row(self, name: str, rng: np.random.Generator) -> PackedRow:
        given, relation, true, values = self._question(name, rng)
        others = [v for v in dict.fromkeys(map(str, rng.permutation(values))) if v != true]
        tree = PrefixTree.build(
            [self._wire.answer(value) for value in [true, *others[: ANSWERS - 1]]]
        )
        texts = [str(t) for t in rng.choice(self._wordings[name][relation], WAYS, replace=False)]
        builder = RowBuilder()

        def scored(asked: str) -> slice:
            conditional = in_order(Conditional(name, asked, given))
            return builder.score(tree, builder.prompt(self._wire.prompt(conditional)))

        named = scored(relation)
        worded = [scored(text) for text in texts]

        def gap(log_p: Tensor) -> Tensor:
            own, ways = log_p[named], torch.stack([log_p[place] for place in worded])
            return wording_gap(own, ways) + wording_gap(split(own), split(ways))

        return builder.build(gap)

    def _question(self, name: str, rng: np.random.Generator) -> Question:
        schema = corpora.schema(name)
        if name in _DRAWN_ANEW:
            return _DRAWN_ANEW[name](rng)
        asked: list[str] = []
        while not asked:  # of some records nothing is known that has wordings
            values = self._draw[name](rng)
            asked = [relation for relation in self._wordings[name] if relation in values]
        relation = str(rng.choice(asked))
        known: Sequence[str] = wordings.known(name, relation)
        if not known:
            others = [
                v for v in rng.permutation(list(values)) if v not in (relation, schema.document)
            ]
            known = [str(v) for v in others[: int(rng.integers(MOST_KNOWN + 1))]]
            if schema.document in values and schema.document != relation and rng.random() < 0.7:
                known = [schema.document, *known[:1]]
        given = tuple(Binding(v, values[v][:LONGEST]) for v in known)
        return given, relation, values[relation], self._answers(name, relation, values, rng)

    def _answers(
        self, name: str, relation: str, record: Mapping[str, str], rng: np.random.Generator
    ) -> Sequence[str]:
        """Answers that may be scored: all there are, or those of some other records.

        Of those in a story only people who are in it: others would hardly be taken for the answer.
        """
        values = corpora.schema(name).variable(relation).values
        if name == "stories":
            told = set(re.findall(r"\w+", record["story"]))
            return [value for value in values if value in told] or values
        if values:
            return values
        return [self._draw[name](rng)[relation] for _ in range(2 * ANSWERS)]


def _of_a_family(rng: np.random.Generator) -> Question:
    family, text = kin.draw(rng, "train")
    person, relation = str(rng.choice(family.people)), str(rng.choice(list(kin.RELATIONS)))
    true = max(family.of(relation, person).items(), key=lambda item: item[1])[0]
    near = [*family.people, kin.NOBODY]
    return (Binding("family", text), Binding("person", person)), relation, true, near


def _of_a_source(rng: np.random.Generator) -> Question:
    source = chance.draw(rng, "train")
    given = (Binding("source", source.text),)
    if len(source.p) == 1 or rng.random() < 0.5:
        return given, "family", source.family, tuple(chance.FAMILIES)
    likely = sorted(source.p, key=lambda value: -source.p[value])
    return given, "value", likely[0], likely


_DRAWN_ANEW: Mapping[str, Callable[[np.random.Generator], Question]] = {
    "kin": _of_a_family,
    "chance": _of_a_source,
}


class RetellingTask:
    """Stories, each told in several orders and words, of which what happened is asked."""

    corpora: tuple[str, ...] = ("stories",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        verdict = corpora.schema("stories").variable("before").values
        self._verdict = PrefixTree.build([wire.answer(value) for value in verdict])

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """One story a row, in four tellings: its first, its last, and who left before whom."""
        return [self._row(rng) for _ in range(count)]

    def _row(self, rng: np.random.Generator) -> PackedRow:
        story, tellings = stories.draw(rng, "train", WAYS)
        people = PrefixTree.build([self._wire.answer(person) for person in story.people])
        one, other = (str(p) for p in rng.choice(story.people, 2, replace=False))
        pair = (Binding("one", one), Binding("other", other))
        builder = RowBuilder()
        places: list[list[slice]] = []
        for fact in FACTS:
            of_two = fact == "before"
            tree = self._verdict if of_two else people
            asked = [
                Conditional("stories", fact, (Binding("story", text), *(pair if of_two else ())))
                for text in tellings
            ]
            places.append(
                [builder.score(tree, builder.prompt(self._wire.prompt(each))) for each in asked]
            )

        def gap(log_p: Tensor) -> Tensor:
            gaps = [retelling_gap(torch.stack([log_p[p] for p in told])) for told in places]
            return torch.stack(gaps).mean()

        return builder.build(gap)
