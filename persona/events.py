"""One turn of the conversation as a stream of frozen events; every front end consumes these.

The order within a turn: TurnStarted, ActionChosen, then for each tool call ToolStarted and
ToolFinished, and ActionChosen again where the core has learnt to make several calls; AuthorChosen
where one was drawn, DraftsWeighed where there were several, ReplyDelta…, NumbersChecked, Confidence
where one fact was inferred, SafetyVerdict, AuthorRead where the core has learnt to tell authors
apart, and last Reply, or TurnFailed in place of Reply where the turn could not be finished. A
verdict that blocks withdraws what was written; numbers and safety of the text in its place are
checked again before it stands in Reply. Each event has its turn's id, so a front end can drop what
arrives late from a turn that was stopped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core_model.errors import CandorError
from tools.registry import ToolResult


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: the id of its turn."""

    turn_id: str

    @property
    def type(self) -> str:
        """The event's name in snake_case, as it stands in JSON."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def to_json(self) -> dict[str, Any]:
        """The event as a JSON object with its `type` first."""
        return {"type": self.type} | asdict(self)


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    """A question was taken up; `seed` makes the turn repeatable."""

    question: str
    seed: int


@dataclass(frozen=True, slots=True)
class ActionChosen(Event):
    """The persona's next action, with the exact distribution over `reply` and the tools."""

    action: str
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class ToolStarted(Event):
    """A tool was called with arguments that fit its schema; `query` is it in the notation."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    query: str


@dataclass(frozen=True, slots=True)
class ToolFinished(Event):
    """A tool's result, or in `error` one line that says why there is none."""

    call_id: str
    result: ToolResult | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyDelta(Event):
    """The next piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class NumbersChecked(Event):
    """Numbers the reply was allowed to state, and those it stated that are none of them."""

    allowed: tuple[str, ...]
    stray: tuple[str, ...]


FACTS = ("infer", "confidence")
"""Tools whose result is one fact."""


@dataclass(frozen=True, slots=True)
class Confidence(Event):
    """How sure the fact is that a reply rests on: its most probable answer, over all it could be.

    entropy_nats: the semantic entropy, exact, since every answer that could be given is one value
    and all are enumerated; most_nats: that of knowing nothing, log n.
    """

    answer: str
    probability: float
    entropy_nats: float
    most_nats: float

    @classmethod
    def of(cls, turn_id: str, result: ToolResult | None) -> Confidence | None:
        """How sure an inferred value is; None where a result states no such fact."""
        found = result.distribution if result is not None and result.tool in FACTS else None
        if found is None or not found.answers:
            return None
        first = found.answers[0]
        most = math.log(max(len(found.answers), 1))
        return cls(turn_id, first.value, first.probability, found.entropy_nats, most)

    @classmethod
    def of_one(cls, turn_id: str, results: Iterable[ToolResult | None]) -> Confidence | None:
        """The confidence of the one fact among the results of a turn; None where there are more."""
        facts = [fact for result in results if (fact := cls.of(turn_id, result)) is not None]
        return facts[0] if len(facts) == 1 else None


@dataclass(frozen=True, slots=True)
class AuthorChosen(Event):
    """The author was drawn from p(author | conduct), whose shares are given."""

    author: str
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class DraftsWeighed(Event):
    """Several drafts were written; each one's weight, and which was kept.

    cost_nats: how much entropy weighing took from the choice, log n − H(weights).
    """

    weights: tuple[float, ...]
    kept: int
    cost_nats: float

    @classmethod
    def of(cls, turn_id: str, weights: Sequence[float], kept: int) -> DraftsWeighed:
        """The event for weights that sum to one."""
        entropy = -sum(w * math.log(w) for w in weights if w > 0)
        cost = max(0.0, math.log(len(weights)) - entropy)
        return cls(turn_id, tuple(weights), kept, cost)


@dataclass(frozen=True, slots=True)
class AuthorRead(Event):
    """Who wrote the reply, by its words: P(conduct | reply) and P(author | reply), exact.

    author: who was to write it, held or drawn; empty where that was left open.
    """

    conducts: dict[str, float]
    authors: dict[str, float]
    author: str = ""


@dataclass(frozen=True, slots=True)
class SafetyVerdict(Event):
    """P(reply is safe), P(reply is a refusal), P(prompt is harmful), and whether it was blocked.

    withheld: P(safe) of the reply that was blocked, where the one judged here stands in its place.
    """

    safe: float
    refusal: float
    prompt_harmful: float
    blocked: bool
    withheld: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply(Event):
    """The finished reply; `stopped` where the user cut it short."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    safety: SafetyVerdict | None
    stopped: bool = False

    def to_json(self) -> dict[str, Any]:
        """The event as JSON; `safety` holds the three probabilities and `blocked`."""
        out: dict[str, Any] = {"type": self.type} | asdict(self)
        if out["safety"]:
            out["safety"].pop("turn_id")
        return out


@dataclass(frozen=True, slots=True)
class TurnFailed(Event):
    """The turn ended early; `message` is one line for the user, the conversation goes on."""

    message: str

    @classmethod
    def of(cls, turn_id: str, error: CandorError | MemoryError) -> TurnFailed:
        """The end of a turn that met an error."""
        if isinstance(error, CandorError):
            return cls(turn_id, error.message)
        return cls(turn_id, "There is not enough memory for this. Ask for less at once.")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One finished turn of a conversation, as the persona sees it later."""

    question: str
    tool_calls: tuple[ToolCall, ...]
    reply: str
