"""The classical baseline: TF-IDF features with a linear model, fitted on the training split.

Fitting takes minutes on the speeches, so what it predicts is kept under the cache folder in a
file whose name is the checksum of everything it was made from.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core_model.measures.result import Floats

FEATURES = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True, "max_features": 60_000}
LOGISTIC = {"C": 10.0, "max_iter": 60}
RIDGE = {"alpha": 1.0, "solver": "sparse_cg"}


def class_posteriors(
    texts: Sequence[str], labels: Sequence[str], asked: Sequence[str], values: Sequence[str],
    cache_dir: Path | None, fit: bool,
) -> Floats | None:  # fmt: skip
    """p(value | text) by logistic regression on TF-IDF of word 1- and 2-grams.

    texts, labels: the training split. asked: texts to answer. Returns (n_asked, n_values), 0 for
    a value that training never saw; None when it is neither in the cache nor may be fitted, or
    without scikit-learn.
    """

    def made() -> Floats:
        from sklearn.linear_model import LogisticRegression

        features, wanted = _features(texts, asked)
        model = LogisticRegression(**LOGISTIC).fit(features, labels)
        posterior = np.zeros((len(asked), len(values)))
        posterior[:, [values.index(v) for v in model.classes_]] = model.predict_proba(wanted)
        return posterior

    return _cached(("class", LOGISTIC, texts, labels, asked, values), cache_dir, fit, made)


def number_predictions(
    texts: Sequence[str], numbers: Sequence[float], asked: Sequence[str],
    cache_dir: Path | None, fit: bool,
) -> Floats | None:  # fmt: skip
    """(n_asked,) a number read off each text by ridge regression on the same features, or None."""

    def made() -> Floats:
        from sklearn.linear_model import Ridge

        features, wanted = _features(texts, asked)
        # The intercept is taken out by hand: the sparse solver shrinks it too.
        centre = float(np.mean(numbers))
        model = Ridge(**RIDGE, fit_intercept=False).fit(features, np.array(numbers) - centre)
        return np.asarray(model.predict(wanted), np.float64) + centre

    return _cached(("number", RIDGE, texts, numbers, asked), cache_dir, fit, made)


def _features(texts: Sequence[str], asked: Sequence[str]) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(**FEATURES)
    return words.fit_transform(texts), words.transform(asked)


def _cached(
    made_from: tuple[object, ...], cache_dir: Path | None, fit: bool, made: Callable[[], Floats]
) -> Floats | None:
    checksum = hashlib.sha256(repr((FEATURES, made_from)).encode()).hexdigest()[:16]
    path = cache_dir / "measures" / f"tfidf-{checksum}.npy" if cache_dir else None
    if path is not None and path.exists():
        stored: Floats = np.load(path)
        return stored
    if not fit or importlib.util.find_spec("sklearn") is None:
        return None
    values = made()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new.npy")
        np.save(temporary, values)
        temporary.replace(path)
    return values
