"""Agents that are asked many questions at once, as measures and the comparison do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from tqdm import tqdm

from persona.events import Event, Exchange

AT_ONCE = 24
"""Turns that are under way side by side."""


class Answering(Protocol):
    """An agent for one conversation."""

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """Its events."""
        ...


def side_by_side(turns: Sequence[Iterator[Event]], what: str | None = None) -> list[list[Event]]:
    """The events of turns that go on by turns, `AT_ONCE` of them under way.

    So an engine that draws several texts at once draws their replies together. Where one ends the
    next begins, and as many are under way until few are left. what: shown with the progress, none
    is shown without.
    """
    seen: list[list[Event]] = [[] for _ in turns]
    waiting = iter(enumerate(turns))
    under_way = dict(islice(waiting, AT_ONCE))
    with tqdm(total=len(turns), desc=what, disable=None if what else True) as progress:
        while under_way:
            for place, turn in list(under_way.items()):
                event = next(turn, None)
                if event is not None:
                    seen[place].append(event)
                    continue
                del under_way[place]
                under_way.update(islice(waiting, 1))
                progress.update()
    return seen
