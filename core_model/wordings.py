"""Plain words for relations: `who wrote this?` asks what `author` asks.

Each relation of some corpora has forty wordings or so: phrases in common frames, claims in others
for what is yes or no, and ones of its own. Eight of each are held out, by a checksum; training
never sees them.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LEARNT = "in-words"
"""Stands among what an adapter has learnt where questions about FIRST_CORPORA can be put so."""
FIRST_CORPORA = ("names", "speeches", "places", "kin")
_FRAMES: Mapping[str, str] = {"nouns": "frames", "claims": "claim_frames"}
HELD_OUT = 8
"""Wordings of each relation that training never sees."""


@cache
def wordings(corpus: str) -> Mapping[str, tuple[str, ...]]:
    """All wordings of each relation of a corpus that has any; the held-out ones stand first."""
    found = {}
    for relation, given in _read().get(corpus, {}).items():
        texts = [
            frame.format(words)
            for kind, frames in _FRAMES.items()
            for words in given.get(kind, ())
            for frame in _content()[frames]
        ]
        distinct = dict.fromkeys([*given["own"], *texts])
        found[relation] = tuple(sorted(distinct, key=_checksum))
    return found


def trained(corpus: str) -> Mapping[str, tuple[str, ...]]:
    """The wordings of each relation that training may see."""
    return {relation: texts[HELD_OUT:] for relation, texts in wordings(corpus).items()}


def held_out(corpus: str) -> Mapping[str, tuple[str, ...]]:
    """The wordings of each relation that it may not."""
    return {relation: texts[:HELD_OUT] for relation, texts in wordings(corpus).items()}


def known(corpus: str, relation: str) -> tuple[str, ...]:
    """The variables that are known where a relation is asked, in this order; none: any."""
    return tuple(_read()[corpus][relation].get("known", ()))


def learnt(corpus: str) -> str:
    """What stands among what an adapter has learnt where a corpus can be asked in words."""
    return LEARNT if corpus in FIRST_CORPORA else f"{LEARNT}:{corpus}"


def relation_of(corpus: str, wording: str) -> str | None:
    """The relation that a wording asks for, whatever its case and end; None of an unknown one."""
    return _relations(corpus).get(_plain(wording))


def like(corpus: str, wording: str) -> str | None:
    """The known wording that is most like another; None where none is."""
    texts = {_plain(text): text for given in wordings(corpus).values() for text in given}
    found = difflib.get_close_matches(_plain(wording[:100]), texts, n=1)
    return texts[found[0]] if found else None


@cache
def _relations(corpus: str) -> Mapping[str, str]:
    return {
        _plain(text): relation for relation, texts in wordings(corpus).items() for text in texts
    }


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(" ?.!")


def _checksum(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _read() -> dict[str, dict[str, dict[str, list[str]]]]:
    return {name: part for name, part in _content().items() if name not in _FRAMES.values()}


@cache
def _content() -> dict:  # type: ignore[type-arg]
    path = Path(__file__).with_suffix(".toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))
