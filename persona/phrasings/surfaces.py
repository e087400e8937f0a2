"""Filling a wording's slots: values are drawn first, then how people write them.

A variable that stands twice in one wording has one value; an author beside a year is mostly asked
about a year of theirs, and only then by a surname others share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from core_model.corpora import schema
from core_model.notation import Binding
from persona.phrasings import PIECE, SLOT_VARIABLES, FollowUp, Template, Words, read
from persona.phrasings.calls import DEFAULT_SAMPLES, DOCUMENTS, Call
from persona.phrasings.style import Part

IN_OFFICE_SHARE = 0.8
SHARED_SURNAME_SHARE = 0.5
UNQUOTED_SHARE = 0.6
SHORTENED_SHARE = 0.8
OTHER_COUNTRY_SHARE = 0.5
NOWHERE_SHARE = 0.15
"""Questions about one country that ask about none there is."""
NEVER_SHARE = 0.06
"""Questions about a year that ask about one of which there is nothing."""
ARTICLE_SHARE = 0.8
EXCERPT_WORDS = (10, 36)
QUOTES = (('"', '"'), ('"', '"'), ('"', '"'), ("'", "'"), ("\u201c", "\u201d"))
DECADES = {"names": (1880, 2010), "speeches": (1790, 2010)}
DECADE_WORDS = {
    1920: "twenties", 1930: "thirties", 1940: "forties", 1950: "fifties", 1960: "sixties",
    1970: "seventies", 1980: "eighties", 1990: "nineties",
}  # fmt: skip

Draw = Callable[[np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class Values:
    """Where the values in questions come from; each call draws one.

    name: a first name, common ones more often. year: a year of the corpus named. passage: a
    passage of an address. place: a country with all that is known of it. nowhere, never: what is no
    country, and a year that the corpus named does not have, where such may be asked about.
    """

    name: Draw
    year: Callable[[np.random.Generator, str], str]
    author: Draw
    passage: Draw
    place: Callable[[np.random.Generator], Mapping[str, str]]
    nowhere: Draw | None = None
    never: Callable[[np.random.Generator, str], str] | None = None


@dataclass(frozen=True, slots=True)
class Author:
    """A president: full name, years of the addresses, ways to write the name."""

    name: str
    years: tuple[int, int]
    forms: tuple[str, ...]
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """A wording with its slots filled: parts to type, and values by variable, in order."""

    parts: tuple[Part, ...]
    bound: Mapping[str, str]
    decade: bool = False


@cache
def authors() -> Mapping[str, Author]:
    """All authors by full name."""
    return {
        a["name"]: Author(
            a["name"], (a["years"][0], a["years"][1]), tuple(a["forms"]), tuple(a.get("shared", ()))
        )
        for a in read("surfaces")["author"]
    }


def fill(words: Words, corpus: str, values: Values, rng: np.random.Generator) -> Filled:
    """Draw a value for every slot and write it the way people do."""
    return _Filler(words, corpus, values, rng).fill()


def call_of(template: Template, filled: Filled) -> Call:
    """The call a filled question makes."""
    bound = dict(filled.bound)
    wanted = bound.pop("n", bound.pop("top", None))
    event_value = bound.pop(template.event) if template.event else None
    document = SLOT_VARIABLES.get(template.document or "", template.document)
    text = bound.pop(document) if document else None
    target = template.mentioned or template.target
    fixed = template.n if template.tool == "sample" else None
    default = DEFAULT_SAMPLES if template.tool == "sample" else None
    return Call(
        tool=template.tool,
        corpus=template.corpus,
        target=target,
        event_value=event_value,
        # "Is Leslie a girl's name?" names a value of what is asked: it is no condition.
        given=tuple(Binding(v, value) for v, value in bound.items() if v not in target),
        text=text,
        n=int(wanted) if wanted else fixed or default,
    )


def applicable(follow: FollowUp, call: Call) -> bool:
    """Whether a follow-up makes sense after this call."""
    if follow.corpus not in ("", call.corpus) or call.tool not in follow.tools:
        return False
    if follow.from_target is not None and call.target != (follow.from_target,):
        return False
    uses = SLOT_VARIABLES.get(follow.uses or "", follow.uses)
    if uses is not None and call.value_of(uses) is None:
        return False
    given = {binding.variable for binding in call.given}
    if follow.target not in (None, "same") and follow.target in given:
        return False
    if follow.tool in (None, call.tool) and (follow.target,) == call.target:
        return False
    if follow.event is not None:
        return follow.event not in given
    changed = {SLOT_VARIABLES[s] for s in follow.slots if s in SLOT_VARIABLES}
    is_event = call.tool == "probability"
    return all(v not in call.target or is_event for v in changed - {"n", "top"})


def after(follow: FollowUp, filled: Filled, call: Call) -> Call:
    """The call a filled follow-up makes after another call, all of it resolved."""
    tool = follow.tool or call.tool
    target = call.target if follow.target in (None, "same") else (str(follow.target),)
    given = {b.variable: b.value for b in call.given}
    kept = call.tool in (tool, "infer" if tool == "confidence" else tool)
    event_value, text = (call.event_value, call.text) if kept else (None, None)
    n = call.n if kept else DEFAULT_SAMPLES if tool == "sample" else None
    for variable, value in filled.bound.items():
        if variable in ("n", "top"):
            n = int(value)
        elif tool == "probability" and target == (variable,):
            event_value = value
        elif tool == "infer" and variable == DOCUMENTS[call.corpus]:
            text = value
        else:
            given[variable] = value
    bindings = tuple(Binding(variable, value) for variable, value in given.items())
    return Call(tool, call.corpus, target, event_value, bindings, text, n)


def excerpt(passage: str, rng: np.random.Generator) -> str:
    """A passage as a person would paste it: mostly its first words, `EXCERPT_WORDS` of them."""
    words = passage.split()
    shortest, longest = EXCERPT_WORDS
    if len(words) > shortest and rng.random() < SHORTENED_SHARE:
        words = words[: int(rng.integers(shortest, min(len(words), longest) + 1))]
    return " ".join(words)


@dataclass(slots=True)
class _Filler:
    words: Words
    corpus: str
    values: Values
    rng: np.random.Generator
    bound: dict[str, str] = field(default_factory=dict)
    decade: bool = False
    place: Mapping[str, str] | None = None

    def fill(self) -> Filled:
        parts: list[Part] = []
        at = 0
        text = self.words.text
        for match in PIECE.finditer(text):
            literal = text[at : match.start()]
            written = (
                Part(match["words"], "free")
                if match["variable"]
                else self.one_of(match["slot"], match["which"])
            )
            # "a" before a value that starts with a vowel.
            before = literal if literal.strip() or not parts else parts[-1].text + literal
            if before.split(" ")[-2:] in (["a", ""],) and written.text[:1].lower() in "aeio":
                literal = literal[:-1] + "n "
            parts += [Part(literal, "free"), written]
            at = match.end()
        parts.append(Part(text[at:], "free"))
        return Filled(tuple(p for p in parts if p.text), self.bound, self.decade)

    def one_of(self, slot: str, which: str) -> Part:
        """A slot's value, or with a digit the value that this digit stands for."""
        if not which:
            return self.write(slot)
        variable = SLOT_VARIABLES[slot]
        other = _Filler(self.words, self.corpus, self.values, self.rng)
        other.bound = {key: value for key, value in self.bound.items() if key != variable}
        if variable + which in self.bound:
            other.bound[variable] = self.bound[variable + which]
        part = other.write(slot)
        self.bound[variable + which] = other.bound.pop(variable)
        self.bound |= {key: value for key, value in other.bound.items() if key not in self.bound}
        return part

    def write(self, slot: str) -> Part:
        variable = SLOT_VARIABLES.get(slot)
        surfaces = read("surfaces")
        if variable is None:
            return Part(self.pick(read("talk")["lists"][slot]), "value")
        if slot == "decade":
            return Part(self.write_decade(), "value")
        if slot in ("n", "few", "count", "top"):
            options = surfaces["numbers"]["n" if slot == "count" else slot]
            if slot == "count":
                options = [o for o in options if o[0] not in ("a few", "some", "several")]
            words, number = self.pick(options)
            self.bound[variable] = str(number)
            return Part(words, "value")
        if slot == "saying":
            saying = self.bound.setdefault("saying", self.pick(read("replies")["sayings"]["texts"]))
            return self.quoted(saying)
        if variable == "text":
            if "text" not in self.bound:
                self.bound["text"] = excerpt(self.values.passage(self.rng), self.rng)
            passage = self.bound["text"]
            bare = slot == "bare_passage" and self.rng.random() < UNQUOTED_SHARE
            return Part(passage, "fixed") if bare else self.quoted(passage)
        value = self.value(variable)
        if variable == "author":
            return Part(self.author_form(value), "value")
        if variable == "country":
            is_listed = value in schema(self.corpus).variable(variable).values
            return Part(self.land_form(value) if is_listed else value, "value")
        if variable in ("sex", "party", "medium"):
            return Part(self.pick(surfaces[variable][slot][value]), "value")
        return Part(value, "value")

    def pick(self, options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def value(self, variable: str) -> str:
        """The value of a variable, drawn when first needed; the order of mention is kept."""
        if variable in self.bound:
            return self.bound[variable]
        weights = read("surfaces")["weights"].get(variable)
        if weights is not None:
            p = np.array(list(weights.values()))
            value = str(self.rng.choice(list(weights), p=p / p.sum()))
        elif variable == "country" and self.is_nowhere():
            assert self.values.nowhere is not None
            value = self.values.nowhere(self.rng)
        elif self.corpus == "places":
            value = self.fact(variable)
        elif variable == "year":
            value = self.year()
        else:
            value = self.values.name(self.rng) if variable == "name" else self.author()
        self.bound[variable] = value
        return value

    def is_nowhere(self) -> bool:
        """Whether a wording that asks what holds of one country shall ask it of none."""
        if self.values.nowhere is None or not isinstance(self.words, Template):
            return False
        return self.words.document == "land" and self.rng.random() < NOWHERE_SHARE

    def fact(self, variable: str) -> str:
        """Something of one country; where it may be the case or not, often of another."""
        event = isinstance(self.words, Template) and self.words.event == variable
        if event and self.rng.random() < OTHER_COUNTRY_SHARE:
            return self.values.place(self.rng)[variable]
        if self.place is None:
            self.place = self.values.place(self.rng)
        return self.place[variable]

    def land_form(self, country: str) -> str:
        """A country as people write it: mostly with its article, or by another name."""
        surfaces = read("surfaces")["country"]
        written = str(self.pick(surfaces["forms"].get(country, [country])))
        has_article = written in surfaces["with_the"] and self.rng.random() < ARTICLE_SHARE
        return f"the {written}" if has_article else written

    def author(self) -> str:
        """An author; after a year, mostly one who gave an address then."""
        author = self.values.author(self.rng)
        if "year" not in self.bound or self.rng.random() > IN_OFFICE_SHARE:
            return author
        year = int(self.bound["year"])
        then = [a.name for a in authors().values() if a.years[0] <= year <= a.years[1]]
        return str(self.pick(then)) if then else author

    def year(self) -> str:
        """A year; beside an author known by then, mostly one of theirs. Seldom one of no record."""
        if (
            self.values.never is not None
            and isinstance(self.words, Template)
            and self.rng.random() < NEVER_SHARE
        ):
            return self.values.never(self.rng, self.corpus)
        year = self.values.year(self.rng, self.corpus)
        if "author" not in self.bound or self.rng.random() > IN_OFFICE_SHARE:
            return year
        first, last = authors()[self.bound["author"]].years
        draws = (self.values.year(self.rng, self.corpus) for _ in range(400))
        return next((y for y in draws if first <= int(y) <= last), year)

    def author_form(self, name: str) -> str:
        author = authors()[name]
        if author.shared and self.words.binds("year"):
            # The year may come later in the wording: draw it now, in its place by mention.
            if "year" not in self.bound:
                self.bound["year"] = self.year()
            settled = author.years[0] <= int(self.bound["year"]) <= author.years[1]
            if settled and self.rng.random() < SHARED_SURNAME_SHARE:
                return str(self.pick(author.shared))
        return str(self.pick(author.forms))

    def write_decade(self) -> str:
        """A decade, which a call asks by its middle year: often a held-out one of `names`.

        It stands in the call alone. No record of that year is read, and results are made up.
        """
        first, last = DECADES[self.corpus]
        start = int(self.rng.integers(first // 10, last // 10 + 1)) * 10
        self.bound["year"], self.decade = str(start + 5), True
        forms = [f"the {start}s"]
        if start in DECADE_WORDS:
            forms += [f"the {start % 100}s", f"the {DECADE_WORDS[start]}"]
        return str(self.pick(forms))

    def quoted(self, text: str) -> Part:
        opening, closing = self.pick(QUOTES)
        if opening in text and opening in "'\"":
            opening, closing = "\u201c", "\u201d"
        return Part(f"{opening}{text}{closing}", "fixed")
