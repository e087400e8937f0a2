"""The first screen: what this is, and questions to try."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

QUESTIONS: tuple[str, ...] = (
    "What were the most common names for girls born in 1985?",
    "How likely is a girl born in 1972 to be called Jennifer?",
    "Who would say: “Four score and seven years ago our fathers brought forth a new nation”?",
    "Write an opening as Franklin D. Roosevelt might have in 1934.",
    "How much does the party tell about whether an address was spoken or written?",
    "What can you not answer?",
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

    def compose(self) -> ComposeResult:
        yield Static("Candor", id="welcome-name", markup=False)
        yield Static(TAGLINE, id="welcome-tagline", markup=False)
        yield Static("Questions to try", id="welcome-head", markup=False)
        yield OptionList(
            *(Option(question) for question in QUESTIONS),
            id="questions",
            markup=False,
            compact=True,
        )
        yield Static(KEYS, id="welcome-keys", markup=False)

    @on(OptionList.OptionSelected, "#questions")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(QUESTIONS[event.option_index]))
