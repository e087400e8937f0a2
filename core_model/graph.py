"""Schemas: the variables of a corpus, and whether a query makes sense for them."""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from core_model import priors, stated, wordings
from core_model.errors import InvalidQuery, UnknownName
from core_model.notation import (
    AnyQuery,
    Binding,
    Correlation,
    Draw,
    Entropy,
    Fork,
    MutualInformation,
    Probability,
    Query,
    Step,
    parse,
)

Kind = Literal["closed", "enumerable", "open"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One named piece of text in a record.

    kind: `closed` is a small fixed set, `enumerable` too large a set to be scored whole, and
    listed by the corpus or not, `open` free text. `numeric`: the values are written numbers.
    `spelling`: what a person may write for a value, as the corpus writes it ("girl", "emma").
    `mentioned`: the values that a text may mean, where that can be told; None where it can't.
    `of`: the variable whose values these are too, as a father is a person: what follows in a chain
    asks about it as such, in the same document. `learnt_as`: what stands among what an adapter has
    learnt once it knows the variable, where that came later than its corpus.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    numeric: bool = False
    doc: str = ""
    spelling: Callable[[str], str] = field(default=str, compare=False)
    of: str | None = None
    learnt_as: str | None = None
    mentioned: Callable[[str], Sequence[str]] | None = field(default=None, compare=False)

    @property
    def is_coded(self) -> bool:
        """Whether `code` gives a number for every value."""
        return self.numeric or len(self.values) == 2

    def code(self, value: str) -> float:
        """The number that stands for a value in a correlation.

        A numeric value is itself; of two values the first listed is 0 and the second 1.
        Raises InvalidQuery for other variables and values.
        """
        number = _number(value) if self.numeric else None
        if number is not None:
            return number
        if not self.numeric and len(self.values) == 2 and value in self.values:
            return float(self.values.index(value))
        raise InvalidQuery(f"{self.name}={value} has no number that could stand for it.")


@dataclass(frozen=True, slots=True)
class Schema:
    """The variables of a corpus; `document` is the one that a relation reads by default.

    Without a document, "", relations read nothing but what is given. Each variable is also the
    relation that reads it off the document. `relations` are further ones, such as paraphrase, that
    turn a document into another. Records that agree in all of `unit` were drawn together, as the
    passages of one address were; without it each alone. `example`: a query to try, and the document
    that it reads, if it reads one. What is known of `before` is told to a core before the document,
    as the prompt of a reply, and all else behind it.
    """

    corpus: str
    document: str
    variables: tuple[Variable, ...]
    doc: str = ""
    relations: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    example: tuple[str, str] = ("", "")
    before: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variables."""
        return tuple(variable.name for variable in self.variables)

    def variable(self, name: str) -> Variable:
        """The variable of that name. Raises UnknownName, listing what there is."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise self._unknown("variable", name, self.names)

    def asked(self, steps: str) -> Variable:
        """The variable that answers a name, a wording, steps asked as one or a measure.

        As `author`, `who wrote this?`, `father; father` and `H(year)`. Raises what `parse` raises.
        """
        name = wordings.relation_of(self.corpus, steps) or steps
        if name in self.names:
            return self.variable(name)
        query = parse(steps)
        if not isinstance(query, Draw):
            grid = stated.GRIDS[type(query)]
            return Variable(steps, "closed", grid, True, "a number that the core states of itself")
        last = query.steps[-1]
        if not isinstance(last, Step):
            raise InvalidQuery(f"'{_short(steps)}' does not end in one relation.")
        return self.variable(self._target(last.relation, last.inverse))

    def check(self, query: Query) -> None:
        """Do nothing if the query can be asked of this corpus exactly as it is spelled.

        Raises UnknownName for names and values that the corpus does not have, and InvalidQuery
        for a question without meaning. Use `resolve` first for what a person typed.
        """
        self._check_shape(query)
        for binding in _bindings(query):
            variable = self.variable(binding.variable)
            if variable.kind == "closed" and binding.value not in variable.values:
                self._closed_value(variable, binding.value)  # raises when nothing is close
                raise self._unknown_value(variable, binding.value)

    def resolve(self, query: AnyQuery) -> AnyQuery:
        """The same query with every listed value in the corpus's own spelling, checked.

        Letter case, accents, a last name alone ("Lincoln"), abbreviated words ("A. Lincoln"),
        initials ("FDR") and a plural ("Republicans") are understood. Raises UnknownName for an
        ambiguous value, naming the candidates, and whatever `check` raises.
        """
        query, prior = priors.split(self._named(query))
        self._check_shape(query)
        spelled = {"given": tuple(map(self.spelled, query.given))}
        if isinstance(query, Probability):
            spelled["event"] = tuple(map(self.spelled, query.event))
        resolved = replace(query, **spelled)  # type: ignore[arg-type]
        if prior is not None and isinstance(resolved, Draw):
            return priors.stated_in(resolved, prior, self)  # type: ignore[return-value]
        return resolved

    def _named(self, query: AnyQuery) -> AnyQuery:
        """The query with the relations that its questions in words stand for."""
        if not isinstance(query, Draw):
            return query

        def named(part: Step) -> Step:
            if part.words is None:
                return part
            relation = wordings.relation_of(self.corpus, part.words)
            if relation is None:
                close = wordings.like(self.corpus, part.words)
                hint = f" Did you mean '{close}'?" if close else ""
                raise UnknownName(
                    f"{self.corpus} does not know the question '{_short(part.words)}'.{hint} "
                    f"It has the relations {', '.join((*self.names, *self.relations))}."
                )
            return replace(part, relation=relation)

        steps = tuple(
            named(step) if isinstance(step, Step) else Fork(tuple(map(named, step.parts)))
            for step in query.steps
        )
        return replace(query, steps=steps)

    def spelled(self, binding: Binding) -> Binding:
        """The binding in the corpus's own spelling. Raises UnknownName."""
        variable = self.variable(binding.variable)
        value = variable.spelling(binding.value)
        if variable.kind == "closed" and value not in variable.values:
            value = self._closed_value(variable, value)
        return Binding(binding.variable, value)

    def _check_shape(self, query: Query) -> None:
        if query.corpus not in (None, self.corpus):
            raise UnknownName(
                f"The query asks corpus '{query.corpus}', but this is '{self.corpus}'."
            )
        for binding in _bindings(query):
            self.variable(binding.variable)
        asked = self._asked(query)
        if isinstance(query, Draw):
            for part in (part for step in query.steps for part in step.parts):
                if part.notion is not None and part.relation not in self.relations:
                    raise InvalidQuery(
                        f"'{part.relation}' is read under no notion: leave '~{part.notion}' out."
                    )
            for fork in (step for step in query.steps if len(step.parts) > 1):
                if any(part.inverse for part in fork.parts):
                    raise InvalidQuery("An inverse stands alone in its step: ask it before '&'.")
            # In a chain, a later step may ask again for what the first one was given.
            asked = asked[: len(query.steps[0].parts)]
        for name in asked:
            if any(binding.variable == name for binding in query.given):
                raise InvalidQuery(f"'{name}' is both asked and given: keep it on one side of '|'.")
        if isinstance(query, MutualInformation):
            for name in query.left:
                if name in query.right:
                    raise InvalidQuery(f"'{name}' is on both sides of I: keep it on one side.")
        if isinstance(query, Correlation):
            self._check_correlation(query)

    def _asked(self, query: Query) -> list[str]:
        """The variables that the query asks for. Raises UnknownName, InvalidQuery."""
        match query:
            case Draw(steps=steps):
                return [
                    self._target(part.relation, part.inverse)
                    for step in steps
                    for part in step.parts
                    if part.relation not in self.relations
                ]
            case Probability(event=event):
                names = [binding.variable for binding in event]
            case Entropy(variables=variables):
                names = list(variables)
            case MutualInformation(left=left, right=right):
                names = [*left, *right]
            case Correlation(left=one, right=other):
                names = [one, other]
        return [self.variable(name).name for name in names]

    def _target(self, relation: str, inverse: bool) -> str:
        """The variable that a step writes: its own, or the document when it runs backwards."""
        if relation not in self.names:
            raise self._unknown("relation", relation, (*self.names, *self.relations))
        if inverse and not self.document:
            raise InvalidQuery(
                f"{self.corpus} has no document that '{relation}^-1' could answer: "
                "ask for one of its variables."
            )
        if inverse and relation == self.document:
            raise InvalidQuery(
                f"'{relation}' is what {self.corpus} is made of and has no inverse: "
                f"ask for it as {self.corpus}: {relation}."
            )
        return self.document if inverse else relation

    def _check_correlation(self, query: Correlation) -> None:
        if query.left == query.right:
            raise InvalidQuery(f"corr takes two different variables, not '{query.left}' twice.")
        for name in (query.left, query.right):
            if not self.variable(name).is_coded:
                coded = [variable.name for variable in self.variables if variable.is_coded]
                raise InvalidQuery(
                    f"corr takes variables that are numbers or have two values; '{name}' is "
                    f"neither. {self.corpus} has: {', '.join(coded) or 'none'}."
                )

    def _closed_value(self, variable: Variable, given: str) -> str:
        if variable.numeric:
            return self._numeric_value(variable, given)
        found = _matches(given, variable.values)
        if len(found) == 1:
            return found[0]
        if not found:
            raise self._unknown_value(variable, given)
        listed = _listed(found, " or ")
        raise UnknownName(
            f"{variable.name}={_short(given)} could be {listed}: write the whole {variable.name}."
        )

    def _numeric_value(self, variable: Variable, given: str) -> str:
        number = _number(given)
        known = sorted((float(value), value) for value in variable.values)
        what = f"{variable.name}={_short(given)}"
        if not known:
            raise UnknownName(f"{what} is not in {self.corpus}: it lists no {variable.name}.")
        span = f"{known[0][1]} to {known[-1][1]}"
        if number is None:
            raise UnknownName(f"{what} is not a number: {self.corpus} has {span}.")
        for code, value in known:
            if code == number:
                return value
        if not known[0][0] < number < known[-1][0]:
            raise UnknownName(f"{what} is outside {self.corpus}: {span}.")
        below = max(entry for entry in known if entry[0] < number)[1]
        above = min(entry for entry in known if entry[0] > number)[1]
        raise UnknownName(f"{what} is not in {self.corpus}: the nearest are {below} and {above}.")

    def _unknown(self, kind: str, given: str, has: Sequence[str]) -> UnknownName:
        return UnknownName(
            f"Unknown {kind} '{_short(given)}' for corpus '{self.corpus}'. "
            f"It has: {', '.join(has)}.{_did_you_mean(given, has)}"
        )

    def _unknown_value(self, variable: Variable, given: str) -> UnknownName:
        return UnknownName(
            f"'{_short(given)}' is no {variable.name} in {self.corpus}. "
            f"It has: {_listed(variable.values)}.{_did_you_mean(given, variable.values)}"
        )


def _bindings(query: Query) -> tuple[Binding, ...]:
    return (*query.event, *query.given) if isinstance(query, Probability) else query.given


# --- spelling -----------------------------------------------------------------------------------


def _matches(given: str, values: Sequence[str]) -> list[str]:
    """The values that the text, or its singular, may stand for."""
    text = _folded(given)
    return _readings(text, values) or _readings(text.removesuffix("s"), values)


def _readings(text: str, values: Sequence[str]) -> list[str]:
    """The values that satisfy the first reading of the text that any of them does."""
    words = re.findall(r"\w+", text)
    if not words:
        return []
    readings: list[Callable[[str], bool]] = [lambda value: value == text]
    # Digits are not abbreviated: rating=1 must never become rating=10.
    if re.search(r"[^\W\d_]", text):
        readings += [
            lambda value: value.split()[-1:] == [text],
            lambda value: value.startswith(text),
            lambda value: all(
                any(of.startswith(word) for of in re.findall(r"\w+", value)) for word in words
            ),
            lambda value: len(text) >= 3 and text == "".join(re.findall(r"\b\w", value)),
            lambda value: len(text) >= 3 and text in value,
        ]
    for reading in readings:
        if found := [value for value in values if reading(_folded(value))]:
            # "Democrat" is a Democratic before it is a Democratic-Republican.
            shortest = min(found, key=len)
            is_begun = all(_folded(value).startswith(_folded(shortest)) for value in found)
            return [shortest] if is_begun else found
    return []


def _folded(text: str) -> str:
    """Without case, accents and repeated blanks."""
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join("".join(letters).casefold().split())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _did_you_mean(given: str, has: Sequence[str]) -> str:
    by_folded = {_folded(name): name for name in has}
    # Similarity is quadratic in length, and no name is this long.
    text = _folded(given[:100])
    close = difflib.get_close_matches(text, by_folded, n=1)
    close = close or [name for name in by_folded if name.split()[-1:] == text.split()[-1:]]
    return f" Did you mean '{by_folded[close[0]]}'?" if close else ""


def _listed(values: Sequence[str], last: str = ", ", most: int = 8) -> str:
    """The values in a row; of many, the first few and how many more."""
    if len(values) > most:
        return f"{', '.join(values[:most])} and {len(values) - most} more"
    return last.join(filter(None, [", ".join(values[:-1]), *values[-1:]]))


def _short(text: str, most: int = 40) -> str:
    """The text on one line, unseen characters escaped, cut to a length."""
    cut = text[:most] + ("…" if len(text) > most else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
