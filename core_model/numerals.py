"""A guard that lets a text under way contain only given numbers.

Digits are single tokens in the vocabulary, so a number can be followed token by token: a digit is
allowed where what stands before it, with it, begins an allowed number, and a number must be whole
before anything else follows. With no numbers allowed, no digit can be written at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core_model.tokenizer import Tokenizer

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Which tokens hold digits: `digit` maps a single digit's token to it."""

    size: int
    digit: dict[int, str]
    with_digits: Tensor
    points: dict[int, str]


class NumberGuard:
    """Follows one text; `numbers` are the allowed ones as they are to be written."""

    def __init__(self, table: TokenTable, numbers: Sequence[str]) -> None:
        self._table = table
        self._numbers = {found for text in numbers for found in NUMBER.findall(text)}
        self._run = ""

    @staticmethod
    def token_table(tokenizer: Tokenizer) -> TokenTable:
        """The table of a vocabulary; tokens that mix digits with other text are never allowed."""
        special = set(tokenizer.special.values())
        texts = {t: tokenizer.decode([t]) for t in range(tokenizer.size) if t not in special}
        digit = {t: text for t, text in texts.items() if len(text) == 1 and text.isdigit()}
        mixed = [t for t, text in texts.items() if any(c.isnumeric() for c in text)]
        mask = torch.zeros(tokenizer.size, dtype=torch.bool)
        mask[mixed] = True
        points = {t: text for t, text in texts.items() if text in (".", ",")}
        return TokenTable(tokenizer.size, digit, mask, points)

    def allowed(self) -> Tensor:
        """(V,) tokens that may follow."""
        table = self._table
        allowed = ~table.with_digits
        open_number = bool(self._run) and self._run not in self._numbers
        if open_number:
            allowed = torch.zeros(table.size, dtype=torch.bool)
        for token, text in (table.digit | table.points).items():
            if any(number.startswith(self._run + text) for number in self._numbers):
                allowed[token] = True
        return allowed

    def push(self, token: int) -> None:
        """Follow the text by one token."""
        text = self._table.digit.get(token) or self._table.points.get(token)
        extended = self._run + text if text is not None else ""
        begins = any(number.startswith(extended) for number in self._numbers)
        self._run = extended if extended and extended[0].isdigit() and begins else ""


def numbers_in(text: str) -> tuple[str, ...]:
    """The numbers of a text, as written."""
    return tuple(NUMBER.findall(text))
