"""Drawing whole texts behind a prompt, as an engine does it; here with the decoder itself."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core_model.reader import Reader, draw

ANSWER_LIMIT = 240
"""Tokens of an answer: more than any passage of the speeches has, as a release test checks."""
AT_ONCE = 64
"""Texts drawn side by side: more bring little speed, but memory grows with them."""


class Sampler(Protocol):
    """Draws texts behind a prompt."""

    def draw(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator,
        limit: int = ANSWER_LIMIT,
    ) -> list[list[int]]:  # fmt: skip
        """n independent texts as tokens without the end, each at most `limit` tokens."""
        ...

    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float
    ) -> Generator[int]:
        """The tokens of one text as they are drawn, with the end.

        At temperature 0 each is the most probable one.
        """
        ...

    def start(self) -> None:
        """Make ready what the first text would wait for; raises EngineError."""
        ...


def lots(n: int) -> list[int]:
    """n texts in lots of at most AT_ONCE."""
    return [min(AT_ONCE, n - start) for start in range(0, n, AT_ONCE)]


class TorchSampler:
    """Draws with the decoder that scores."""

    def __init__(self, reader: Reader, end: int) -> None:
        self._reader = reader
        self._end = end

    def draw(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator,
        limit: int = ANSWER_LIMIT,
    ) -> list[list[int]]:  # fmt: skip
        """As `Sampler.draw`."""
        return [row for lot in lots(n) for row in self._lot(prompt, lot, rng, limit)]

    def start(self) -> None:
        """As `Sampler.start`: the decoder is there."""

    @torch.inference_mode()
    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float
    ) -> Generator[int]:
        """As `Sampler.stream`."""
        read = self._reader.prompt(prompt)
        cache, following = read.cache.repeated(1), self._reader.following(read)
        while True:
            token = draw_at(following, rng, temperature)
            yield token
            if token == self._end:
                return
            following = self._reader.advance(torch.tensor([[token]]), cache)[0]

    @torch.inference_mode()
    def _lot(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator, limit: int
    ) -> list[list[int]]:
        read = self._reader.prompt(prompt)
        cache = read.cache.repeated(n)
        tokens = draw(self._reader.following(read).exp().expand(n, -1), rng)
        rows: list[list[int]] = [[] for _ in range(n)]
        alive = torch.arange(n)
        for _ in range(limit):
            going = tokens != self._end
            if not bool(going.all()):
                alive, tokens, cache = alive[going], tokens[going], cache.selected(going)
            for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
                rows[row].append(token)
            if len(alive) == 0:
                break
            tokens = draw(self._reader.advance(tokens.unsqueeze(1), cache).exp(), rng)
        return rows


def draw_at(log_p: Tensor, rng: np.random.Generator, temperature: float) -> int:
    """An index of log-probabilities (V,), of which some may be -inf; the largest at 0."""
    if temperature > 0:
        return int(draw(torch.softmax(log_p.double() / temperature, dim=-1).unsqueeze(0), rng)[0])
    return int(log_p.argmax())
