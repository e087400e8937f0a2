"""The measure `attribution`: labels read off held-out passages of the speeches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.base import Corpus, Record
from core_model.errors import CandorError
from core_model.measures import classical
from core_model.measures.result import (
    Floats,
    Goal,
    Ints,
    MeasureRow,
    Options,
    ece,
    mean_of,
    measured,
)
from core_model.notation import Binding
from core_model.planning import Conditional

PASSAGES = 600
QUICK_PASSAGES = 100
VARIABLES = ("author", "year", "party", "medium")
SMALLEST = 1e-12


def attribution(core: Core, options: Options) -> list[MeasureRow]:
    """Author, year, party and medium from the posterior p(label | text) alone.

    Items: a seeded sample of 600 held-out passages (`--quick`: 100), of 60 words, by authors who
    have passages in training. Nothing but the text is given.

    - author accuracy: share whose most probable author is the true one; the guard is the
      expected calibration error of that answer's probability, Σ_b n_b/n |accuracy - confidence|
      over 15 bins of equal mass.
    - author NLL: mean of -log p(true author | text), nats, over all authors of the corpus;
      probabilities below 1e-12 count as 1e-12.
    - year MAE: mean |median of p(year | text) - true year|, years.
    - party accuracy, medium accuracy: as for authors.

    Intervals resample whole addresses. Baselines: `TF-IDF`, word 1- and 2-grams with logistic
    regression (year: ridge regression), fitted on the training passages; `prior`, the training
    frequencies without the text.
    """
    corpus = corpora.load("speeches")
    training = corpus.records("train")
    held_out = eligible(corpus, training)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    if not count:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    places = np.sort(options.rng(1).choice(len(held_out), size=count, replace=False))
    chosen = [held_out[int(i)] for i in places]

    values = {v: corpus.schema.variable(v).values for v in VARIABLES}
    of_core = {v: np.zeros((count, len(values[v]))) for v in VARIABLES}
    for row, record in enumerate(tqdm(chosen, desc="attribution", unit="passage", disable=None)):
        given = (Binding("text", record.values["text"]),)
        for v in VARIABLES:
            found = core.distribution_of(Conditional("speeches", v, given))
            listed = {answer.value: answer.probability for answer in found.answers}
            of_core[v][row] = [listed.get(value, 0.0) for value in values[v]]

    of_prior = {v: np.tile(_prior(training, v, values[v]), (count, 1)) for v in VARIABLES}
    of_words = _classical(training, held_out, places, values, options)
    models = {"TF-IDF": of_words, "prior": of_prior}
    truth = {v: np.array([values[v].index(r.values[v]) for r in chosen]) for v in VARIABLES}
    years = np.array([int(year) for year in values["year"]], float)
    addresses = [(r.values["author"], r.values["year"]) for r in chosen]

    def errors(p: Floats) -> Floats:
        read = p if p.ndim == 1 else medians(p, years)
        return np.asarray(np.abs(read - years[truth["year"]]), np.float64)

    right = {v: correct(of_core[v], truth[v]) for v in VARIABLES}
    baseline_right = {
        v: {name: float(correct(m[v], truth[v]).mean()) for name, m in models.items() if v in m}
        for v in VARIABLES
        if v != "year"
    }
    calibration = ece(of_core["author"].max(axis=1), right["author"] > 0)
    nll = surprise(of_core["author"], truth["author"])
    rows = [
        measured(
            "author accuracy", "share", mean_of(right["author"]), addresses, options,
            {"ECE": calibration}, baseline_right["author"],
            Goal("at least", 0.472),
        ),
        measured(
            "author NLL", "nats", mean_of(nll), addresses, options, {"ECE": calibration},
            {
                name: float(surprise(m["author"], truth["author"]).mean())
                for name, m in models.items() if "author" in m
            },
            Goal("at most", 1.893),
        ),
        measured(
            "year MAE", "years", mean_of(errors(of_core["year"])), addresses, options,
            {"exact year": float(right["year"].mean())},
            {name: float(errors(m["year"]).mean()) for name, m in models.items() if "year" in m},
            Goal("at most", 16.6),
        ),
    ]  # fmt: skip
    for v in ("party", "medium"):
        guard = {"ECE": ece(of_core[v].max(axis=1), right[v] > 0)}
        share = mean_of(right[v])
        rows.append(
            measured(f"{v} accuracy", "share", share, addresses, options, guard, baseline_right[v])
        )
    return rows


def eligible(corpus: Corpus, training: Sequence[Record]) -> list[Record]:
    """Held-out passages of the authors that training has passages of."""
    authors = {record.values["author"] for record in training}
    return [r for r in corpus.records("held_out") if r.values["author"] in authors]


def correct(posterior: Floats, truth: Ints) -> Floats:
    """(n,) 1 where the most probable value of (n, n_values) is the true one, else 0."""
    return np.asarray(posterior.argmax(axis=1) == truth, np.float64)


def surprise(posterior: Floats, truth: Ints) -> Floats:
    """(n,) -log p(true value), nats."""
    return -np.log(np.maximum(posterior[np.arange(len(truth)), truth], SMALLEST))


def medians(posterior: Floats, numbers: Floats) -> Floats:
    """(n,) the median of each row: the first number by which half of the listed mass is reached.

    numbers: (n_values,) the values' numbers, in any order.
    """
    order = np.argsort(numbers)
    reached = np.cumsum(posterior[:, order], axis=1)
    # A hair below one half, so that rounding doesn't move an exact half to the next number.
    half = reached[:, -1:] * (0.5 - 1e-9)
    return np.asarray(numbers[order][(reached >= half).argmax(axis=1)], np.float64)


def _prior(training: Sequence[Record], variable: str, values: Sequence[str]) -> Floats:
    place = {value: i for i, value in enumerate(values)}
    counts = np.bincount([place[r.values[variable]] for r in training], minlength=len(values))
    return np.asarray(counts / counts.sum(), np.float64)


def _classical(
    training: Sequence[Record], held_out: Sequence[Record], places: Ints,
    values: dict[str, tuple[str, ...]], options: Options,
) -> dict[str, Floats]:  # fmt: skip
    """What the classical baseline says of the sample; `year` is one number a passage.

    It answers all held-out passages, so that one fit in the cache serves every sample.
    """
    texts = [r.values["text"] for r in training]
    asked = [r.values["text"] for r in held_out]
    found = {
        v: classical.class_posteriors(
            texts, [r.values[v] for r in training], asked, values[v],
            options.cache_dir, not options.quick,
        )
        for v in VARIABLES
        if v != "year"
    }  # fmt: skip
    years = [float(r.values["year"]) for r in training]
    found["year"] = classical.number_predictions(
        texts, years, asked, options.cache_dir, not options.quick
    )
    return {v: answers[places] for v, answers in found.items() if answers is not None}
