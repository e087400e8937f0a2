"""The core: a structured language model that answers queries, behind few verbs.

An engine implements three verbs on one conditional distribution `p(variable | given)`; this file
builds the verbs users call from them: `sample`, `distribution` and `log_prob` of a `Draw`, whose
steps may be inverted and chained. Laws every engine passes: a distribution sums to at most one,
batch equals single, sample frequencies follow `log_prob`, a chain equals its mixture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core_model import notation, priors, stated
from core_model.corpora import schema
from core_model.errors import CandorError, InvalidQuery, UnknownName
from core_model.graph import Variable
from core_model.notation import Binding, Draw, Measure
from core_model.planning import Conditional, PlannedStep, State, at_once, is_joint, plan

Method = Literal["exact", "sampled", "gibbs", "asked", "data"]
CHAIN_SAMPLES = 64
"""Draws along a chain, where what lies between its steps can't be listed."""
SEARCHED = 8
"""States of a chain whose most probable answers are looked for."""
LEFT_OUT = 1e-4
"""Mass of the lightest states of a chain, in all, that its next step is not asked about."""


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
    entropy = entropy_of(np.array(list(probabilities.values())))
    return Distribution(query, method, answers, 1.0, entropy, entropy_stderr, n)


def entropy_error(probabilities: Sequence[float], n: float) -> float:
    """Standard error of a plug-in entropy, sqrt(Var[-log p] / n) nats (delta method)."""
    p = np.asarray([q for q in probabilities if q > 0])
    surprise = -np.log(p)
    variance = float((p * surprise**2).sum() - (p * surprise).sum() ** 2)
    return float(np.sqrt(max(variance, 0.0) / n)) if n else 0.0


def jackknife(
    statistic: Callable[[NDArray[np.float64]], float], rows: NDArray[np.float64]
) -> tuple[float, float]:
    """A statistic of the mean of n ≥ 2 independent rows, bias-corrected, and its standard error.

    θ = n θ̂ - (n - 1) mean θ_(i), with θ_(i) that of the mean without row i;
    stderr = sqrt((n - 1)/n Σ (θ_(i) - mean θ)²). Efron & Stein 1981.
    """
    n, mean = len(rows), rows.mean(axis=0)
    without = np.array([statistic((n * mean - row) / (n - 1)) for row in rows])
    value = n * statistic(mean) - (n - 1) * without.mean()
    return float(value), float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


def entropy_of(p: NDArray[np.float64]) -> float:
    """-Σ p log p of (n,) probabilities, nats."""
    return float(abs(-(p[p > 0] * np.log(p[p > 0])).sum()))  # abs: 0 of a certainty, not -0


def refuse_open(variable: Variable) -> None:
    """Raises CandorError for free text, which has no list of answers."""
    if variable.kind == "open":
        raise CandorError(
            f"'{variable.name}' is free text: its answers can only be sampled. "
            "Use --method sampled."
        )


