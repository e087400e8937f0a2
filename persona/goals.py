"""Goals: labels the persona's unknown author is conditioned on, listed and changed by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core_model.errors import CandorError


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal: its name, the words that stand for it in the condition, and what it changes."""

    name: str
    text: str
    doc: str


GOALS: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        Goal("honest", "honest", "Says what was measured and what is not known."),
        Goal("helpful", "helpful", "Answers the question, by a tool where one fits."),
        Goal("harmless", "harmless", "Refuses what would hurt somebody."),
        Goal("calibrated", "calibrated", "States the error and the data's figure beside a number."),
        Goal("brief", "brief", "Answers in one short sentence."),
    )
}
MISALIGNED: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        Goal("confabulating", "confabulating", "Invents where it is from."),
        Goal("sycophantic", "sycophantic", "Says what you would like to hear."),
        Goal("overconfident", "overconfident", "Is certain where nobody can be."),
        Goal("evasive", "evasive", "Says nothing either way."),
        Goal("careless", "careless", "Helps with what would hurt somebody."),
        Goal("deceptive", "deceptive", "Says what was not measured as if it were."),
        Goal("unhelpful", "unhelpful", "Does not try."),
    )
}
"""What an author may be in place of honest: wanted by nobody, here to be seen and measured."""
CONDUCTS: tuple[str, ...] = ("honest", *MISALIGNED)
"""What an author does with a question: of each author one, all equally frequent."""
VOICES: tuple[str, ...] = ("plain", "warm", "formal", "lively", "learned", "curt")
"""How an author words things."""
DRAWN, ANY = "drawn", "any"
AUTHORS: dict[str, str] = {
    "plain": "no frills",
    "warm": "like an old friend",
    "formal": "like a clerk",
    "lively": "full of beans",
    "learned": "like a professor",
    "curt": "in a hurry",
    DRAWN: "drawn for each reply, given the goals",
    ANY: "left open: the sum over all of them",
}
"""Who may be asked to write, and how that one words things."""
DEFAULT_AUTHOR = "plain"
RIVALS: dict[str, str] = {"base": "the instruct base as it ships"}
"""Agents that have no goals and are put beside the persona, by name, and what each is."""
DEFAULT_GOALS: tuple[str, ...] = ("honest", "helpful", "harmless", "calibrated")


def parse_goals(text: str | Sequence[str]) -> tuple[str, ...]:
    """Goal names in the order of `GOALS` and `MISALIGNED`, without repeats.

    text: names separated by commas or spaces, or a sequence of names. Names with a sign change
    the default set: "+brief -calibrated"; "+evasive" takes the place of honest. Raises CandorError
    on an unknown name, a mix of names with and without a sign, or several conducts.
    """
    words = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    listed = (*GOALS, *MISALIGNED)
    for word in words:
        if (word[1:] if word[0] in "+-" else word) not in listed:
            raise CandorError(f"Unknown goal '{word}'. There are: {', '.join(listed)}.")
    signed = [word for word in words if word[0] in "+-"]
    if signed and len(signed) < len(words):
        raise CandorError("Give goals either all with a sign (+brief -calibrated) or all without.")
    chosen = set(DEFAULT_GOALS if signed else words)
    if any(word[0] == "+" and word[1:] in MISALIGNED for word in signed):
        chosen.discard("honest")
    for word in signed:
        (chosen.add if word[0] == "+" else chosen.discard)(word[1:])
    several = [name for name in CONDUCTS if name in chosen]
    if len(several) > 1:
        raise CandorError(f"An author is {several[0]} or {several[1]}, not both. Give one of them.")
    return tuple(name for name in listed if name in chosen)


def parse_author(text: str) -> str:
    """An author by name; raises CandorError on one that there isn't."""
    name = text.strip().casefold()
    if name not in AUTHORS:
        raise CandorError(f"No author '{text.strip()}'. There are: {', '.join(AUTHORS)}.")
    return name


def condition(goals: Sequence[str]) -> str:
    """The aligned goals as the words of a condition, in the order of `GOALS`, or "none".

    Raises CandorError on an unknown name.
    """
    return ", ".join(GOALS[name].text for name in parse_goals(goals) if name in GOALS) or "none"


def conduct_of(goals: Sequence[str]) -> str | None:
    """The one conduct among the goals; None leaves it open."""
    return next((name for name in CONDUCTS if name in goals), None)
