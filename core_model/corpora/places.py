"""Countries: names in five languages, capital, currency and continent.

Sources: names of countries and currencies from CLDR, as packaged by `babel`; capitals and regions
from `countryinfo`. One record per country, of equal weight. The corpus holds sovereign states and
a few self-governing countries (Cook Islands, Faroe Islands, Greenland, Niue, Puerto Rico); it
lacks what either package lacks or gets wrong, so Palestine and Vatican City, which `countryinfo`
describes twice with different capitals, are not in it, nor is Kosovo.

Every fact of every country is trained, since a fact that nobody told can't be known: no record is
held out. What is held out are compounds: for about a fifth of the countries, see
`held_out_compound`, only single relations are trained, never a chain of steps that goes through
them, such as the currency of the country whose capital is Paris. (A fact told by another name, as
`currency | capital=Paris`, is a single relation.)
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from core_model.corpora.base import Corpus, Record, Split, drawn_out
from core_model.graph import Schema, Variable

CONTINENTS = ("Africa", "Asia", "Europe", "North America", "Oceania", "South America")
LANGUAGES = {"french": "fr", "german": "de", "spanish": "es", "italian": "it"}
AS_OF = date(2026, 1, 1)
"""The day whose currencies are meant."""

TERRITORIES = frozenset((
    "AI", "AQ", "AS", "AW", "AX", "BL", "BM", "BQ", "BV", "CC", "CW", "CX", "EH", "FK", "GF",
    "GG", "GI", "GP", "GS", "GU", "HK", "HM", "IM", "IO", "JE", "KY", "MF", "MO", "MP", "MQ",
    "MS", "NC", "NF", "PF", "PM", "PN", "RE", "SH", "SJ", "SX", "TC", "TF", "TK", "UM", "VG",
    "VI", "WF", "YT",
))  # fmt: skip
"""ISO codes of places that belong to another state, are disputed, or where nobody lives."""
WRONG = frozenset(("BG", "BI", "GQ", "KZ", "SZ"))
"""Countries with a fact that doesn't hold: the lev (Bulgaria has the euro since 2026), Bujumbura
(Gitega since 2019), Malabo (Ciudad de la Paz since 2026), Nur-Sultan (Astana since 2022), and
Lobamba (the government of Eswatini sits in Mbabane)."""
UNCLEAR = "congo"
"""A spelling that `countryinfo` has for one of two countries."""
SHORT = frozenset(("UK", "US", "USA", "UAE", "DRC"))
"""Abbreviations that people use; other codes are words as well."""
THE_STATES = re.compile(r"\bthe states\b")
LEAST_LETTERS, MOST_COUNTRIES, STEM, ALIKE = 4, 3, 5, 0.83
"""A word tells countries when it is so long and, by its first letters, in the names of so few:
"republic" and "república" tell nothing. A slip of the pen is told by `difflib`'s ratio."""
_LETTERS = re.compile(r"[^\W\d_]+")

HELD_OUT_SHARE = 0.2
SALT = "places"
"""Fixed for good."""


def held_out_compound(country: str) -> bool:
    """Whether no compound through this country is trained, from a hash of its English name.

    country: as the corpus writes it.
    """
    return drawn_out(f"{SALT}:{country}", HELD_OUT_SHARE)


