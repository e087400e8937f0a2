"""A guard that lets a text under way contain only given numbers.

Digits are single tokens in the vocabulary, so a number can be followed token by token: a digit is
allowed where it goes on with an allowed number, and a number must be whole before anything else
follows. With no numbers allowed, no digit can be written at all. Law: `numbers_in` of a guarded
text lists allowed numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core_model.tokenizer import Tokenizer

SIGN = r"(?:(?<![\w%)])-)?"
"""A minus sign, and not the dash between two words or numbers."""
NUMBER = re.compile(SIGN + r"\d+(?:[.,]\d+)*")
_RUN = re.compile(SIGN + r"(?:\d+(?:[.,]\d+)*[.,]?)?$")
_POINTS = ".,"
_UNFINISHED = "\ufffd"
_LONGEST_PREFIX = 3
"""Bytes, and so tokens, that a character may lack its last one behind."""
_KEPT = 64
"""Characters of the text that are looked at; no number can be longer."""


def numbers_in(text: str) -> tuple[str, ...]:
    """The numbers of a text, as written."""
    return tuple(NUMBER.findall(text))


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What a vocabulary's tokens have to do with numbers.

    signs: tokens that are one digit or point. plain: (V,) tokens without digits; those that mix
    digits with other text are never allowed. partial: tokens that may end a character begun
    before.
    """

    tokenizer: Tokenizer
    signs: dict[int, str]
    plain: NDArray[np.bool_]
    partial: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> TokenTable:
        """The table of a vocabulary."""
        special = set(tokenizer.special.values())
        texts = {t: tokenizer.decode([t]) for t in range(tokenizer.size) if t not in special}
        plain = np.ones(tokenizer.size, np.bool_)
        plain[[t for t, text in texts.items() if any(c.isnumeric() for c in text)]] = False
        signs = {t: s for t, s in texts.items() if len(s) == 1 and (s.isdecimal() or s in _POINTS)}
        partial = tuple(t for t, text in texts.items() if text.startswith(_UNFINISHED))
        return cls(tokenizer, signs, plain, partial)


class NumberGuard:
    """Follows one text behind `before`; `numbers` are allowed as they are written there."""

    def __init__(self, table: TokenTable, numbers: Sequence[str], before: str = "") -> None:
        self._table = table
        found = {number for text in numbers for number in NUMBER.findall(text)}
        self._numbers = {number for number in found if len(number) < _KEPT}
        self._text = before[-_KEPT:]
        self._unfinished: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether a number stands unfinished at the end."""
        run = self._run()
        return run[-1:] not in ("", "-") and not self._is_whole(run) and self._begins(run)

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) tokens that may follow; never none."""
        table, run = self._table, self._run()
        allowed = np.zeros_like(table.plain) if self.is_open else table.plain.copy()
        if self._unfinished:
            for token in table.partial:
                text = table.tokenizer.decode([*self._unfinished, token])
                if any(c.isnumeric() for c in text):  # a digit put together from its bytes
                    allowed[token] = False
        # A number starts behind neither a point nor a letter: it would be part of another.
        starts = run == "-" or not (self._end().isalnum() or self._end() in tuple(_POINTS))
        for token, sign in table.signs.items():
            if (starts or run) and self._begins(run + sign):
                allowed[token] = True
        return allowed

    def push(self, token: int) -> None:
        """Follow the text by one token."""
        self._unfinished.append(token)
        text = self._table.tokenizer.decode(self._unfinished)
        if not text.endswith(_UNFINISHED):
            self._text = (self._text + text)[-_KEPT:]
            self._unfinished = []
        elif len(self._unfinished) > _LONGEST_PREFIX:
            self._text += _UNFINISHED
            self._unfinished = self._unfinished[-_LONGEST_PREFIX:]

    def _end(self) -> str:
        return _UNFINISHED if self._unfinished else self._text[-1:]

    def _run(self) -> str:
        """The number under way at the end: sign, digits and points; empty where there is none."""
        found = _RUN.search(self._text) if not self._unfinished else None
        return found[0] if found else ""

    def _is_whole(self, run: str) -> bool:
        return run.rstrip(_POINTS) in self._numbers

    def _begins(self, run: str) -> bool:
        return any(number.startswith(run) for number in self._numbers)
