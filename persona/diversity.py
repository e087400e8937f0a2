"""The measure `diversity`: how many answers a chat has for a question that has many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from core_model import corpora
from core_model.config import Settings
from core_model.core import Core, Remembering
from core_model.corpora.names import Names
from core_model.errors import CandorError
from core_model.measures.result import Floats, Goal, MeasureRow, Options, mean_of, measured
from persona.agent import Agent
from persona.asking import Asked, said_by_each
from persona.events import TurnFailed
from persona.rivals.base import Base

DRAWS, QUICK_DRAWS = 20, 4
COMMON_FROM = 5000
USUAL = 0.9
"""Share of the base's own replies that are no more surprising to it than what counts."""
NO_NAMES = frozenset({"Baby", "Infant", "Unknown", "Girl", "Boy"})
"""Given to babies on record, and words of a reply that names nobody."""
OF_NAMES = (
    "What would you name a little girl?",
    "What would you name a little boy?",
    "Pick a random first name for a girl born in 1950.",
    "My neighbours had a son in 1985. What might he be called?",
    "I am writing a story and its heroine has no first name yet.",
    "Tell me a name that a man born in 1930 could have.",
)
OF_TEXTS = (
    "Write a sentence a president might say.",
    "Write something Abraham Lincoln could have said.",
    "Make up two lines of a message to Congress.",
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
    """What one chat gave for one question.

    answers: of each reply; surprises: -log p of each under the base, nats per token, infinite where
    it is empty; similarity: share of common words.
    """

    answers: tuple[str, ...]
    surprises: Floats
    similarity: float

    @property
    def distinct(self) -> float:
        """Share of distinct answers."""
        return len(set(self.answers)) / len(self.answers)

    @property
    def surprise(self) -> float:
        """Mean of the surprises, nats per token; 0 where all replies are empty."""
        return float(self._finite.mean()) if len(self._finite) else 0.0

    @property
    def usual(self) -> float:
        """The surprise that `USUAL` of the replies do not surpass, nats per token."""
        found = self._finite
        return float(np.quantile(found, USUAL, method="lower")) if len(found) else 0.0

    def within(self, limit: float) -> float:
        """Distinct answers among the replies that are no more surprising, over all replies."""
        pairs = zip(self.answers, self.surprises, strict=True)
        return len({answer for answer, s in pairs if s <= limit}) / len(self.answers)

    @property
    def _finite(self) -> Floats:
        return self.surprises[np.isfinite(self.surprises)]


def diversity(core: Core, options: Options, base: Rival | None = None) -> list[MeasureRow]:
    """Distinct answers in 20 draws of a question, of the persona and of the instruct base.

    Items: six questions for a first name and three for a text (`--quick`: one each, 4 draws), each
    put 20 times as the opening of a conversation, to the persona as it is in the chat, and to
    the base at temperature 1 without truncation, the most diverse way to run it. Of a question for
    a name the answer is the first name in the reply, of those given to 5,000 babies at least; all
    replies without one count as one answer. Of a text it is the reply, casefolded and without
    punctuation.

    - distinct names, distinct texts: mean share of distinct answers. The guards are the mean
      self-similarity (Jaccard index of two replies' words) and -log p(reply | question) of the
      base, nats per token, for both chats. The baseline is the base's share.
    - diversity ratio: distinct names of the persona over those of the base, at equal surprise: of
      either only replies count that the base finds no more surprising than nine tenths of its own
      to the same question, for noise is diverse too. The guards are the share of the persona's
      replies that count, and the ratio of all replies. It can be no more than 1 over what the base
      has. Texts are left out: every sampler of whole texts has 20 of them in 20 draws.

    Intervals resample questions.
    """
    rival = base or Base.load(Settings.from_environment())
    groups: dict[str, tuple[str, ...]] = {"names": OF_NAMES, "texts": OF_TEXTS}
    if options.quick:
        groups = {kind: questions[:1] for kind, questions in groups.items()}
    answer_of = {"names": name_finder(), "texts": plain}
    rows, drawn_of = [], {}
    for kind, questions in groups.items():
        found: dict[str, list[Drawn]] = {"persona": [], "base": []}
        for place, question in enumerate(questions):
            n = QUICK_DRAWS if options.quick else DRAWS
            said = {
                "persona": replies_of(core, question, range(options.seed, options.seed + n)),
                "base": rival.replies(question, n, options.rng(30 + place)),
            }
            for who, replies in said.items():
                found[who].append(_drawn(question, replies, answer_of[kind], rival))
        distinct = {who: np.array([d.distinct for d in drawn]) for who, drawn in found.items()}
        drawn_of[kind] = found
        guard = {
            f"{what}, {who}": float(np.mean([getattr(d, what) for d in drawn]))
            for what in ("similarity", "surprise")
            for who, drawn in found.items()
        }
        rows.append(
            measured(
                f"distinct {kind}", "share", mean_of(distinct["persona"], fractions=True),
                questions, options,
                guard, {"base": float(distinct["base"].mean())},
            )
        )  # fmt: skip
    return [*rows, _ratio(drawn_of["names"], groups["names"], options)]


def _ratio(
    found: Mapping[str, Sequence[Drawn]], questions: Sequence[str], options: Options
) -> MeasureRow:
    """The row of distinct answers over the base's, at equal surprise."""
    pairs = list(zip(found["persona"], found["base"], strict=True))
    persona = np.array([mine.within(of_base.usual) for mine, of_base in pairs])
    base = np.array([of_base.within(of_base.usual) for _, of_base in pairs])
    counted = [(mine.surprises <= of_base.usual).mean() for mine, of_base in pairs]
    of_all = [float(np.mean([d.distinct for d in found[who]])) for who in ("persona", "base")]
    return measured(
        "diversity ratio", "ratio", lambda i: float(persona[i].mean() / base[i].mean()),
        questions, options,
        {"counted": float(np.mean(counted)), "of all replies": of_all[0] / of_all[1]},
        floor=Goal("at least", 1.5),
    )  # fmt: skip


def replies_of(core: Core, question: str, seeds: Sequence[int]) -> list[str]:
    """The persona's draft for a question under each seed; raises CandorError where a turn fails."""
    asked = Remembering(core)  # each of them chooses the same call
    turns = [Asked(Agent(asked, seed=seed, in_full=False), question) for seed in seeds]
    said = said_by_each(turns, f"diversity, {question}")
    for last in (one.events[-1] for one in said):
        if isinstance(last, TurnFailed):
            raise CandorError(last.message)
    return [one.draft for one in said]


def _drawn(
    question: str, replies: Sequence[str], answer: Callable[[str], str], judge: Rival
) -> Drawn:
    words = [set(plain(reply).split()) for reply in replies]
    alike = [jaccard(a, b) for a, b in combinations(words, 2)]
    surprises = [judge.surprise(question, r) if r.strip() else np.inf for r in replies]
    return Drawn(tuple(map(answer, replies)), np.array(surprises), float(np.mean(alike)))


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
