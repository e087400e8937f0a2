"""Expectation maximisation of missing labels: likelihood never falls, what was planted is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import em

Floats = np.ndarray


def documents(
    shares: list[float], n: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """(n, k) posteriors of n documents whose labels have these shares, a prior, and the labels.

    A document is one of six words, each with its own chance under each label; posteriors are
    exact under an even prior, as of a core that was trained on as many of each.
    """
    k = len(shares)
    words = rng.dirichlet(np.ones(6) * 0.7, size=k)
    labels = rng.choice(k, size=n, p=shares)
    seen = np.array([rng.choice(6, p=words[label]) for label in labels])
    prior = np.full(k, 1 / k)
    posteriors = words[:, seen].T * prior
    return posteriors / posteriors.sum(axis=1, keepdims=True), prior, labels


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_each_round_raises_the_likelihood_or_leaves_it(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    posteriors, prior = rng.dirichlet(np.ones(k), size=30), rng.dirichlet(np.ones(k)) + 1e-3
    prior /= prior.sum()
    shares = rng.dirichlet(np.ones(k))
    before = em.log_likelihood(posteriors, prior, shares)
    for _ in range(10):
        shares = em.expected(posteriors, prior, shares).mean(axis=0)
        after = em.log_likelihood(posteriors, prior, shares)
        assert after >= before - 1e-9
        before = after
    found = em.estimate_shares(posteriors, prior)
    assert found.sum() == pytest.approx(1.0)
    assert em.log_likelihood(posteriors, prior, found) >= before - 1e-6


def test_labels_dropped_by_their_value_leave_a_bias_that_em_removes() -> None:
    """Of 3,000 documents the labels of the frequent value stay known, those of others are lost."""
    rng = np.random.default_rng(0)
    posteriors, prior, labels = documents([0.6, 0.3, 0.1], 3000, rng)
    truth = np.bincount(labels, minlength=3) / len(labels)
    kept = rng.random(len(labels)) < np.where(labels == 0, 0.8, 0.2)
    known = np.bincount(labels[kept], minlength=3) / kept.sum()
    unknown = em.estimate_shares(posteriors[~kept], prior)
    estimate = kept.mean() * known + (1 - kept.mean()) * unknown
    naive, left = (np.abs(p - truth).sum() / 2 for p in (known, estimate))
    assert naive > 0.15
    assert left < 0.25 * naive


def test_posteriors_under_the_cores_own_prior_stay_as_they_are() -> None:
    posteriors, prior, _ = documents([0.5, 0.5], 20, np.random.default_rng(1))
    assert em.expected(posteriors, prior, prior) == pytest.approx(posteriors)
