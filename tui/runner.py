"""What runs beside the screen: opening the history, loading the core, answering a turn.

Each is a thread that touches nothing on screen: it posts messages to the application. A turn's
messages carry the number of its run, so those of a run that was stopped are dropped however late
they come. One lock keeps two turns off the core, for a stopped one may take a moment to notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from core_model.errors import CandorError
from tui.failures import line_for

if TYPE_CHECKING:
    from persona.events import Event, Exchange
    from persona.history import History
    from persona.turn import Turn
    from tui.session import AgentFactory, Loader


class Opened(Message):
    """The history is open; `notice` says in one line where something was not as expected."""

    def __init__(self, history: History, notice: str | None) -> None:
        super().__init__()
        self.history = history
        self.notice = notice


class NotOpened(Message):
    """The storage could not even be imported; one line says why."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class Loading(Message):
    """What is being loaded and how much of it, from 0 to 1."""

    def __init__(self, what: str, part: float) -> None:
        super().__init__()
        self.what = what
        self.part = part


class Loaded(Message):
    """The core is ready."""


class NotLoaded(Message):
    """The core could not be loaded; one line says why."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class Happened(Message):
    """An event of a run."""

    def __init__(self, run: int, event: Event) -> None:
        super().__init__()
        self.run = run
        self.event = event


class RunEnded(Message):
    """A run has no more events; `line` says why where it broke off."""

    def __init__(self, run: int, line: str | None) -> None:
        super().__init__()
        self.run = run
        self.line = line


class Runner:
    """The threads' work. `post` is the application's thread-safe `post_message`."""

    def __init__(self, post: Callable[[Message], object], load: Loader, log: Path) -> None:
        self._post = post
        self._load = load
        self._log = log
        self._agents: AgentFactory | None = None
        self._core = threading.Lock()
        self._cancel = threading.Event()
        self._left = threading.Event()
        self.run = 0

    @property
    def ready(self) -> bool:
        """Whether the core is loaded."""
        return self._agents is not None

    def open_history(self, path: Path) -> None:
        """Thread: import the storage, open the file."""
        try:
            from persona.history import History

            # What the first answer needs is imported here too, where it holds up no keystroke.
            from tui import session, transcript

            assert session and transcript
            history = History(path)
            notice = history.open()
        except Exception as error:
            self._post(NotOpened(line_for(error, self._log)))
        else:
            self._post(Opened(history, notice))

    def load(self) -> None:
        """Thread: load the core."""
        try:
            self._agents = self._load(self._progress)
        except Exception as error:
            self._post(NotLoaded(line_for(error, self._log)))
        else:
            self._post(Loaded())

    def leave(self) -> None:
        """Break off what is being loaded: leaving would wait for it."""
        self._left.set()

    def _progress(self, what: str, part: float) -> None:
        if self._left.is_set():
            raise CandorError("Left before the core was loaded.")
        self._post(Loading(what, part))

    def begin(self) -> tuple[int, threading.Event]:
        """A new run: its number, and what stops it."""
        self.run += 1
        self._cancel = threading.Event()
        return self.run, self._cancel

    def halt(self) -> None:
        """Stop the run; whatever it still says is dropped."""
        self._cancel.set()
        self.run += 1

    def answer(
        self, run: int, cancel: threading.Event, turn: Turn, before: tuple[Exchange, ...]
    ) -> None:
        """Thread: run one turn, posting its events."""
        line: str | None = None
        try:
            with self._core:
                if cancel.is_set() or self._agents is None:
                    return
                agent = self._agents(turn.goals, turn.seed, turn.agent)
                for event in agent.turn(before, turn.question, cancel):
                    if cancel.is_set():
                        return
                    self._post(Happened(run, event))
        except Exception as error:
            line = line_for(error, self._log)
        finally:
            self._post(RunEnded(run, line))
