"""The conversation on screen: turns, their cards, and a window over a long one.

Only a few turns are mounted at a time, since each refresh visits every mounted widget: scrolling to
an end mounts the next ones and unmounts those out of sight. Nothing said is ever read as markup:
cards and lines are built from pieces with styles, and replies go through a Markdown parser with
HTML switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from persona.events import Event, Reply, ReplyDelta, SafetyVerdict
from persona.goals import RIVALS
from persona.turn import Call, State, Turn
from tui.render import (
    Detail,
    Line,
    Role,
    Span,
    card_body,
    card_title,
    has_more,
    notes,
    one_line,
    printable,
)

STYLES: dict[Role, str] = {
    "text": "$foreground",
    "name": "bold $foreground",
    "query": "$primary",
    "muted": "$muted",
    "label": "$foreground",
    "bar": "$bar",
    "mark": "$mark",
    "number": "bold $foreground",
    "bad": "bold $error",
    "good": "$success",
}
WORKING: dict[State, str] = {"waiting": "⋯ waiting for the core", "running": "⋯ thinking"}
WINDOW = 14
"""Turns mounted at a time."""
SIDE_WIDTH = 50
"""Columns of one of two answers side by side; with less they stand one below the other."""
STEP = 6
"""Turns mounted on reaching an end of the window."""


def content(lines: Sequence[Line]) -> Content:
    """Lines as styled text."""
    joined: list[Content] = [
        Content.assemble(*((span.text, STYLES[span.role]) for span in line)) for line in lines
    ]
    return Content("\n").join(joined)


class ToolCard(Static, can_focus=True):
    """A tool call; Enter, Space or a click on its title closes, opens or fully opens it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "next_detail", "Open or close"),
        ("space", "next_detail", "Open or close"),
    ]
    call: reactive[Call | None] = reactive(None, init=False)
    detail: reactive[Detail] = reactive("open", init=False)

    def __init__(self, call: Call) -> None:
        super().__init__(markup=False, classes="card")
        self.set_reactive(ToolCard.call, call)

    def on_resize(self) -> None:
        self._draw()

    def watch_call(self) -> None:
        self._draw()

    def watch_detail(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.content_size.width
        if self.call is None or width <= 0:
            return
        symbol = "▸ " if self.detail == "closed" else "▾ "
        title = Content.assemble(
            (symbol, STYLES["muted"]), content([card_title(self.call, width - 2)])
        )
        body = card_body(self.call, width, self.detail)
        if self.detail != "closed":
            body = [(), *body]
        self.update(Content("\n").join([title, content(body)]))
        self.set_class(self.call.error is not None, "-failed")

    @property
    def next_step(self) -> Detail:
        """Open, then fully open where there is more, then closed, and around."""
        result = self.call.result if self.call else None
        if self.detail == "open" and result is not None and has_more(result):
            return "full"
        return "open" if self.detail == "closed" else "closed"

    def action_next_detail(self) -> None:
        self.detail = self.next_step

    def on_click(self, event: events.Click) -> None:
        # The rest of the card is for selecting text.
        if event.y <= 1:
            self.action_next_detail()


class Side(Vertical):
    """What one agent made of a question: its cards, its reply, and what is known about that."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(classes="side")
        self.turn = turn
        self._reply: Markdown | None = None
        self._stream: MarkdownStream | None = None
        self._written = ""

    def compose(self) -> ComposeResult:
        yield Static(RIVALS.get(self.turn.agent, "Candor"), markup=False, classes="agent")
        yield Vertical(*(ToolCard(call) for call in self.turn.calls), classes="cards")
        if self.turn.over and self.turn.reply:
            yield self._markdown(self.turn.reply)
        yield Static(self._notes(), markup=False, classes="notes")

    def on_mount(self) -> None:
        self._show_notes()

    async def show(self, turn: Turn) -> None:
        """The turn in another state; what an earlier try had written goes."""
        self.turn = turn
        await self._stand(turn.reply)
        self._show_notes()

    async def apply(self, event: Event, turn: Turn) -> None:
        """Show what an event changed; `turn` is the turn after it."""
        self.turn = turn
        cards = self.query_one(".cards", Vertical)
        for index, call in enumerate(turn.calls):
            if index < len(cards.children):
                card = cards.children[index]
                if isinstance(card, ToolCard):
                    card.call = call
            else:
                await cards.mount(ToolCard(call))
        match event:
            case ReplyDelta():
                await self._write(event.text)
            case SafetyVerdict(blocked=True):
                await self._stand(turn.reply)
                self._show_notes()
            case Reply():
                await self.settle(turn)
            case _:
                self._show_notes()

    async def settle(self, turn: Turn) -> None:
        """The turn is over: the stored reply stands, however much of it was streamed."""
        self.turn = turn
        for card, call in zip(self.query(ToolCard), turn.calls, strict=False):
            card.call = call
        await self._stand(turn.reply)
        self._show_notes()

    async def _stand(self, reply: str) -> None:
        """End the stream; the reply stands in place of what was streamed, where they differ."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if self._written == printable(reply):
            return
        if self._reply is not None:
            await self._reply.remove()
            self._reply, self._written = None, ""
        if reply:
            await self.mount(self._markdown(reply), before=self.query_one(".notes"))

    async def _write(self, text: str) -> None:
        if self._stream is None:
            # A stream must begin on an empty document and only ever grow. A view that was mounted
            # in the middle of a reply begins with all there is.
            text = self.turn.reply
            self._reply = Markdown(parser_factory=_parser, open_links=False, classes="reply")
            await self.mount(self._reply, before=self.query_one(".notes"))
            self._stream = Markdown.get_stream(self._reply)
            self._show_notes()
        self._written += printable(text)
        await self._stream.write(printable(text))

    def _markdown(self, text: str) -> Markdown:
        self._written = printable(text)
        self._reply = Markdown(
            self._written, parser_factory=_parser, open_links=False, classes="reply"
        )
        return self._reply

    def _show_notes(self) -> None:
        notes = self.query_one(".notes", Static)
        notes.update(self._notes())
        notes.display = bool(self._notes().plain)

    def _notes(self) -> Content:
        turn = self.turn
        lines: list[Line] = []
        if turn.state in WORKING and not turn.reply:
            lines.append((Span(WORKING[turn.state], "muted"),))
        if turn.failure:
            lines.append(_note("✗ ", one_line(turn.failure)))
        if turn.state == "stopped":
            said = "stopped" if turn.reply or turn.calls else "stopped before an answer"
            lines.append(_note("■ ", said))
        if turn.over or turn.reply:
            lines += notes(turn)
        return content(lines)


class TurnView(Vertical):
    """One turn: the question and what answered it; a rival's answer stands beside."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(classes="turn")
        self.turn = turn

    def compose(self) -> ComposeResult:
        yield Static(printable(self.turn.question), markup=False, classes="question")
        sides = [Side(turn) for turn in (self.turn, self.turn.rival) if turn is not None]
        self.set_class(len(sides) > 1, "-two")
        yield Container(*sides, classes="sides")

    def on_resize(self) -> None:
        self.set_class(self.size.width < 2 * SIDE_WIDTH, "-stacked")

    async def show(self, turn: Turn) -> None:
        """A side in another state, nothing more."""
        await (await self._side(turn)).show(turn)

    async def apply(self, event: Event, turn: Turn) -> None:
        """Show what an event changed on a side; `turn` is that side after it."""
        await (await self._side(turn)).apply(event, turn)

    async def settle(self, turn: Turn) -> None:
        """A side is over: what is stored of it stands."""
        await (await self._side(turn)).settle(turn)

    async def _side(self, turn: Turn) -> Side:
        """The side of the turn's agent; a rival's is mounted when it first has something to say.

        It takes the place of another rival's: one is kept of a turn.
        """
        self.turn = self.turn.updated(turn)
        sides = self.query_one(".sides", Container)
        for side in list(sides.query(Side)):
            if side.turn.agent == turn.agent:
                return side
            if side.turn.agent:
                await side.remove()
        side = Side(turn)
        self.set_class(True, "-two")
        await sides.mount(side)
        return side


def _note(symbol: str, text: str) -> Line:
    return (Span(symbol, "bad"), Span(text, "muted"))


def _parser() -> MarkdownIt:
    return MarkdownIt("gfm-like", {"html": False, "linkify": False})


class Transcript(VerticalScroll, can_focus=False):
    """A window of turns over the open conversation."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self.turns: list[Turn] = []
        self.first = 0
        self.last = 0
        self._moving = False

    def on_mount(self) -> None:
        self.anchor()

    async def show(self, turns: Sequence[Turn]) -> None:
        """Put a conversation on screen, its end in sight."""
        self.turns = list(turns)
        self.last = len(self.turns)
        self.first = max(0, self.last - WINDOW)
        with self.app.batch_update():
            await self.remove_children()
            if self.first:
                await self.mount(self._earlier())
            await self.mount_all(TurnView(turn) for turn in self.turns[self.first : self.last])
        self.anchor()

    async def add(self, turn: Turn) -> TurnView:
        """A new turn at the end; the oldest mounted ones give way."""
        self.turns.append(turn)
        if self.last < len(self.turns) - 1:
            await self.show(self.turns)
        else:
            self.last = len(self.turns)
            await self.mount(TurnView(turn))
            if self.last - self.first > WINDOW + STEP:
                await self._drop_first(self.last - self.first - WINDOW)
        self.anchor()
        return self.views()[-1]

    def update_turn(self, turn: Turn) -> None:
        """Keep a turn as it stands, for when it is mounted again."""
        for index, known in enumerate(self.turns):
            if known.id == turn.id:
                self.turns[index] = known.updated(turn)

    def views(self) -> list[TurnView]:
        """The mounted turns."""
        return [child for child in self.children if isinstance(child, TurnView)]

    def view_of(self, turn_id: str) -> TurnView | None:
        """The mounted view of a turn, if it is in the window."""
        return next((view for view in self.views() if view.turn.id == turn_id), None)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._moving or not self.is_mounted:
            return
        if new_value < old_value and new_value <= 2 and self.first > 0:
            self._moving = True
            self.app.call_later(self._earlier_turns)  # in one queue with all that changes it
        elif (
            new_value > old_value
            and new_value >= self.max_scroll_y - 1
            and self.last < len(self.turns)
        ):
            self._moving = True
            self.app.call_later(self._later_turns)

    async def _earlier_turns(self) -> None:
        """Mount the turns before the window; what is being read stays where it is."""
        views = self.views()
        if not views or not self.first:
            self._moving = False
            return
        start = max(0, self.first - STEP)
        new = [TurnView(turn) for turn in self.turns[start : self.first]]
        self.release_anchor()
        reading = views[0]
        offset = self.scroll_y - reading.virtual_region.y
        await self.mount_all(new, before=reading)
        self.first = start
        surplus = self.last - self.first - WINDOW - STEP
        if surplus > 0:
            await self.remove_children(self.views()[-surplus:])
            self.last -= surplus
        await self._mark_earlier()
        self.call_after_refresh(self._go_on_reading, reading, offset)

    async def _later_turns(self) -> None:
        views = self.views()
        if not views or self.last >= len(self.turns):
            self._moving = False
            return
        reading = views[-1]
        offset = self.scroll_y - reading.virtual_region.y
        end = min(len(self.turns), self.last + STEP)
        await self.mount_all(TurnView(turn) for turn in self.turns[self.last : end])
        self.last = end
        await self._drop_first(max(0, self.last - self.first - WINDOW - STEP))
        self.call_after_refresh(self._go_on_reading, reading, offset)

    def _go_on_reading(self, reading: TurnView, offset: float) -> None:
        """Scroll so that a turn stands where it stood before the window moved."""
        if reading.is_attached:
            self.scroll_to(y=reading.virtual_region.y + offset, animate=False, force=True)
        self._moving = False

    async def _drop_first(self, count: int) -> None:
        if count > 0:
            await self.remove_children(self.views()[:count])
            self.first += count
        await self._mark_earlier()

    async def _mark_earlier(self) -> None:
        await self.remove_children(".earlier")
        if self.first:
            await self.mount(self._earlier(), before=0)

    def _earlier(self) -> Static:
        noun = "turn" if self.first == 1 else "turns"
        text = f"▲ {self.first} earlier {noun}: scroll up"
        return Static(text, markup=False, classes="earlier")
