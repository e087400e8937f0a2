"""The core on the embedded decoder: exact scores over packed prefix trees, and what is drawn.

Prompts are kept in a cache, so the next query on the same data, or the next turn of a
conversation, reads only what is new.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model import corpora
from core_model.corpora import schema
from core_model.decoder import Decoder
from core_model.errors import CandorError, EngineError
from core_model.listing import OUTSIDE, ROOT, Listing
from core_model.numerals import NumberGuard
from core_model.prefix_tree import PrefixTree
from core_model.reader import Prompt, PromptUse, Reader
from core_model.sampler import Sampler, TorchSampler, draw_at
from core_model.search import Found, search
from core_model.stopping import POLLED_SECONDS, go_on
from core_model.wire import Wire
from core_model.wire_core import WireCore

BLOCK_TOKENS = 512
Listed = tuple[Listing, NDArray[np.int64]]
"""A list, and the place in it of each node of a tree that is scored."""
FEW_NODES = 64
"""Inner nodes of a tree that are sooner read with what stands before them than looked at first."""


class TorchCore(WireCore):
    """Core on a merged decoder; deterministic for a seed and a number of threads.

    sampler: what draws open answers and, once warmed up, writes texts; the decoder itself where
    none is given.
    """

    def __init__(
        self, decoder: Decoder, wire: Wire, name: str = "candor", sampler: Sampler | None = None,
        learnt: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(wire, name, learnt)
        self._reader = Reader(decoder, wire)
        self._writer: Sampler = TorchSampler(self._reader, wire.end)
        self._sampler = sampler or self._writer
        self._warming: threading.Thread | None = None
        self._listings: dict[tuple[str, str], Listing | None] = {}

    @property
    def prompt_use(self) -> PromptUse:
        """How much of the prompts the cache has saved so far."""
        return self._reader.use

    def warm_up(self) -> None:
        self._warming = threading.Thread(target=self._start)
        self._warming.start()

    def _start(self) -> None:
        with contextlib.suppress(EngineError):  # then the decoder goes on writing
            self._sampler.start()
            self._writer = self._sampler

    def _wait_for_sampler(self) -> None:
        while self._warming is not None and self._warming.is_alive():
            go_on()
            self._warming.join(POLLED_SECONDS)

    def draw(self, prompt: Sequence[int], n: int, rng: np.random.Generator) -> list[list[int]]:
        self._wait_for_sampler()
        return self._sampler.draw(prompt, n, rng)

    @torch.inference_mode()
    def search(
        self, prompt: Sequence[int], top: int | None, rng: np.random.Generator,
        listing: Listing | None = None,
    ) -> Found:  # fmt: skip
        return search(self._reader, self._wire, self._reader.prompt(prompt), top, rng, listing)

    def listing_of(self, corpus: str, variable: str) -> Listing | None:
        if (corpus, variable) not in self._listings:
            self._listings[corpus, variable] = self._listing_made(corpus, variable)
        return self._listings[corpus, variable]

    def _listing_made(self, corpus: str, variable: str) -> Listing | None:
        if corpus not in corpora.known() or schema(corpus).asked(variable).kind != "enumerable":
            return None
        try:
            values = corpora.load(corpus).listing(schema(corpus).asked(variable).name)
        except CandorError:  # the core's numbers stand where the corpus is not installed
            return None
        return Listing.of(self._wire, values) if values else None

    @torch.inference_mode()
    def keep(
        self, prompt: Sequence[int], rows: Sequence[list[int]], listing: Listing,
        rng: np.random.Generator,
    ) -> list[list[int]]:  # fmt: skip
        """A token that may not follow is drawn anew among those that may, and so is what follows.

        Each has its share so: p outright, and p(none that may) · p / p(those that may).
        """
        end = self._wire.end
        kept = [_begun(listing, row, end) for row in rows]
        read = self._reader.prompt(prompt)
        open_ = [place for place, path in enumerate(kept) if path[-1:] != [end]]
        while open_:
            paths = [tuple(kept[place]) for place in open_]
            log_p = self._reader.follow(read, paths)
            for place, path, each in zip(open_, paths, log_p, strict=True):
                at = listing.at(path)
                token = draw_at(listing.kept(at, each), rng, 1.0)
                kept[place] += [token, *listing.forced(listing.behind(at, token))]
            open_ = [place for place in open_ if kept[place][-1] != end]
        return [path[:-1] for path in kept]

    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float,
        guard: NumberGuard | None,
    ) -> Generator[int]:  # fmt: skip
        """As the writer draws it; a token that the guard rules out is drawn anew among the others.

        So each has its share: p outright, and p(ruled out) · p / p(not ruled out) in their place.
        """
        self._wait_for_sampler()
        read = list(prompt)
        while True:  # a writer may stop before the end, at its own limit
            with contextlib.closing(self._writer.stream(read, rng, temperature)) as drawn:
                for token in drawn:
                    ruled_out = guard is not None and not guard.allowed()[token]
                    if guard is not None and ruled_out:
                        token = self._allowed(read, rng, temperature, guard)
                    if token == self._wire.end:
                        return
                    read.append(token)
                    yield token
                    if ruled_out:
                        break

    @torch.inference_mode()
    def _allowed(
        self, read: Sequence[int], rng: np.random.Generator, temperature: float, guard: NumberGuard
    ) -> int:
        """The next token, drawn from those that the guard allows."""
        log_p = self._reader.following(self._reader.prompt(read))
        allowed = torch.from_numpy(guard.allowed())
        log_p[: len(allowed)][~allowed] = -torch.inf
        return draw_at(log_p, rng, temperature)

    @torch.inference_mode()
    def score(
        self, prompt: Sequence[int], tree: PrefixTree, pieces: bool = False,
        negligible: float = 0.0, listing: Listing | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        listed = None if listing is None else (listing, listing.places(tree))
        inner = np.flatnonzero(~tree.is_leaf())
        if listed is not None:
            inner = np.flatnonzero(listed[0].undecided(tree, listed[1]))
        # Behind a few pieces a kept prompt is gone on from: all that is new is read in one go.
        is_short = pieces and len(inner) <= FEW_NODES
        read, before = self._reader.begun(prompt) if is_short else (self._reader.prompt(prompt), ())
        # log p of each node behind its parent, then summed along the paths. What lies below a root
        # that is not followed shares its mass evenly.
        roots = np.arange(tree.n_roots)
        log_p = tree.even() if listed is None else _certain(tree, *listed)
        if before:
            last, hidden = self._behind(read, before, tree, inner)
            self._score_below(tree, inner, hidden, pieces, log_p, listed)
        else:
            last = read.hidden[None]
        self._score_at(tree, last, np.zeros_like(roots), roots, [ROOT], pieces, log_p, listed)
        if not before:
            is_followed = ~_least(log_p[roots], negligible)
            for block in _blocks(tree, inner[is_followed[tree.root_of(inner)]]):
                _, hidden = self._behind(read, before, tree, block)
                self._score_below(tree, block, hidden, pieces, log_p, listed)
        for node in range(tree.n_roots, tree.n_nodes):
            log_p[node] += log_p[tree.parent[node]]
        leaves = np.flatnonzero(tree.is_leaf())
        leaves = leaves[np.argsort(tree.low[leaves])]
        result = np.empty(len(tree.order))
        # Answers that are spelled by the same tokens share a leaf.
        result[tree.order] = np.repeat(log_p[leaves], tree.high[leaves] - tree.low[leaves])
        return result

    def _score_below(
        self, tree: PrefixTree, nodes: NDArray[np.int64], hidden: Tensor, pieces: bool,
        log_p: NDArray[np.float64], listed: Listed | None,
    ) -> None:  # fmt: skip
        """Set log p of the children of nodes whose hidden states (n, D) are given."""
        rows, below = tree.children_of(nodes)
        at = () if listed is None else listed[1][nodes]
        self._score_at(tree, hidden, rows, below, at, pieces, log_p, listed)

    def _score_at(
        self, tree: PrefixTree, hidden: Tensor, rows: NDArray[np.int64], below: NDArray[np.int64],
        at: Sequence[int] | NDArray[np.int64], pieces: bool, log_p: NDArray[np.float64],
        listed: Listed | None,
    ) -> None:  # fmt: skip
        """Set log p of nodes `below`, behind the rows of hidden states that are at these places."""
        if listed is None:
            log_p[below] = self._reader.log_p_of(hidden, rows, tree.token[below], pieces)
            return
        listing, places = listed
        among = listing.following(at)
        found = self._reader.log_p_of(hidden, rows, tree.token[below], pieces, among)
        log_p[below] = np.where(places[below] == OUTSIDE, -np.inf, found)

    def _behind(
        self, read: Prompt, before: Sequence[int], tree: PrefixTree, block: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (1, D) where the tree begins and (n, D) of the nodes of a block.

        before: what stands between the prompt that was read and the tree.
        """
        n = len(before)
        place = {int(node): n + i for i, node in enumerate(block)}
        parents = [place.get(int(node), n - 1) for node in tree.parent[block]]
        hidden = self._reader.branches(
            read, np.array([*before, *tree.token[block]]), np.array([*range(-1, n - 1), *parents])
        )
        return (hidden[n - 1 : n] if n else read.hidden[None]), hidden[n:]


