"""The measure `anonymity`: whether a passage written anew hides its author and keeps its topic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.anonymity import CORPUS, HIDDEN, KEPT, RUN, Draft, anonymised, posterior
from core_model.core import Core, Remembering
from core_model.corpora.base import Record
from core_model.errors import CandorError
from core_model.measures import classical
from core_model.measures.result import Floats, Goal, Ints, MeasureRow, Options, mean_of, measured

PASSAGES, QUICK_PASSAGES = 40, 4


def anonymity(core: Core, options: Options) -> list[MeasureRow]:
    """What a passage written anew tells of its author, and whether it is about the same.

    Items: 40 held-out passages (`--quick`: 4) whose words settle their topic, each written anew.

    - author found out: share of the texts whose author is the most probable one behind them. Its
      guards are the share of the passages themselves, the share that the prior's most probable
      author has of them, what TF-IDF and logistic regression find out (`classical`), and the share
      of the texts with more than 4 words in a row of the passage. The baseline is the mean of all
      drafts, among which the text was chosen. Its floor, one and a half times chance, is less than
      texts have that say nothing, of which the prior's most probable author is found.
    - topic kept: accuracy of the most probable topic behind the texts over that behind the passages
      (which is a guard), and the baseline as above.

    Intervals resample addresses.
    """
    core = Remembering(core)  # drafts are asked about as they are made, and at the end
    held_out = [r for r in corpora.load(CORPUS).records("held_out") if KEPT in r.values]
    if not held_out:
        raise CandorError("'speeches' has no held-out passages with a topic to measure on.")
    rng = options.rng(31)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    chosen = [held_out[int(i)] for i in np.sort(rng.choice(len(held_out), count, False))]
    drafts = [
        anonymised(core, record.values["text"], rng)
        for record in tqdm(chosen, desc="anonymity", unit="passage", disable=None)
    ]
    best = [found[0].text for found in drafts]
    passages = [record.values["text"] for record in chosen]
    authors, topics = ([record.values[v] for record in chosen] for v in (HIDDEN, KEPT))
    found_out = _hits(core, HIDDEN, best, authors)
    told, was_told = (_hits(core, KEPT, texts, topics) for texts in (best, passages))
    usual = _values(HIDDEN)[int(posterior(core, HIDDEN).argmax())]
    guard = {
        "of the passages": float(_hits(core, HIDDEN, passages, authors).mean()),
        "by the prior alone": float(np.mean([author == usual for author in authors])),
        "words in a row": float(np.mean([found[0].copied > RUN for found in drafts])),
    }
    classically = _classically(best, authors, options)
    if classically is not None:
        guard["classical"] = classically
    chance = 1 / len(_values(HIDDEN))
    addresses = [(r.values["author"], r.values["year"]) for r in chosen]

    def ratio(indices: Ints) -> float:
        return float(told[indices].sum() / max(was_told[indices].sum(), 1.0))

    return [
        measured(
            "author found out", "share", mean_of(found_out), addresses, options, guard,
            {"chance": chance, "any draft": _of_any(core, HIDDEN, drafts, authors)},
            Goal("at most", round(1.5 * chance, 3)),
        ),
        measured(
            "topic kept", "ratio", ratio, addresses, options,
            {"of the passages": float(was_told.mean())},
            {"any draft": _of_any(core, KEPT, drafts, topics) / max(float(was_told.mean()), 1e-9)},
            Goal("at least", 0.7),
        ),
    ]  # fmt: skip


def _values(variable: str) -> Sequence[str]:
    return corpora.schema(CORPUS).variable(variable).values


def _hits(core: Core, variable: str, texts: Sequence[str], true: Sequence[str]) -> Floats:
    """(n,) whether the most probable value behind each text is the true one."""
    values = _values(variable)
    return np.array(
        [
            float(values[int(posterior(core, variable, text).argmax())] == value)
            for text, value in zip(texts, true, strict=True)
        ]
    )


def _of_any(
    core: Core, variable: str, drafts: Sequence[Sequence[Draft]], true: Sequence[str]
) -> float:
    return float(
        np.mean(
            [
                _hits(core, variable, [d.text for d in found], [value] * len(found)).mean()
                for found, value in zip(drafts, true, strict=True)
            ]
        )
    )


def _classically(texts: Sequence[str], authors: Sequence[str], options: Options) -> float | None:
    """Share of the texts whose author a classifier of the training passages finds out."""
    training: Sequence[Record] = corpora.load(CORPUS).records("train")
    values = tuple(sorted({record.values[HIDDEN] for record in training}))
    found = classical.class_posteriors(
        [r.values["text"] for r in training], [r.values[HIDDEN] for r in training], texts, values,
        options.cache_dir, not options.quick,
    )  # fmt: skip
    if found is None:
        return None
    named = [values[int(row.argmax())] for row in found]
    return float(np.mean([one == other for one, other in zip(named, authors, strict=True)]))
