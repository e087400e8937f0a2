"""The wire format: a conditional distribution as the tokens a standard decoder reads.

    CORPUS names  VARIABLE year VALUE 1985  VARIABLE sex VALUE female  QUERY name  ANSWER Anna END
    [---------------------------- data ----------------------------]  [- query -]  [-- answer --]

Six special tokens that the base vocabulary has and chat seldom or never uses are the marks; what
stands between them is plain text. Known variables may stand in any order. Nothing known is a
prior. A text that spells a mark is encoded as ordinary text, so it can't change the parse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from core_model.errors import CandorError
from core_model.planning import Conditional
from core_model.tokenizer import Tokenizer

MARK_NAMES = {
    "corpus": "<repo_name>",
    "variable": "<file_sep>",
    "value": "<jupyter_text>",
    "query": "<issue_start>",
    "answer": "<jupyter_output>",
    "end": "<|im_end|>",
}


MARK_WORDS = {
    "corpus": (" database", " collection"),
    "variable": (" field", " column"),
    "value": (" equals", " namely"),
    "query": (" question", " asks"),
    "answer": (" answer", " reply"),
}
"""Ordinary words whose rows in the embedding make a mark's row; the end keeps its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One mark and the plain text behind it."""

    mark: str
    text: str


class Wire:
    """Encodes conditionals and answers; parses tokens back into segments.

    end closes an answer, closing a piece of one; silent are the special tokens that never stand
    in an answer.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.marks = {mark: tokenizer.special[token] for mark, token in MARK_NAMES.items()}
        self._mark_of = {token: mark for mark, token in self.marks.items()}
        self.end = self.marks["end"]
        self.closing = self.marks["variable"]
        # The base never trained most of its special tokens: their rows are nearly the same, so in
        # a softmax they would share the probability of the end.
        special = set(tokenizer.special.values())
        self.silent = tuple(sorted(special - {self.end, self.closing}))

    def never_in_text(self, vocabulary: int) -> list[int]:
        """Tokens that never stand in a text, of a decoder with this many tokens."""
        return [*self.silent, self.closing, *range(self.tokenizer.size, vocabulary)]

    def mark_rows(self, embedding: Tensor) -> dict[int, Tensor]:
        """Rows for the marks that tell them apart, (D,) each, from the base's embedding (V, D).

        The base never trained its unused special tokens: their rows are nearly the same.
        """
        rows = {}
        for mark, words in MARK_WORDS.items():
            tokens = [self.tokenizer.encode(word)[0] for word in words]
            rows[self.marks[mark]] = embedding[tokens].float().sum(dim=0) / len(tokens) ** 0.5
        return rows

    def segment(self, mark: str, text: str) -> list[int]:
        """A mark and the text behind it."""
        return [self.marks[mark], *self.tokenizer.encode_value(text)]

    def binding(self, variable: str, value: str) -> list[int]:
        """A known variable."""
        return self.segment("variable", variable) + self.segment("value", value)

    def query(self, variable: str) -> list[int]:
        """What is asked, up to and with the mark behind which the answer stands."""
        return [*self.segment("query", variable), self.marks["answer"]]

    def prompt(self, conditional: Conditional) -> list[int]:
        """All that stands before the answer."""
        tokens = self.segment("corpus", conditional.corpus)
        for known in conditional.given:
            tokens += self.binding(known.variable, known.value)
        return tokens + self.query(conditional.variable)

    def answer(self, value: str) -> list[int]:
        """An answer and its end."""
        return [*self.tokenizer.encode_value(value), self.end]

    def piece(self, text: str) -> list[int]:
        """One piece of an answer that is made of several; a mark closes it."""
        return [*self.tokenizer.encode_value(text), self.closing]

    def pieces(self, pieces: Sequence[str]) -> list[int]:
        """A whole answer made of pieces, and its end."""
        return [token for piece in pieces for token in self.piece(piece)] + [self.end]

    def parse(self, tokens: Sequence[int]) -> list[Segment]:
        """The segments of a row; raises CandorError where it doesn't begin with a mark."""
        segments: list[tuple[str, list[int]]] = []
        for token in tokens:
            if token in self._mark_of:
                segments.append((self._mark_of[token], []))
            elif not segments:
                raise CandorError("A row of the wire format begins with a mark.")
            else:
                segments[-1][1].append(token)
        return [Segment(mark, self.tokenizer.decode_value(text)) for mark, text in segments]
