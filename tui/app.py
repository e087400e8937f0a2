"""The chat in the terminal.

The first screen paints before anything heavy is imported; then threads open the history and load
the core (`tui.runner`). What is typed meanwhile is queued. Everything that changes the conversation
runs in the application's own message queue, one thing after another.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from core_model.errors import CandorError
from persona.goals import parse_goals, rival_in
from tui import actions
from tui.composer import Composer
from tui.frame import Frame
from tui.runner import (
    Happened,
    Loaded,
    Loading,
    NotLoaded,
    NotOpened,
    Opened,
    RunEnded,
    Runner,
)
from tui.sidebar import MOST_LISTED, Sidebar
from tui.welcome import Welcome

if TYPE_CHECKING:
    import threading

    from persona.events import Exchange
    from persona.turn import Turn
    from tui.session import Chat, Loader
    from tui.transcript import Transcript


def new_seed() -> int:
    """A seed for a turn; it is stored with the turn."""
    return secrets.randbelow(2**31)


class CandorApp(Frame):
    """The application. `load` makes what answers; everything kept lies under `data_dir`.

    server: the address of what answers, where that is not this machine's own core.
    """

    def __init__(
        self,
        load: Loader,
        data_dir: Path,
        goals: Sequence[str],
        seed: Callable[[], int] = new_seed,
        server: str | None = None,
    ) -> None:
        super().__init__(data_dir)
        self.runner = Runner(self.post_message, load, self.log_path)
        self.chat: Chat | None = None
        self.transcript: Transcript  # there once the history is open
        self._goals = tuple(goals)
        self._seed = seed
        self._ready_line = "ready" if server is None else f"ready, on {server}"
        self._early: list[str] = []
        self._queue: list[Turn] = []
        self._current: Turn | None = None
        self._not_loaded: str | None = None
        self._not_opened: str | None = None
        self._unsaved = False
        self._leaving = False

    def on_mount(self) -> None:
        # Textual mounts the frame as well, behind this.
        self._show_heading()
        self.show_state("starting", busy=True)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._open_history()
        self._load_core()

    @work(thread=True, exit_on_error=False, group="history")
    def _open_history(self) -> None:
        self.runner.open_history(self.history_path)

    @work(thread=True, exclusive=True, exit_on_error=False, group="core")
    def _load_core(self) -> None:
        self.runner.load()

    # ---- what threads say ----------------------------------------------------------------

    async def on_opened(self, message: Opened) -> None:
        from tui.session import Chat
        from tui.transcript import Transcript

        self.transcript = Transcript()
        await self.main.mount(self.transcript)
        self.chat = Chat(message.history, self._goals)
        if message.notice:
            self.say(message.notice, "warn")
        self._show_conversations()
        early, self._early = self._early, []
        for text in early:
            await self._ask(text)

    def on_not_opened(self, message: NotOpened) -> None:
        self._not_opened = message.line
        self._show_ready()
        self.say(message.line, "bad")
        self._early.clear()  # the composer has them still

    def on_loading(self, message: Loading) -> None:
        part = min(max(message.part, 0.0), 1.0)
        filled = round(part * 12)
        gauge = "━" * filled + "╌" * (12 - filled)
        self.show_state(f"loading the core  {gauge} {part:.0%}  {message.what}", busy=True)

    async def on_loaded(self, _: Loaded) -> None:
        self._not_loaded = None
        self._show_ready()
        await self._start_next()

    async def on_not_loaded(self, message: NotLoaded) -> None:
        self._not_loaded = message.line
        self.show_state("no core: ask again to try once more")
        self.say(message.line, "bad")
        waiting, self._queue = self._queue, []
        for turn in waiting:
            await self._fail(turn, message.line)

    async def on_happened(self, message: Happened) -> None:
        if message.run != self.runner.run or self._current is None:
            return
        turn = self._current.after(message.event)
        self._current = turn
        self._keep(turn)
        if view := self.transcript.view_of(turn.id):
            await view.apply(message.event, turn)
        if turn.over:
            await self._end(turn)

    async def on_run_ended(self, message: RunEnded) -> None:
        if message.run == self.runner.run and self._current is not None:
            line = message.line or "The reply broke off. Ask again."
            await self._fail(self._current, line)
        await self._start_next()

    # ---- turns ---------------------------------------------------------------------------

    async def _ask(self, text: str) -> bool:
        """Take up a question, at once or once the history is open; False if it can't be used."""
        if self._not_opened:
            self.say(self._not_opened, "bad")
            self.composer.put(text)
            return False
        try:
            if self.chat is None:
                from persona.turn import clean_question

                clean_question(text)  # what can't be asked is said before more is typed
                self._early.append(text)
                return True
            turn = self.chat.ask(text, self._seed())
        except CandorError as error:
            self.say(str(error), "bad")
            self.composer.put(text)
            return False
        self._show_transcript()
        await self.transcript.add(turn)
        self._queue.append(turn)
        self._show_heading()
        self._show_conversations()
        self._report_saving()
        await self._start_next()
        return True

    async def _start_next(self) -> None:
        if self._queue and self._not_loaded:
            self._not_loaded = None
            self._load_core()
        if self._current is not None or not self._queue or not self.runner.ready or not self.chat:
            return
        turn = replace(self._queue.pop(0), state="running")
        self._current = turn
        self._keep(turn)
        if view := self.transcript.view_of(turn.id):
            await view.show(turn)
        run, cancel = self.runner.begin()
        self.show_state("thinking · esc stops", busy=True)
        self._answer(run, cancel, turn, self.chat.before(turn))

    @work(thread=True, exclusive=True, exit_on_error=False, group="turn")
    def _answer(
        self, run: int, cancel: threading.Event, turn: Turn, before: tuple[Exchange, ...]
    ) -> None:
        self.runner.answer(run, cancel, turn, before)

    async def _fail(self, turn: Turn, line: str) -> None:
        from persona.events import TurnFailed

        await self._end(turn.after(TurnFailed(turn.id, line)))

    async def _end(self, turn: Turn) -> None:
        assert self.chat is not None
        self._current = None
        saved = self.chat.finish(turn)
        self.transcript.update_turn(saved)
        if view := self.transcript.view_of(turn.id):
            await view.settle(saved)
        self._report_saving()
        if self.runner.ready:
            self._show_ready()
        await self._start_next()

    def _keep(self, turn: Turn) -> None:
        if self.chat is not None:
            self.chat.update(turn)
        self.transcript.update_turn(turn)

    def action_stop(self) -> None:
        """Stop at once; what is written stays."""
        if self._current is None and not self._queue:
            self.say("")
            return
        # Events already on their way are dropped from this moment.
        self.runner.halt()
        self.call_later(self._stopped)

    async def _stopped(self) -> None:
        stopped = [turn for turn in (self._current, *self._queue) if turn is not None]
        self._queue.clear()
        for turn in stopped:
            await self._end(turn.stop())

    # ---- conversations -------------------------------------------------------------------

    def action_new(self) -> None:
        self.action_stop()
        self.call_later(self._new)

    async def _new(self) -> None:
        if self.chat is None:
            return
        self.chat.new()
        await self.transcript.show(())
        self.transcript.set_class(False, "-shown")
        self.welcome.display = True
        self._show_heading()
        self._show_conversations()
        self.composer.focus()

    async def action_delete(self) -> None:
        """Delete this conversation, when it is said twice."""
        if self.chat is None:
            return
        try:
            if self.chat.is_sure_to_delete and (self._current or self._queue):
                self.runner.halt()
                await self._stopped()
            if not self.chat.delete():
                self.say(actions.DELETE_AGAIN, "warn")
                return
        except CandorError as error:
            self.say(str(error), "bad")
            return
        await self._new()
        self.say(actions.DELETED)

    def on_sidebar_chosen(self, message: Sidebar.Chosen) -> None:
        self.action_stop()
        self.call_later(self._reopen, message.conversation, message.title)

    async def _reopen(self, conversation: str, title: str) -> None:
        if self.chat is None:
            return
        try:
            self.chat.open(conversation, title)
        except CandorError as error:
            self.say(str(error), "bad")
            return
        for turn in self.chat.turns:
            self.composer.remember(turn.question)
        self._show_transcript()
        await self.transcript.show(self.chat.turns)
        self._show_heading()
        self._show_conversations()
        self._report_saving()
        self.composer.focus()

    def on_sidebar_searched(self, _: Sidebar.Searched) -> None:
        self._show_conversations()

    # ---- asking --------------------------------------------------------------------------

    async def on_composer_sent(self, message: Composer.Sent) -> None:
        self.say("")
        text = message.text.strip()
        await (self.command(text) if text.startswith("/") else self._ask(message.text))

    async def on_welcome_chosen(self, message: Welcome.Chosen) -> None:
        self.composer.remember(message.question)
        self.composer.focus()
        await self._ask(message.question)

    def action_again(self) -> None:
        """Take the last question back into the composer; what was answered stays stored."""
        self.action_stop()
        self.call_later(self._again)

    async def _again(self) -> None:
        question = self.chat.take_back() if self.chat else None
        if self.chat is None or question is None:
            self.say("Nothing has been asked yet.")
            return
        await self.transcript.show(self.chat.turns)
        self.composer.put(question)
        self.composer.focus()

    async def action_compare(self, asked: str = "") -> None:
        """Put a question, or the last one, to a rival too; its reply stands beside."""
        rival, question = rival_in(asked)
        try:
            if self.chat is None:
                raise CandorError("The history is not open yet. Try again in a moment.")
            if question and not await self._ask(question):
                return
            self._queue.append(self.chat.beside(rival))
        except CandorError as error:
            self.say(str(error), "bad")
        await self._start_next()

    def action_goals(self, names: str = "") -> None:
        """Change what the replies' author is conditioned on."""
        from tui.screens import GoalsScreen

        if not names:
            self.push_screen(GoalsScreen(self.goals), self._use_goals)
            return
        try:
            self._use_goals(parse_goals(names))
        except CandorError as error:
            self.say(str(error), "bad")

    @property
    def goals(self) -> tuple[str, ...]:
        """The goals in force."""
        return self.chat.goals if self.chat else self._goals

    def _use_goals(self, goals: tuple[str, ...] | None) -> None:
        if goals is None:
            return
        self._goals = goals
        if self.chat is not None:
            self.chat.goals = goals
        self._show_heading()

    # ---- with the last reply -------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy the last reply."""
        replies = [turn.reply for turn in self.chat.turns if turn.reply] if self.chat else []
        if replies:
            self.copy_to_clipboard(replies[-1])
        else:
            self.say("There is no reply to copy yet.")

    def action_cards(self) -> None:
        """Close, open or fully open the cards of the last reply that has any."""
        from tui.transcript import ToolCard

        views = self.transcript.views() if self.chat else []
        cards = [list(view.query(ToolCard)) for view in views]
        last = next((found for found in reversed(cards) if found), [])
        if not last:
            self.say("There is no card yet.")
            return
        detail = last[0].next_step
        for card in last:
            card.detail = detail

    def action_export(self, file: str = "") -> None:
        """Write the conversation to a Markdown file."""
        from tui import export

        if self.chat is None or not self.chat.turns:
            self.say("There is nothing to export yet.")
            return
        try:
            path = export.write(Path(file) if file else None, self.chat.title, self.chat.turns)
        except CandorError as error:
            self.say(str(error), "bad")
        else:
            self.say(f"Written to {path}.")

    async def action_quit(self) -> None:
        """Stop, save and leave; what can't be saved is only left on a second wish."""
        if self._current is not None:
            self.runner.halt()
            await self._stopped()
        history = self.chat.history if self.chat else None
        problem = history.save_again() if history else None
        if history and history.unsaved and not self._leaving:
            self._leaving = True
            self.say(f"{problem} /export keeps a copy; quit once more to leave without.", "bad")
            return
        self.runner.leave()
        self.exit()

    # ---- showing -------------------------------------------------------------------------

    def _show_ready(self) -> None:
        nothing = "no history: nothing can be asked"
        self.show_state(self._ready_line if self._not_opened is None else nothing)

    def _show_heading(self) -> None:
        self.show_heading(self.chat.title if self.chat else "", self.goals)

    def _show_transcript(self) -> None:
        self.welcome.display = False
        self.transcript.set_class(True, "-shown")

    def _show_conversations(self) -> None:
        if self.chat is None:
            return
        listed = self.chat.history.conversations(self.sidebar.searched, MOST_LISTED)
        self.sidebar.show(listed, self.chat.conversation)

    def _report_saving(self) -> None:
        """Say it while something could not be saved, and once when it could again."""
        problem = self.chat.history.problem if self.chat else None
        if problem:
            self.say(problem, "warn")
        elif self._unsaved:
            self.say("All is saved again.")
        self._unsaved = bool(problem)
        self._leaving = False
