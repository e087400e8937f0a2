"""A model's byte-level vocabulary as `vocab.json`, from a GGUF's or a `tokenizer.json`'s contents.

`{"pattern", "tokens", "special"}`: the expression that splits text, token bytes in base64 by id
(the id is also the merge rank), and the ids of the special tokens. This is what a
`tiktoken.Encoding` takes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from core_model.errors import WeightsError

# GPT-2's pattern after isolating every digit, as one expression: digits alone, and the
# whitespace before a digit in one piece (the split at digits comes first in the reference).
# UNWRITABLE stands for the characters that the vocabulary has no bytes for.
PATTERN = (
    r"'(?:s|t|re|ve|m|ll|d)|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}UNWRITABLE]+"
    r"|\s+(?=\p{N})|\s+(?!\S)|\s+"
)


def vocabulary_of(
    tokens: Sequence[str], special: Mapping[str, int], merges: Sequence[str]
) -> dict[str, Any]:
    """`vocab.json` of tokens (GPT-2's characters for bytes) by id, special tokens and merges.

    Merging the pair of least rank equals applying the merges in order only if merged tokens have
    ids in that order; raises WeightsError if they do not, or if the vocabulary is not byte-level.
    """
    index = {token: i for i, token in enumerate(tokens)}
    made = [index.get(merge.replace(" ", ""), -1) for merge in merges]
    first = list(dict.fromkeys(made))  # of several merges that make one token, the first counts
    if -1 in first or first != sorted(first):
        raise WeightsError("The vocabulary's ids are not in the order of its merges.")
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    try:
        encoded = [
            token.encode() if token in special else bytes(byte_of[c] for c in token)
            for token in tokens
        ]
    except KeyError as error:
        raise WeightsError(f"The vocabulary is not byte-level: it holds {error}.") from error
    return {
        "pattern": PATTERN.replace("UNWRITABLE", _unwritable(encoded)),
        "tokens": [base64.b64encode(token).decode() for token in encoded],
        "special": dict(special),
    }


def vocabulary_of_tokenizer_json(text: str, where: str) -> dict[str, Any]:
    """`vocab.json` of a Hugging Face `tokenizer.json` that splits digits singly, as the embedded
    base's does. Raises WeightsError, naming `where`, for any other tokenizer.
    """
    try:
        tokenizer = json.loads(text)
        model = tokenizer["model"]
        added = {entry["content"]: int(entry["id"]) for entry in tokenizer["added_tokens"]}
        ids: dict[str, int] = {**model["vocab"], **added}
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        steps = tokenizer["pre_tokenizer"]
        steps = steps.get("pretokenizers", [steps])
        kinds = [(s["type"], s.get("individual_digits"), s.get("add_prefix_space")) for s in steps]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{where} is not a byte-level BPE tokenizer: {error!r}.") from error
    if kinds != [("Digits", True, None), ("ByteLevel", None, False)]:
        raise WeightsError(
            f"{where} splits text in a way that is not supported; "
            "supported: single digits, then byte level (the SmolLM2 family)."
        )
    if sorted(ids.values()) != list(range(len(ids))):
        raise WeightsError(f"{where} has gaps in its token ids.")
    return vocabulary_of(sorted(ids, key=ids.__getitem__), added, merges)


def _unwritable(tokens: Sequence[bytes]) -> str:
    """The characters that need a byte which is no token, as the inside of a regex class.

    The reference tokenizer drops such control characters; tiktoken would abort, so its pattern
    must not match them.
    """
    missing = set(range(256)) - {token[0] for token in tokens if len(token) == 1}
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # not in any UTF-8 text
    leads = {0xF0 + i: (max(i << 18, 0x10000), min((i + 1) << 18, 0x110000) - 1) for i in range(5)}
    parts = []
    for byte in sorted(missing - never):
        if 0x09 <= byte <= 0x0D or 0x20 <= byte < 0xF0:
            raise WeightsError(f"The vocabulary cannot write byte 0x{byte:02x}.")
        first, last = leads.get(byte, (byte, byte))
        parts.append(rf"\x{{{first:x}}}-\x{{{last:x}}}")
    return "".join(parts)


def character_of_byte() -> dict[int, str]:
    """GPT-2's printable character for each byte: printable Latin-1 stands for itself, the other
    bytes are U+0100 and up, in order.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in itself]
    return {byte: chr(byte) for byte in itself} | {
        byte: chr(0x100 + i) for i, byte in enumerate(moved)
    }
