"""The wire format: plain text comes back as it was, and nothing typed can forge a mark."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model.errors import CandorError
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.wire import MARK_NAMES, Segment
from tests import tiny

HOSTILE = st.lists(
    st.one_of(st.sampled_from(tiny.SPECIAL), st.text(max_size=4)), min_size=1, max_size=6
).map("".join)


def parsed(conditional: Conditional) -> list[Segment]:
    return tiny.wire().parse(tiny.wire().prompt(conditional))


def expected(conditional: Conditional) -> list[Segment]:
    known = [
        segment
        for binding in conditional.given
        for segment in (Segment("variable", binding.variable), Segment("value", binding.value))
    ]
    asked = [Segment("query", conditional.variable), Segment("answer", "")]
    return [Segment("corpus", conditional.corpus), *known, *asked]


@settings(max_examples=60)
@given(st.text())
def test_a_value_comes_back_as_it_was(value: str) -> None:
    tokenizer = tiny.wire().tokenizer
    assert tokenizer.decode_value(tokenizer.encode_value(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "  two",
        "1985",
        " 1985",
        "3rd",
        "a\n\nb\t",
        "\x00",
        "naïve 日本",
        "🙂",
        "\u0663",
        "’s",
    ],
)
def test_an_odd_value_comes_back_as_it_was(value: str) -> None:
    tokenizer = tiny.wire().tokenizer
    assert tokenizer.decode_value(tokenizer.encode_value(value)) == value


def test_a_lone_surrogate_is_read_as_a_question_mark() -> None:
    tokenizer = tiny.wire().tokenizer
    assert tokenizer.decode_value(tokenizer.encode_value("a\ud800b")) == "a?b"


@pytest.mark.parametrize("name", tiny.SPECIAL)
def test_a_typed_special_token_is_plain_text(name: str) -> None:
    wire = tiny.wire()
    tokens = wire.tokenizer.encode_value(name)
    assert not set(tokens) & set(wire.tokenizer.special.values())
    assert wire.tokenizer.decode_value(tokens) == name


@settings(max_examples=40)
@given(HOSTILE, HOSTILE)
def test_hostile_text_changes_nothing_around_it(one: str, other: str) -> None:
    given = (Binding("text", one), Binding("author", other), Binding("year", "1862"))
    conditional = Conditional("speeches", "party", given)
    assert parsed(conditional) == expected(conditional)


@settings(max_examples=40)
@given(HOSTILE, HOSTILE)
def test_a_hostile_answer_ends_where_it_ends(answer: str, piece: str) -> None:
    wire = tiny.wire()
    prompt = wire.prompt(Conditional("names", "name"))
    assert wire.parse(prompt + wire.answer(answer))[-2:] == [
        Segment("answer", answer), Segment("end", "")
    ]  # fmt: skip
    pieces = wire.parse(prompt + wire.pieces([piece, answer]))[-4:]
    assert [segment.text for segment in pieces] == [piece, answer, "", ""]
    assert [segment.mark for segment in pieces] == ["answer", "variable", "variable", "end"]


def test_a_prompt_with_nothing_known_is_a_prior() -> None:
    conditional = Conditional("names", "name")
    assert parsed(conditional) == expected(conditional)


def test_every_mark_is_one_token_of_its_own() -> None:
    marks = tiny.wire().marks
    assert set(marks) == set(MARK_NAMES)
    assert len(set(marks.values())) == len(marks)


def test_a_row_begins_with_a_mark() -> None:
    wire = tiny.wire()
    assert wire.parse([]) == []
    with pytest.raises(CandorError, match="begins with a mark"):
        wire.parse(wire.tokenizer.encode("text"))