def _certain(tree: PrefixTree, listing: Listing, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """log p of each node where what follows its parent is certain, else as if all were alike."""
    log_p = tree.even()
    below = np.arange(tree.n_roots, tree.n_nodes)
    before = places[tree.parent[below]]
    decided = below[(before == OUTSIDE) | (listing.widths[before] <= 1)]
    log_p[decided] = np.where(places[decided] == OUTSIDE, -np.inf, 0.0)
    return log_p


def _begun(listing: Listing, row: Sequence[int], end: int) -> list[int]:
    """What of a text and its end is the beginning of a listed answer."""
    place, kept = ROOT, list[int]()
    for token in (*row, end):
        place = listing.behind(place, token)
        if place == OUTSIDE:
            break
        kept.append(token)
    return kept


def _least(log_p: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """(n,) the least probable of n, as many as hold together less than this share of all."""
    p = np.exp(log_p - max(log_p.max(), -1e9))
    order = np.argsort(p, kind="stable")
    are_least = np.zeros(len(p), bool)
    are_least[order] = np.cumsum(p[order]) < share * p.sum()
    return are_least


def _blocks(tree: PrefixTree, inner: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Inner nodes in blocks of about BLOCK_TOKENS, whole subtrees of the root together."""
    if not len(inner):
        return
    root = tree.root_of(inner)
    order = np.argsort(root, kind="stable")
    inner, root = inner[order], root[order]
    bounds = np.append(np.flatnonzero(np.diff(root)) + 1, len(inner))
    start = 0
    ends = np.append(bounds[1:], len(inner) + BLOCK_TOKENS)
    for bound, following in zip(bounds, ends, strict=True):
        if following - start > BLOCK_TOKENS or bound == len(inner):
            yield np.sort(inner[start:bound])
            start = int(bound)
