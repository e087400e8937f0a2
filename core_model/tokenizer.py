"""The base model's byte-pair vocabulary as a tiktoken encoding.

Text of users and corpora is encoded with special tokens switched off, so nothing typed can spell
a mark of the wire format. A value is encoded with one leading space unless it begins with a
digit: then a common word is a single token, and a number the same tokens wherever it stands.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import tiktoken

from core_model.errors import WeightsError

_DIGITS = "0123456789"


class Tokenizer:
    """Text to token ids and back, with the vocabulary's special tokens by name."""

    def __init__(self, vocabulary: Path) -> None:
        try:
            content = json.loads(vocabulary.read_text(encoding="utf-8"))
            self.special: dict[str, int] = content["special"]
            special_ids = set(self.special.values())
            ranks = {
                base64.b64decode(token): rank
                for rank, token in enumerate(content["tokens"])
                if rank not in special_ids
            }
            self._encoding = tiktoken.Encoding(
                "base", pat_str=content["pattern"], mergeable_ranks=ranks,
                special_tokens=self.special,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"The vocabulary {vocabulary} is damaged ({error}). Delete it and start again."
            ) from error
        self.size = len(content["tokens"])

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; what spells a special token stays plain text."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return self._encoding.encode_ordinary(clean)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self._encoding.decode(list(tokens), errors="replace")

    def encode_value(self, value: str) -> list[int]:
        """Token ids of a value as it stands in the wire format."""
        if not value:
            return []
        return self.encode(value if value[0] in _DIGITS else " " + value)

    def decode_value(self, tokens: Sequence[int]) -> str:
        """The value behind the token ids; inverse of `encode_value`."""
        return self.decode(tokens).removeprefix(" ")