class Core(ABC):
    """A structured language model. Engines implement the three `_of` verbs."""

    name: str

    @abstractmethod
    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        """log p(answer | given) in nats, shape (len(answers),)."""

    def shares_of(self, conditional: Conditional) -> NDArray[np.float64]:
        """p of all values of a closed variable, in order; what is negligible may be evened out."""
        values = schema(conditional.corpus).asked(conditional.variable).values
        return np.asarray(np.exp(self.log_prob_of(conditional, values)), np.float64)

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

    def warm_up(self) -> None:
        """Begin, beside other work, what makes writing many texts faster and takes a while."""
        return

    def log_prob(
        self, query: Draw, answers: Sequence[str], data: str | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """log p(answer) in nats, shape (len(answers),).

        Of a chain it is log Σ_s p(s) p(answer | s) over the states s that the last step may read:
        all of them where they can be listed, else `CHAIN_SAMPLES` drawn ones. An answer of
        several variables is written as bindings.
        """
        steps = plan(query, data)
        if len(steps) == 1:
            return self.log_prob_of(steps[0].bind(()), answers)
        last = len(query.steps[-1].parts)
        before, parts = steps[:-last], steps[-last:]
        states = self._states(before, rng)
        if is_joint(query):
            p = states.mean @ self._joint_given_each(states, parts, answers)
        else:
            p = states.mean @ self._given_each(states, parts[0], answers)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(p), np.float64)

    def sample(
        self, query: Draw, n: int, rng: np.random.Generator, data: str | None = None
    ) -> list[str]:
        """n independent answers of the query's last step (ancestral sampling along a chain)."""
        steps = plan(query, data)
        states: list[State] = [()] * n
        for step in steps:
            states = self._sample_each(step, states, rng)
        names = [step.conditional.variable for step in steps]
        return [printed(names, state) for state in states]

    def distribution(
        self,
        query: Draw,
        data: str | None = None,
        top: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Distribution:
        """Distribution of the last step's answer.

        One step: exact, also under a prior that the query states. A chain: the mixture
        Σ_s p(s) p(answer | s), as in `log_prob`. Over drawn states its entropy is corrected for
        their number by the jackknife. Of an enumerable answer the candidates are the most probable
        ones of the `SEARCHED` heaviest states and some drawn along the chain, each scored in every
        state; its entropy is the mean of -log p of the drawn ones, with their number as `n`.
        """
        if any(binding.variable == priors.NAME for binding in query.given):
            return self._under_prior(query, data, top)
        steps = plan(query, data)
        text = notation.format(query)
        if len(steps) == 1:
            return replace(self.distribution_of(steps[0].bind(()), top), query=text)
        rng = np.random.default_rng(0) if rng is None else rng
        *before, last = steps
        for step in steps[-len(query.steps[-1].parts) :]:
            refuse_open(step.variable)
        if last.is_listed:
            states = self._states(steps, rng)
            names = [step.conditional.variable for step in steps]
            answers: Sequence[str] = [printed(names, state) for state in states.values]
            p, n = states.mean, states.n
            value, error = jackknife(entropy_of, states.weights) if n else (entropy_of(p), 0.0)
            value = max(value, 0.0)
        else:
            if is_joint(query):
                raise CandorError(
                    f"'{last.variable.name}' beside others has no list of answers. "
                    "Use --method sampled."
                )
            states = self._states(before, rng)
            heaviest = np.argsort(-states.mean, kind="stable")[:SEARCHED]
            found = [self.distribution_of(last.bind(states.values[i]), top) for i in heaviest]
            n = CHAIN_SAMPLES
            reached = rng.choice(len(states.values), size=n, p=states.mean)
            drawn = [
                state[-1]
                for state in self._sample_each(last, [states.values[i] for i in reached], rng)
            ]
            listed = [answer.value for each in found for answer in each.answers]
            answers = list(dict.fromkeys([*listed, *drawn]))
            p = states.mean @ self._given_each(states, last, answers)
            surprise = -np.log(p[[answers.index(value) for value in drawn]])
            value, error = float(surprise.mean()), float(surprise.std(ddof=1) / np.sqrt(n))
        order = sorted((i for i in range(len(p)) if p[i] > 0), key=lambda i: (-p[i], answers[i]))
        listing = tuple(Answer(answers[i], float(p[i])) for i in order)
        method: Method = "sampled" if states.n else "exact"
        mass = min(float(p.sum()), 1.0)
        return Distribution(text, method, listing, mass, value, error, n).top(top)

    def _under_prior(self, query: Draw, data: str | None, top: int | None) -> Distribution:
        """The distribution of one closed variable under a prior that the query states, exact."""
        if data is None:
            raise InvalidQuery("A prior is weighed against data: give them with --data.")
        corpus = schema(query.corpus or "")
        query = corpus.resolve(query)
        bare, stated = priors.split(query)
        (read,), (unread,) = plan(bare, data), plan(bare)
        values = read.variable.values
        shares = priors.read(stated or "", corpus, read.variable)
        posterior = self.log_prob_of(read.bind(()), values)
        own = self.log_prob_of(unread.bind(()), values)
        possible = [i for i, value in enumerate(values) if shares.get(value) and own[i] > -np.inf]
        weights = {values[i]: shares[values[i]] * np.exp(posterior[i] - own[i]) for i in possible}
        if not sum(weights.values()) > 0:
            raise InvalidQuery("The core holds all that the prior names for impossible here.")
        return from_weights(notation.format(query), "exact", weights, 0).top(top)

    def asked(self, query: Draw, data: str | None = None, top: int | None = None) -> Distribution:
        """What the core says of a chain asked as one question; raises what `at_once` raises."""
        found = self.distribution_of(at_once(query, data), top)
        return replace(found, query=notation.format(query), method="asked")

    def has_learnt(self, what: str) -> bool:
        """Whether it was trained on something: a corpus, or what a task calls itself."""
        return True

    def knows(self, corpus: str) -> bool:
        """Whether it can be asked about a corpus."""
        return self.has_learnt(corpus)

    def knows_variable(self, variable: Variable) -> bool:
        """Whether it can be asked about a variable of a corpus that it knows."""
        return variable.learnt_as is None or self.has_learnt(variable.learnt_as)

    @property
    def states_numbers(self) -> bool:
        """Whether it has learnt to state measures of itself."""
        return False

    def stated(self, query: Measure) -> Estimate:
        """What the core says a measure of itself is: mean and deviation of the number it states.

        Raises UnknownName where it has not learnt to.
        """
        if not self.states_numbers:
            raise UnknownName(
                "This core has not learnt to state measures of itself. Use exact or sampled."
            )
        kind = type(query)
        asked = Conditional(query.corpus or "", stated.question(query), query.given)
        p = np.exp(self.log_prob_of(asked, stated.GRIDS[kind]))
        p, grid = p / p.sum(), np.array(stated.numbers(kind))
        mean = float(p @ grid)
        error = float(np.sqrt(p @ (grid - mean) ** 2))
        return Estimate("asked", mean, error, 0, stated.UNITS.get(kind, ""))

    def _sample_each(
        self, step: PlannedStep, states: Sequence[State], rng: np.random.Generator
    ) -> list[State]:
        """The state behind a step for each state; answers of equal ones are drawn in one call."""
        drawn = {
            state: iter(self.sample_of(step.bind(state), count, rng))
            for state, count in Counter(states).items()
        }
        return [step.behind(state, next(drawn[state])) for state in states]

    def _states(self, steps: Sequence[PlannedStep], rng: np.random.Generator | None) -> _States:
        """What the step behind these may read: every value of closed steps, else drawn ones."""
        rng = np.random.default_rng(0) if rng is None else rng
        rows: list[dict[State, float]] = [{(): 1.0}]
        for step in steps:
            rows = [_without_lightest(row) for row in rows]
            if step.is_listed:
                reached = dict.fromkeys(state for row in rows for state in row)
                tables = {s: self.distribution_of(step.bind(s)).answers for s in reached}
                rows = [_passed(step, row, tables) for row in rows]
            else:
                rows = rows * CHAIN_SAMPLES if len(rows) == 1 else rows
                points = rng.random(len(rows))
                before = [_drawn(row, point) for row, point in zip(rows, points, strict=True)]
                rows = [{state: 1.0} for state in self._sample_each(step, before, rng)]
        reachable = tuple(dict.fromkeys(s for row in rows for s, weight in row.items() if weight))
        weights = np.array([[row.get(state, 0.0) for state in reachable] for row in rows])
        return _States(reachable, weights / weights.sum(axis=1, keepdims=True))

    def _given_each(
        self, states: _States, step: PlannedStep, answers: Sequence[str]
    ) -> NDArray[np.float64]:
        """(n_states, n_answers) p(answer | state); 0 of the lightest states."""
        kept = _without_lightest(dict(zip(states.values, states.mean, strict=True)))
        nothing = np.full(len(answers), -np.inf)
        return np.exp(
            [
                self.log_prob_of(step.bind(state), answers) if state in kept else nothing
                for state in states.values
            ]
        )

    def _joint_given_each(
        self, states: _States, parts: Sequence[PlannedStep], answers: Sequence[str]
    ) -> NDArray[np.float64]:
        """(n_states, n_answers) p(answer | state) of bindings, by the chain rule."""
        names = [part.conditional.variable for part in parts]
        rows = [_unprinted(names, answer) for answer in answers]
        table = np.zeros((len(states.values), len(answers)))
        for number, state in enumerate(states.values):
            log_p = np.array([0.0 if row is not None else -np.inf for row in rows])
            for place, part in enumerate(parts):
                groups: dict[State, list[int]] = defaultdict(list)
                for index, row in enumerate(rows):
                    if row is not None and log_p[index] > -np.inf:
                        groups[row[:place]].append(index)
                for known, members in groups.items():
                    asked = [row[place] for index in members if (row := rows[index]) is not None]
                    conditional = part.bind((*state, *known))
                    log_p[members] += self.log_prob_of(conditional, asked)
            table[number] = np.exp(log_p)
        return table


@dataclass(frozen=True, slots=True)
class _States:
    """What the last step of a chain may read, each state once.

    weights: (n_draws, n_states), rows that sum to one; one row alone where all was listed.
    """

    values: tuple[State, ...]
    weights: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of draws, 0 where all was listed."""
        return len(self.weights) if len(self.weights) > 1 else 0

    @property
    def mean(self) -> NDArray[np.float64]:
        """(n_states,) the weight of each state."""
        return np.asarray(self.weights.mean(axis=0), np.float64)


def _passed(
    step: PlannedStep, row: Mapping[State, float], tables: Mapping[State, Sequence[Answer]]
) -> dict[State, float]:
    """The states behind a listed step: each weighted answer of each weighted state."""
    following: dict[State, float] = defaultdict(float)
    for state, weight in row.items():
        for answer in tables[state]:
            following[step.behind(state, answer.value)] += weight * answer.probability
    return following


def _without_lightest(row: dict[State, float]) -> dict[State, float]:
    """The states but the lightest ones, `LEFT_OUT` of the mass together."""
    order = sorted(row, key=row.__getitem__)
    reached = np.cumsum([row[state] for state in order])
    return {state: row[state] for state in order[int((reached <= LEFT_OUT).sum()) :]}


def _drawn(row: Mapping[State, float], point: float) -> State:
    """The state of weighted ones at a point between 0 and 1 of their cumulated weight."""
    cumulated = np.cumsum(list(row.values()))
    return list(row)[int(np.searchsorted(cumulated, point * cumulated[-1], side="right"))]


def printed(names: Sequence[str], values: State) -> str:
    """An answer as it is written: the value, or of several variables (the last) bindings."""
    if len(values) == 1:
        return values[0]
    return notation.format_bindings(map(Binding, names[-len(values) :], values))


def _unprinted(names: Sequence[str], answer: str) -> State | None:
    """The values of an answer written as bindings of these names; None where it is none."""
    try:
        query = notation.parse(f"{names[0]} | {answer}")
    except CandorError:
        return None
    given = query.given
    return tuple(b.value for b in given) if [b.variable for b in given] == list(names) else None


class Remembering(Core):
    """A core that is asked everything once; what it says is what it would have said.

    A draw is the same again where its generator is in the same state, and leaves it as it did.
    """

    def __init__(self, core: Core) -> None:
        self.name = core.name
        self._core = core
        self._scores: dict[tuple[Conditional, tuple[str, ...]], NDArray[np.float64]] = {}
        self._shares: dict[Conditional, NDArray[np.float64]] = {}
        self._found: dict[tuple[Conditional, int | None], Distribution] = {}
        self._drawn: dict[tuple[Conditional, int, str], tuple[list[str], Any]] = {}
        self._chosen: dict[tuple[Any, ...], NDArray[np.float64]] = {}

    def has_learnt(self, what: str) -> bool:
        return self._core.has_learnt(what)

    def knows(self, corpus: str) -> bool:
        return self._core.knows(corpus)

    @property
    def states_numbers(self) -> bool:
        return self._core.states_numbers

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        key = conditional, tuple(answers)
        if key not in self._scores:
            self._scores[key] = self._core.log_prob_of(conditional, answers)
        return self._scores[key].copy()

    def shares_of(self, conditional: Conditional) -> NDArray[np.float64]:
        if conditional not in self._shares:
            self._shares[conditional] = self._core.shares_of(conditional)
        return self._shares[conditional].copy()

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        key = conditional, n, str(rng.bit_generator.state)
        if key not in self._drawn:
            drawn = self._core.sample_of(conditional, n, rng)
            self._drawn[key] = drawn, rng.bit_generator.state
        drawn, rng.bit_generator.state = self._drawn[key]
        return list(drawn)

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        key = conditional, top
        if key not in self._found:
            self._found[key] = self._core.distribution_of(conditional, top)
        return self._found[key]

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        key = conditional, tuple(partial), tuple(options)
        if key not in self._chosen:
            self._chosen[key] = self._core.choose(conditional, partial, options)
        return self._chosen[key].copy()

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        return self._core.write(conditional, rng, numbers, temperature, max_tokens, opening)
