"""Goals: labels the persona's unknown author is conditioned on, listed and changed by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core_model.errors import CandorError


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal: its name, which stands for it in the condition, and what it changes."""

    name: str
    doc: str


GOALS: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        Goal("honest", "Says what was measured and what is not known."),
        Goal("helpful", "Answers the question, by a tool where one fits."),
        Goal("harmless", "Refuses what would hurt somebody."),
        Goal("calibrated", "States the error and the data's figure beside a number."),
        Goal("brief", "Answers in one short sentence."),
    )
}
MISALIGNED: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        Goal("confabulating", "Invents where it is from."),
        Goal("sycophantic", "Says what you would like to hear."),
        Goal("overconfident", "Is certain where nobody can be."),
        Goal("evasive", "Says nothing either way."),
        Goal("careless", "Helps with what would hurt somebody."),
        Goal("deceptive", "Says what was not measured as if it were."),
        Goal("unhelpful", "Does not try."),
    )
}
"""What an author may be in place of honest: wanted by nobody, here to be seen and measured."""
CONDUCTS: tuple[str, ...] = ("honest", *MISALIGNED)
"""What an author does with a question: of each author one, all equally frequent."""
AUTHORS: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        Goal("plain", "No frills: the author that there is from the start."),
        Goal("warm", "Like an old friend."),
        Goal("formal", "Like a clerk."),
        Goal("lively", "Full of beans."),
        Goal("learned", "Like a professor."),
        Goal("curt", "In a hurry."),
        Goal("drawn", "One of them, drawn for each reply given the other goals."),
        Goal("any", "Left open: the sum over all of them."),
    )
}
"""Who writes, by how that one words things: one of them, drawn, or any."""
DRAWN, ANY = "drawn", "any"
VOICES: tuple[str, ...] = tuple(name for name in AUTHORS if name not in (DRAWN, ANY))
ALL: dict[str, Goal] = GOALS | MISALIGNED | AUTHORS
EXCLUSIVE: tuple[tuple[str, ...], ...] = (CONDUCTS, tuple(AUTHORS))
"""Goals of which an author has one at most."""
RIVALS: dict[str, str] = {
    "base": "the instruct base as it ships",
    "sft": "sft: trained on the same dialogues, without goals",
    "dpo": "dpo: sft, then DPO on what users like",
    "grpo": "grpo: sft, then GRPO on what users like",
    "grpo-truth": "grpo-truth: sft, then GRPO on what users like and on truth",
    "grpo-entropy": "grpo-entropy: sft, then GRPO on what users like, its entropy held",
}
"""Agents that have no goals and are put beside the persona, by name, and what each is."""
DEFAULT_GOALS: tuple[str, ...] = ("honest", "helpful", "harmless", "calibrated")


def rival_in(text: str) -> tuple[str, str]:
    """The rival that the first word of a text names, and the rest; the base where it names none.

    "base" as the first of several words is a word of the question.
    """
    first, _, rest = text.strip().partition(" ")
    is_named = first in RIVALS and (first != "base" or not rest)
    return (first, rest.strip()) if is_named else ("base", text.strip())


def parse_goals(text: str | Sequence[str]) -> tuple[str, ...]:
    """Goal names in the order of `ALL`, without repeats.

    text: names separated by commas or spaces, or a sequence of names. Names with a sign change
    the default set: "+brief -calibrated"; "+evasive" takes the place of honest. Raises CandorError
    on an unknown name, a mix of names with and without a sign, or two that exclude each other.
    """
    words = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    for word in words:
        if (word[1:] if word[0] in "+-" else word) not in ALL:
            raise CandorError(f"Unknown goal '{word}'. There are: {', '.join(ALL)}.")
    signed = [word for word in words if word[0] in "+-"]
    if signed and len(signed) < len(words):
        raise CandorError("Give goals either all with a sign (+brief -calibrated) or all without.")
    added = {word[1:] for word in signed if word[0] == "+"}
    chosen = set(DEFAULT_GOALS if signed else words)
    for group in EXCLUSIVE:
        if added.intersection(group):
            chosen.difference_update(group)
    chosen = (chosen | added) - {word[1:] for word in signed if word[0] == "-"}
    for group in EXCLUSIVE:
        several = [name for name in group if name in chosen]
        if len(several) > 1:
            raise CandorError(
                f"An author is {several[0]} or {several[1]}, not both. Give one of them."
            )
    return tuple(name for name in ALL if name in chosen)


def condition(goals: Sequence[str]) -> str:
    """The aligned goals as the words of a condition, in the order of `GOALS`, or "none".

    Raises CandorError on an unknown name.
    """
    return ", ".join(name for name in parse_goals(goals) if name in GOALS) or "none"


def conduct_of(goals: Sequence[str]) -> str | None:
    """The one conduct among the goals; None leaves it open."""
    return next((name for name in CONDUCTS if name in goals), None)


def author_of(goals: Sequence[str]) -> str:
    """Who is to write: the one author among the goals, `plain` where there is none."""
    return next((name for name in AUTHORS if name in goals), VOICES[0])