def _facts() -> dict[str, dict[str, Any]]:
    """What `countryinfo` states of each country, by ISO code; not where it contradicts itself."""
    # The package's own lookup keeps one of two files of a country; its files are read directly.
    spec = importlib.util.find_spec("countryinfo")
    assert spec is not None and spec.origin is not None
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((Path(spec.origin).parent / "data").glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        found[facts["ISO"]["alpha2"]].append(facts)
    return {
        code: files[0]
        for code, files in found.items()
        if all(file.get("capital") == files[0].get("capital") for file in files)
    }


def _continent(facts: Mapping[str, Any]) -> str:
    """The region, or which of the Americas; Central America and the Caribbean are the North."""
    if facts["region"] != "Americas":
        return str(facts["region"])
    return "South America" if facts["intermediateregion"] == "South America" else "North America"


def _currency(code: str, facts: Mapping[str, Any]) -> str:
    """The currency's name within a sentence; of several current ones the first in the facts."""
    from babel.numbers import get_currency_name, get_territory_currencies

    current = get_territory_currencies(code, AS_OF)
    main = next(c for c in (*facts.get("currencies", ()), *current) if c in current)
    # A counted name is written as in a sentence, "US dollar"; the bare name is a title.
    return get_currency_name(main, count=1, locale="en")


@dataclass(frozen=True, slots=True)
class _Country:
    """A record, other ways to write its country, and what its people are called."""

    record: Record
    spellings: tuple[str, ...]
    people: str


class Places(Corpus):
    """Countries, each value of each variable known. Capitals and names belong to one country."""

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        """All values are those of the data: countries by name, others in the countries' order."""

        def listed(name: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(record.values[name] for record in self._all))

        docs = {language: f"the country's name in {language.title()}" for language in LANGUAGES}
        docs |= {"capital": "its capital", "currency": "its main currency"}
        return Schema(
            corpus="places",
            document="country",
            variables=(
                Variable(
                    "country",
                    "closed",
                    listed("country"),
                    False,
                    "a country",
                    self.spelled,
                    mentioned=self.mentioned,
                ),
                *(Variable(name, "closed", listed(name), False, doc) for name, doc in docs.items()),
                Variable("continent", "closed", CONTINENTS, False, "the continent it lies in"),
            ),
            doc="countries with their names in five languages, capital, currency and continent",
            example=("places: capital", "Peru"),
        )

    def spelled(self, country: str) -> str:
        """A country as the data write it, by name or ISO code; another text stays as it is."""
        return self._by_folded.get(country.casefold(), country)

    @lru_cache(maxsize=256)  # noqa: B019 - a corpus is made once
    def mentioned(self, text: str) -> tuple[str, ...]:
        """The countries that a text may mean, by a name of theirs or of their people, or a part.

        Misspelt ones too. Several may share a word; who reads the text decides.
        """
        folded = text.casefold()
        found = {
            country
            for name, countries in self._names.items()
            if name in folded and re.search(rf"\b{re.escape(name)}\b", folded)
            for country in countries
        }
        # In small letters throughout, "us" is more often the word.
        written = set(_LETTERS.findall(text.upper())) - {"US"} if text.islower() else set()
        for short in SHORT & (written or set(_LETTERS.findall(text))):
            found.add(self.spelled(short))
        if THE_STATES.search(folded):
            found.add(self.spelled("US"))
        for word in _LETTERS.findall(folded):
            if len(word) >= LEAST_LETTERS:
                near = [known for known in self._telling if known[0] == word[0]]
                for alike in get_close_matches(word, near, n=3, cutoff=ALIKE):
                    found |= self._telling[alike]
        return tuple(r.values["country"] for r in self._all if r.values["country"] in found)

    @cached_property
    def _names(self) -> Mapping[str, set[str]]:
        """Countries by their names in all languages, folded, that are long enough to tell."""
        found: dict[str, set[str]] = defaultdict(set)
        for country in self._countries:
            values = country.record.values
            named = (values["country"], *(values[language] for language in LANGUAGES))
            for name in (*named, *country.spellings, country.people):
                if len(name) >= LEAST_LETTERS:
                    found[name.casefold()].add(values["country"])
        return found

    @cached_property
    def _telling(self) -> Mapping[str, set[str]]:
        """Countries by the words of their and their people's names that few share, folded."""
        found: dict[str, set[str]] = defaultdict(set)
        for country in self._countries:
            name = country.record.values["country"]
            for word in _LETTERS.findall(" ".join((name, *country.spellings, country.people))):
                found[word.casefold()].add(name)
        common = {word[:STEM] for word, known in found.items() if len(known) > MOST_COUNTRIES}
        return {
            word: countries
            for word, countries in found.items()
            if len(word) >= LEAST_LETTERS and word[:STEM] not in common
        }

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        """Never: only compounds are held out."""
        return False

    def records(self, split: Split) -> Sequence[Record]:
        return list(self._all) if split == "train" else []

    @cached_property
    def _all(self) -> list[Record]:
        return [country.record for country in self._countries]

    @cached_property
    def _by_folded(self) -> Mapping[str, str]:
        folded = {
            spelling.casefold(): country.record.values["country"]
            for country in self._countries
            for spelling in country.spellings
            if spelling.casefold() != UNCLEAR
        }
        return folded | {r.values["country"].casefold(): r.values["country"] for r in self._all}

    @cached_property
    def _countries(self) -> list[_Country]:
        from babel import Locale

        english = Locale("en").territories
        names = {name: Locale(code).territories for name, code in LANGUAGES.items()}
        countries = []
        for code, facts in _facts().items():
            if code in TERRITORIES | WRONG or code not in english:
                continue
            values = {
                "country": english[code],
                **{language: names[language][code] for language in LANGUAGES},
                "capital": facts["capital"],
                "currency": _currency(code, facts),
                "continent": _continent(facts),
            }
            iso = facts["ISO"]
            written = (*facts["altSpellings"], facts["name"], iso["alpha2"], iso["alpha3"])
            spellings = tuple(text for text in written if text.strip())
            people = str(facts.get("demonym", ""))
            countries.append(_Country(Record("places", values), spellings, people))
        return sorted(countries, key=lambda country: country.record.values["country"])
