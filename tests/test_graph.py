"""Schemas: what a query may ask of a corpus, and how loosely spelled values are understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_model import notation
from core_model.errors import CandorError, InvalidQuery, UnknownName
from core_model.graph import Schema, Variable
from core_model.notation import Binding, Draw, Step, parse

AUTHORS = (
    "George Washington",
    "John Adams",
    "John Quincy Adams",
    "Andrew Jackson",
    "Abraham Lincoln",
    "Andrew Johnson",
    "Theodore Roosevelt",
    "Franklin D. Roosevelt",
    "Lyndon B. Johnson",
    "George Bush",
    "George W. Bush",
)
SPEECHES = Schema(
    "speeches",
    "text",
    (
        Variable("text", "open"),
        Variable("author", "closed", AUTHORS),
        Variable("year", "closed", tuple(str(y) for y in range(1790, 2027) if y != 1933), True),
        Variable("party", "closed", ("Democratic", "Democratic-Republican", "Republican")),
        Variable("medium", "closed", ("spoken", "written")),
    ),
    relations=("paraphrase",),
)
NAMES = Schema(
    "names",
    "name",
    (
        Variable("name", "enumerable"),
        Variable("sex", "closed", ("female", "male")),
        Variable("year", "closed", tuple(map(str, range(1880, 2018))), True),
    ),
)
SCHEMAS = {schema.corpus: schema for schema in (SPEECHES, NAMES)}


def schema_of(text: str) -> Schema:
    return SCHEMAS.get(parse(text).corpus or "", SPEECHES)


@pytest.mark.parametrize(
    "text",
    [
        "names: name | year=1985, sex=female",
        "names: sex",
        "names: sex | name=Xqzt",
        "names: sex^-1 | sex=male",
        "names: P(name=Jennifer | year=1972, sex=female)",
        "names: corr(sex, year | name=Leslie)",
        "speeches: author",
        'speeches: author | text="Four score, and seven"',
        "speeches: author^-1 | author=Abraham Lincoln, year=1862",
        "speeches: author; author^-1; party | text=Fellow citizens",
        "speeches: paraphrase~technical; year",
        "speeches: paraphrase^-1",
        "speeches: I(party; medium | year=1900)",
        "speeches: I(party, year; medium)",
        "speeches: H(party, medium)",
        "corr(year, medium)",
    ],
)
def test_accepts(text: str) -> None:
    query = parse(text)
    schema_of(text).check(query)
    assert schema_of(text).resolve(query) == query


_HAS = "It has: text, author, year, party, medium"
ERRORS: list[tuple[str, type[CandorError], str]] = [
    (
        "speeches: auther",
        UnknownName,
        (
            f"Unknown relation 'auther' for corpus 'speeches'. {_HAS}, paraphrase. "
            "Did you mean 'author'?"
        ),
    ),
    (
        "colour",
        UnknownName,
        f"Unknown relation 'colour' for corpus 'speeches'. {_HAS}, paraphrase.",
    ),
    (
        "author | Year=1862",
        UnknownName,
        f"Unknown variable 'Year' for corpus 'speeches'. {_HAS}. Did you mean 'year'?",
    ),
    ("H(topic)", UnknownName, f"Unknown variable 'topic' for corpus 'speeches'. {_HAS}."),
    ("places: author", UnknownName, "The query asks corpus 'places', but this is 'speeches'."),
    (
        "author | medium=sung",
        UnknownName,
        "'sung' is no medium in speeches. It has: spoken, written.",
    ),
    (
        "author | medium=writen",
        UnknownName,
        ("'writen' is no medium in speeches. It has: spoken, written. Did you mean 'written'?"),
    ),
    (
        "year | author=Abe Lincoln",
        UnknownName,
        (
            "'Abe Lincoln' is no author in speeches. It has: George Washington, "
            "John Adams, John Quincy Adams, Andrew Jackson, Abraham Lincoln, Andrew Johnson, "
            "Theodore Roosevelt, Franklin D. Roosevelt and 3 more. Did you mean 'Abraham Lincoln'?"
        ),
    ),
    (
        "year | author=roosevelt",
        UnknownName,
        (
            "author=roosevelt could be Theodore Roosevelt or Franklin D. Roosevelt: "
            "write the whole author."
        ),
    ),
    ("names: name | year=1850", UnknownName, "year=1850 is outside names: 1880 to 2017."),
    ("names: P(year=2018)", UnknownName, "year=2018 is outside names: 1880 to 2017."),
    (
        "names: name | year=1985.5",
        UnknownName,
        "year=1985.5 is not in names: the nearest are 1985 and 1986.",
    ),
    (
        "author | year=1933",
        UnknownName,
        "year=1933 is not in speeches: the nearest are 1932 and 1934.",
    ),
    ("names: name | year=last", UnknownName, "year=last is not a number: names has 1880 to 2017."),
    ("names: name | year=nan", UnknownName, "year=nan is not a number: names has 1880 to 2017."),
    (
        "names: sex | sex=male",
        InvalidQuery,
        "'sex' is both asked and given: keep it on one side of '|'.",
    ),
    (
        "author^-1 | text=x",
        InvalidQuery,
        "'text' is both asked and given: keep it on one side of '|'.",
    ),
    (
        "P(year=1900 | year=1900)",
        InvalidQuery,
        "'year' is both asked and given: keep it on one side of '|'.",
    ),
    (
        "H(party | party=Republican)",
        InvalidQuery,
        "'party' is both asked and given: keep it on one side of '|'.",
    ),
    (
        "names: name^-1",
        InvalidQuery,
        "'name' is what names is made of and has no inverse: ask for it as names: name.",
    ),
    ("I(party; year, party)", InvalidQuery, "'party' is on both sides of I: keep it on one side."),
    ("corr(year, year)", InvalidQuery, "corr takes two different variables, not 'year' twice."),
    (
        "author~plain",
        InvalidQuery,
        "'author' is read under no notion: leave '~plain' out.",
    ),
    (
        "corr(party, year)",
        InvalidQuery,
        (
            "corr takes variables that are numbers or have two values; 'party' is neither. "
            "speeches has: year, medium."
        ),
    ),
]


@pytest.mark.parametrize(("text", "kind", "message"), ERRORS, ids=[text for text, *_ in ERRORS])
def test_refuses_in_one_line(text: str, kind: type[CandorError], message: str) -> None:
    schema = schema_of(text)
    for verb in (schema.check, schema.resolve):
        with pytest.raises(kind) as caught:
            verb(parse(text))
        assert caught.value.message == message


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("names: name | sex=Female", "names: name | sex=female"),
        ("names: name | sex=MALE", "names: name | sex=male"),
        ("names: name | sex=f, year=01985", "names: name | sex=female, year=1985"),
        ("names: P(sex=Male, year=1985.0)", "names: P(sex=male, year=1985)"),
        ("party | author=Lincoln", "party | author=Abraham Lincoln"),
        ("party | author=lincoln, abraham", ""),
        ('party | author="Lincoln, Abraham"', "party | author=Abraham Lincoln"),
        ("party | author=A. Lincoln", "party | author=Abraham Lincoln"),
        ("party | author=ABRAHAM  LÍNCOLN", "party | author=Abraham Lincoln"),
        ("party | author=Franklin Roosevelt", "party | author=Franklin D. Roosevelt"),
        ("party | author=quincy", "party | author=John Quincy Adams"),
        ("party | author=George Bush", "party | author=George Bush"),
        ("party | author=FDR", "party | author=Franklin D. Roosevelt"),
        ("party | author=coln", "party | author=Abraham Lincoln"),
        ("author | party=democratic", "author | party=Democratic"),
        ("author | party=Democrat", "author | party=Democratic"),
        ("author | party=Republicans", "author | party=Republican"),
        ("names: sex | name=jennifer", "names: sex | name=jennifer"),
    ],
)
def test_resolves_loose_spelling(written: str, resolved: str) -> None:
    if not resolved:
        with pytest.raises(CandorError):
            schema_of(written).resolve(parse(written))
        return
    schema = schema_of(written)
    query = schema.resolve(parse(written))
    assert notation.format(query) == resolved
    schema.check(query)


@pytest.mark.parametrize("value", ["Adams", "John", "a", ""])
def test_never_guesses_between_values(value: str) -> None:
    query = Draw("speeches", (Step("year"),), (Binding("author", value),))
    with pytest.raises(UnknownName):
        SPEECHES.resolve(query)


def test_digits_are_not_abbreviated() -> None:
    schema = Schema("films", "review", (
        Variable("review", "open"), Variable("rating", "closed", ("2", "10")),
    ))  # fmt: skip
    with pytest.raises(UnknownName):
        schema.resolve(parse("review | rating=1"))


def test_check_asks_for_the_exact_spelling() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'female'"):
        NAMES.check(parse("names: name | sex=Female"))


def test_suggests_by_last_name_without_taking_it() -> None:
    query = Draw("speeches", (Step("year"),), (Binding("author", "Mary Todd-Lincoln Lincoln"),))
    with pytest.raises(UnknownName, match="Did you mean 'Abraham Lincoln'"):
        SPEECHES.resolve(query)


def test_a_later_step_may_ask_again_for_what_is_given() -> None:
    SPEECHES.check(parse("year; author | author=Abraham Lincoln"))


@given(st.text(max_size=60))
def test_any_value_is_resolved_or_refused_in_one_line(value: str) -> None:
    for variable in ("author", "year", "party", "text"):
        query = Draw("speeches", (Step("medium"),), (Binding(variable, value),))
        try:
            SPEECHES.check(SPEECHES.resolve(query))
        except CandorError as error:
            assert len(error.message.splitlines()) == 1
            assert error.message.isprintable()


def test_a_long_value_is_cut_in_the_message() -> None:
    query = Draw("speeches", (Step("year"),), (Binding("author", "x" * 100_000),))
    with pytest.raises(UnknownName) as caught:
        SPEECHES.resolve(query)
    assert len(caught.value.message) < 400


def test_codes_for_correlation() -> None:
    assert NAMES.variable("year").code("1985") == 1985.0
    assert [NAMES.variable("sex").code(v) for v in ("female", "male")] == [0.0, 1.0]
    with pytest.raises(InvalidQuery):
        SPEECHES.variable("party").code("Republican")
    with pytest.raises(InvalidQuery):
        NAMES.variable("sex").code("Female")
    with pytest.raises(InvalidQuery):
        NAMES.variable("year").code("last")


CLINIC = Schema("clinic", "", tuple(Variable(n, "closed", ("yes", "no")) for n in ("ill", "cough")))


@pytest.mark.parametrize(
    "text",
    [
        "clinic: cough | ill=yes",
        "clinic: ill; cough",
        "clinic: P(ill=yes | cough=no)",
        "clinic: I(ill; cough)",
        "clinic: corr(ill, cough)",
    ],
)
def test_a_corpus_needs_no_document(text: str) -> None:
    CLINIC.check(parse(text))


@pytest.mark.parametrize("text", ["clinic: cough^-1", "clinic: ill; cough^-1"])
def test_without_a_document_nothing_is_inverted(text: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        CLINIC.resolve(parse(text))
    assert caught.value.message == (
        "clinic has no document that 'cough^-1' could answer: ask for one of its variables."
    )
