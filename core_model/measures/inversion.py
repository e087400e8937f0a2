"""The measure `inversion`: a label read off a text against Bayes' reversal of writing the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import Floats, Goal, MeasureRow, Options, mean_of, measured
from core_model.notation import Binding
from core_model.planning import Conditional

PASSAGES, QUICK_PASSAGES = 100, 15
CANDIDATES = 8


def inversion(core: Core, options: Options) -> list[MeasureRow]:
    """How far p(author | text) lies from p(text | author) p(author) / Σ p(text | author) p(author).

    Items: 100 held-out passages (`--quick`: 15), each with its author and seven others who have
    passages in training; both posteriors are normalised over these eight.

    - inversion gap: mean KL(read ‖ reversed), nats. Its guards are the true NLL of both, which a
      core that knows nothing has at log 8 = 2.08 nats, though its gap is 0.
    - reversed NLL: mean of -log of the reversed posterior at the true author, nats; its guard is
      the share of passages whose most probable author is the true one.

    Intervals resample whole addresses.
    """
    corpus = corpora.load("speeches")
    training = corpus.records("train")
    held_out = eligible(corpus, training)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    if not count:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    rng = options.rng(5)
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, replace=False))]
    authors = tuple(dict.fromkeys(record.values["author"] for record in training))
    n = min(CANDIDATES, len(authors))
    read, reversed_ = np.zeros((count, n)), np.zeros((count, n))
    for row, record in enumerate(tqdm(chosen, desc="inversion", unit="passage", disable=None)):
        text, true = record.values["text"], record.values["author"]
        others = rng.choice([a for a in authors if a != true], n - 1, replace=False)
        candidates = [true, *map(str, others)]
        read[row] = _normalised(_log_p(core, "author", candidates, Binding("text", text)))
        written = [
            _log_p(core, "text", [text], Binding("author", author))[0] for author in candidates
        ]
        reversed_[row] = _normalised(np.array(written) + _log_p(core, "author", candidates))
    gap = (np.exp(read) * (read - reversed_)).sum(axis=1)
    groups = [(r.values["author"], r.values["year"]) for r in chosen]
    right = float((reversed_.argmax(axis=1) == 0).mean())
    return [
        measured(
            "inversion gap", "nats", mean_of(gap), groups, options,
            {"read NLL": float(-read[:, 0].mean()), "reversed NLL": float(-reversed_[:, 0].mean())},
            floor=Goal("at most", 0.10), aim=Goal("at most", 0.02),
        ),
        measured(
            "reversed NLL", "nats", mean_of(-reversed_[:, 0]), groups, options,
            {"accuracy": right}, {"knowing nothing": float(np.log(n))},
        ),
    ]  # fmt: skip


def _log_p(core: Core, variable: str, answers: Sequence[str], *known: Binding) -> Floats:
    return core.log_prob_of(Conditional("speeches", variable, known), answers)


def _normalised(scores: Floats) -> Floats:
    """(n,) log-probabilities that sum to one; no answer is taken to be impossible."""
    floored = np.maximum(scores, scores.max() - 700)
    return np.asarray(floored - np.logaddexp.reduce(floored), np.float64)
