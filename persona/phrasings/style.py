"""How a question is typed: capitals, question marks, contractions, politeness, slips."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LOWER_SHARE, TIDY_SHARE = 0.35, 0.45
NO_QUESTION_MARK = {"lower": 0.65, "tidy": 0.03, "plain": 0.15}
SLIP_SHARE = 0.06
OPENING_SHARE, CLOSING_SHARE = 0.06, 0.04
CONTRACTION_SHARE = 0.3
OPENINGS = ("hi, ", "hey, ", "ok, ", "so, ", "hello, ", "hi Candor, ", "quick question: ", "well, ")
OPENINGS_LATER = ("ok, ", "so, ", "hm, ", "right, ")
CLOSINGS = (" please", " thanks", ", please", " pls")
CONTRACTIONS = (("what is ", "what's "), ("who is ", "who's "), ("could not", "couldn't"))
INTERCHANGED_SHARE = 0.3
INTERCHANGEABLE = (
    ("popular", "common", "frequent", "widespread"),
    ("likely", "probable"),
    ("probability", "chance", "likelihood"),
    ("percentage", "proportion", "fraction"),
    ("give me", "show me", "get me"),
    ("draw", "generate", "pick"),
    ("called", "named"),
    ("guess", "work out", "figure out", "infer"),
    ("diverse", "varied", "mixed"),
    ("uncertain", "unsure", "undecided"),
    ("tell you about", "say about", "reveal about", "tell us about"),
    ("wrote", "said"),
    ("passage", "text"),
    ("addresses", "speeches"),
    ("kids", "children", "babies"),
    ("might", "could", "would"),
)
"""Words of which each can stand for the others in a question."""
NOUN = re.compile(
    r"\b(a|the|your|my|best|first|another|one|this|any|fair|wild|educated|random|lucky) $", re.I
)
"""Behind one of these a guess or a pick is a noun, and stays."""
MAY_BE_NOUNS = ("draw", "pick", "guess")
LEAD_IN_SHARE = 0.07
LEAD_INS = (
    "tell me, ", "can you tell me: ", "please tell me, ", "I'd like to know: ", "I wonder, ",
    "for my homework: ", "just curious, ", "another one: ", "help me out: ", "question: ",
    "my question is, ", "let's see, ", "do you know, ", "I need to know, ",
)  # fmt: skip

_INTERCHANGEABLE = re.compile(
    r"\b(" + "|".join(word for group in INTERCHANGEABLE for word in group) + r")\b"
)

Manner = Literal["lower", "tidy", "plain"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a question: `free` words may be misspelt, `fixed` text is never touched."""

    text: str
    kind: Literal["free", "value", "fixed"]


def manner(rng: np.random.Generator) -> Manner:
    """A person's way of typing, kept through a dialogue."""
    draw = rng.random()
    if draw < LOWER_SHARE:
        return "lower"
    return "tidy" if draw < LOWER_SHARE + TIDY_SHARE else "plain"


def reworded(
    parts: Sequence[Part], rng: np.random.Generator, later: bool = False
) -> tuple[Part, ...]:
    """The question in other words that mean the same; values and mentions stay as they are.

    For questions to learn from: held-out ones keep the words they were written in.
    """
    pieces = [_map(p, lambda t: _interchanged(t, rng)) if p.kind == "free" else p for p in parts]
    if not later and rng.random() < LEAD_IN_SHARE:
        pieces.insert(0, Part(LEAD_INS[rng.integers(len(LEAD_INS))], "value"))
    return tuple(pieces)


def _interchanged(text: str, rng: np.random.Generator) -> str:
    def other(match: re.Match[str]) -> str:
        word = match.group()
        if rng.random() >= INTERCHANGED_SHARE or (
            word in MAY_BE_NOUNS and NOUN.search(text[: match.start()])
        ):
            return word
        group = next(g for g in INTERCHANGEABLE if word in g)
        return group[rng.integers(len(group))]

    return _INTERCHANGEABLE.sub(other, text)


def typed(parts: Sequence[Part], how: Manner, rng: np.random.Generator, later: bool = False) -> str:
    """The question as typed; `fixed` parts stay as they are. `later`: not the first turn."""
    pieces = list(parts)
    if rng.random() < CONTRACTION_SHARE:
        pieces = [_map(p, _contract) if p.kind == "free" else p for p in pieces]
    if rng.random() < SLIP_SHARE:
        pieces = _slip(pieces, rng)
    if rng.random() < OPENING_SHARE and len(pieces) > 1:
        openings = OPENINGS_LATER if later else OPENINGS
        pieces.insert(0, Part(openings[rng.integers(len(openings))], "value"))
    last = pieces[-1]
    if last.kind != "fixed":
        text = last.text
        if text.endswith("?") and rng.random() < NO_QUESTION_MARK[how]:
            text = text[:-1]
        elif (
            rng.random() < CLOSING_SHARE
            and text[-1:].isalnum()
            and len(pieces) > 1
            and not any("please" in p.text for p in pieces)
        ):
            text += CLOSINGS[rng.integers(len(CLOSINGS))]
        pieces[-1] = Part(text, last.kind)
    if how == "lower":
        bare = rng.random() < 0.5
        pieces = [
            _map(p, lambda t: t.lower().replace("'", "") if bare else t.lower()) for p in pieces
        ]
    if how == "tidy" and pieces[0].kind != "fixed":
        first = pieces[0].text
        pieces[0] = Part(first[:1].upper() + first[1:], pieces[0].kind)
    return "".join(p.text for p in pieces)


def _map(part: Part, change: Callable[[str], str]) -> Part:
    return part if part.kind == "fixed" else Part(change(part.text), part.kind)


def _contract(text: str) -> str:
    for full, short in CONTRACTIONS:
        text = text.replace(full, short)
    return text


def _slip(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    """One slip of the finger in one long word of the free text."""
    places = [
        (i, start, word)
        for i, part in enumerate(parts)
        if part.kind == "free"
        for start, word in _words(part.text)
        if len(word) >= 5 and word.isalpha()
    ]
    if not places:
        return parts
    index, start, word = places[rng.integers(len(places))]
    at = int(rng.integers(1, len(word) - 1))
    slipped = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],  # two letters swapped
        word[:at] + word[at + 1 :],  # one left out
        word[:at] + word[at] + word[at:],  # one doubled
    )[rng.integers(3)]
    text = parts[index].text
    changed = list(parts)
    changed[index] = Part(text[:start] + slipped + text[start + len(word) :], "free")
    return changed


def _words(text: str) -> list[tuple[int, str]]:
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        found.append((at, word))
        at += len(word)
    return found
