"""A tool call as a value, in the terms of the question it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core_model.notation import Binding

DEFAULT_SAMPLES = 10
DEFAULT_TOP = 5
DOCUMENTS = {"names": "name", "speeches": "text", "places": "country"}
"""What a call's document is, of the corpora that are asked in chat."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool; `given` is in order of mention.

    target: the variables asked about (two for mutual_information and correlation, in order of
    mention; none for safety). event_value: the target's value, for probability. text: the
    document of infer and confidence, or the reply that safety judges. n: number of samples, or
    `top` of a distribution.
    """

    tool: str
    corpus: str
    target: tuple[str, ...] = ()
    event_value: str | None = None
    given: tuple[Binding, ...] = ()
    text: str | None = None
    n: int | None = None

    def arguments(self) -> dict[str, Any]:
        """The tool's arguments as JSON."""
        given = {binding.variable: binding.value for binding in self.given}
        match self.tool:
            case "sample":
                return {
                    "corpus": self.corpus,
                    "variable": self.target[0],
                    "given": given,
                    "n": self.n or DEFAULT_SAMPLES,
                }
            case "distribution":
                return {
                    "corpus": self.corpus,
                    "variable": self.target[0],
                    "given": given,
                    "top": self.n or DEFAULT_TOP,
                }
            case "infer" | "confidence":
                return {
                    "corpus": self.corpus,
                    "variable": self.target[0],
                    "text": self.text,
                    "given": given,
                }
            case "probability":
                event = {self.target[0]: self.event_value}
                return {"corpus": self.corpus, "event": event, "given": given}
            case "entropy":
                return {"corpus": self.corpus, "variable": self.target[0], "given": given}
            case "mutual_information" | "correlation":
                left, right = self.target
                return {"corpus": self.corpus, "left": left, "right": right, "given": given}
            case "safety":
                return {"prompt": "", "reply": self.text}
        raise ValueError(f"No tool '{self.tool}'.")

    def value_of(self, variable: str) -> str | None:
        """What the call knows a variable to be: a condition, the event, or the document."""
        for binding in self.given:
            if binding.variable == variable:
                return binding.value
        if self.tool == "probability" and self.target == (variable,):
            return self.event_value
        if variable == DOCUMENTS.get(self.corpus, "text"):
            return self.text
        return None
