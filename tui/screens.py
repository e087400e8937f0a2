"""Screens over the chat: help, and the choice of goals and theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Markdown, OptionList, Static
from textual.widgets.option_list import Option

from persona.goals import ALL, AUTHORS, EXCLUSIVE, GOALS, MISALIGNED, VOICES, author_of


class HelpScreen(ModalScreen[None]):
    """Keys, commands, and how to read a card."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,q", "dismiss", "Close")]

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self._markdown = markdown

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="sheet"):
            yield Markdown(self._markdown)
            yield Static("esc closes", classes="sheet-foot", markup=False)


class GoalsScreen(ModalScreen[tuple[str, ...] | None]):
    """What the author of the replies is conditioned on; Space changes a goal, Enter is done."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Cancel")]

    def __init__(self, chosen: Sequence[str]) -> None:
        super().__init__()
        self._chosen = tuple(chosen)

    def compose(self) -> ComposeResult:
        with Vertical(classes="sheet small"):
            yield Static("Goals", classes="sheet-title", markup=False)
            yield Static(
                "The replies' author is unknown; these are the conditions on them.",
                classes="sheet-doc",
                markup=False,
            )
            yield GoalList(self._chosen)
            yield Static(
                "space changes · enter is done · esc leaves them as they were",
                classes="sheet-foot",
                markup=False,
            )

    def action_cancel(self) -> None:
        self.dismiss(None)


class GoalList(OptionList):
    """The goals, those in force marked; of goals that exclude each other one is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("space", "change", "Change"),
        ("enter", "done", "Done"),
    ]

    def __init__(self, chosen: Sequence[str]) -> None:
        self.chosen = {*chosen, author_of(chosen)}
        groups = (GOALS, MISALIGNED, AUTHORS)
        options: list[Option | None] = []
        for group in groups:
            options += [*(Option(self._line(name), id=name) for name in group), None]
        super().__init__(*options[:-1], id="goal-list", compact=True)

    def _line(self, name: str) -> Content:
        mark = "●" if name in self.chosen else "○"
        return Content.assemble(f"{mark} ", (f"{name:<14}", "bold"), (ALL[name].doc, "$muted"))

    def action_change(self) -> None:
        """Take the goal under the cursor up or off."""
        if self.highlighted is not None:
            self._change(str(self.get_option_at_index(self.highlighted).id))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click changes a goal, too."""
        self._change(str(event.option.id))

    def _change(self, name: str) -> None:
        self.chosen ^= {name}
        if name in self.chosen:
            for group in EXCLUSIVE:
                if name in group:
                    self.chosen -= {*group} - {name}
        self.chosen.add(author_of(tuple(self.chosen)))
        for each in ALL:
            self.replace_option_prompt(each, self._line(each))

    def action_done(self) -> None:
        """Close with the goals as chosen, in their own order; the plain author goes without."""
        chosen = tuple(name for name in ALL if name in self.chosen and name != VOICES[0])
        self.screen.dismiss(chosen)


class ThemeScreen(ModalScreen[str | None]):
    """Light, dark or the terminal's own colours."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "Cancel")]

    def __init__(self, names: Sequence[str], current: str) -> None:
        super().__init__()
        self._names = tuple(names)
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="sheet small"):
            yield Static("Theme", classes="sheet-title", markup=False)
            yield OptionList(*(Option(name, id=name) for name in self._names), compact=True)
            yield Static("enter chooses · esc closes", classes="sheet-foot", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = self._names.index(self._current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_cancel(self) -> None:
        self.dismiss(None)
