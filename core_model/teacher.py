"""A classical teacher: out-of-fold posteriors of TF-IDF and logistic regression.

A text's true label is one noisy draw; what a classifier trained on other texts believes of it says
much more a text. Folds are of whole groups of the training split, such as addresses, so a posterior
never comes from a classifier that was told a label of the text's own group. Hinton et al. 2015.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core_model.corpora.base import Record

FOLDS = 5


def author_posteriors(
    records: Sequence[Record], authors: Sequence[str], cache: str
) -> NDArray[np.float32]:
    """(n_records, n_authors) out-of-fold posterior over authors, kept in the file `cache`.

    The file is used again for the same passages and authors only.
    """
    path = Path(cache)
    said = [*authors, *(f"{r.values['author']}\t{r.values['text']}" for r in records)]
    key = hashlib.sha256("\n".join(said).encode()).hexdigest()
    if path.exists():
        with contextlib.suppress(OSError, ValueError, KeyError), np.load(path) as stored:
            if str(stored["key"]) == key:
                posteriors: NDArray[np.float32] = stored["posteriors"]
                return posteriors
    made = _fit(records, authors)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new.npz")
    np.savez(temporary, key=key, posteriors=made)
    temporary.replace(path)
    return made


def _fit(records: Sequence[Record], authors: Sequence[str]) -> NDArray[np.float32]:
    texts = [r.values["text"] for r in records]
    of_records = [r.values["author"] for r in records]
    addresses = [r.values["year"] + r.values["medium"] for r in records]
    return out_of_fold(texts, of_records, addresses, authors)


def out_of_fold(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], values: Sequence[str]
) -> NDArray[np.float32]:
    """(n_texts, n_values) p(value | text) of a classifier that was told no label of the same group.

    groups: of at least `FOLDS` kinds. Raises ValueError as scikit-learn does.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    index = {value: i for i, value in enumerate(values)}
    label = np.array([index[value] for value in labels])
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, max_features=60_000)
    features = words.fit_transform(texts)
    posterior = np.zeros((len(texts), len(values)), np.float32)
    for fitted, left_out in GroupKFold(FOLDS).split(features, label, groups):
        model = LogisticRegression(C=10.0, max_iter=60)
        model.fit(features[fitted], label[fitted])
        posterior[np.ix_(left_out, model.classes_)] = model.predict_proba(features[left_out])
    return posterior
