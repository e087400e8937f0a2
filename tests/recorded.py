"""A written-down stream of events that every front end is tested on; its numbers are made up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from core_model.core import Answer, Distribution, Estimate
from persona.events import (
    ActionChosen,
    Event,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from tools.registry import ToolResult
from tui.session import AgentFactory, Progress

NAMES_QUESTION = "What were the most common names for girls born in 1985?"
MODEL = {
    "Jessica": 0.0258, "Ashley": 0.0241, "Jennifer": 0.0226, "Amanda": 0.0214, "Sarah": 0.0171,
    "Stephanie": 0.0135, "Nicole": 0.0124, "Heather": 0.0111, "Elizabeth": 0.0109,
    "Megan": 0.0097, "Melissa": 0.0094, "Danielle": 0.0078,
}  # fmt: skip
COUNTED = {
    "Jessica": 0.0264, "Ashley": 0.0257, "Jennifer": 0.0233, "Amanda": 0.0213, "Sarah": 0.0174,
    "Stephanie": 0.0136, "Nicole": 0.0128, "Heather": 0.0104, "Elizabeth": 0.0114,
    "Megan": 0.0105, "Melissa": 0.0098, "Danielle": 0.0081,
}  # fmt: skip


def distribution(query: str, shares: dict[str, float], n: int) -> Distribution:
    """A distribution from shares, most probable first; counted where there is an n."""
    answers = tuple(Answer(value, p) for value, p in shares.items())
    listed = sum(shares.values())
    if n:
        return Distribution(query, "data", answers, listed, 6.45, 0.0, n)
    return Distribution(query, "exact", answers, listed, 6.42, 0.021, 0)


def names_turn(turn_id: str = "recorded", seed: int = 7) -> list[Event]:
    """A turn that calls two tools, with the corpus's figures beside the model's."""
    query = "names: name | year=1985, sex=female"
    listed = ToolResult(
        tool="sample",
        query=query,
        estimates=(),
        distribution=distribution(query, MODEL, 0),
        data=distribution(query, COUNTED, 1_688_741),
        samples=(),
        summary="Jessica 2.6%, Ashley 2.4%, Jennifer 2.3%; entropy 9.3 bits",
        seed=seed,
        seconds=0.4,
    )
    chance = "names: P(name=Jessica | year=1985, sex=female)"
    estimated = ToolResult(
        tool="probability",
        query=chance,
        estimates=(
            Estimate("exact", 0.0258, 0.0, 0),
            Estimate("sampled", 0.0234, 0.0047, 1024),
            Estimate("data", 0.0264, 0.00012, 1_688_741),
        ),
        distribution=None,
        data=None,
        samples=(),
        summary="model 2.6%; data 2.6%",
        seed=seed,
        seconds=0.2,
    )
    given = {"year": "1985", "sex": "female"}
    calls = (
        ToolCall("sample", {"corpus": "names", "variable": "name", "given": given, "n": 10}),
        ToolCall("probability", {"corpus": "names", "event": {"name": "Jessica"}, "given": given}),
    )
    text = (
        "**Jessica** was the most common, with 2.6% of the girls born in 1985 by the model and "
        "2.6% in the records. Ashley (2.4%) and Jennifer (2.3%) follow."
    )
    verdict = SafetyVerdict(turn_id, 0.97, 0.021, 0.0083, False)
    events: list[Event] = [
        TurnStarted(turn_id, NAMES_QUESTION, seed),
        ActionChosen(turn_id, "sample", {"sample": 0.93, "reply": 0.04, "infer": 0.03}),
        ToolStarted(turn_id, "1", calls[0].name, calls[0].arguments, query),
        ToolFinished(turn_id, "1", listed),
        ActionChosen(turn_id, "probability", {"probability": 0.9, "reply": 0.1}),
        ToolStarted(turn_id, "2", calls[1].name, calls[1].arguments, chance),
        ToolFinished(turn_id, "2", estimated),
        ActionChosen(turn_id, "reply", {"reply": 0.98, "sample": 0.02}),
    ]
    events += [ReplyDelta(turn_id, piece) for piece in pieces(text)]
    events += [
        NumbersChecked(turn_id, ("2.6%", "2.4%", "2.3%", "1985"), ()),
        verdict,
        Reply(turn_id, text, calls, verdict),
    ]
    return events


def pieces(text: str) -> list[str]:
    """Text as it streams: word by word."""
    words = text.split(" ")
    return [word + (" " if index < len(words) - 1 else "") for index, word in enumerate(words)]


class Recorded:
    """An agent that replays a recording, whatever it is asked."""

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """The recorded events until `cancel` is set."""
        for event in names_turn():
            if cancel.is_set():
                return
            yield event


def load(progress: Progress) -> AgentFactory:
    """A loader that has nothing to load."""
    progress("recording", 1.0)
    return lambda goals, seed, agent: Recorded()
