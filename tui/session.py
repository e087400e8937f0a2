"""One chat: the conversation that is open, its goals, and what is saved of it when.

The application and the plain chat both drive this; neither saves anything itself. A question is
stored before its turn runs, what answered it right after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from core_model.errors import CandorError, StorageError
from persona.events import Event, Exchange
from persona.history import History
from persona.turn import Turn, clean_question, exchanges


class Agent(Protocol):
    """What answers: `persona.agent.Agent`, or a recording of it."""

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """Events of one turn; stops soon after `cancel` is set."""
        ...


AgentFactory = Callable[[tuple[str, ...], int, str], Agent]
"""Makes the agent for goals, a seed and a name; the persona has none, a rival takes no goals."""
Progress = Callable[[str, float], None]
"""Told what is being loaded, and how much of it from 0 to 1."""
Loader = Callable[[Progress], AgentFactory]


class Chat:
    """The open conversation over a history."""

    def __init__(self, history: History, goals: Sequence[str]) -> None:
        self.history = history
        self.goals = tuple(goals)
        self.conversation: str | None = None
        self.title = ""
        self.turns: list[Turn] = []
        self._asked_to_delete: str | None = None

    def new(self) -> None:
        """Begin again with nothing said; the goals stay."""
        self.conversation = None
        self.title = ""
        self.turns = []
        self._asked_to_delete = None

    def open(self, conversation: str, title: str) -> None:
        """Go on with a stored conversation under the goals it had.

        Raises StorageError where it can't be read: a question asked of an empty one in its place
        would hide what it holds.
        """
        turns = list(self.history.turns(conversation))
        if not turns and self.history.problem:
            raise StorageError(self.history.problem)
        self.turns = turns
        self.conversation = conversation
        self.title = title
        self._asked_to_delete = None
        if self.turns:
            self.goals = self.turns[-1].goals

    @property
    def is_sure_to_delete(self) -> bool:
        """Whether deleting has been asked for, and nothing was asked since."""
        return self.conversation is not None and self._asked_to_delete == self.conversation

    def delete(self) -> bool:
        """Delete this conversation for good; False the first time, which only says so.

        Raises CandorError where there is none, or where it stays.
        """
        if self.conversation is None:
            raise CandorError("There is no conversation to delete here.")
        if not self.is_sure_to_delete:
            self._asked_to_delete = self.conversation
            return False
        self.history.delete(self.conversation)
        self.new()
        return True

    def ask(self, text: str, seed: int) -> Turn:
        """Take up a question and save it; raises CandorError on one that cannot be used."""
        question = clean_question(text)
        self._asked_to_delete = None
        if self.conversation is None:
            self.conversation = self.history.start(question)
            self.title = question.splitlines()[0]
        parent = self.turns[-1].reply_id or self.turns[-1].id if self.turns else None
        turn = self.history.ask(self.conversation, parent, question, self.goals, seed)
        self.turns.append(turn)
        return turn

    def update(self, turn: Turn) -> None:
        """A turn as it stands now, in place of what was known of it."""
        for index, known in enumerate(self.turns):
            if known.id == turn.id:
                self.turns[index] = known.updated(turn)

    def finish(self, turn: Turn) -> Turn:
        """Save what answered a question, or what a rival said beside that."""
        if self.conversation is None or all(known.id != turn.id for known in self.turns):
            return turn
        saved = replace(turn, reply_id=self.history.answer(self.conversation, turn))
        self.update(saved)
        return saved

    def beside(self, agent: str) -> Turn:
        """The last question as a turn of a rival; raises CandorError where there is none."""
        last = self.turns[-1] if self.turns else None
        if last is None:
            raise CandorError("Nothing has been asked yet. Give a question: /compare QUESTION.")
        return Turn(last.id, last.question, last.goals, last.seed, agent=agent)

    def before(self, turn: Turn) -> tuple[Exchange, ...]:
        """What the persona knows of the conversation when it takes up a turn."""
        ids = [known.id for known in self.turns]
        return exchanges(self.turns[: ids.index(turn.id)] if turn.id in ids else ())

    def take_back(self) -> str | None:
        """Step back before the last question, to ask it another way; returns its text."""
        self._asked_to_delete = None
        return self.turns.pop().question if self.turns else None
