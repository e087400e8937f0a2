"""The classical baseline: TF-IDF features with a linear model, fitted on the training split.

Fitting takes minutes on the speeches, so what it predicts is kept under the cache folder in a
file whose name is the checksum of everything it was made from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core_model.measures.result import Floats

SETTINGS = "tfidf-1-2 min_df=2 sublinear max=60000; logistic C=10 iter=60; ridge alpha=1; v1"


def class_posteriors(
    texts: Sequence[str], labels: Sequence[str], asked: Sequence[str], values: Sequence[str],
    cache_dir: Path | None, fit: bool,
) -> Floats | None:  # fmt: skip
    """p(value | text) by logistic regression on TF-IDF of word 1- and 2-grams.

    texts, labels: the training split. asked: texts to answer. Returns (n_asked, n_values), 0 for
    a value that training never saw; None without scikit-learn, or when it is neither in the
    cache nor allowed to be fitted.
    """

    def made() -> Floats:
        from sklearn.linear_model import LogisticRegression

        seen, features, wanted = *_seen(values, labels), *_features(texts, asked)
        model = LogisticRegression(C=10.0, max_iter=60)
        model.fit(features, seen[1])
        posterior = np.zeros((len(asked), len(values)))
        posterior[:, model.classes_] = model.predict_proba(wanted)
        return posterior

    return _cached("class", (texts, labels, asked, values), cache_dir, fit, made)


def number_predictions(
    texts: Sequence[str], numbers: Sequence[str], asked: Sequence[str],
    cache_dir: Path | None, fit: bool,
) -> Floats | None:  # fmt: skip
    """(n_asked,) a number read off each text by ridge regression on the same features, or None."""

    def made() -> Floats:
        from sklearn.linear_model import Ridge

        features, wanted = _features(texts, asked)
        model = Ridge(alpha=1.0, solver="sparse_cg")
        model.fit(features, np.array(numbers, float))
        return np.asarray(model.predict(wanted), np.float64)

    return _cached("number", (texts, numbers, asked), cache_dir, fit, made)


def _features(texts, asked):  # type: ignore[no-untyped-def]
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=60_000)
    return words.fit_transform(texts), words.transform(asked)
