"""Where a question is typed: Enter sends, ctrl+j makes a new line, up recalls earlier questions."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

NEWLINE_KEYS = ("ctrl+j", "shift+enter", "alt+enter")


class Composer(TextArea):
    """A text area that grows to a few lines and sends on Enter."""

    class Sent(Message):
        """A question or slash command was entered."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class LeftDown(Message):
        """Down was pressed in an empty composer."""

    class Complete(Message):
        """Tab was pressed while a slash command is being typed."""

    def __init__(self) -> None:
        super().__init__(
            id="composer",
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Ask about names, speeches or countries …",
        )
        self.sent: list[str] = []
        self._recalled: int | None = None
        self._draft = ""

    async def on_key(self, event: events.Key) -> None:
        """Keys that mean something else here than in a text area."""
        # Rows as they stand on screen, where a long line is wrapped.
        first, last = self._at_first_row, self._at_last_row
        handled = True
        if event.key == "enter":
            self._send()
        elif event.key in NEWLINE_KEYS:
            self.insert("\n")
        elif event.key == "up" and first and self.sent:
            self._recall(-1)
        elif event.key == "down" and self._recalled is not None and last:
            self._recall(1)
        elif event.key == "down" and not self.text:
            self.post_message(self.LeftDown())
        elif event.key == "tab" and self.text.startswith("/"):
            self.post_message(self.Complete())
        else:
            handled = False
        if handled:
            event.stop()
            event.prevent_default()

    @property
    def _at_first_row(self) -> bool:
        return self.navigator.is_first_wrapped_line(self.cursor_location)

    @property
    def _at_last_row(self) -> bool:
        return self.navigator.is_last_wrapped_line(self.cursor_location)

    def put(self, text: str) -> None:
        """Replace what is typed, the cursor at its end; `up` recalls what stood there."""
        if self.text.strip() and not self.text.startswith("/"):
            self.remember(self.text)
        self._show(text)

    def _show(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def remember(self, text: str) -> None:
        """Make a question one that `up` recalls."""
        if text and (not self.sent or self.sent[-1] != text):
            self.sent.append(text)

    def _send(self) -> None:
        text = self.text
        if not text.strip():
            return
        self.remember(text)
        self._recalled = None
        self.load_text("")
        self.post_message(self.Sent(text))

    def _recall(self, step: int) -> None:
        if self._recalled is None:
            self._draft = self.text
            self._recalled = len(self.sent)
        elif self.text != self.sent[self._recalled]:
            self.remember(self.text)  # one that was changed, and would be lost
        self._recalled = max(0, self._recalled + step)
        if self._recalled >= len(self.sent):
            self._recalled = None
            self._show(self._draft)
        else:
            self._show(self.sent[self._recalled])
