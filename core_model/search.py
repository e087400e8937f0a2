"""The most probable answers of a variable with many, and the entropy of all of them.

Best-first search over paths of tokens: what is more probable than the least of the top answers is
followed. The entropy is Σ_paths p(path) H(next | path), exact over the paths followed; what lies
behind the others is estimated from a few drawn ones, with an error.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core_model.listing import Listing
from core_model.reader import Path, Prompt, Reader, draw
from core_model.wire import Wire

ROUNDS = 12
WIDTH = 96
FLOOR = math.log(1e-5)
"""Paths less probable are not followed one by one; they count towards the entropy."""
LISTED = 200
COVERED = 0.9
TAIL_PATHS = 48
TAIL_TOKENS = 120


@dataclass(frozen=True, slots=True)
class Found:
    """Log-probabilities of answers, the most probable first; the entropy of all, nats.

    n: paths drawn for the part of the entropy that was not enumerated, 0 where there was none.
    """

    log_p: dict[str, float]
    entropy: float
    stderr: float
    n: int


@dataclass(slots=True)
class _Paths:
    """What the search knows, in log p.

    answers: by text. frontier: paths not followed yet. left_out: of each path followed its log p,
    and the mass of its children that are in neither.
    """

    answers: dict[str, float] = field(default_factory=dict)
    frontier: dict[Path, float] = field(default_factory=lambda: {(): 0.0})
    left_out: dict[Path, tuple[float, float]] = field(default_factory=dict)
    entropy: float = 0.0


def search(
    reader: Reader, wire: Wire, prompt: Prompt, top: int | None, rng: np.random.Generator,
    listing: Listing | None = None,
) -> Found:  # fmt: skip
    """The `top` answers; without it up to LISTED, or as many as cover COVERED of the mass.

    listing: what the answers are kept to.

    An answer counts under its own spelling in tokens, as when its probability is asked. The
    work is bounded by ROUNDS of WIDTH paths, which a core without clear answers may use up.
    """
    paths = _Paths()
    wanted = top or LISTED
    for _ in range(ROUNDS):
        best = heapq.nlargest(WIDTH, paths.frontier, key=paths.frontier.__getitem__)
        ranked = heapq.nlargest(wanted, paths.answers.values())
        least = ranked[-1] if len(ranked) == wanted else -math.inf
        covered = sum(math.exp(value) for value in paths.answers.values())
        if not best or (paths.frontier[best[0]] < least and (top or covered > COVERED)):
            break
        for path, following in zip(best, reader.follow(prompt, best), strict=True):
            _follow(paths, wire, path, _kept(listing, path, following), listing)
    tail, error = _tail(reader, wire, prompt, paths, rng, listing)
    order = sorted(paths.answers.items(), key=lambda item: (-item[1], item[0]))[:wanted]
    return Found(dict(order), paths.entropy + tail, error, TAIL_PATHS if error else 0)


def _kept(listing: Listing | None, path: Sequence[int], following: Tensor) -> Tensor:
    """Log-probabilities (V,) behind a path, of what the list allows."""
    return following if listing is None else listing.kept(listing.at(path), following)


def entropy(log_p: Tensor) -> float:
    """-Σ p log p of log-probabilities (V,), nats."""
    return float(-(log_p.double().exp() * log_p.clamp(min=-1e9)).sum())


def _follow(
    paths: _Paths, wire: Wire, path: Path, following: Tensor, listing: Listing | None
) -> None:
    """Take a path off the frontier: its answer, if it is one, and its children."""
    score = paths.frontier.pop(path)
    paths.entropy += math.exp(score) * entropy(following)
    _answer(paths, wire, path, score + float(following[wire.end]))
    rest = _left_out(score, following, wire)
    kept = ~rest
    kept[wire.end] = False
    tokens = torch.nonzero(kept).squeeze(1)
    for token, value in zip(tokens.tolist(), following[tokens].tolist(), strict=True):
        child = (*path, token)
        forced = () if listing is None else listing.forced(listing.at(child))
        if forced and forced[-1] == wire.end:
            _answer(paths, wire, (*child, *forced[:-1]), score + value)
        else:
            paths.frontier[(*child, *forced)] = score + value
    paths.left_out[path] = score, math.exp(score) * float(following.double().exp()[rest].sum())


def _answer(paths: _Paths, wire: Wire, path: Path, log_p: float) -> None:
    """Take a path for an answer, if its text is spelled so."""
    text = wire.tokenizer.decode_value(path)
    if tuple(wire.tokenizer.encode_value(text)) == path:
        paths.answers[text] = log_p


def _left_out(score: float, following: Tensor, wire: Wire) -> Tensor:
    """(V,) bool, the children of a path that are too improbable to be followed."""
    rest = score + following <= FLOOR
    rest[wire.end] = False
    return rest


def _tail(
    reader: Reader, wire: Wire, prompt: Prompt, paths: _Paths, rng: np.random.Generator,
    listing: Listing | None,
) -> tuple[float, float]:  # fmt: skip
    """Σ over what was not followed of p(path) H(rest | path), with its standard error, nats."""
    starts = [*paths.frontier, *paths.left_out]
    mass = np.array(
        [*map(math.exp, paths.frontier.values()), *(m for _, m in paths.left_out.values())]
    )
    share = float(mass.sum())
    if share <= 1e-9:
        return 0.0, 0.0
    points = (np.arange(TAIL_PATHS) + rng.random()) / TAIL_PATHS * share
    drawn = np.minimum(np.searchsorted(np.cumsum(mass), points), len(mass) - 1)
    totals = np.zeros(TAIL_PATHS)
    alive = np.arange(TAIL_PATHS)
    cache = prompt.cache.repeated(TAIL_PATHS)
    walked: list[list[int]] = [[] for _ in alive]
    following = _kept(listing, (), reader.following(prompt)).repeat(TAIL_PATHS, 1)
    for depth in range(TAIL_TOKENS):
        p = following.double().exp()
        forced: dict[int, int] = {}
        for row, i in enumerate(alive):
            path = starts[drawn[i]]
            if depth < len(path):
                forced[row] = path[depth]
            elif depth == len(path) and drawn[i] >= len(paths.frontier):
                p[row] *= _left_out(paths.left_out[path][0], following[row], wire)
            else:
                totals[i] += entropy(following[row])
        tokens = draw(p, rng)
        for row, token in forced.items():
            tokens[row] = token
        going = tokens != wire.end
        alive, tokens, cache = alive[going.numpy()], tokens[going], cache.selected(going)
        if not len(alive):
            break
        for i, token in zip(alive, tokens.tolist(), strict=True):
            walked[i].append(token)
        following = reader.advance(tokens.unsqueeze(1), cache)
        if listing is not None:
            each = zip(alive, following, strict=True)
            following = torch.stack([_kept(listing, walked[i], row) for i, row in each])
    error = share * float(totals.std(ddof=1)) / math.sqrt(TAIL_PATHS)
    return share * float(totals.mean()), error
