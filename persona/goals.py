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
RIVALS: dict[str, str] = {"base": "the instruct base as it ships"}
"""Agents that have no goals and are put beside the persona, by name, and what each is."""
DEFAULT_GOALS: tuple[str, ...] = ("honest", "helpful", "harmless", "calibrated")


def parse_goals(text: str | Sequence[str]) -> tuple[str, ...]:
    """Goal names in the order of `GOALS`, without repeats.

    text: names separated by commas or spaces, or a sequence of names. Names with a sign change
    the default set: "+brief -calibrated". Raises CandorError on an unknown name, or on a mix of
    names with and without a sign.
    """
    words = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    for word in words:
        if (word[1:] if word[0] in "+-" else word) not in GOALS:
            raise CandorError(f"Unknown goal '{word}'. There are: {', '.join(GOALS)}.")
    signed = [word for word in words if word[0] in "+-"]
    if signed and len(signed) < len(words):
        raise CandorError("Give goals either all with a sign (+brief -calibrated) or all without.")
    chosen = set(DEFAULT_GOALS if signed else words)
    for word in signed:
        (chosen.add if word[0] == "+" else chosen.discard)(word[1:])
    return tuple(name for name in GOALS if name in chosen)


def condition(goals: Sequence[str]) -> str:
    """The goals as the words of a condition, in the order of `GOALS`; "none" where there are none.

    Raises CandorError on an unknown name.
    """
    return ", ".join(GOALS[name].text for name in parse_goals(goals)) or "none"
