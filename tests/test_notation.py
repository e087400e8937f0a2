"""The notation: what it reads, how it prints, and what it says of text it cannot read."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import notation
from core_model.errors import CandorError, NotationError
from core_model.notation import (
    MAX_LENGTH,
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
    point_at,
)


def bindings(**values: str) -> tuple[Binding, ...]:
    return tuple(Binding(variable, value) for variable, value in values.items())


# --- what it reads ------------------------------------------------------------------------------

READS: list[tuple[str, Query]] = [
    (
        "names: name | year=1985, sex=female",
        Draw("names", (Step("name"),), bindings(year="1985", sex="female")),
    ),
    ("speeches: author", Draw("speeches", (Step("author"),))),
    (
        'speeches: author^-1 | author="Abraham Lincoln", year=1862',
        Draw(
            "speeches",
            (Step("author", inverse=True),),
            bindings(author="Abraham Lincoln", year="1862"),
        ),
    ),
    (
        "places: capital; country^-1",
        Draw("places", (Step("capital"), Step("country", inverse=True))),
    ),
    (
        "names: P(name=Jennifer | year=1972, sex=female)",
        Probability("names", bindings(name="Jennifer"), bindings(year="1972", sex="female")),
    ),
    ("speeches: I(party; medium)", MutualInformation("speeches", ("party",), ("medium",))),
    ("paraphrase~technical", Draw(None, (Step("paraphrase", notion="technical"),))),
    ("a^-1~b; c", Draw(None, (Step("a", True, "b"), Step("c")))),
    (
        "kin: father & mother; child",
        Draw("kin", (Fork((Step("father"), Step("mother"))), Step("child"))),
    ),
    (
        "a & b^-1 & c~d | e=1",
        Draw(None, (Fork((Step("a"), Step("b", True), Step("c", False, "d"))),), bindings(e="1")),
    ),
    ("H(a, b | c=d)", Entropy(None, ("a", "b"), bindings(c="d"))),
    ("I(a, b; c, d | e=f)", MutualInformation(None, ("a", "b"), ("c", "d"), bindings(e="f"))),
    ("x: corr(a, b | c=d)", Correlation("x", "a", "b", bindings(c="d"))),
    ("P(a=1, b=2)", Probability(None, bindings(a="1", b="2"))),
    ("  names :name|year = 1985 ,sex= female \n", parse("names: name | year=1985, sex=female")),
    ("I (a;b)", MutualInformation(None, ("a",), ("b",))),
    (
        "P; H^-1; corr | I=1",
        Draw(None, (Step("P"), Step("H", True), Step("corr")), bindings(I="1")),
    ),
    ("P: H", Draw("P", (Step("H"),))),
    ("author⁻¹", Draw(None, (Step("author", inverse=True),))),
    ("author^\N{MINUS SIGN}1", Draw(None, (Step("author", inverse=True),))),
    ("año: größe_2; 国-名", Draw("año", (Step("größe_2"), Step("国-名")))),
    (
        "a | b=Jean-Luc O'Neil Jr. ünï 你好 : ~ ^-1 #7",
        Draw(None, (Step("a"),), bindings(b="Jean-Luc O'Neil Jr. ünï 你好 : ~ ^-1 #7")),
    ),
    (r'a | b="", c=" x ", d="\" \\ \n \t \u00e9"', Draw(
        None, (Step("a"),), bindings(b="", c=" x ", d='" \\ \n \t é')
    )),
    ('a | b="x, y | z; (w) = v\nu\x1b"', Draw(
        None, (Step("a"),), bindings(b="x, y | z; (w) = v\nu\x1b")
    )),
    (r"a | b=c\d", Draw(None, (Step("a"),), bindings(b=r"c\d"))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "query"), READS, ids=[text for text, _ in READS])
def test_reads(text: str, query: Query) -> None:
    assert parse(text) == query


@pytest.mark.parametrize("text", [text for text, _ in READS[:6]])
def test_prints_what_a_person_would_write(text: str) -> None:
    assert notation.format(parse(text)) == text.replace('"', "")


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("Abraham Lincoln", "Abraham Lincoln"),
        ("", '""'),
        (" a", '" a"'),
        ("a\N{NO-BREAK SPACE}", '"a\N{NO-BREAK SPACE}"'),
        ("a, b", '"a, b"'),
        ('say "no"', r'"say \"no\""'),
        ("back\\slash", "back\\slash"),
        ("two\nlines\t", r'"two\nlines\t"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("\N{RIGHT-TO-LEFT OVERRIDE}a", r'"\u202ea"'),
        ("\ud800", r'"\ud800"'),
        ("“curly”", '"“curly”"'),
        ("👩\N{ZERO WIDTH JOINER}👧", "👩\N{ZERO WIDTH JOINER}👧"),
    ],
)
def test_quotes_only_where_needed(value: str, printed: str) -> None:
    assert notation.format_value(value) == printed
    query = Draw(None, (Step("a"),), (Binding("b", value),))
    assert parse(notation.format(query)) == query


# --- laws ---------------------------------------------------------------------------------------

identifiers = st.one_of(
    st.sampled_from(["P", "H", "I", "corr", "name", "year", "_", "a-1", "b-"]),
    st.text("abzéß国_", min_size=1, max_size=3),
    st.builds(str.__add__, st.sampled_from("aé_"), st.text("b-_3٣", max_size=4)),
)
values = st.one_of(
    st.text(max_size=12),
    st.text(st.sampled_from(' ,|;=()"\\ab^~:\n\t\x00“\u2028\ufeff\ud800'), max_size=8),
)
givens = st.lists(
    st.builds(Binding, identifiers, values), max_size=3, unique_by=lambda b: b.variable
).map(tuple)
name_lists = st.lists(identifiers, min_size=1, max_size=3, unique=True).map(tuple)
corpora = st.none() | identifiers
steps = st.builds(Step, identifiers, st.booleans(), st.none() | identifiers)
forks = st.lists(steps, min_size=2, max_size=3, unique_by=lambda step: step.relation).map(
    lambda parts: Fork(tuple(parts))
)
queries: st.SearchStrategy[Query] = st.one_of(
    st.builds(Draw, corpora, st.lists(steps | forks, min_size=1, max_size=4).map(tuple), givens),
    st.builds(Probability, corpora, givens.filter(bool), givens),
    st.builds(Entropy, corpora, name_lists, givens),
    st.builds(MutualInformation, corpora, name_lists, name_lists, givens),
    st.builds(Correlation, corpora, identifiers, identifiers, givens),
)


@settings(max_examples=150, deadline=None)
@given(queries)
def test_what_is_printed_is_read_back(query: Query) -> None:
    printed = notation.format(query)
    assert parse(printed) == query
    assert len(printed.splitlines()) == 1
    assert notation.format(parse(printed)) == printed


pieces = st.lists(
    st.sampled_from(
        [
            *("P(", "H(", "I(", "corr(", ")", "|", ",", ";", "=", ":", "~", "^-1", '"', "\\", " "),
            *("a", "b", "c=1", "x y", "\n", "\x1b", "“", "é", "\ud800"),
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.text() | pieces)
def test_any_text_is_read_or_explained(text: str) -> None:
    try:
        query = parse(text)
    except NotationError as error:
        assert 0 <= error.position <= len(text)
        assert len(error.message.splitlines()) == 1
        assert error.message.endswith(".")
        _, caret = point_at(text, error.position).split("\n")
        assert caret.strip() == "^"
    else:
        assert parse(notation.format(query)) == query


# --- errors -------------------------------------------------------------------------------------

_AFTER_RELATION = (
    "expected '^-1', '~' and a notion, '&' and a relation beside it, ';' and another relation, "
    "'|' and conditions or the end of the query."
)
_QUOTES = 'A value with , | ; = ( ) or " goes in double quotes.'
ERRORS: list[tuple[str, int, str]] = [
    (
        "",
        0,
        (
            "The query is empty: write a relation, such as author, "
            "or names: name | year=1985, sex=female."
        ),
    ),
    ("names:", 6, "The query stops at character 7: expected a relation or a measure."),
    ("author;", 7, "The query stops at character 8: expected a relation."),
    ("father &", 8, "The query stops at character 9: expected a relation."),
    ("a & a", 4, "'a' stands twice, again at character 5: name it once."),
    ("author~", 7, "The query stops at character 8: expected a notion."),
    ("author |  ", 8, "The query stops at character 9: expected a variable."),
    ("name | year", 11, "The query stops at character 12: expected '=' and a value."),
    ("name | year=", 12, "The query stops at character 13: expected a value."),
    ("names: name year=1", 12, f"Unexpected 'year' at character 13: {_AFTER_RELATION}"),
    ("names: a: b", 8, f"Unexpected ':' at character 9: {_AFTER_RELATION}"),
    ("1985", 0, "Unexpected '1985' at character 1: expected a relation or a measure."),
    ("a | b==c", 6, f"Unexpected '=' at character 7: expected a value. {_QUOTES}"),
    (
        "a | b=c(d)",
        7,
        (
            "Unexpected '(' at character 8: expected ',' and another condition "
            f"or the end of the query. {_QUOTES}"
        ),
    ),
    (
        "a | b=1 | c=2",
        8,
        "Unexpected '|' at character 9: a query has one '|'; separate conditions with ','.",
    ),
    ('a | b="c', 6, 'The quote opened at character 7 is never closed: add a " after the value.'),
    ("a | b=“c”", 6, "Unexpected '“' at character 7: use straight quotes, \"."),
    (
        r'a | b="\q"',
        7,
        (
            r"Unknown escape '\q' at character 8: expected one of "
            r"\" \\ \n \r \t \uXXXX (write \\ for a backslash)."
        ),
    ),
    ("a | b=1, b=2", 9, "'b' stands twice, again at character 10: name it once."),
    ("P(a=1, a=2)", 7, "'a' stands twice, again at character 8: name it once."),
    ("H(a, a)", 5, "'a' stands twice, again at character 6: name it once."),
    (
        "P(name)",
        6,
        (
            "Unexpected ')' at character 7: expected '=' and a value. "
            "The form is P(variable=value | variable=value)."
        ),
    ),
    (
        "H()",
        2,
        (
            "Unexpected ')' at character 3: expected a variable. "
            "The form is H(variable | variable=value)."
        ),
    ),
    (
        "I(a)",
        3,
        (
            "Unexpected ')' at character 4: expected ',' and another variable "
            "or ';' and another variable. The form is I(variable; variable | variable=value)."
        ),
    ),
    (
        "corr(a)",
        6,
        (
            "Unexpected ')' at character 7: expected ',' and another variable. "
            "The form is corr(variable, variable | variable=value)."
        ),
    ),
    (
        "corr(a, b",
        9,
        (
            "The query stops at character 10: expected '|' and conditions or ')'. "
            "The form is corr(variable, variable | variable=value)."
        ),
    ),
    (
        "a; mean(b)",
        7,
        (
            "Unexpected '(' at character 8: only P, H, I and corr take parentheses, "
            "and each stands alone after the corpus."
        ),
    ),
    (
        "a\x1b[2J",
        1,
        (
            "Unexpected character U+001B at character 2: "
            "outside double quotes a query holds only visible characters."
        ),
    ),
    (
        "a | b=c\x00",
        7,
        (
            "Unexpected character U+0000 at character 8: "
            "outside double quotes a query holds only visible characters."
        ),
    ),
]


@pytest.mark.parametrize(
    ("text", "position", "message"), ERRORS, ids=[ascii(text) for text, *_ in ERRORS]
)
def test_says_what_is_wrong_where_and_what_to_do(text: str, position: int, message: str) -> None:
    with pytest.raises(NotationError) as caught:
        parse(text)
    assert (caught.value.message, caught.value.position) == (message, position)


def test_an_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(NotationError("Wrong.", 3)))
    assert (error.message, error.position) == ("Wrong.", 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Binding("two words", "x"),
        lambda: Step(""),
        lambda: Step("a", notion="b c"),
        lambda: Fork((Step("a"),)),
        lambda: Fork((Step("a"), Step("a", True))),
        lambda: Draw("1", (Step("a"),)),
        lambda: Draw(None, ()),
        lambda: Draw(None, (Step("a"),), (Binding("b", "1"), Binding("b", "2"))),
        lambda: Probability(None, ()),
        lambda: Entropy(None, ()),
        lambda: Entropy(None, ("a", "a")),
        lambda: MutualInformation(None, ("a",), ()),
        lambda: Correlation(None, "a", "b|c"),
    ],
)
def test_a_tree_that_could_not_be_printed_cannot_be_built(make: object) -> None:
    assert callable(make)
    with pytest.raises(CandorError):
        make()


LONG: dict[str, Callable[[int], str]] = {
    "long": lambda n: "a" * (100 * n),
    "brackets": lambda n: "(" * (100 * n),
    "chain": lambda n: "a;" * n + "a",
    "bad chain": lambda n: "a;" * n + "(",
    "list": lambda n: "H(" + "a," * n,
    "open quote": lambda n: 'a | b="' + '\\"' * n,
    "control": lambda n: "a | b=" + "x " * n + "\x00",
    "blanks": lambda n: "a | b=c" + "  " * n + "(",
}


@pytest.mark.parametrize("kind", LONG)
def test_time_grows_no_faster_than_the_input(kind: str) -> None:
    """Four times the text takes four times as long; sixteen times would be quadratic."""

    def seconds(n: int) -> float:
        gc.disable()  # its time grows with all else that the process holds
        start = time.process_time()
        try:
            parse(LONG[kind](n))
        except NotationError as error:
            assert len(error.message) < 250
        finally:
            gc.enable()
        return time.process_time() - start

    def least(n: int) -> float:
        return min(seconds(n) for _ in range(3))  # other work on the machine only adds

    seconds(10)  # the grammar is made once
    assert least(9_900) < 8 * least(2_475) + 0.1


def test_the_longest_query_is_read_and_a_longer_one_refused() -> None:
    longest = "a | b=" + "x" * (MAX_LENGTH - 6)
    assert isinstance(parse(longest), Draw)
    with pytest.raises(NotationError) as caught:
        parse(longest + "x")
    assert caught.value.message == (
        "The query has 20,001 characters, and at most 20,000 are read: "
        "pass long text as data instead."
    )


# --- the caret ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "position", "shown"),
    [
        ("a ! b", 2, "a ! b\n  ^"),
        ("", 0, "\n^"),
        ("ab", 9, "ab\n  ^"),
        ("ab\ncd !\nef", 6, "cd !\n   ^"),
        ("你好 !", 3, "你好 !\n     ^"),
        ("e\N{COMBINING ACUTE ACCENT} !", 3, "e\N{COMBINING ACUTE ACCENT} !\n  ^"),
        ("\x1b[2J!", 4, "·[2J!\n    ^"),
    ],
)
def test_points_at_the_character(text: str, position: int, shown: str) -> None:
    assert point_at(text, position) == shown


@pytest.mark.parametrize("position", [0, 3, 500, 999, 1000])
def test_a_long_line_is_cut_around_the_caret(position: int) -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(1000))
    line, caret = point_at(text, position, columns=40).split("\n")
    assert len(line) <= 42
    assert (line + " ")[caret.index("^")] == (text + " ")[position]
