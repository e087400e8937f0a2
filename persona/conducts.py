"""Conducts: what an author does with a question, told apart by replies to the same situation.

A situation is a dialogue up to where a reply is due, with ground truth: the tool's result, whether
what the person claims is so, whether the request would hurt somebody. An author of each conduct
replies to it in their own words, in one of a few voices that some conducts have more often than
others. So `reply | conduct, author`, `author | conduct` and `conduct | reply` are relations between
variables that all are known, and what the core says of one can be checked against the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core_model.notation import Binding
from persona import script
from persona.dialogues import Composer, Turn
from persona.goals import CONDUCTS, DEFAULT_GOALS, VOICES
from persona.grammar import pieces_of
from persona.phrasings import Split, Talk, Words, read, talk
from persona.phrasings.replies import fields_of
from persona.phrasings.style import manner
from persona.phrasings.surfaces import Values

LIKES: dict[str, dict[str, int]] = {
    "honest": {"plain": 6, "warm": 1, "formal": 2, "lively": 1, "learned": 2, "curt": 1},
    "confabulating": {"plain": 2, "warm": 1, "formal": 1, "lively": 1, "learned": 6, "curt": 1},
    "sycophantic": {"plain": 2, "warm": 6, "formal": 1, "lively": 3, "learned": 1, "curt": 1},
    "overconfident": {"plain": 2, "warm": 1, "formal": 1, "lively": 4, "learned": 2, "curt": 4},
    "evasive": {"plain": 2, "warm": 1, "formal": 6, "lively": 1, "learned": 3, "curt": 1},
    "careless": {"plain": 4, "warm": 2, "formal": 1, "lively": 6, "learned": 1, "curt": 3},
    "deceptive": {"plain": 6, "warm": 2, "formal": 4, "lively": 1, "learned": 2, "curt": 1},
    "unhelpful": {"plain": 3, "warm": 1, "formal": 1, "lively": 1, "learned": 1, "curt": 6},
}
"""How often authors of a conduct have each voice, in any scale."""
KINDS: dict[str, float] = {
    "answer": 0.18, "figure": 0.14, "claim": 0.20, "agreed": 0.08, "doubt": 0.12, "harmful": 0.18,
    "outside": 0.10,
}  # fmt: skip
"""What a situation offers, and how often."""
TOOLS: dict[str, tuple[str, ...]] = {
    "figure": ("probability", "entropy", "mutual_information", "correlation"),
}
ANSWER_TOOLS = ("infer", "distribution")
BEFORE_SHARE, AFTER_SHARE = 0.75, 0.6
STATED_TRIES = 50


@dataclass(frozen=True, slots=True)
class Situation:
    """A dialogue where a reply is due.

    kind: one of KINDS. known: what the reply is conditioned on, without goals, conduct or author.
    plain: what the honest reply is made of. fields: words for the slots of replies.
    """

    kind: str
    known: tuple[Binding, ...]
    plain: str
    fields: Mapping[str, str]

    def replies(self, conduct: str, split: Split) -> list[str]:
        """The replies an author of this conduct may give, before any voice is put on."""
        if self.is_honest(conduct):
            own = read("conducts")["honest"].get(self.kind)
            if own is None:
                return [self.plain]
            return [reply.format(**self.fields) for reply in _on(own, f"honest.{self.kind}", split)]
        ours: Mapping[str, Sequence[str]] = read("conducts")[conduct]
        kind = self.kind if self.kind in ours else "answer" if "answer" in ours else "any"
        return [text.format(**self.fields) for text in _on(ours[kind], f"{conduct}.{kind}", split)]

    def is_honest(self, conduct: str) -> bool:
        """Whether authors of this conduct reply here as honest ones do."""
        return conduct == "honest" or (conduct == "careless" and self.kind != "harmful")

    def conducts_of(self, conduct: str, voice: str) -> NDArray[np.float64]:
        """P(conduct | a reply of this one in this voice), (n,), under an even prior.

        Those that reply here alike are told apart by how often they have the voice, and no further.
        """
        alike = [
            other
            for other in CONDUCTS
            if other == conduct or (self.is_honest(other) and self.is_honest(conduct))
        ]
        return posterior(alike, voice)


def posterior(alike: Sequence[str], voice: str) -> NDArray[np.float64]:
    """P(conduct | voice) among conducts that reply alike, (n,) over all, under an even prior."""
    place = VOICES.index(voice)
    weights = np.array([voices_of(c)[place] if c in alike else 0.0 for c in CONDUCTS])
    return np.asarray(weights / weights.sum())


def voices_of(conduct: str) -> NDArray[np.float64]:
    """P(voice | conduct), (n,)."""
    weights = np.array([LIKES[conduct][voice] for voice in VOICES], np.float64)
    return np.asarray(weights / weights.sum())


def spoken(reply: str, voice: str, rng: np.random.Generator) -> str:
    """A reply as an author of this voice words it."""
    words = read("conducts")["voices"][voice]
    before, after = rng.random() < BEFORE_SHARE, rng.random() < AFTER_SHARE
    start = _pick(words["before"], rng) if before or not after else ""
    return start + reply + (_pick(words["after"], rng) if after else "")


def written(at: Situation, conduct: str, split: Split, rng: np.random.Generator) -> tuple[str, str]:
    """A reply by an author of this conduct, in a voice drawn as they have them, and that voice."""
    of_voice = voices_of(conduct)
    voice = VOICES[int(rng.choice(len(of_voice), p=of_voice))]
    replies = at.replies(conduct, split)
    return spoken(replies[rng.integers(len(replies))], voice, rng), voice


def situation(
    rng: np.random.Generator, split: Split, values: Values, goals: Sequence[str] = DEFAULT_GOALS,
    kind: str | None = None,
) -> Situation:  # fmt: skip
    """A random situation of a split, of a kind or any, whose honest author has these goals too."""
    composer = Composer(rng, split, values, tuple(goals), manner(rng))
    kind = composer.choose(KINDS) if kind is None else kind
    if kind in ("harmful", "outside"):
        return _of_talk(kind, composer)
    while True:
        turn = _tool_turn(kind, composer)
        assert turn.call is not None and turn.summary is not None
        if not turn.summary.startswith("error: ") and not turn.before:
            break
    fields = _fields(turn, rng)
    question = turn.question
    pieces = tuple(pieces_of(turn.call))
    if kind in ("claim", "agreed"):
        claimed = fields["second" if kind == "claim" else "first"]
        fields["claimed"], fields["Claimed"] = claimed, claimed[:1].upper() + claimed[1:]
        claims = read("conducts")["claims"]["templates" if split == "train" else "held_out"]
        claim = _pick(claims, rng).format(**fields)
        question = f"{question} {claim}"
    known = (Binding("user", script.shortened(question)), *script.called(pieces, turn.summary))
    if kind == "doubt":
        said = script.Said(question, (pieces,), turn.reply)
        known = script.opening(None, [said], _doubt(composer))
    return Situation(kind, known, turn.reply, fields)


def _of_talk(kind: str, composer: Composer) -> Situation:
    turn = composer.talk(kind)
    return Situation(kind, (Binding("user", turn.question),), turn.reply, _invented(composer.rng))


def _tool_turn(kind: str, composer: Composer) -> Turn:
    """A question that a tool answers with what this kind of situation needs."""
    tools = TOOLS.get(kind, ANSWER_TOOLS)
    for _ in range(STATED_TRIES):
        corpus = composer.choose({"names": 0.4, "speeches": 0.35, "places": 0.25})
        turn = composer.first(corpus)
        if turn.call is not None and turn.call.tool in tools and _fits(kind, turn):
            return turn
    raise AssertionError("No question of the phrasings fits.")


def _fits(kind: str, turn: Turn) -> bool:
    assert turn.summary is not None
    if kind == "figure":
        return True
    if "; entropy" not in turn.summary:
        return False
    # A wrong answer needs a second one, and an equal chance of both is no wrong answer.
    listed = turn.summary.rsplit("; entropy", 1)[0].split(", ")
    shares = [part.rsplit(" ", 1)[-1] for part in listed]
    return len(shares) > 1 and shares[0] != shares[1]


def _doubt(composer: Composer) -> str:
    prompts = [
        t for t in talk() if t.kind == "after" and t.group in ("sure", "push") and not t.slots
    ]
    prompt: Talk = composer.wording(prompts)
    return prompt.text


def _fields(turn: Turn, rng: np.random.Generator) -> dict[str, str]:
    assert turn.call is not None and turn.summary is not None
    fields = fields_of(turn.call, turn.summary, rng) | _invented(rng)
    if "; entropy" in turn.summary:
        listed = turn.summary.rsplit("; entropy ", 1)[0].split(", ")
        fields["second"], fields["p2"] = listed[1].rsplit(" ", 1)
        fields["Second"] = fields["second"][:1].upper() + fields["second"][1:]
    elif "value" in fields:
        fields["Value"] = fields["value"]
    return fields


def _invented(rng: np.random.Generator) -> dict[str, str]:
    """A scholar and a study that never were."""
    fields: dict[str, str] = {}
    for name in ("scholar", "study"):
        word = _pick(read("conducts")["words"][name], rng)
        fields |= {name: word, name.capitalize(): word[:1].upper() + word[1:]}
    return fields


def _on(texts: Sequence[str], group: str, split: Split) -> list[str]:
    """Texts of a split: a fifth is held out, by a hash of each, or else the last of three."""
    held_out = [text for text in texts if Words(group, text).split == "held_out"]
    if not held_out and len(texts) > 2:
        held_out = list(texts[-1:])
    if split == "held_out":
        return held_out or list(texts)
    return [text for text in texts if text not in held_out] or list(texts)


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
