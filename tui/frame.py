"""The application's frame: its parts on screen, and the actions that need no conversation.

`tui.app` adds the conversation. Nothing here imports what the core or the storage needs, so that
the first screen paints at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from textual import on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widgets import Static, TextArea

from tui import actions, clipboard, failures, preferences
from tui.composer import Composer
from tui.sidebar import Sidebar
from tui.themes import DARK, THEMES
from tui.welcome import Welcome

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
KEYS_HINT = "enter send · ctrl+j new line · ctrl+p commands · f1 help"
SIDEBAR_WIDTH = 100
"""Columns from which the list of conversations is shown unasked."""

Tone = Literal["plain", "warn", "bad"]


class Copied(Message):
    """A program took what was copied, or none did."""

    def __init__(self, text: str, program: str | None) -> None:
        super().__init__()
        self.text = text
        self.program = program


class Frame(App[None]):
    """Header, list of conversations, middle, composer and status line."""

    TITLE = "Candor"
    CSS_PATH = "candor.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (90, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            action.keys,
            action.name,
            action.title,
            id=action.name,
            show=False,
            # Escape belongs to whatever is open first: a menu, the palette, a screen.
            priority=action.name != "stop",
        )
        for action in actions.ACTIONS
        if action.keys
    ]

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self.log_path = data_dir / failures.LOG_NAME
        self.history_path = data_dir / "history.db"
        self.preferences_path = data_dir / "preferences.json"
        self.preferences, self._preferences_problem = preferences.load(self.preferences_path)
        self.crash: str | None = None
        self._state = ""
        self._busy = False
        self._frame = 0
        self._timer: Timer | None = None
        # The style sheet uses colours that only these themes have.
        for theme in THEMES.values():
            self.register_theme(theme)
        chosen = self.preferences.theme
        self.theme = THEMES[chosen if chosen in THEMES else "dark"].name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Candor's own colours for themes that do not have them."""
        return {name: DARK.variables[name] for name in ("muted", "bar", "mark", "rule")}

    def compose(self) -> ComposeResult:
        # Kept by name: a query would search the sheet that may lie on top.
        self.heading = Static(id="heading", markup=False)
        self.goals_line = Static(id="goals", markup=False)
        self.sidebar = Sidebar()
        self.main = Vertical(id="main")
        self.welcome = Welcome()
        self.notice = Static(id="notice", markup=False)
        self.hints = Static(id="hints", markup=False)
        self.composer = Composer()
        self.state_line = Static(id="state", markup=False)
        with Vertical(id="header"):
            yield self.heading
            yield self.goals_line
        with Horizontal(id="middle"):
            yield self.sidebar
            with self.main:
                yield self.welcome
        yield self.notice
        yield self.hints
        yield self.composer
        with Horizontal(id="status"):
            yield self.state_line
            yield Static(KEYS_HINT, id="keys", markup=False)

    def on_mount(self) -> None:
        self.set_keymap(self.preferences.keys)
        self._timer = self.set_interval(0.1, self._tick, pause=not self._busy)
        shown = self.preferences.sidebar and self.history_path.exists()
        self.sidebar.set_class(shown and self.size.width >= SIDEBAR_WIDTH, "-shown")
        self.composer.focus()
        if self._preferences_problem:
            self.say(self._preferences_problem, "warn")

    # ---- saying --------------------------------------------------------------------------

    def say(self, text: str, tone: Tone = "plain") -> None:
        """One line above the composer, until the next; an empty text takes it away."""
        symbol = {"plain": "", "warn": "! ", "bad": "✗ "}[tone]
        self.notice.update(Content(symbol + " ".join(text.split())))
        self.notice.set_class(bool(text), "-shown")
        self.notice.set_class(tone == "warn", "-warn")
        self.notice.set_class(tone == "bad", "-bad")

    def show_state(self, state: str, busy: bool = False) -> None:
        """What goes on, at the left of the status line."""
        self._state, self._busy = state, busy
        if self._timer is not None:
            (self._timer.resume if busy else self._timer.pause)()
        self._tick()

    def _tick(self) -> None:
        self._frame = (self._frame + 1) % len(SPINNER)
        symbol = SPINNER[self._frame] if self._busy else "●"
        self.state_line.update(Content(f"{symbol} {self._state}"))

    def show_heading(self, title: str, goals: tuple[str, ...]) -> None:
        """The conversation's title and the goals in force."""
        parts = [("Candor", "bold $primary"), (f"   {title}" if title else "", "$muted")]
        self.heading.update(Content.assemble(*parts))
        named = " · ".join(goals) if goals else "none"
        self.goals_line.update(Content(f"goals  {named}   (ctrl+g)"))

    # ---- typing --------------------------------------------------------------------------

    def on_composer_left_down(self) -> None:
        if self.welcome.display:
            self.welcome.questions.focus()

    def on_composer_complete(self) -> None:
        found = actions.matching(self.composer.text[1:])
        if found:
            self.composer.put(f"/{found[0].slash} " if found[0].argument else f"/{found[0].slash}")

    @on(TextArea.Changed, "#composer")
    def _typed(self, event: TextArea.Changed) -> None:
        text = event.text_area.text
        found = actions.matching(text[1:]) if text.startswith("/") and " " not in text else []
        if found:
            self.hints.update(Content("\n".join(f"{each.usage:<18} {each.doc}" for each in found)))
        self.hints.set_class(bool(found), "-shown")

    async def command(self, text: str) -> None:
        """Do what a slash command says."""
        word, _, rest = text[1:].partition(" ")
        action = actions.by_slash(word)
        if action is None:
            self.say(f"There is no command /{word[:40]}. Type /help for those there are.", "bad")
            return
        method = getattr(self, f"action_{action.name}")
        result = method(rest.strip()) if action.argument else method()
        if result is not None:
            await result

    # ---- actions -------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: every action but itself."""
        for action in actions.ACTIONS:
            if action.name != "command_palette":
                method = getattr(self, f"action_{action.name}")
                yield SystemCommand(action.title, action.doc, method)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a sheet is open, keys act on it alone."""
        ours = action != "quit" and any(each.name == action for each in actions.ACTIONS)
        return not (ours and isinstance(self.screen, ModalScreen))

    def action_help(self) -> None:
        """Show keys, commands and how to read a card."""
        from tui.screens import HelpScreen

        self.push_screen(HelpScreen(actions.help_markdown(self.preferences.keys)))

    def action_sidebar(self) -> None:
        """Show or hide the list of conversations, and remember which."""
        shown = not self.sidebar.has_class("-shown")
        self.sidebar.set_class(shown, "-shown")
        self.prefer(sidebar=shown)
        if not shown:
            self.composer.focus()

    def action_find(self, words: str = "") -> None:
        """Search the conversations."""
        self.sidebar.add_class("-shown")
        search = self.sidebar.search
        search.value = words
        # At once, not on the next idle moment: what is typed right behind the key is meant for it.
        self.stylesheet.update(self.sidebar)
        self.screen.set_focus(search)

    def action_theme(self, name: str = "") -> None:
        """Change the theme, or choose one where none is named."""
        from tui.screens import ThemeScreen

        if name in THEMES:
            self._use_theme(name)
        elif name:
            known = ", ".join(THEMES)
            self.say(f"There is no theme '{name[:40]}'. There are: {known}.", "bad")
        else:
            chosen = self.preferences.theme
            current = chosen if chosen in THEMES else "dark"
            self.push_screen(ThemeScreen(list(THEMES), current), self._use_theme)

    def _use_theme(self, name: str | None) -> None:
        if name in THEMES:
            self.theme = THEMES[name].name
            self.prefer(theme=name)

    def prefer(self, **choices: Any) -> None:
        """Remember a choice for the next start."""
        self.preferences = replace(self.preferences, **choices)
        if self._preferences_problem:  # of a file that only its writer can mend
            self.say(self._preferences_problem, "warn")
            return
        problem = preferences.save(self.preferences_path, self.preferences)
        if problem:
            self.say(problem, "warn")

    # ---- copying -------------------------------------------------------------------------

    def copy_to_clipboard(self, text: str) -> None:
        """To the system's clipboard, else through the terminal; says which it was."""
        self._clipboard = text
        self._copy(text)

    @work(thread=True, exit_on_error=False, group="clipboard")
    def _copy(self, text: str) -> None:
        self.post_message(Copied(text, clipboard.copy_to_system(text)))

    def on_copied(self, message: Copied) -> None:
        size = f"{len(message.text):,} characters"
        if message.program is not None:
            self.notify(f"Copied {size} with {message.program}.", markup=False)
            return
        super().copy_to_clipboard(message.text)
        self.notify(
            f"Sent {size} to the terminal's clipboard. If nothing arrives, your terminal does "
            "not allow it: use /export.",
            markup=False,
        )

    # ---- crashing ------------------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        # Textual prints tracebacks at its end; a person gets one line, the log the rest.
        if self.crash is None:
            self.crash = failures.line_for(error, self.log_path)
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()
