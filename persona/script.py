"""A dialogue as what the core is given: the conditions on the unknown author's next words.

    goals=…  user=…  call=…  result=…  -> call    (the turn under way)
    goals=…  user=…  call=…  result=…  call=…  result=…  order=…  conduct=…  author=…  -> reply
    goals=…  user=…  call=…  assistant=…  user=…  -> call

Variables repeat, in the order things were said. A past turn keeps its calls, so that "and for
boys?" can be read, and drops their results, which the reply has told. `order` says which of several
numbers is the greatest; `conduct` and `author` are those of whoever writes the reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core_model import shortening
from core_model.notation import Binding
from core_model.planning import Conditional

CORPUS = "dialogue"
CONDUCT, AUTHOR = "conduct", "author"
CONDUCTS = "conducts"
"""Stands in an adapter's file where its persona has learnt who writes what."""
KEPT_TURNS = 2
"""Past turns that are known; a dialogue of training has three turns at most."""
QUESTION_WORDS = 220
QUESTION_BYTES = 1600
"""Longest text kept whole, in words and in bytes: script that takes many tokens has few blanks."""


@dataclass(frozen=True, slots=True)
class Said:
    """One past turn: the question, each call's pieces (none for a plain reply) and the reply."""

    question: str
    calls: tuple[tuple[str, ...], ...]
    reply: str


def opening(condition: str | None, history: Sequence[Said], question: str) -> tuple[Binding, ...]:
    """What is known when a question has just been asked; None is an author without goals."""
    known = [] if condition is None else [Binding("goals", condition)]
    for said in history[-KEPT_TURNS:]:
        known.append(Binding("user", shortened(said.question)))
        known += [Binding("call", " ".join(pieces)) for pieces in said.calls]
        known.append(Binding("assistant", shortened(said.reply)))
    return (*known, Binding("user", shortened(question)))


def called(pieces: Sequence[str], summary: str) -> tuple[Binding, ...]:
    """What a tool call adds to what is known."""
    return Binding("call", " ".join(pieces)), Binding("result", shortened(summary))


def asked(variable: str, known: tuple[Binding, ...]) -> Conditional:
    """p(call, reply, conduct or author | what is known)."""
    return Conditional(CORPUS, variable, known)


def shortened(text: str) -> str:
    """A long text as its beginning and its end."""
    return shortening.shortened(text, QUESTION_WORDS, QUESTION_BYTES)
