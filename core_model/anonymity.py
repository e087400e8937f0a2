"""A passage written anew so that it no longer tells who wrote it.

What it says goes through summaries of it: texts are drafted from those alone, by nobody in
particular. Kept is the draft that is still about the same and tells least of its author, the
largest of

    Σ_t p(topic t | passage) log p(t | draft) - KL(p(author | draft) || p(author))

in nats, of those that repeat no longer run of the passage's words than `RUN`, if there are any. So
`text` is inverted twice, and the inverse queries judge what comes out; nothing is trained for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from core_model.core import Core
from core_model.corpora import schema
from core_model.errors import EngineError
from core_model.notation import Binding
from core_model.planning import Conditional

CORPUS = "speeches"
HIDDEN, KEPT = "author", "topic"
SUMMARIES, DRAFTS = 3, 4
"""Summaries that are drawn, and drafts written from each."""
SUMMARY_TOKENS = 30
RUN = 4
"""Words in a row that a text may share with its passage: more can be looked up."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text in the passage's place.

    told: KL of the author's posterior from the prior, nats. kept: mean log p of the passage's
    topics, nats. copied: the most words in a row that stand in the passage too.
    """

    summary: str
    text: str
    told: float
    kept: float
    copied: int


def anonymised(core: Core, passage: str, rng: np.random.Generator) -> list[Draft]:
    """The drafts of a passage, the best first.

    Raises EngineError where none has any words, TextTooLong and UnknownName as the core does.
    """
    prior, topics = posterior(core, HIDDEN), posterior(core, KEPT, passage)
    known = Conditional(CORPUS, "summary", (Binding("text", passage),))
    found: list[Draft] = []
    for _ in range(SUMMARIES):
        summary = "".join(core.write(known, rng, None, max_tokens=SUMMARY_TOKENS)).strip()
        if not summary:
            continue
        written = Conditional(CORPUS, "text", (Binding("summary", summary),))
        for text in core.sample_of(written, DRAFTS, rng):
            if text.strip():
                author, topic = (posterior(core, v, text.strip()) for v in (HIDDEN, KEPT))
                kept = float(topics @ np.log(np.maximum(topic, 1e-12)))
                told = told_of_author(author, prior)
                found.append(Draft(summary, text.strip(), told, kept, copied(passage, text)))
    if not found:
        raise EngineError("No text was drafted from this passage. Give a longer one.")
    return sorted(found, key=lambda draft: (draft.copied > RUN, draft.told - draft.kept))


def posterior(core: Core, variable: str, text: str | None = None) -> NDArray[np.float64]:
    """p(variable | text), in the order of its values; the prior without a text."""
    given = (Binding("text", text),) if text is not None else ()
    values = schema(CORPUS).variable(variable).values
    return np.exp(core.log_prob_of(Conditional(CORPUS, variable, given), values))


def told_of_author(of_text: NDArray[np.float64], prior: NDArray[np.float64]) -> float:
    """KL(posterior || prior) of two distributions over authors, nats."""
    seen = of_text > 0
    return float((of_text[seen] * np.log(of_text[seen] / prior[seen])).sum())


def copied(passage: str, text: str) -> int:
    """The most words in a row that two texts share, whatever their case and points."""
    one, other = (re.findall(r"\w+", said.casefold()) for said in (passage, text))
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size
