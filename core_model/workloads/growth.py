"""How a cost grows with the number of samples, of candidates, of tokens of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from scipy.optimize import nnls

from core_model.workloads.engines import (
    CANDIDATE_TOKENS,
    DECODED,
    PROMPT_TOKENS,
    TRIES,
    Bench,
    timed,
)

SAMPLES = (1, 16, 32, 64)
CANDIDATES = (100, 300, 600, 1000)
CONTEXT = (128, 256, 512, 1024, 2048)


def growth_with_samples(bench: Bench) -> dict[str, float]:
    """Milliseconds of DECODED tokens behind a prompt of PROMPT_TOKENS, by the number n of samples.

    As in all growths: what is fixed and what each more adds, fitted to the quickest of TRIES runs
    at each of n = SAMPLES by non-negative least squares of the relative errors.
    """
    sampler = bench.sampler("openvino")

    def run(n: int) -> object:
        return sampler.draw(bench.prompt(PROMPT_TOKENS), n, bench.rng, limit=DECODED)

    return _growth(run, SAMPLES)


def growth_with_candidates(bench: Bench) -> dict[str, float]:
    """Milliseconds to score n = CANDIDATES answers of CANDIDATE_TOKENS tokens."""

    def run(n: int) -> object:
        return bench.core.score(bench.prompt(PROMPT_TOKENS), bench.candidates(n, CANDIDATE_TOKENS))

    return _growth(run, CANDIDATES)


def growth_with_context(bench: Bench) -> dict[str, float]:
    """Milliseconds to read a prompt of n = CONTEXT tokens: each adds, and each pair of them."""

    def run(n: int) -> object:
        with torch.inference_mode():
            return bench.core._reader.prompt(bench.prompt(n))

    return _growth(run, CONTEXT, degree=2)


def _growth(
    run: Callable[[int], object], sizes: Sequence[int], degree: int = 1
) -> dict[str, float]:
    for n in sizes:
        run(n)
    costs = [1000 * min(timed(partial(run, n))[0] for _ in range(TRIES)) for n in sizes]
    parts = ("candor, fixed", "candor, each more", "candor, each pair")[: degree + 1]
    return dict(zip(parts, fit_growth(sizes, costs, degree), strict=True))


def fit_growth(sizes: Sequence[int], costs: Sequence[float], degree: int) -> list[float]:
    """a, b and, for degree 2, c of costs a + b n + c n (n - 1) / 2, none of them below 0.

    sizes: (N,) n. costs: (N,), positive, in any unit. Minimises Σ (fit / cost - 1)². Lawson and
    Hanson 1974.
    """
    n, cost = np.array(sizes, float), np.array(costs)
    terms = np.stack([np.ones_like(n), n, n * (n - 1) / 2][: degree + 1], axis=1)
    # Else the column of pairs would dwarf the others.
    scale = terms.max(axis=0)
    found, _ = nnls(terms / scale / cost[:, None], np.ones_like(n))
    return [float(part) for part in found / scale]
