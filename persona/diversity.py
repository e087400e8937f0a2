"""The measure `diversity`: how many answers a chat has for a question that has many."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.config import Settings
from core_model.core import Core
from core_model.corpora.names import Names
from core_model.errors import CandorError
from core_model.measures.result import Goal, MeasureRow, Options, mean_of, measured
from persona.agent import Agent
from persona.events import Reply, TurnFailed
from persona.rivals.base import Base

DRAWS, QUICK_DRAWS = 20, 4
COMMON_FROM = 5000
NO_NAMES = frozenset({"Baby", "Infant", "Unknown", "Girl", "Boy"})
"""Given to babies on record, and words of a reply that names nobody."""
OF_NAMES = (
    "Suggest a name for a baby girl.",
    "Suggest a name for a baby boy.",
    "Pick a random first name for a girl born in 1950.",
)
OF_TEXTS = (
    "Write a sentence a president might say.",
    "Write something Abraham Lincoln could have said.",
)


class Rival(Protocol):
    """A chat to compare with, which also says how probable it finds any reply."""

    def replies(self, question: str, n: int, rng: np.random.Generator) -> list[str]:
        """n independent replies to a question that opens a conversation."""
        ...

    def surprise(self, question: str, reply: str) -> float:
        """-log p(reply | question), nats per token."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one chat gave for one question: shares of distinct answers and of common words."""

    distinct: float
    similarity: float
    surprise: float


def diversity(core: Core, options: Options, base: Rival | None = None) -> list[MeasureRow]:
    """Distinct answers in 20 draws of a question, of the persona and of the instruct base.

    Items: three questions for a first name and two for a text (`--quick`: one each, 4 draws), each
    put 20 times as the opening of a conversation, to the persona as it is in the chat, and to
    the base at temperature 1 without truncation, the most diverse way to run it. Of a question for
    a name the answer is the first name in the reply, of those given to 5,000 babies at least; all
    replies without one count as one answer. Of a text it is the reply, casefolded and without
    punctuation.

    - distinct names, distinct texts: mean share of distinct answers. The guards are the mean
      self-similarity (Jaccard index of two replies' words) and -log p(reply | question) of the
      base, nats per token, for both chats: diversity of what the base finds no more surprising than
      its own replies is no noise. The baseline is the base's share.
    - diversity ratio: the persona's mean share of distinct names over the base's; it can be no more
      than 1 over that. Texts are left out: every sampler of whole texts has 20 of them in 20 draws.

    Intervals resample questions.
    """
    rival = base or Base.load(Settings.from_environment())
    groups: dict[str, tuple[str, ...]] = {"names": OF_NAMES, "texts": OF_TEXTS}
    if options.quick:
        groups = {kind: questions[:1] for kind, questions in groups.items()}
    answer_of = {"names": name_finder(), "texts": plain}
    rows, shares = [], {}
    for kind, questions in groups.items():
        found: dict[str, list[Drawn]] = {"persona": [], "base": []}
        for place, question in enumerate(tqdm(questions, desc=f"diversity, {kind}", disable=None)):
            n = QUICK_DRAWS if options.quick else DRAWS
            said = {
                "persona": [reply_of(core, question, options.seed + seed) for seed in range(n)],
                "base": rival.replies(question, n, options.rng(30 + place)),
            }
            for who, replies in said.items():
                found[who].append(_drawn(question, replies, answer_of[kind], rival))
        distinct = {who: np.array([d.distinct for d in drawn]) for who, drawn in found.items()}
        shares[kind] = distinct
        guard = {
            f"{what}, {who}": float(np.mean([getattr(d, what) for d in drawn]))
            for what in ("similarity", "surprise")
            for who, drawn in found.items()
        }
        rows.append(
            measured(
                f"distinct {kind}", "share", mean_of(distinct["persona"]), questions, options,
                guard, {"base": float(distinct["base"].mean())},
            )
        )  # fmt: skip
    persona, of_base = shares["names"]["persona"], shares["names"]["base"]
    rows.append(
        measured(
            "diversity ratio", "ratio", lambda i: float(persona[i].mean() / of_base[i].mean()),
            groups["names"], options, floor=Goal("at least", 1.5),
        )
    )  # fmt: skip
    return rows


def reply_of(core: Core, question: str, seed: int) -> str:
    """The persona's reply to a question; raises CandorError where its turn fails."""
    *_, last = Agent(core, seed=seed).turn([], question, threading.Event())
    if isinstance(last, TurnFailed):
        raise CandorError(last.message)
    assert isinstance(last, Reply)
    return last.text


def _drawn(
    question: str, replies: Sequence[str], answer: Callable[[str], str], judge: Rival
) -> Drawn:
    answers = {answer(reply) for reply in replies}
    words = [set(plain(reply).split()) for reply in replies]
    alike = [jaccard(a, b) for a, b in combinations(words, 2)]
    surprises = [judge.surprise(question, reply) for reply in replies if reply.strip()]
    return Drawn(
        len(answers) / len(replies), float(np.mean(alike)), float(np.mean(surprises or [0.0]))
    )


def jaccard(a: set[str], b: set[str]) -> float:
    """Share of the words of both that both have."""
    return len(a & b) / max(1, len(a | b))


def plain(text: str) -> str:
    """A text casefolded and without punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def name_finder() -> Callable[[str], str]:
    """Finds the first name in a reply that many have; empty where it has none."""
    loaded = corpora.load("names")
    if isinstance(loaded, Names):
        births = loaded.counts.sum(axis=(0, 1))
        common = zip(loaded.listed, births, strict=True)
        listed = {name for name, count in common if count >= COMMON_FROM} - NO_NAMES
    else:
        listed = {record.values["name"] for record in loaded.records("train")}

    def first(reply: str) -> str:
        words = re.findall(r"[A-Z]\w+", reply)
        return next((word for word in words if word in listed), "")

    return first
