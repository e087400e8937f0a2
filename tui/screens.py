"""Screens over the chat: help, and the choice of goals and theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Markdown, OptionList, SelectionList, Static
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

from persona.goals import ALL, EXCLUSIVE, VOICES, author_of


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
        self._chosen = {*chosen, author_of(chosen)}

    def compose(self) -> ComposeResult:
        with Vertical(classes="sheet small"):
            yield Static("Goals", classes="sheet-title", markup=False)
            yield Static(
                "The replies' author is unknown; these are the conditions on them.",
                classes="sheet-doc",
                markup=False,
            )
            yield GoalList(
                *(
                    Selection(
                        Content.assemble((f"{goal.name:<14}", "bold"), (goal.doc, "$muted")),
                        goal.name,
                        goal.name in self._chosen,
                    )
                    for goal in ALL.values()
                ),
                id="goal-list",
            )
            yield Static(
                "space changes · enter is done · esc leaves them as they were",
                classes="sheet-foot",
                markup=False,
            )

    def done(self) -> None:
        """Close with the goals as chosen, in their own order."""
        selected = set(self.query_one(GoalList).selected)
        for group in EXCLUSIVE:  # a quick Enter comes before the old choice is taken off
            both = selected.intersection(group)
            if len(both) > 1:
                selected -= both & self._chosen
        self.dismiss(tuple(name for name in ALL if name in selected and name != VOICES[0]))

    def on_selection_list_selection_toggled(
        self, event: SelectionList.SelectionToggled[str]
    ) -> None:
        """An author has one conduct and one voice: choosing another takes it off."""
        chosen, goals = event.selection.value, event.selection_list
        if chosen in goals.selected:
            for group in EXCLUSIVE:
                for other in group if chosen in group else ():
                    if other != chosen:
                        goals.deselect(other)

    def action_cancel(self) -> None:
        self.dismiss(None)


class GoalList(SelectionList[str]):
    """A selection list in which Enter is done and Space selects."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter", "done", "Done")]

    def action_done(self) -> None:
        screen = self.screen
        if isinstance(screen, GoalsScreen):
            screen.done()


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
