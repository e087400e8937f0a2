"""Reading tokens with the decoder: prompts that are kept, branches behind them, rows that grow.

Every log-probability is a full softmax over plain text and the end mark: the other special tokens
can't be part of an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model.decoder import Cache, Decoder
from core_model.prefix_tree import common_length
from core_model.wire import Wire

KEPT_BYTES = 200_000_000
"""Of prompts that are kept: some eight thousand tokens in bfloat16, half of that in float32."""
FEW = 32
"""Tokens behind a kept prompt that are sooner read again with what follows than kept as well."""
READ_AT_ONCE = 256
"""Tokens of a prompt: a layer of so many is computed within the time that a stop may take."""
HEAD_ROWS = 128
"""Tokens whose scores over the whole vocabulary stand in memory at a time."""

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was read: its cache and the hidden state (D,) of its last token."""

    tokens: Path
    cache: Cache
    hidden: Tensor

    @property
    def bytes(self) -> int:
        """Size of all of it."""
        return self.cache.bytes + self.hidden.nbytes


@dataclass(slots=True)
class PromptUse:
    """Tokens of the prompts asked for, and how many of them were known from earlier ones."""

    asked: int = 0
    reused: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of the tokens that needed no reading; 0 before anything was asked."""
        return self.reused / self.asked if self.asked else 0.0


class Reader:
    """A decoder with a cache of prompts, the least lately used of which are dropped.

    The decoder's device holds the hidden states and the cache; log-probabilities come back from it.
    use: what the cache has saved so far.
    """

    def __init__(self, decoder: Decoder, wire: Wire) -> None:
        self._decoder = decoder
        self._kept: OrderedDict[Path, Prompt] = OrderedDict()
        self.use = PromptUse()
        self._blocked = torch.tensor(wire.never_in_text(decoder.shape.vocabulary))
        self._blocked_in_pieces = self._blocked[self._blocked != wire.closing]

    def prompt(self, tokens: Sequence[int]) -> Prompt:
        """Read a prompt, starting from the longest one kept that it shares a beginning with."""
        key = tuple(tokens)
        self.use.asked += len(key)
        if key in self._kept:
            self.use.reused += len(key)
            self._kept.move_to_end(key)
            return self._kept[key]
        shared, best = 0, None
        for kept in self._kept.values():
            same = common_length(kept.tokens, key)
            if same > shared:
                shared, best = same, kept
        shared = min(shared, len(key) - 1)
        self.use.reused += shared
        cache = Cache()
        if best is not None and shared:
            cache = best.cache.cut(shared)
            self._kept.move_to_end(best.tokens)
        for start in range(shared, len(key), READ_AT_ONCE):
            end = min(start + READ_AT_ONCE, len(key))
            mask = None
            if start:
                seen = torch.ones(end - start, end, dtype=torch.bool)
                mask = seen.tril(start)[None, None]
            hidden = self._hidden(
                torch.tensor([key[start:end]]), torch.arange(start, end)[None], mask, cache
            )
        # Copied: a view would keep the states of all tokens.
        hidden = hidden[0, -1].clone()
        read = Prompt(key, cache, hidden)
        self._kept[key] = read
        while len(self._kept) > 1 and sum(p.bytes for p in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return read

    def begun(self, tokens: Sequence[int]) -> tuple[Prompt, Path]:
        """The longest prompt kept that these tokens begin with, and the `FEW` at most behind it.

        Where none is kept that ends so near, all are read as a prompt, and nothing stands behind.
        """
        key = tuple(tokens)
        shorter = (key[:end] for end in range(len(key), max(len(key) - FEW - 1, 0), -1))
        kept = next((path for path in shorter if path in self._kept), key)
        if kept == key:
            return self.prompt(key), ()
        self.use.asked += len(key)
        self.use.reused += len(kept)
        self._kept.move_to_end(kept)
        return self._kept[kept], key[len(kept) :]

    def following(self, read: Prompt) -> Tensor:
        """Log-probabilities (V,) of the next token of a text behind a prompt."""
        return self.log_softmax(read.hidden)

    def log_softmax(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (…, V) of the next token of a text behind hidden states (…, D)."""
        logits = self._decoder.logits(hidden)
        logits[..., self._blocked] = -torch.inf
        return torch.log_softmax(logits, dim=-1).cpu()

    def log_p_of(
        self, hidden: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64], pieces: bool,
        among: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """(K,) log p of `tokens` (K,) behind the rows (K,), not falling, of hidden states (T, D).

        As `log_softmax`, without keeping its matrix of all tokens. `pieces`: of an answer made of
        pieces, where the mark that closes a piece may follow too. among: of what may follow each
        row at all, (T + 1,) bounds and the tokens between them; else of all tokens of a text.
        """
        found = np.empty(len(rows))
        blocked = self._blocked_in_pieces if pieces else self._blocked
        for start in range(0, len(hidden), HEAD_ROWS):
            here = slice(*np.searchsorted(rows, [start, start + HEAD_ROWS]))
            block, row = hidden[start : start + HEAD_ROWS], rows[here] - start
            if among is None:
                logits = self._decoder.logits(block)
                logits[:, blocked] = -torch.inf
                chosen = torch.from_numpy(row), torch.from_numpy(tokens[here])
                picked = logits[chosen].double()
                total = _log_total(logits)
                found[here] = (picked - total[chosen[0]]).cpu().numpy()
            else:
                found[here] = self._log_p_among(block, row, tokens[here], start, among)
        return found

    def _log_p_among(
        self, hidden: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64], start: int,
        among: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> NDArray[np.float64]:  # fmt: skip
        """(K,) log p of tokens behind rows, of what may follow the rows from `start` on alone."""
        bounds = among[0][start : start + len(hidden) + 1]
        allowed = among[1][bounds[0] : bounds[-1]]
        known = np.unique(np.concatenate([allowed, tokens]))
        logits = self._decoder.logits(hidden, torch.from_numpy(known)).double().cpu().numpy()
        row = np.repeat(np.arange(len(hidden)), np.diff(bounds))
        kept = logits[row, np.searchsorted(known, allowed)]
        total = np.full(len(hidden), -np.inf)
        np.logaddexp.at(total, row, kept)
        picked: NDArray[np.float64] = logits[rows, np.searchsorted(known, tokens)] - total[rows]
        return picked

    def _hidden(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache
    ) -> Tensor:
        """As `Decoder.forward`, of what is made in main memory; MemoryError where that is short."""
        device = self._decoder.device
        mask = None if mask is None else mask.to(device)
        try:
            hidden: Tensor = self._decoder(tokens.to(device), positions.to(device), mask, cache)
        except RuntimeError as error:
            # PyTorch's own on a processor; that of a GPU is a subclass and says the same.
            if "allocate" in str(error):
                raise MemoryError(str(error)) from error
            raise
        return hidden

    def advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one more token in each row (B, 1); returns log-probabilities (B, V)."""
        positions = torch.full_like(tokens, cache.length)
        return self.log_softmax(self._hidden(tokens, positions, None, cache)[:, -1])

    def branches(
        self, read: Prompt, tokens: NDArray[np.int64], parents: NDArray[np.int64]
    ) -> Tensor:
        """Hidden states (T, D) of a tree of tokens behind a prompt; -1 is the prompt's end."""
        n, behind = len(tokens), len(read.tokens)
        mask = np.zeros((n, behind + n), bool)
        mask[:, :behind] = True
        depth = np.zeros(n, np.int64)
        for i, parent in enumerate(parents):
            if parent >= 0:
                mask[i, behind : behind + parent + 1] = mask[parent, behind : behind + parent + 1]
                depth[i] = depth[parent] + 1
            mask[i, behind + i] = True
        return self._hidden(
            torch.from_numpy(tokens).unsqueeze(0),
            torch.from_numpy(depth + behind).unsqueeze(0),
            torch.from_numpy(mask)[None, None],
            read.cache.repeated(1),
        )[0]

    def follow(self, read: Prompt, paths: Sequence[Path]) -> list[Tensor]:
        """Log-probabilities (V,) behind each path of tokens."""
        prefixes = {path[:end] for path in paths for end in range(1, len(path) + 1)}
        if not prefixes:
            return [self.following(read) for _ in paths]
        order = sorted(prefixes, key=lambda prefix: (len(prefix), prefix))
        place = {prefix: i for i, prefix in enumerate(order)}
        tokens = np.array([prefix[-1] for prefix in order])
        parents = np.array([place.get(prefix[:-1], -1) for prefix in order])
        hidden = self.branches(read, tokens, parents)
        following = iter(self.log_softmax(hidden[[place[path] for path in paths if path]]))
        return [next(following) if path else self.following(read) for path in paths]


def _log_total(logits: Tensor) -> Tensor:
    """(T,) log Σ exp of logits (T, V), which are used up."""
    highest = logits.amax(dim=1, keepdim=True)
    return logits.sub_(highest).exp_().sum(dim=1).double().log() + highest[:, 0]


def draw(probabilities: Tensor, rng: np.random.Generator) -> Tensor:
    """(B,) one index a row of probabilities (B, V), by inverting the cumulative sum."""
    cumulative = probabilities.double().cumsum(dim=-1)
    points = torch.from_numpy(rng.random(len(cumulative))).unsqueeze(-1) * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, points, right=True).squeeze(-1)
    return drawn.clamp(max=probabilities.shape[-1] - 1)
