"""The list of conversations, newest first, with a search over all that was said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

if TYPE_CHECKING:
    from persona.history import Listed


MOST_LISTED = 200


class Sidebar(Vertical):
    """Search field and list."""

    class Chosen(Message):
        """A conversation was chosen."""

        def __init__(self, conversation: str, title: str) -> None:
            super().__init__()
            self.conversation = conversation
            self.title = title

    class Searched(Message):
        """The search changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="sidebar")
        self._titles: dict[str, str] = {}
        self.search = Input(placeholder="Find …", id="search", compact=True)

    @property
    def searched(self) -> str:
        """What is searched for."""
        return self.search.value

    def compose(self) -> ComposeResult:
        yield self.search
        yield OptionList(id="conversations", markup=False, compact=True)
        yield Static("No conversation yet", id="no-conversations", markup=False)

    def show(
        self, listed: Sequence[Listed], current: str | None, today: date | None = None
    ) -> None:
        """List conversations under the day they began."""
        self._titles = {each.id: each.title for each in listed}
        options: list[Option | None] = []
        day = ""
        for each in listed:
            began = day_of(each.created, today or date.today())
            if began != day:
                day = began
                options.append(Option(Content.styled(day, "$muted"), disabled=True))
            mark = "▌" if each.id == current else " "
            options.append(Option(Content(mark + each.title), id=each.id))
        if len(listed) >= MOST_LISTED:
            options.append(
                Option(Content.styled("older ones: find words", "$muted"), disabled=True)
            )
        conversations = self.query_one("#conversations", OptionList)
        conversations.set_options([option for option in options if option is not None])
        conversations.display = bool(listed)
        empty = self.query_one("#no-conversations", Static)
        empty.display = not listed
        searching = bool(self.searched)
        empty.update("Nothing found" if searching else "No conversation yet")

    @on(OptionList.OptionSelected, "#conversations")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id is not None:
            self.post_message(self.Chosen(event.option.id, self._titles[event.option.id]))

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Searched(event.value))

    @on(Input.Submitted, "#search")
    def _to_list(self, event: Input.Submitted) -> None:
        event.stop()
        conversations = self.query_one("#conversations", OptionList)
        if conversations.option_count:
            conversations.focus()
            conversations.action_first()


def day_of(created: str, today: date) -> str:
    """`Today`, `Yesterday`, `Last 7 days` or the month, from a UTC time in ISO form."""
    try:
        day = datetime.fromisoformat(created).astimezone().date()
    except ValueError:
        return "Earlier"
    if day >= today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    if day > today - timedelta(days=7):
        return "Last 7 days"
    return day.strftime("%B %Y")
