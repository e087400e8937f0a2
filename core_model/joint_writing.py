"""A text written together with what it is about, which is estimated anew behind every sentence.

One sentence is drawn from p(text | text so far, known, latent), then the latent variable from
p(latent | text so far, known), and so on: Gibbs sampling of a text and its label in step with the
writing, so that each makes the other more definite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core_model.core import Core, Distribution
from core_model.corpora import schema
from core_model.errors import InvalidQuery
from core_model.notation import Binding
from core_model.planning import Conditional

SENTENCES = 4
_ENDS = re.compile(r"[.!?][\"'”’)]*$")
_SHORT = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Hon|Gen|Gov|Sen|St|No|vs|etc)\.$")


@dataclass(frozen=True, slots=True)
class Written:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Estimated:
    """What the text so far is about, and the value drawn from it for the next sentence.

    sentences: how many there are by now, 0 before the first.
    """

    sentences: int
    estimate: Distribution
    drawn: str


def write_jointly(
    core: Core, conditional: Conditional, latent: str, rng: np.random.Generator,
    sentences: int = SENTENCES, temperature: float = 1.0,
) -> Iterator[Written | Estimated]:  # fmt: skip
    """Write the document of a corpus with a closed variable estimated along the way.

    A value of `latent` that is given holds for the first sentence only: what is written decides
    from there on. Raises InvalidQuery for a variable that is not closed, or is the one written.
    """
    corpus = schema(conditional.corpus)
    if conditional.variable != corpus.document:
        raise InvalidQuery(f"Only a document is written sentence by sentence: {corpus.document}.")
    if corpus.variable(latent).kind != "closed":
        raise InvalidQuery(f"'{latent}' is not a closed list, so it can't be estimated in between.")
    known = tuple(b for b in conditional.given if b.variable != latent)
    stated = next((b.value for b in conditional.given if b.variable == latent), None)
    text, ended = "", False
    for sentence in range(sentences + 1):
        read = (Binding(corpus.document, text),) if text else ()
        estimate = core.distribution_of(Conditional(conditional.corpus, latent, (*read, *known)))
        p = np.array([answer.probability for answer in estimate.answers])
        drawn = estimate.answers[int(rng.choice(len(p), p=p / p.sum()))].value
        if stated is not None and not sentence:
            drawn = stated
        yield Estimated(sentence, estimate, drawn)
        if ended or sentence == sentences:
            return
        about = Conditional(conditional.corpus, corpus.document, (*known, Binding(latent, drawn)))
        before, ended = text, True
        for piece in core.write(about, rng, None, temperature, opening=text):
            # A sentence is over once another word begins behind its end: not within "3.5".
            if piece[:1].isspace() and len(text) > len(before) and _over(text):
                ended = False
                break
            text += piece
            yield Written(piece)
        if text == before:
            return
        # What was cut short goes on; where nothing more is written, the text has ended.
        ended = ended and _over(text)


def _over(text: str) -> bool:
    """Whether a sentence ends here, not a name or a title in short."""
    return _ENDS.search(text) is not None and _SHORT.search(text) is None
