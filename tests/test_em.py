"""Expectation maximisation of missing labels: likelihood never falls, what was planted is found."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core_model import em
from core_model.core import Core
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.recipe import TaskEntry
from core_model.torch_core import TorchCore
from core_model.train import train
from core_model.wire import Wire
from tests import tiny, toy

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


# --- with the trainer -----------------------------------------------------------------------------

SKIES = list(toy.SKY)
WORD_GIVEN_SKY = np.stack(
    [sum(p * np.array(toy.WORD[sky, wind]) for wind, p in toy.WIND[sky].items()) for sky in SKIES]
)


class HiddenSkyTask:
    """Sky and word of 2,000 days, the sky known of most clear ones and of few cloudy ones.

    A row asks for the sky alone, for it given each word, and for the word given each sky.
    log_likelihoods: at each E-step, mean log Σ_z π(z) p(word | z) of the days whose sky is not
    known, nats, with their shares π and the core's p.
    """

    corpora = ("weather",)

    def __init__(self, wire: Wire) -> None:
        rng = np.random.default_rng(0)
        self._wire = wire
        self._skies = PrefixTree.build([wire.answer(sky) for sky in SKIES])
        self._words = PrefixTree.build([wire.answer(word) for word in toy.WORDS])
        self.sky = rng.choice(2, size=2000, p=list(toy.SKY.values()))
        self._word = np.array([rng.choice(5, p=WORD_GIVEN_SKY[sky]) for sky in self.sky])
        self.is_known = rng.random(2000) < np.where(self.sky == 0, 0.8, 0.2)
        self.log_likelihoods: list[float] = []
        self.expectations: dict[str, Tensor] = {}

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        of_word = np.exp(
            [
                core.log_prob_of(Conditional("weather", "sky", (Binding("word", word),)), SKIES)
                for word in toy.WORDS
            ]
        )
        unknown = self._word[~self.is_known]
        prior = np.exp(core.log_prob_of(Conditional("weather", "sky"), SKIES))
        shares = em.estimate_shares(of_word[unknown], prior)
        self.expectations = {"sky": torch.from_numpy(em.expected(of_word[unknown], prior, shares))}
        emitted = np.exp(
            [
                core.log_prob_of(Conditional("weather", "word", (Binding("sky", sky),)), toy.WORDS)
                for sky in SKIES
            ]
        )
        self.log_likelihoods.append(float(np.log(shares @ emitted[:, unknown]).mean()))

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        return [self._row() for _ in range(count)]

    def _days(self) -> Floats:
        """(words, skies) how many days, by what is known and expected."""
        label = np.eye(2)[self.sky]
        label[~self.is_known] = self.expectations["sky"].numpy() if self.expectations else 0.0
        days = np.zeros((5, 2))
        np.add.at(days, self._word, label)
        return days

    def _row(self) -> PackedRow:
        builder, days = RowBuilder(), self._days()
        self._ask(builder, Conditional("weather", "sky"), self._skies, days.sum(axis=0))
        for word, skies in zip(toy.WORDS, days, strict=True):
            asked = Conditional("weather", "sky", (Binding("word", word),))
            self._ask(builder, asked, self._skies, skies)
        for sky, words in zip(SKIES, days.T, strict=True):
            asked = Conditional("weather", "word", (Binding("sky", sky),))
            self._ask(builder, asked, self._words, words)
        return builder.build()

    def _ask(
        self, builder: RowBuilder, asked: Conditional, tree: PrefixTree, weights: Floats
    ) -> None:
        after = builder.prompt(self._wire.prompt(asked))
        builder.tree(tree, weights, after, tiny.every_node(tree, weights))


def test_training_with_missing_labels_finds_their_shares(tmp_path: Path) -> None:
    """Without an E-step the core learns the shares of the labels that are known."""

    def trained(has_e_step: bool) -> tuple[HiddenSkyTask, float]:
        wire, decoder = tiny.wire(), tiny.decoder(tiny.RANK, spread=4)
        task, entry = HiddenSkyTask(wire), TaskEntry(name="sky", source="tests.test_em", rows=1)
        changed = {"tasks": (entry,), "expect_every": 30, "learning_rate": 0.01}
        core = TorchCore(decoder, wire)
        with toy.registered(toy.weather()):
            train(
                tiny.recipe(240).model_copy(update=changed), decoder, [task],
                tmp_path / str(has_e_step), wire.silent,
                (lambda: TorchCore(decoder, wire)) if has_e_step else None,
            )  # fmt: skip
            share = np.exp(core.log_prob_of(Conditional("weather", "sky"), SKIES))[0]
        return task, abs(share - (task.sky == 0).mean())

    (task, error), (_, error_without) = trained(True), trained(False)
    assert error_without > 0.15
    assert error < 0.5 * error_without
    assert len(task.log_likelihoods) == 8
    for before, after in itertools.pairwise(task.log_likelihoods):
        assert after > before - 0.01
