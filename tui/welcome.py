"""The first screen: what this is, and questions to try."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

QUESTIONS: tuple[str, ...] = (
    "What were the most popular girls' names in 1985?",
    "How likely is the name Jennifer for a girl born in 1972?",
    "Who wrote this: “we can not dedicate, we can not consecrate, we can not hallow this ground”",
    "Write a passage Lincoln might have given in 1862.",
    "Are party and medium related in the speeches?",
    "What are the capital and the currency of Peru?",
)
TAGLINE = "A language model treated as a statistical model: when you ask, you see what answers."
KEYS = "enter sends · ctrl+j new line · ↓ to choose a question · f1 help · ctrl+q quit"


class Welcome(Vertical):
    """Shown while nothing has been said."""

    class Chosen(Message):
        """A question to try was chosen."""

        def __init__(self, question: str) -> None:
            super().__init__()
            self.question = question

    def __init__(self) -> None:
        super().__init__(id="welcome")
        self.questions = OptionList(
            *(Option(question) for question in QUESTIONS),
            id="questions",
            markup=False,
            compact=True,
        )

    def compose(self) -> ComposeResult:
        yield Static("Candor", id="welcome-name", markup=False)
        yield Static(TAGLINE, id="welcome-tagline", markup=False)
        yield Static("Questions to try", id="welcome-head", markup=False)
        yield self.questions
        yield Static(KEYS, id="welcome-keys", markup=False)

    @on(OptionList.OptionSelected, "#questions")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(QUESTIONS[event.option_index]))
