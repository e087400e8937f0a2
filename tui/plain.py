"""The same events without a screen: as text to read, or as JSON lines."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core_model.errors import CandorError
from persona.events import (
    Event,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolFinished,
    TurnFailed,
)
from persona.goals import ALL, RIVALS, author_of, parse_goals, rival_in
from persona.turn import Turn
from tui import actions, export
from tui.render import (
    card_body,
    card_title,
    notes,
    one_line,
    plain,
    printable,
)
from tui.session import AgentFactory, Chat

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 88
Write = Callable[[str], None]


def print_events(events: Iterable[Event], turn: Turn, write: Write) -> Turn:
    """Write a turn as it happens: cards, then the reply with its verdict; returns its fold."""
    for event in events:
        turn = turn.after(event)
        match event:
            case ToolFinished(call_id=call_id):
                for call in turn.calls:
                    if call.call_id == call_id:
                        lines = [card_title(call, WIDTH), *card_body(call, WIDTH)]
                        write("\n" + _indented(plain(lines)) + "\n")
            case Reply() | TurnFailed():
                write(_ending(turn))
            case _:
                pass
    if not turn.over:
        turn = turn.after(TurnFailed(turn.id, "The reply broke off. Ask again."))
        write(_ending(turn))
    return turn


def _judged(turn: Turn) -> Turn:
    """The turn without a reply that broke off before it was judged: nobody has seen it."""
    seen = turn.verdict is not None or turn.state == "done"
    return turn if seen else replace(turn, reply="")


def _ending(turn: Turn) -> str:
    """The reply, once it has been judged: what is printed can't be withdrawn; and what it was."""
    turn = _judged(turn)
    lines = [printable(turn.reply)] if turn.reply else []
    if turn.failure:
        lines.append(f"✗ {one_line(turn.failure)}")
    if turn.state == "stopped":
        lines.append("■ stopped")
    lines += [plain([line]) for line in notes(turn)]
    return "\n" + "\n".join(lines) + "\n"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def json_line(event: Event) -> str:
    """An event on one line; lone surrogates and odd line breaks are escaped."""
    return json.dumps(event.to_json(), ensure_ascii=True)


def failed_reply(turn_id: str, message: str) -> dict[str, Any]:
    """The last line of a turn that failed: a reply without text that says why."""
    return {
        "type": "reply",
        "turn_id": turn_id,
        "text": "",
        "tool_calls": [],
        "safety": None,
        "stopped": False,
        "error": message,
    }


def print_json(events: Iterable[Event], write: Write) -> bool:
    """Write a turn as JSON lines, the last always of type "reply"; False where it failed.

    A reply's pieces are held back until it has been judged, and with them what follows them.
    """
    turn_id = ""
    held: list[Event] = []
    for event in events:
        turn_id = event.turn_id
        held.append(event)
        withdrawn = isinstance(event, TurnFailed)
        if isinstance(event, SafetyVerdict):
            withdrawn = event.blocked
        elif not isinstance(event, Reply | TurnFailed) and isinstance(held[0], ReplyDelta):
            continue
        for each in held:
            if not (withdrawn and isinstance(each, ReplyDelta)):
                write(json_line(each) + "\n")
        held.clear()
        if isinstance(event, Reply):
            return True
        if isinstance(event, TurnFailed):
            write(json.dumps(failed_reply(turn_id, event.message)) + "\n")
            return False
    write(json.dumps(failed_reply(turn_id, "The reply broke off.")) + "\n")
    return False


class PlainChat:
    """A chat on a plain terminal: lines in, text out, kept in the same history."""

    def __init__(
        self,
        chat: Chat,
        agents: AgentFactory,
        read: Callable[[str], str],
        write: Write,
        failure: Callable[[BaseException], str],
    ) -> None:
        self.chat = chat
        self._agents = agents
        self._read = read
        self._write = write
        self._failure = failure

    def run(self) -> None:
        """Until the end of input or /quit."""
        self._write("Candor. /help lists commands, ctrl-c stops a reply, ctrl-d leaves.\n")
        try:
            self._converse()
        finally:  # ctrl-c at the prompt leaves too
            if self.chat.history.unsaved and (problem := self.chat.history.save_again()):
                self._write(f"! {problem}\n")

    def _converse(self) -> None:
        while True:
            try:
                text = self._read("\n> ").strip()
            except EOFError:
                self._write("\n")
                return
            if text in ("/quit", "/exit"):
                return
            try:
                if text.startswith("/"):
                    self._command(text)
                elif text:
                    self._ask(text)
            except CandorError as error:
                self._write(f"✗ {one_line(str(error))}\n")

    def _ask(self, text: str) -> None:
        self._take(self.chat.ask(text, secrets.randbelow(2**31)))

    def _take(self, turn: Turn) -> None:
        """Let an agent take up a turn, show what it says and keep it."""
        before = self.chat.before(turn)
        cancel = threading.Event()
        shown = Shown()
        try:
            agent = self._agents(turn.goals, turn.seed, turn.agent)
            events = shown.watch(agent.turn(before, turn.question, cancel), turn)
            turn = print_events(events, turn, self._write)
        except KeyboardInterrupt:
            cancel.set()
            turn = shown.turn.stop() if shown.turn else turn.stop()
            self._write(_ending(turn))
        except Exception as error:
            turn = (shown.turn or turn).after(TurnFailed(turn.id, self._failure(error)))
            self._write(_ending(turn))
        self.chat.finish(_judged(turn))
        if self.chat.history.problem:
            self._write(f"! {self.chat.history.problem}\n")

    def _command(self, text: str) -> None:
        word, _, rest = text[1:].partition(" ")
        rest = rest.strip()
        action = actions.by_slash(word)
        if action is None or not action.in_plain:
            known = ", ".join(f"/{each.slash}" for each in actions.ACTIONS if each.in_plain)
            raise CandorError(f"There is no command /{word[:40]} here. There are: {known}.")
        if action.name == "help":
            for each in actions.ACTIONS:
                if each.in_plain:
                    self._write(f"{each.usage:<18} {each.doc}\n")
        elif action.name == "new":
            self.chat.new()
            self._write("A new conversation.\n")
        elif action.name == "delete":
            self._write((actions.DELETED if self.chat.delete() else actions.DELETE_AGAIN) + "\n")
        elif action.name == "goals":
            if rest:
                self.chat.goals = parse_goals(rest)
            self._write(goals_text(self.chat.goals))
        elif action.name == "compare":
            name, question = rival_in(rest)
            if question:
                self._ask(question)
            rival = self.chat.beside(name)
            self._write(f"\n[{RIVALS[name]}]\n")
            self._take(rival)
        elif action.name == "export":
            if not self.chat.turns:
                raise CandorError("There is nothing to export yet.")
            self._write(
                f"Written to {export.write(_path(rest), self.chat.title, self.chat.turns)}.\n"
            )


class Shown:
    """Folds events on their way to the screen, so that an interruption knows what was shown."""

    def __init__(self) -> None:
        self.turn: Turn | None = None

    def watch(self, events: Iterable[Event], turn: Turn) -> Iterable[Event]:
        """The same events."""
        self.turn = turn
        for event in events:
            self.turn = self.turn.after(event)
            yield event


def _path(text: str) -> Path | None:
    from pathlib import Path

    return Path(text) if text else None


def goals_text(chosen: Sequence[str]) -> str:
    """Every goal, those in force marked."""
    in_force = {*chosen, author_of(chosen)}
    rows = [
        f"{'●' if goal.name in in_force else '○'} {goal.name:<13} {goal.doc}"
        for goal in ALL.values()
    ]
    return "\n".join(rows) + "\n"
