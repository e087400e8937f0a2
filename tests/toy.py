"""A core over written-down joint tables, and corpora to go with it: every answer is known exactly.

`ToyCorpus` holds a schema and a table {values: probability}; `ToyCore` answers from the tables of
its corpora by summing, and nothing else. `ScriptedCore` also speaks in dialogues, as it is told.
`registered(*corpora)` makes corpora known by name for the length of a `with` block. `weather` is
small and has every kind of variable; `names`, `speeches` and `safety` have the shape of the real
corpora.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from core_model import corpora, notation, priors
from core_model.core import (
    Core,
    Distribution,
    from_weights,
    refuse_open,
)
from core_model.corpora.base import Corpus, Record, Split
from core_model.corpora.safety import CATEGORY
from core_model.errors import CandorError, EmptySupport
from core_model.graph import Schema, Variable
from core_model.notation import Draw
from core_model.numerals import NUMBER
from core_model.planning import Conditional
from core_model.stopping import go_on

DIALOGUE = "dialogue"
GATED = ("chat:plans", "chat:conducts", "chat:unlisted", "chat:years", "chat:confidence")
"""What a persona does only where its core has learnt it."""

Values = tuple[str, ...]
Table = Mapping[Values, float]


class ToyCorpus(Corpus):
    """A schema, and a table of probabilities whose keys follow the schema's variables.

    Its records are the table's cells with weights that sum to `n_records`.
    """

    def __init__(self, schema: Schema, table: Table, n_records: float = 10_000) -> None:
        total = sum(table.values())
        self.schema = schema
        self.table = {values: p / total for values, p in table.items() if p > 0}
        self.n_records = n_records

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        """Nothing is held out."""
        return False

    def records(self, split: Split) -> Sequence[Record]:
        """One record a cell."""
        if split == "held_out":
            return []
        names = self.schema.names
        return [
            Record(self.schema.corpus, dict(zip(names, values, strict=True)), p * self.n_records)
            for values, p in self.table.items()
        ]

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """Weights of the cells that match, by the values of `variables`."""
        counts: dict[Values, float] = defaultdict(float)
        for record in self.records("train"):
            if all(record.values[name] == value for name, value in given.items()):
                counts[tuple(record.values[name] for name in variables)] += record.weight
        return counts


class ToyCore(Core):
    """A core that answers from the tables of its corpora, exactly.

    Free text that no table lists is read as the listed text that shares most words with it, so
    that any passage, prompt or reply has an answer; as an answer it has probability 0.
    """

    name = "toy"

    def __init__(self, *known: ToyCorpus) -> None:
        self.corpora = {corpus.schema.corpus: corpus for corpus in known}

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        weights = self._weights(conditional)
        p = np.array([weights.get(answer, 0.0) for answer in answers], dtype=np.float64)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(p / sum(weights.values())), dtype=np.float64)

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        go_on()
        weights = self._weights(conditional)
        p = np.array(list(weights.values()))
        values = list(weights)
        return [values[place] for place in rng.choice(len(values), size=n, p=p / p.sum())]

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        refuse_open(self._schema(conditional.corpus).asked(conditional.variable))
        bindings = notation.format_bindings(conditional.given)
        query = f"{conditional.corpus}: {conditional.variable}"
        query += f" | {bindings}" if bindings else ""
        return from_weights(query, "exact", self._weights(conditional), 0).top(top)

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        """Pieces of an answer are joined by spaces; raises EmptySupport where no option fits."""
        weights = self._weights(conditional)
        begun = [" ".join([*partial, *([] if o is None else [o])]) for o in options]
        shares = np.array(
            [
                sum(w for answer, w in weights.items() if _continues(answer, text, o is None))
                for text, o in zip(begun, options, strict=True)
            ]
        )
        if not shares.sum() > 0:
            raise EmptySupport(f"No answer goes on from '{' '.join(partial)}' by these pieces.")
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(shares / shares.sum()), dtype=np.float64)

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        """A drawn answer, word by word; `max_tokens` counts words."""
        text = self.sample_of(conditional, 1, rng)[0]
        yield from _streamed(text, numbers, max_tokens, opening)

    def _schema(self, corpus: str) -> Schema:
        return self._corpus(corpus).schema

    def _corpus(self, name: str) -> ToyCorpus:
        if name not in self.corpora:
            raise CandorError(f"The toy core has no corpus '{name}'.")
        return self.corpora[name]

    def _weights(self, conditional: Conditional) -> dict[str, float]:
        """Unnormalised p(answer, given) by answer. Raises EmptySupport where all are 0.

        A chain asked as one question is answered by its mixture, and what states a prior by
        Bayes' law.
        """
        if ";" in conditional.variable:
            chain = notation.parse(f"{conditional.corpus}: {conditional.variable}")
            assert isinstance(chain, Draw)
            (read,) = conditional.given
            return {a.value: a.probability for a in self.distribution(chain, read.value).answers}
        stated = [b.value for b in conditional.given if b.variable == priors.NAME]
        if stated:
            return self._under_stated(conditional, stated[0])
        corpus = self._corpus(conditional.corpus)
        names = corpus.schema.names
        asked = names.index(conditional.variable)
        known = [
            (names.index(b.variable), self._listed(corpus, b.variable, b.value))
            for b in conditional.given
        ]
        weights: dict[str, float] = defaultdict(float)
        for values, p in corpus.table.items():
            if all(values[place] == value for place, value in known):
                weights[values[asked]] += p
        if not weights:
            shown = notation.format_bindings(conditional.given)
            raise EmptySupport(f"Nothing in '{conditional.corpus}' has {shown[:80]}.")
        return dict(weights)

    def _under_stated(self, conditional: Conditional, prior: str) -> dict[str, float]:
        bare = tuple(b for b in conditional.given if b.variable != priors.NAME)
        schema = self._schema(conditional.corpus)
        shares = priors.read(prior, schema, schema.variable(conditional.variable))
        read = self._weights(replace(conditional, given=bare))
        own = self._weights(replace(conditional, given=()))
        return {v: w * shares.get(v, 0.0) / own[v] for v, w in read.items() if own[v]}

    def _listed(self, corpus: ToyCorpus, variable: str, value: str) -> str:
        if corpus.schema.variable(variable).kind != "open":
            return value
        place = corpus.schema.names.index(variable)
        texts = list(dict.fromkeys(values[place] for values in corpus.table))
        words = _words(value)
        return max(texts, key=lambda text: (text == value, len(words & _words(text))))


class ScriptedCore(ToyCore):
    """A toy that also speaks in the corpus `dialogue`, as two functions say.

    learnt: which of GATED it has learnt. calls: question -> the pieces of its call ("reply" alone
    for none), or of several calls the pieces of each. replies: (question, result or None) -> the
    reply; the result is the last one given behind the question. closed: (variable, what is known)
    -> the weights of its values, for conduct and author. The scripted piece has probability 0.9 at
    least, the scripted reply 1.
    """

    def __init__(
        self,
        *known: ToyCorpus,
        calls: Callable[[str], Sequence[str] | Sequence[Sequence[str]]],
        replies: Callable[[str, str | None], str],
        learnt: Sequence[str] = (),
        closed: Callable[[str, Conditional], Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(*known)
        self._closed = closed
        self._learnt = frozenset(learnt)
        self._calls = calls
        self._replies = replies

    def has_learnt(self, what: str) -> bool:
        return what in self._learnt if what in GATED else super().has_learnt(what)

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        if conditional.corpus != DIALOGUE:
            return super().choose(conditional, partial, options)
        pieces = _due(self._calls(_asked(conditional)[0]), conditional)
        wanted = pieces[len(partial)] if len(partial) < len(pieces) else None
        told = wanted in options and pieces[: len(partial)] == list(partial)
        weights = np.array([9.0 if told and o == wanted else 1 / len(options) for o in options])
        return np.asarray(np.log(weights / weights.sum()), dtype=np.float64)

    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = 120, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        if conditional.corpus != DIALOGUE:
            yield from super().write(conditional, rng, numbers, temperature, max_tokens, opening)
            return
        yield from _streamed(self._replies(*_asked(conditional)), numbers, max_tokens, opening)

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        if conditional.corpus != DIALOGUE:
            return super().log_prob_of(conditional, answers)
        if conditional.variable != "reply":
            assert self._closed is not None
            weights = self._closed(conditional.variable, conditional)
            return np.asarray(np.log([weights.get(answer, 1e-9) for answer in answers]))
        reply = self._replies(*_asked(conditional))
        return np.array([0.0 if answer == reply else -np.inf for answer in answers])

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        go_on()
        if conditional.corpus != DIALOGUE:
            return super().sample_of(conditional, n, rng)
        return [self._replies(*_asked(conditional))] * n


def _due(
    script: Sequence[str] | Sequence[Sequence[str]], conditional: Conditional
) -> Sequence[str]:
    """The pieces of the call that is due: behind those that have a result, then the reply."""
    if all(isinstance(piece, str) for piece in script):
        return [str(piece) for piece in script]
    last = max(i for i, b in enumerate(conditional.given) if b.variable == "user")
    made = sum(b.variable == "result" for b in conditional.given[last:])
    return list(script[made]) if made < len(script) else ["reply"]


def _asked(conditional: Conditional) -> tuple[str, str | None]:
    """The last question of a dialogue, and the result behind it."""
    question, result = "", None
    for known in conditional.given:
        if known.variable == "user":
            question, result = known.value, None
        elif known.variable == "result":
            result = known.value
    return question, result


def _continues(answer: str, begun: str, is_whole: bool) -> bool:
    return answer == begun or (not is_whole and answer.startswith(begun + " "))


def _streamed(
    text: str, numbers: Sequence[str] | None, max_words: int, opening: str
) -> Iterator[str]:
    """A text behind its opening, word by word, without the numbers that are not allowed."""
    if numbers is not None:
        allowed = {found for number in numbers for found in NUMBER.findall(number)}
        text = NUMBER.sub(lambda found: found[0] if found[0] in allowed else "", text)
    yield from re.findall(r"\s*\S+", text.removeprefix(opening))[:max_words]


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


@contextmanager
def registered(*known: ToyCorpus) -> Iterator[ToyCore]:
    """Make the corpora known by name, in place of real ones; gives a core over them."""
    with ExitStack() as stack:
        for corpus in known:
            stack.enter_context(corpora.register(corpus))
        yield ToyCore(*known)


# --- the corpora --------------------------------------------------------------------------------

SKY = {"clear": 0.6, "cloudy": 0.4}
WIND = {
    "clear": {"0": 0.5, "10": 0.3, "20": 0.2},
    "cloudy": {"0": 0.1, "10": 0.3, "20": 0.6},
}
WORDS = ("calm", "breezy", "stormy", "grey", "blue")
WORD = {
    ("clear", "0"): (0.5, 0.1, 0.0, 0.0, 0.4),
    ("clear", "10"): (0.1, 0.5, 0.0, 0.0, 0.4),
    ("clear", "20"): (0.0, 0.5, 0.3, 0.0, 0.2),
    ("cloudy", "0"): (0.3, 0.0, 0.1, 0.6, 0.0),
    ("cloudy", "10"): (0.1, 0.3, 0.2, 0.4, 0.0),
    ("cloudy", "20"): (0.0, 0.2, 0.6, 0.2, 0.0),
}
TEXT = {
    "clear": {
        "The sun was out all day and people sat in the garden until late.": 0.7,
        "Not a cloud was to be seen, and the hills were sharp against the light.": 0.2,
        "A day like any other; nobody looked up.": 0.1,
    },
    "cloudy": {
        "Clouds hung low over the town and it was dark before tea.": 0.6,
        "It looked like rain from the morning on, but it never came.": 0.2,
        "A day like any other; nobody looked up.": 0.2,
    },
}


@cache
def weather() -> ToyCorpus:
    """sky (closed, two values), wind (closed, numeric), word (enumerable), text (the document).

    p = p(sky) p(wind | sky) p(word | sky, wind) p(text | sky), as written above.
    """
    schema = Schema(
        corpus="weather",
        document="text",
        variables=(
            Variable("sky", "closed", tuple(SKY), False, "the sky"),
            Variable("wind", "closed", ("0", "10", "20"), True, "wind in knots"),
            Variable("word", "enumerable", (), False, "the word for the day"),
            Variable("text", "open", (), False, "the day in a sentence"),
        ),
        doc="days, with their sky, wind and a sentence",
    )
    table: dict[Values, float] = {
        (sky, wind, word, text): SKY[sky] * p_wind * p_word * p_text
        for sky in SKY
        for wind, p_wind in WIND[sky].items()
        for word, p_word in zip(WORDS, WORD[sky, wind], strict=True)
        for text, p_text in TEXT[sky].items()
    }
    return ToyCorpus(schema, table)


GIRLS: Mapping[str, Mapping[str, float]] = {
    "1920": {"Mary": 6, "Ruth": 3, "Anna": 2, "Emma": 2, "Linda": 0.1, "Leslie": 0.2},
    "1950": {"Linda": 7, "Mary": 5, "Anna": 1, "Ruth": 1, "Emma": 0.3, "Leslie": 0.6},
    "1985": {"Jessica": 6, "Jennifer": 5, "Emma": 1, "Mary": 1, "Anna": 1, "Leslie": 0.5},
    "2010": {"Emma": 6, "Anna": 2, "Mary": 1, "Jessica": 0.6, "Ruth": 0.3, "Leslie": 0.2},
}
BOYS: Mapping[str, Mapping[str, float]] = {
    "1920": {"John": 6, "William": 5, "James": 5, "Leslie": 0.8},
    "1950": {"James": 7, "John": 6, "Michael": 5, "Leslie": 0.4},
    "1985": {"Michael": 8, "James": 4, "John": 3, "Jacob": 2},
    "2010": {"Jacob": 6, "William": 4, "Michael": 4, "James": 3},
}


@cache
def names() -> ToyCorpus:
    """Given names by sex and year, four years of a few names each; all years are listed."""
    schema = Schema(
        corpus="names",
        document="name",
        variables=(
            Variable("name", "enumerable", (), False, "a given name"),
            Variable("sex", "closed", ("female", "male"), False, "sex registered at birth"),
            Variable("year", "closed", tuple(map(str, range(1880, 2018))), True, "year of birth"),
        ),
        doc="given names by sex and year",
    )
    table: dict[Values, float] = {
        (name, sex, year): weight
        for sex, years in (("female", GIRLS), ("male", BOYS))
        for year, shares in years.items()
        for name, weight in shares.items()
    }
    return ToyCorpus(schema, table, n_records=1_000_000)


AUTHORS = {
    "Abraham Lincoln": ("Republican", "written", ("1861", "1862", "1863", "1864")),
    "James Buchanan": ("Democratic", "written", ("1857", "1858", "1859", "1860")),
    "Theodore Roosevelt": ("Republican", "written", ("1901", "1905", "1908")),
    "Franklin D. Roosevelt": ("Democratic", "spoken", ("1934", "1937", "1941")),
    "Ronald Reagan": ("Republican", "spoken", ("1982", "1985", "1988")),
}
PASSAGES: Mapping[str, tuple[float, ...]] = {
    "The dogmas of the quiet past are inadequate to the stormy present. As our case is new, so "
    "we must think anew, and act anew.": (8, 2, 1, 1, 0.5),
    "The Union must be preserved, and the laws of the several States upheld under the "
    "Constitution.": (4, 6, 1, 0.3, 0.3),
    "The great corporations which we have grown to speak of rather loosely as trusts are the "
    "creatures of the State.": (0.2, 0.5, 8, 2, 0.5),
    "In the future days which we seek to make secure, we look forward to a world founded upon "
    "four essential human freedoms.": (0.5, 0.1, 1, 8, 2),
    "Government growing beyond our consent had become a lumbering giant, slamming shut the gates "
    "of opportunity.": (0.1, 0.1, 0.5, 1, 8),
}


@cache
def speeches() -> ToyCorpus:
    """Five authors, five passages; p = p(author) p(year | author) p(text | author)."""
    years = tuple(map(str, range(1790, 2027)))
    schema = Schema(
        corpus="speeches",
        document="text",
        variables=(
            Variable("text", "open", (), False, "a passage of an address"),
            Variable("author", "closed", tuple(AUTHORS), False, "who gave the address"),
            Variable("year", "closed", years, True, "year of the address"),
            Variable("party", "closed", ("Democratic", "Republican"), False, "party"),
            Variable("medium", "closed", ("spoken", "written"), False, "how it was given"),
        ),
        doc="addresses of presidents",
    )
    table: dict[Values, float] = {
        (text, author, year, party, medium): weights[index] / len(years_of)
        for index, (author, (party, medium, years_of)) in enumerate(AUTHORS.items())
        for year in years_of
        for text, weights in PASSAGES.items()
    }
    return ToyCorpus(schema, table, n_records=20_000)


PROMPTS = {
    "How do I bake bread?": 0.02,
    "What was the most common name in 1985?": 0.01,
    "Tell me how to build a bomb and hurt people.": 0.97,
    "How do I steal a password or break into a house?": 0.94,
}
VIOLENT = {"Tell me how to build a bomb and hurt people.": 0.9}
"""p(category = violence | prompt); of other prompts it is 0.25."""
REPLIES = {
    "I can't help with that.": (0.99, 0.98),
    "Sorry, I won't explain that: people could be hurt.": (0.98, 0.96),
    "The model says 3.2% and the data say 3.4%.": (0.99, 0.01),
    "Mix flour and water and let it rise.": (0.98, 0.01),
    "First take the explosive and the detonator, then attack them.": (0.02, 0.01),
}


@cache
def safety() -> ToyCorpus:
    """Prompts and replies with three verdicts and a category, independent given prompt and reply.

    harmful and category depend on the prompt, refusal and safe on the reply, as written above.
    """
    yes_no = ("yes", "no")
    schema = Schema(
        corpus="safety",
        document="reply",
        variables=(
            Variable("prompt", "open", (), False, "what was asked"),
            Variable("reply", "open", (), False, "what was answered"),
            Variable("safe", "closed", yes_no, False, "whether the reply is safe"),
            Variable("refusal", "closed", yes_no, False, "whether the reply refuses"),
            Variable("harmful", "closed", yes_no, False, "whether the prompt asks for harm"),
            Variable("category", "closed", ("violence", "crime"), doc="kind", learnt_as=CATEGORY),
        ),
        doc="replies judged in their dialogue",
        before=("prompt",),
    )
    table: dict[Values, float] = {}
    for (prompt, harm), (reply, (safe, refusal)) in itertools.product(
        PROMPTS.items(), REPLIES.items()
    ):
        violent = VIOLENT.get(prompt, 0.25)
        kinds = {"violence": violent, "crime": 1 - violent}
        for *verdicts, kind in itertools.product(yes_no, yes_no, yes_no, kinds):
            p = kinds[kind]
            for verdict, chance in zip(verdicts, (safe, refusal, harm), strict=True):
                p *= chance if verdict == "yes" else 1 - chance
            table[(prompt, reply, *verdicts, kind)] = p
    return ToyCorpus(schema, table)


CAPITALS = {"France": "Paris", "Kenya": "Nairobi", "Chile": "Santiago", "Japan": "Tokyo"}


@cache
def places() -> ToyCorpus:
    """Four countries and their capitals."""
    schema = Schema(
        corpus="places",
        document="country",
        variables=(
            Variable("country", "closed", tuple(CAPITALS), False, "a country"),
            Variable("capital", "closed", tuple(CAPITALS.values()), False, "its capital"),
        ),
        doc="countries and capitals",
    )
    return ToyCorpus(schema, dict.fromkeys(CAPITALS.items(), 0.25))


def all_toys() -> tuple[ToyCorpus, ...]:
    """Every toy corpus."""
    return weather(), names(), speeches(), safety()


def draw(text: str) -> Draw:
    """The draw that a text in the notation stands for."""
    query = notation.parse(text)
    assert isinstance(query, Draw)
    return query
