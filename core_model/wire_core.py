"""The verbs of a core over an engine that reads the wire format's tokens.

The answers of a closed variable are normalised over its values, a choice among pieces over its
options. An engine scores a prefix tree of answers behind a prompt, draws texts, looks for the most
probable ones and streams one; all else is the same for every engine.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from core_model import corpora, notation, priors, wordings
from core_model.core import (
    Answer,
    Core,
    Distribution,
    refuse_open,
)
from core_model.corpora import schema
from core_model.errors import TextTooLong, UnknownName
from core_model.listing import Listing
from core_model.numerals import NumberGuard, TokenTable
from core_model.planning import Conditional, in_order, learnt_chains
from core_model.prefix_tree import PrefixTree, told_apart
from core_model.sampler import ANSWER_LIMIT
from core_model.search import Found
from core_model.stated import STATED
from core_model.wire import Wire

PROMPT_LIMIT = 2048
NEGLIGIBLE = 1e-6
"""Share of all that the first tokens of answers hold which is not looked behind when what is asked
for is a whole distribution, a draw or a choice; a log-probability that is asked for is exact."""


class WireCore(Core):
    """A core whose engine reads the tokens of a wire format.

    learnt: names of the corpora it was trained on, where that is known; others are refused.
    """

    def __init__(self, wire: Wire, name: str, learnt: Sequence[str] | None = None) -> None:
        self.name = name
        self._learnt = learnt
        self._wire = wire
        self._number_tokens = TokenTable.of(wire.tokenizer)
        self._trees: dict[tuple[str, ...], PrefixTree] = {}

    def has_learnt(self, what: str) -> bool:
        return what in (corpora.known() if self._learnt is None else self._learnt)

    def knows(self, corpus: str) -> bool:
        return self.has_learnt(corpus) or corpus not in corpora.known()

    @property
    def states_numbers(self) -> bool:
        return self._learnt is not None and STATED in self._learnt

    # --- what an engine does --------------------------------------------------------------------

    @abstractmethod
    def score(
        self, prompt: Sequence[int], tree: PrefixTree, pieces: bool = False,
        negligible: float = 0.0, listing: Listing | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """(n_answers,) log p(answer | prompt) in nats, over the tokens that may stand in a text.

        `pieces`: the answers are pieces of one, where the mark that closes a piece may follow too.
        `negligible`: of the tree's first tokens, the least probable, which hold together less than
        this share of the mass of all, may be left there: their answers share their mass evenly.
        `listing`: one of `listing_of`, to which the answers are kept.
        """

    @abstractmethod
    def draw(self, prompt: Sequence[int], n: int, rng: np.random.Generator) -> list[list[int]]:
        """n independent texts behind a prompt, as `Sampler.draw` gives them."""

    @abstractmethod
    def search(
        self, prompt: Sequence[int], top: int | None, rng: np.random.Generator,
        listing: Listing | None = None,
    ) -> Found:  # fmt: skip
        """The `top` most probable texts behind a prompt, and the entropy of all."""

    def listing_of(self, corpus: str, variable: str) -> Listing | None:
        """The list that answers are kept to, token by token; none where an engine can't."""
        return None

    def keep(
        self, prompt: Sequence[int], rows: Sequence[list[int]], listing: Listing,
        rng: np.random.Generator,
    ) -> list[list[int]]:  # fmt: skip
        """Texts that were drawn behind a prompt, as they would have been drawn from a list."""
        raise NotImplementedError

    @abstractmethod
    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float,
        guard: NumberGuard | None,
    ) -> Generator[int]:  # fmt: skip
        """The tokens of one text behind a prompt, as they are drawn, without the end.

        guard: what rules out tokens; whoever reads the tokens keeps it up to date.
        """

    # --- the verbs of a core --------------------------------------------------------------------

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        # A dialogue has no schema: who asks it knows what can be answered.
        is_corpus = conditional.corpus in corpora.known()
        variable = schema(conditional.corpus).asked(conditional.variable) if is_corpus else None
        if variable is not None and variable.kind == "closed":
            probability = self._closed(conditional)
            place = {value: i for i, value in enumerate(variable.values)}
            return np.array(
                [probability[place[a]] if a in place else -np.inf for a in answers], np.float64
            )
        distinct = list(dict.fromkeys(answers))
        if not distinct:
            return np.zeros(0)
        tree = PrefixTree.build([self._wire.answer(answer) for answer in distinct])
        prompt, listing = self._prompt(conditional), self._listing(conditional)
        scored = dict(zip(distinct, self.score(prompt, tree, listing=listing), strict=True))
        return np.array([scored[answer] for answer in answers])

    def shares_of(self, conditional: Conditional) -> NDArray[np.float64]:
        return np.exp(self._closed(conditional, NEGLIGIBLE))

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        # A dialogue has no schema, and what is said in it is open.
        is_corpus = conditional.corpus in corpora.known()
        variable = schema(conditional.corpus).asked(conditional.variable) if is_corpus else None
        if variable is not None and variable.kind == "closed":
            p = np.exp(self._closed(conditional, NEGLIGIBLE))
            return [variable.values[i] for i in rng.choice(len(p), size=n, p=p / p.sum())]
        prompt, listing = self._prompt(conditional), self._listing(conditional)
        rows = self.draw(prompt, n, rng)
        if listing is not None:
            rows = self.keep(prompt, rows, listing, rng)
        return [self._wire.tokenizer.decode_value(row) for row in rows]

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        variable = schema(conditional.corpus).asked(conditional.variable)
        given = notation.format_bindings(_short(conditional))
        printed = f"{conditional.corpus}: {conditional.variable}" + (given and f" | {given}")
        refuse_open(variable)
        if variable.kind == "enumerable":
            return self._search(conditional, top, printed)
        log_p = self._closed(conditional, NEGLIGIBLE)
        p = np.exp(log_p)
        order = np.argsort(-p, kind="stable")
        answers = tuple(Answer(variable.values[i], float(p[i])) for i in order)
        entropy = float(-(p[p > 0] * log_p[p > 0]).sum())
        whole = Distribution(printed, "exact", answers, min(float(p.sum()), 1.0), entropy, 0.0, 0)
        return whole.top(top)

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        if len(options) == 1:
            return np.zeros(1)
        prompt = self._prompt(conditional)
        for piece in partial:
            prompt += self._wire.piece(piece)
        pieces = [self._wire.piece(o) if o is not None else [self._wire.end] for o in options]
        tree = PrefixTree.build(told_apart(pieces))
        return _normalised(self.score(prompt, tree, pieces=True, negligible=NEGLIGIBLE))

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = ANSWER_LIMIT, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        tokenizer = self._wire.tokenizer
        guard = None
        if numbers is not None:
            guard = NumberGuard(self._number_tokens, numbers, before=opening)
        prompt = self._prompt(conditional) + tokenizer.encode_value(opening)
        tokens: list[int] = []
        shown = ""
        with contextlib.closing(self.stream(prompt, rng, temperature, guard)) as stream:
            while len(tokens) < max_tokens or (guard is not None and guard.is_open):
                token = next(stream, None)
                if token is None:
                    return
                tokens.append(token)
                if guard is not None:
                    guard.push(token)
                # Behind an opening a leading space belongs to the text.
                text = tokenizer.decode(tokens) if opening else tokenizer.decode_value(tokens)
                # A character may take several tokens; it is shown once it is whole.
                if text != shown and not text.endswith("\ufffd"):
                    yield text[len(shown) :]
                    shown = text

    def _refuse_unlearnt(self, conditional: Conditional) -> None:
        """Raises UnknownName for a variable, or for words, that this core was not trained on."""
        if self._learnt is None or conditional.corpus not in corpora.known():
            return
        corpus = schema(conditional.corpus)
        asked = corpus.asked(conditional.variable).name
        names = {asked, *(binding.variable for binding in conditional.given)}
        for variable in corpus.variables:
            if variable.name in names and not self.knows_variable(variable):
                raise UnknownName(
                    f"This core has not learnt '{variable.name}' of {conditional.corpus}. "
                    "Train it with scripts/train."
                )
        self._refuse_ways_of_asking(conditional, asked)

    def _refuse_ways_of_asking(self, conditional: Conditional, asked: str) -> None:
        """Raises UnknownName for words, chains and priors that this core has not learnt to read."""
        name = conditional.corpus
        unlearnt = None
        if wordings.relation_of(name, conditional.variable):
            unlearnt = None if self.has_learnt(wordings.learnt(name)) else "questions in words"
        elif _is_chain(conditional.variable) and not self.has_learnt(learnt_chains(name)):
            unlearnt = f"chains of {name} asked as one question"
        elif any(b.variable == priors.NAME for b in conditional.given):
            unlearnt = None if self.has_learnt(priors.learnt(name)) else f"priors in {name}"
        if unlearnt is not None:
            raise UnknownName(
                f"This core has not learnt {unlearnt}. Ask for '{asked}' by its name, or without "
                "--method asked."
            )

    def _corpora(self) -> list[str]:
        return [name for name in self._learnt or () if name in corpora.known()]

    # --- their parts ----------------------------------------------------------------------------

    def _listing(self, conditional: Conditional) -> Listing | None:
        return self.listing_of(conditional.corpus, conditional.variable)

    def _prompt(self, conditional: Conditional) -> list[int]:
        asked = conditional.corpus
        if not self.knows(asked):
            raise UnknownName(
                f"This core has not learnt '{asked}'. It knows {', '.join(self._corpora())}. "
                "Ask the data (--method data), or train it with scripts/train."
            )
        self._refuse_unlearnt(conditional)
        tokens = self._wire.prompt(in_order(conditional))
        if len(tokens) > PROMPT_LIMIT:
            raise TextTooLong(
                f"The text is too long: {len(tokens)} tokens, the core reads {PROMPT_LIMIT}. "
                "Give a part of it."
            )
        return tokens

    def _closed(self, conditional: Conditional, negligible: float = 0.0) -> NDArray[np.float64]:
        """Log-probabilities of a closed variable's values, normalised over them.

        A value is read as far as it takes to tell it from the others: what begins as it alone does
        is that value.
        """
        values = schema(conditional.corpus).asked(conditional.variable).values
        tree = self._tree_of(values)
        return _normalised(self.score(self._prompt(conditional), tree, negligible=negligible))

    def _tree_of(self, values: tuple[str, ...]) -> PrefixTree:
        if values not in self._trees:
            answers = [self._wire.answer(value) for value in values]
            self._trees[values] = PrefixTree.build(told_apart(answers))
        return self._trees[values]

    def _search(self, conditional: Conditional, top: int | None, printed: str) -> Distribution:
        """The most probable answers of an enumerable variable."""
        tokens = self._prompt(conditional)
        # The same query has the same error each time, and those of different ones are independent.
        rng = np.random.default_rng(tokens)
        found = self.search(tokens, top, rng, self._listing(conditional))
        answers = tuple(Answer(text, float(np.exp(v))) for text, v in found.log_p.items())
        listed = min(sum(a.probability for a in answers), 1.0)
        return Distribution(printed, "exact", answers, listed, found.entropy, found.stderr, found.n)


def _is_chain(asked: str) -> bool:
    """Whether steps are asked as one; `I(a; b)` has a semicolon too."""
    return ";" in asked and isinstance(notation.parse(asked), notation.Draw)


def _short(conditional: Conditional) -> tuple[notation.Binding, ...]:
    """What is given, without long texts: those are the data of a query, not part of it."""
    return tuple(b for b in conditional.given if len(b.value) <= 60)


def _normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (n,) that sum to one, from scores up to a constant."""
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float64)
