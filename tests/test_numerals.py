"""A guarded text states the numbers it may, and no others."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model.numerals import NUMBER, NumberGuard, TokenTable, numbers_in
from tests import tiny

NUMBERS = st.lists(
    st.from_regex(r"-?[0-9]{1,3}([.,][0-9]{1,3})?", fullmatch=True), max_size=4, unique=True
)


@cache
def table() -> TokenTable:
    return TokenTable.of(tiny.wire().tokenizer)


def token(byte: str) -> int:
    (only,) = tiny.wire().tokenizer.encode(byte)
    return only


def may_follow(text: str, numbers: list[str], before: str = "") -> set[str]:
    """The printable characters that may follow a text."""
    guard = NumberGuard(table(), numbers, before)
    for byte in tiny.wire().tokenizer.encode(text):
        guard.push(byte)
    allowed = guard.allowed()
    return {chr(code) for code in range(32, 127) if allowed[token(chr(code))]}


def digits(characters: set[str]) -> str:
    return "".join(sorted(c for c in characters if c.isdigit()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model 3.2% ± 0.1%; data 1,234", ("3.2", "0.1", "1,234")),
        ("It is -0.41, and not 0.39.", ("-0.41", "0.39")),
        ("1861-1865, 3%-4%", ("1861", "1865", "3", "4")),
        ("version two", ()),
    ],
)
def test_numbers_are_found_with_their_signs(text: str, found: tuple[str, ...]) -> None:
    assert numbers_in(text) == found


def test_without_numbers_no_digit_can_be_written() -> None:
    for text in ("", "The year ", "-", "a."):
        assert digits(may_follow(text, [])) == ""
        assert "x" in may_follow(text, [])


def test_a_number_is_followed_digit_by_digit() -> None:
    numbers = ["3.2% ± 0.15%", "31"]
    assert digits(may_follow("It is ", numbers)) == "03"
    assert may_follow("It is 0", numbers) == {"."}
    assert may_follow("It is 0.", numbers) == {"1"}
    assert may_follow("It is 0.1", numbers) == {"5"}
    assert may_follow("It is 3", numbers) == {"1", "."}
    after = may_follow("It is 3.2", numbers)
    assert digits(after) == ""
    assert {"%", " ", ".", "a"} <= after


def test_a_number_that_begins_another_may_end() -> None:
    after = may_follow("About 3", ["3", "3.2"])
    assert digits(after) == ""
    assert {".", " ", "%"} <= after
    assert digits(may_follow("About 3.", ["3", "3.2"])) == "2"


@pytest.mark.parametrize("text", ["It is 3.", "It is 3,", "It is 14", "x", "so.", "3.."])
def test_two_numbers_are_not_joined_to_a_third(text: str) -> None:
    assert digits(may_follow(text, ["3", "14"])) == ""


def test_a_sign_belongs_to_its_number() -> None:
    assert digits(may_follow("r = -", ["-0.41", "5"])) == "0"
    assert digits(may_follow("r = ", ["-0.41", "5"])) == "5"
    assert digits(may_follow("between 5-", ["-0.41", "5"])) == "5"
    assert may_follow("r = -0", ["-0.41"]) == {"."}
    assert "x" in may_follow("well -", ["-0.41"])


def test_a_number_begun_by_the_opening_goes_on() -> None:
    assert may_follow("", ["1985"], before="In 19") == {"8"}
    assert "x" in may_follow("", ["1985"], before="In 20")
    assert digits(may_follow("", ["1985"], before="In 20")) == ""


def test_a_digit_cannot_be_put_together_from_its_bytes() -> None:
    for digit in "٣½一":
        guard = NumberGuard(table(), ["3"])
        *begun, last = tiny.wire().tokenizer.encode(digit)
        for byte in begun:
            assert guard.allowed()[byte]
            guard.push(byte)
        assert not guard.allowed()[last]
        assert guard.allowed().any()


def test_an_unfinished_number_is_open() -> None:
    guard = NumberGuard(table(), ["3.25"])
    states = []
    for byte in tiny.wire().tokenizer.encode("a 3.25."):
        guard.push(byte)
        states.append(guard.is_open)
    assert states == [False, False, True, True, True, False, False]


@settings(max_examples=40)
@given(NUMBERS, st.integers(0, 2**32))
def test_a_random_walk_states_allowed_numbers_only(numbers: list[str], seed: int) -> None:
    """Steps over the allowed tokens, digits and signs often, until a number is whole."""
    rng = np.random.default_rng(seed)
    tokenizer = tiny.wire().tokenizer
    guard = NumberGuard(table(), numbers)
    often = [token(c) for c in "0123456789.,- "]
    tokens: list[int] = []
    while len(tokens) < 60 or guard.is_open:
        allowed = guard.allowed()
        allowed[: len(tiny.SPECIAL)] = False
        likely = [t for t in often if allowed[t]]
        options = likely if likely and rng.random() < 0.7 else np.flatnonzero(allowed)
        tokens.append(int(options[rng.integers(len(options))]))
        guard.push(tokens[-1])
    text = tokenizer.decode(tokens)
    assert set(numbers_in(text)) <= set(numbers)
    assert not any(c.isnumeric() for c in NUMBER.sub("", text))
