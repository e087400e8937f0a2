"""The corpus of countries: what it holds, how a person may write it, what is held out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core_model import corpora, notation
from core_model.corpora.base import refuse_held_out
from core_model.corpora.places import CONTINENTS, Places, held_out_compound
from core_model.errors import UnknownName
from core_model.notation import Binding

PLACES = corpora.load("places")
FACTS = {record.values["country"]: record.values for record in PLACES.records("train")}
ONE_TO_ONE = ("country", "french", "german", "spanish", "italian", "capital")


def test_every_variable_of_every_country_is_known_and_listed() -> None:
    schema = PLACES.schema
    assert len(FACTS) == len(PLACES.records("train")) == 194
    for values in FACTS.values():
        assert tuple(values) == schema.names
        for name, value in values.items():
            assert value == value.strip() != ""
            assert value in schema.variable(name).values


@pytest.mark.parametrize("name", ONE_TO_ONE)
def test_a_name_or_capital_belongs_to_one_country(name: str) -> None:
    assert len({values[name] for values in FACTS.values()}) == len(FACTS)
    assert len(PLACES.schema.variable(name).values) == len(FACTS)


@pytest.mark.parametrize("name", PLACES.schema.names)
def test_every_listed_value_is_of_some_country(name: str) -> None:
    listed = PLACES.schema.variable(name).values
    assert len(set(listed)) == len(listed)
    assert set(listed) == {values[name] for values in FACTS.values()}


@pytest.mark.parametrize(
    "facts",
    [
        ("France", "France", "Frankreich", "Francia", "Francia", "Paris", "euro", "Europe"),
        ("Germany", "Allemagne", "Deutschland", "Alemania", "Germania", "Berlin", "euro", "Europe"),
        ("Japan", "Japon", "Japan", "Japón", "Giappone", "Tokyo", "Japanese yen", "Asia"),
        ("Egypt", "Égypte", "Ägypten", "Egipto", "Egitto", "Cairo", "Egyptian pound", "Africa"),
        ("New Zealand", "Nouvelle-Zélande", "Neuseeland", "Nueva Zelanda", "Nuova Zelanda",
         "Wellington", "New Zealand dollar", "Oceania"),
    ],
    ids=lambda facts: facts[0],
)  # fmt: skip
def test_facts_of_a_country(facts: tuple[str, ...]) -> None:
    assert tuple(FACTS[facts[0]].values()) == facts


@pytest.mark.parametrize(
    ("country", "currency"),
    [
        ("United States", "US dollar"),
        ("Ecuador", "US dollar"),
        ("Croatia", "euro"),
        ("Senegal", "West African CFA franc"),
        ("Liechtenstein", "Swiss franc"),
        ("Bhutan", "Bhutanese ngultrum"),
        ("Lesotho", "Lesotho loti"),
        ("Namibia", "Namibian dollar"),
        ("Panama", "Panamanian balboa"),
    ],
)
def test_the_currency_is_the_main_one_written_as_in_a_sentence(country: str, currency: str) -> None:
    assert FACTS[country]["currency"] == currency


@pytest.mark.parametrize(
    ("continent", "countries"),
    [
        ("North America", ("Canada", "United States", "Mexico", "Panama", "Cuba", "Greenland")),
        ("South America", ("Brazil", "Colombia", "Guyana", "Suriname", "Chile")),
        ("Europe", ("Russia", "Iceland", "Malta")),
        ("Asia", ("Türkiye", "Georgia", "Timor-Leste")),
        ("Africa", ("Mauritius", "Cape Verde")),
        ("Oceania", ("Palau", "Cook Islands")),
    ],
)
def test_the_continent(continent: str, countries: tuple[str, ...]) -> None:
    assert {FACTS[country]["continent"] for country in countries} == {continent}


def test_continents_have_their_number_of_countries() -> None:
    counts = PLACES.count({}, ["continent"])
    assert [counts[(name,)] for name in CONTINENTS] == [51, 47, 43, 25, 16, 12]


@pytest.mark.parametrize(
    "lacking",
    [
        "Antarctica", "Western Sahara", "Guam", "Hong Kong SAR China", "Vatican City",
        "Palestinian Territories", "Kazakhstan", "Burundi", "Bulgaria", "Eswatini",
        "Equatorial Guinea",
    ],
)  # fmt: skip
def test_what_is_no_country_or_is_described_wrongly_is_lacking(lacking: str) -> None:
    with pytest.raises(UnknownName):
        PLACES.schema.spelled(Binding("country", lacking))


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("capital | country=germany", "capital | country=Germany"),
        ("capital | country=DE", "capital | country=Germany"),
        ("capital | country=de", "capital | country=Germany"),
        ("capital | country=usa", "capital | country=United States"),
        ("capital | country=UK", "capital | country=United Kingdom"),
        ("capital | country=turkey", "capital | country=Türkiye"),
        ("capital | country=niger", "capital | country=Niger"),
        ("capital | country=guinea", "capital | country=Guinea"),
        ("capital | country=ivory coast", "capital | country=Côte d’Ivoire"),
        ("capital | country=Myanmar", 'capital | country="Myanmar (Burma)"'),
        ("country | german=osterreich", "country | german=Österreich"),
        ("country | capital=washington", "country | capital=Washington D.C."),
        ("country | currency=us dollar", "country | currency=US dollar"),
    ],
)
def test_a_value_is_understood_as_a_person_writes_it(written: str, resolved: str) -> None:
    query = notation.parse(f"places: {written}")
    assert notation.format(PLACES.schema.resolve(query)) == f"places: {resolved}"


@pytest.mark.parametrize("unclear", ["congo", "Korea"])
def test_a_name_of_two_countries_is_refused_with_both(unclear: str) -> None:
    with pytest.raises(UnknownName, match=r"could be .* or .*"):
        PLACES.schema.spelled(Binding("country", unclear))


@pytest.mark.parametrize("text", ["", " ", "Narnia"])
def test_what_is_no_country_stays_as_it_is(text: str) -> None:
    assert Places().spelled(text) == text


@pytest.mark.parametrize(
    ("text", "countries"),
    [
        ("what is the capital of frnace?", ["France"]),
        ("the Dutch for Norway", ["Netherlands", "Norway"]),
        ("usa money, UK money and US money", ["United Kingdom", "United States"]),
        ("capital of congo", ["Congo - Brazzaville", "Congo - Kinshasa"]),
        ("the trinidad & tobago dollar", ["Trinidad & Tobago"]),
        ("money in the Republic of Veldoria, tell us", []),
        ("the capital of Kosovo", []),
        ("tell us the capital of blorvia", []),
        ("what do people in the uk pay with?", ["United Kingdom"]),
        ("How do people pay in the States?", ["United States"]),
        ("Which countries lie in Asia?", []),
        ("", []),
    ],
)
def test_a_text_tells_which_countries_it_may_mean(text: str, countries: list[str]) -> None:
    assert list(Places().mentioned(text)) == countries


def test_every_country_is_told_by_each_of_its_spellings() -> None:
    places = Places()
    for country in places._countries:
        name = country.record.values["country"]
        for written in (name, *country.spellings, country.people):
            if len(written) > 3:
                assert name in places.mentioned(f"money of {written.lower()}?"), written


def test_no_record_is_held_out() -> None:
    records = PLACES.records("train")
    assert refuse_held_out(PLACES, records) == records
    assert list(PLACES.records("held_out")) == []


def test_compounds_of_a_fifth_of_the_countries_are_held_out() -> None:
    held_out = {country for country in FACTS if held_out_compound(country)}
    assert 0.1 < len(held_out) / len(FACTS) < 0.3
    assert held_out >= {"France", "Canada", "Ghana", "Tonga", "Türkiye"}
    assert held_out.isdisjoint({"Germany", "Japan", "Egypt", "Brazil", "United States"})
    assert {FACTS[country]["continent"] for country in held_out} == set(CONTINENTS)


def test_counts_are_of_what_is_given() -> None:
    assert PLACES.count({"capital": "Paris"}, ["country", "currency"]) == {("France", "euro"): 1}
    euro = PLACES.count({"currency": "euro"}, ["continent"])
    assert euro == {("Europe",): 23, ("Asia",): 1}
    assert PLACES.count({"capital": "Atlantis"}, ["country"]) == {}


def test_the_packages_are_imported_when_the_data_are_first_read() -> None:
    """A fresh interpreter: this one has imported babel already."""
    script = (
        "import sys; from core_model import corpora\n"
        "from core_model.corpora import places\n"
        "corpus = corpora.load('places'); print('babel' in sys.modules)\n"
        "corpus.schema; print('babel' in sys.modules, 'countryinfo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
