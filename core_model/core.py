"""The core: a structured language model that answers queries, behind few verbs.

An engine implements three verbs on one conditional distribution `p(variable | given)`; this file
builds the verbs users call from them: `sample`, `distribution` and `log_prob` of a `Draw`, whose
steps may be inverted and chained. Laws every engine passes: a distribution sums to at most one,
batch equals single, sample frequencies follow `log_prob`, a chain equals its mixture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core_model import notation
from core_model.corpora import schema
from core_model.errors import CandorError
from core_model.notation import Binding, Draw

Method = Literal["exact", "sampled", "asked", "data"]
CHAIN_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its error, sample size and method; `n` is 0 where nothing was sampled."""

    method: Method
    value: float
    stderr: float
    n: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a distribution and its probability."""

    value: str
    probability: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """Answers of one query, most probable first.

    listed_mass = Σ probability of `answers`, at most 1; what is missing belongs to answers not
    listed. entropy_nats is that of the whole distribution, with its standard error; n is the
    number of samples or records behind it, 0 for exact enumeration.
    """

    query: str
    method: Method
    answers: tuple[Answer, ...]
    listed_mass: float
    entropy_nats: float
    entropy_stderr: float
    n: int

    def top(self, count: int | None) -> Distribution:
        """Keep the `count` most probable answers; the entropy stays that of the whole."""
        if count is None or count >= len(self.answers):
            return self
        kept = self.answers[:count]
        return replace(self, answers=kept, listed_mass=sum(a.probability for a in kept))

    def probability_of(self, value: str) -> float:
        """Probability of one value, 0 where it is not listed."""
        return next((a.probability for a in self.answers if a.value == value), 0.0)


@dataclass(frozen=True, slots=True)
class Conditional:
    """p(variable | given) in one corpus."""

    corpus: str
    variable: str
    given: tuple[Binding, ...] = ()

    def bind(self, *bindings: Binding) -> Conditional:
        """The same conditional with more known; raises CandorError on a variable known twice."""
        known = {b.variable for b in self.given}
        for binding in bindings:
            if binding.variable in known:
                raise CandorError(f"'{binding.variable}' is given twice. Give it once.")
        return replace(self, given=self.given + bindings)


def from_weights(
    query: str, method: Method, weights: dict[str, float], n: int, entropy_stderr: float = 0.0
) -> Distribution:
    """Distribution from non-negative weights (any scale); raises CandorError when all are zero."""
    total = float(sum(weights.values()))
    if total <= 0:
        raise CandorError(f"No record matches '{query}'. Give fewer or other conditions.")
    probabilities = {value: weight / total for value, weight in weights.items() if weight > 0}
    answers = tuple(
        Answer(value, p) for value, p in sorted(probabilities.items(), key=lambda i: (-i[1], i[0]))
    )
    entropy = float(-sum(p * np.log(p) for p in probabilities.values()))
    return Distribution(query, method, answers, 1.0, entropy, entropy_stderr, n)


def entropy_error(probabilities: Sequence[float], n: int) -> float:
    """Standard error of a plug-in entropy, sqrt(Var[-log p] / n) nats (delta method)."""
    p = np.asarray([q for q in probabilities if q > 0])
    surprise = -np.log(p)
    variance = float((p * surprise**2).sum() - (p * surprise).sum() ** 2)
    return float(np.sqrt(max(variance, 0.0) / n)) if n else 0.0


class Core(ABC):
    """A structured language model. Engines implement the three `_of` verbs."""

    name: str

    @abstractmethod
    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        """log p(answer | given) in nats, shape (len(answers),)."""

    @abstractmethod
    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        """n independent answers."""

    @abstractmethod
    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        """Exact distribution: all values of a closed variable; the `top` of an enumerable one.

        Raises CandorError for an open variable: it can only be sampled.
        """

    @abstractmethod
    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        """log p(option comes next | given, pieces so far, some option does), nats, (n_options,).

        An answer may be made of pieces; None stands for its end. This is how an answer is decoded
        under a grammar: at each place only the pieces that may stand there are scored.
        """

    @abstractmethod
    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        """Stream one answer as it is drawn, behind `opening`.

        With `numbers` it can state these numbers and no others. Stopping the iteration stops the
        work.
        """

    def log_prob(
        self, query: Draw, answers: Sequence[str], data: str | None = None
    ) -> NDArray[np.float64]:
        """log p(answer) in nats of a query of one step, shape (len(answers),)."""
        conditionals = plan(query, data)
        if len(conditionals) > 1:
            raise CandorError(
                "A chain has no log-probability of its own yet: ask for its distribution."
            )
        return self.log_prob_of(conditionals[0].bind_nothing(), answers)

    def sample(
        self, query: Draw, n: int, rng: np.random.Generator, data: str | None = None
    ) -> list[str]:
        """n independent answers of the query's last step (ancestral sampling along a chain)."""
        first, *rest = plan(query, data)
        answers = self.sample_of(first.bind_nothing(), n, rng)
        for step in rest:
            answers = [self.sample_of(step.bind_value(a), 1, rng)[0] for a in answers]
        return answers

    def distribution(
        self,
        query: Draw,
        data: str | None = None,
        top: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Distribution:
        """Distribution of the last step's answer.

        One step: exact. A chain: the mixture Σ_m p(m) p(answer | m) over the intermediate
        answers, all of them where they can be listed, else `CHAIN_SAMPLES` sampled ones.
        """
        *intermediate, last = plan(query, data)
        printed = notation.format(query)
        if not intermediate:
            return replace(self.distribution_of(last.bind_nothing(), top), query=printed)
        rng = np.random.default_rng(0) if rng is None else rng
        states: dict[str | None, float] = {None: 1.0}
        sampled = 0
        for step in intermediate:
            following: dict[str | None, float] = defaultdict(float)
            for value, weight in states.items():
                conditional = step.bind_value(value) if value is not None else step.bind_nothing()
                if schema(step.conditional.corpus).variable(conditional.variable).kind == "closed":
                    for answer in self.distribution_of(conditional).answers:
                        following[answer.value] += weight * answer.probability
                else:
                    n = max(1, round(CHAIN_SAMPLES * weight))
                    sampled += n
                    for drawn in self.sample_of(conditional, n, rng):
                        following[drawn] += weight / n
            states = following
        mixture: dict[str, float] = defaultdict(float)
        for value, weight in states.items():
            assert value is not None  # every state after a step holds that step's answer
            for answer in self.distribution_of(last.bind_value(value), top).answers:
                mixture[answer.value] += weight * answer.probability
        listed = sum(mixture.values())
        result = from_weights(printed, "sampled" if sampled else "exact", mixture, sampled)
        scaled = tuple(replace(a, probability=a.probability * listed) for a in result.answers)
        error = entropy_error([a.probability for a in scaled], sampled)
        return replace(result, answers=scaled, listed_mass=listed, entropy_stderr=error).top(top)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a draw: its conditional, and the variable the previous answer is bound to."""

    conditional: Conditional
    reads: str | None

    def bind_nothing(self) -> Conditional:
        """The conditional of a first step."""
        return self.conditional

    def bind_value(self, value: str) -> Conditional:
        """The conditional once the previous step's answer is known."""
        assert self.reads is not None
        return self.conditional.bind(Binding(self.reads, value))


def plan(query: Draw, data: str | None = None) -> list[PlannedStep]:
    """Conditionals of a draw, step by step.

    A relation r reads the corpus's document and answers r; r^-1 reads r and answers the document.
    `data` is what the first step reads. What is given after `|` is known in every step that does
    not itself ask for it. Raises UnknownName and CandorError on a query the corpus can't answer.
    """
    if query.corpus is None:
        raise CandorError("Which corpus? Begin the query with its name, as in 'names: name'.")
    corpus = schema(query.corpus)
    query_checked = corpus.resolve(query)
    assert isinstance(query_checked, Draw)
    steps: list[PlannedStep] = []
    previous: str | None = None
    for index, step in enumerate(query_checked.steps):
        answer = corpus.document if step.inverse else step.relation
        reads = step.relation if step.inverse else corpus.document
        if index:
            assert previous is not None
            reads = previous
            if reads == answer:
                raise CandorError(
                    f"Step {index + 1} reads '{reads}' and answers it too. Ask another relation."
                )
        given = tuple(
            b for b in query_checked.given if b.variable not in (answer, reads if index else None)
        )
        conditional = Conditional(query.corpus, answer, given)
        if index == 0 and data is not None:
            if reads == answer:
                raise CandorError(f"'{answer}' is both the data and what is asked.")
            conditional = conditional.bind(Binding(reads, data))
        steps.append(PlannedStep(conditional, reads))
        previous = answer
    return steps
