"""Missing labels filled in by expectation maximisation, with the core's own posterior as E-step.

Labels may be missing more often for some values than for others. What is known then is a biased
sample of the labels, but what a document says of its label is not biased by that. EM of the share
π of each value among the unlabelled documents:

    E:  r_i(z) ∝ q(z | x_i) π(z) / q(z)        M:  π(z) = mean_i r_i(z)

Each round raises the likelihood Π_i Σ_z π(z) q(z | x_i) / q(z) or leaves it. Saerens, Latinne and
Decaestecker 2002, after Dempster, Laird and Rubin 1977.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDS = 200
SETTLED = 1e-9


def expected(posteriors: Floats, prior: Floats, shares: Floats) -> Floats:
    """(n, k) E-step: the labels' posteriors under other shares than the core's own prior.

    posteriors: (n, k) q(z | x_i); prior: (k,) q(z), positive; shares: (k,) π(z).
    """
    weighed = posteriors * (shares / prior)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True), np.float64)


def log_likelihood(posteriors: Floats, prior: Floats, shares: Floats) -> float:
    """Mean log Σ_z π(z) q(z | x_i) / q(z), nats a document, up to a constant of π."""
    return float(np.log((posteriors * (shares / prior)).sum(axis=1)).mean())


def estimate_shares(posteriors: Floats, prior: Floats) -> Floats:
    """(k,) the shares of the values among unlabelled documents, from even ones onwards."""
    shares = np.full(len(prior), 1 / len(prior))
    for _ in range(ROUNDS):
        following = expected(posteriors, prior, shares).mean(axis=0)
        if np.abs(following - shares).sum() < SETTLED:
            return np.asarray(following, np.float64)
        shares = following
    return np.asarray(shares, np.float64)
