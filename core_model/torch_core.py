"""The core on the embedded decoder: exact scores over packed prefix trees, and what is drawn.

The answers of a closed variable are normalised over its values, a choice among pieces over its
options. Prompts are kept in a cache, so the next query on the same data, or the next turn of a
conversation, reads only what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from core_model import corpora, notation
from core_model.core import (
    Answer,
    Check,
    Conditional,
    Core,
    Distribution,
    refuse_open,
    unchecked,
)
from core_model.corpora import schema
from core_model.decoder import Decoder
from core_model.errors import TextTooLong
from core_model.notation import Draw, Step
from core_model.numerals import NumberGuard, TokenTable
from core_model.prefix_tree import PrefixTree
from core_model.reader import Prompt, PromptUse, Reader, draw
from core_model.sampler import ANSWER_LIMIT, Sampler, TorchSampler
from core_model.search import search
from core_model.wire import Wire

BLOCK_TOKENS = 512
HEAD_ROWS = 256
PROMPT_LIMIT = 2048


class TorchCore(Core):
    """Core on a merged decoder; deterministic for a seed and a number of threads.

    sampler: what draws open answers, the decoder itself where none is given.
    """

    def __init__(
        self, decoder: Decoder, wire: Wire, name: str = "candor", sampler: Sampler | None = None
    ) -> None:
        self.name = name
        self._wire = wire
        self._reader = Reader(decoder, wire)
        self._sampler = sampler or TorchSampler(self._reader, wire.end)
        self._number_tokens = TokenTable.of(wire.tokenizer)

    @property
    def prompt_use(self) -> PromptUse:
        """How much of the prompts the cache has saved so far."""
        return self._reader.use

    # --- the verbs of a core --------------------------------------------------------------------

    @torch.inference_mode()
    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        variable = schema(conditional.corpus).variable(conditional.variable)
        if variable.kind == "closed":
            probability = self._closed(conditional)
            place = {value: i for i, value in enumerate(variable.values)}
            return np.array(
                [probability[place[a]] if a in place else -np.inf for a in answers], np.float64
            )
        distinct = list(dict.fromkeys(answers))
        if not distinct:
            return np.zeros(0)
        tree = PrefixTree.build([self._wire.answer(answer) for answer in distinct])
        scored = dict(zip(distinct, self._score(self._prompt(conditional), tree), strict=True))
        return np.array([scored[answer] for answer in answers])

    @torch.inference_mode()
    def sample_of(
        self, conditional: Conditional, n: int, rng: np.random.Generator, check: Check = unchecked
    ) -> list[str]:
        variable = schema(conditional.corpus).variable(conditional.variable)
        if variable.kind == "closed":
            p = np.exp(self._closed(conditional))
            return [variable.values[i] for i in rng.choice(len(p), size=n, p=p / p.sum())]
        rows = self._sampler.draw(self._prompt(conditional), n, rng, check)
        return [self._wire.tokenizer.decode_value(row) for row in rows]

    @torch.inference_mode()
    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        variable = schema(conditional.corpus).variable(conditional.variable)
        printed = notation.format(
            Draw(conditional.corpus, (Step(conditional.variable),), _short(conditional))
        )
        refuse_open(variable)
        if variable.kind == "enumerable":
            return self._search(conditional, top, printed)
        log_p = self._closed(conditional)
        p = np.exp(log_p)
        order = np.argsort(-p, kind="stable")
        answers = tuple(Answer(variable.values[i], float(p[i])) for i in order)
        entropy = float(-(p[p > 0] * log_p[p > 0]).sum())
        whole = Distribution(printed, "exact", answers, min(float(p.sum()), 1.0), entropy, 0.0, 0)
        return whole.top(top)

    @torch.inference_mode()
    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        if len(options) == 1:
            return np.zeros(1)
        prompt = self._prompt(conditional)
        for piece in partial:
            prompt += self._wire.piece(piece)
        tree = PrefixTree.build(
            [self._wire.piece(o) if o is not None else [self._wire.end] for o in options]
        )
        return _normalised(self._score(prompt, tree, pieces=True))

    @torch.inference_mode()
    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = ANSWER_LIMIT, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        tokenizer = self._wire.tokenizer
        read = self._reader.prompt(self._prompt(conditional) + tokenizer.encode_value(opening))
        guard = None
        if numbers is not None:
            guard = NumberGuard(self._number_tokens, numbers, before=opening)
        cache = read.cache.repeated(1)
        following = read.following
        tokens: list[int] = []
        shown = ""
        while len(tokens) < max_tokens or (guard is not None and guard.is_open):
            scores = following.clone()
            if guard is not None:
                allowed = torch.from_numpy(guard.allowed())
                scores[: len(allowed)][~allowed] = -torch.inf
            if temperature > 0:
                p = torch.softmax(scores.double() / temperature, dim=-1)
                token = int(draw(p.unsqueeze(0), rng)[0])
            else:
                token = int(scores.argmax())
            if token == self._wire.end:
                break
            tokens.append(token)
            if guard is not None:
                guard.push(token)
            # Behind an opening a leading space belongs to the text.
            text = tokenizer.decode(tokens) if opening else tokenizer.decode_value(tokens)
            # A character may take several tokens; it is shown once it is whole.
            if text != shown and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
            following = self._reader.advance(torch.tensor([[token]]), cache)[0]

    # --- reading prompts ------------------------------------------------------------------------

    def _prompt(self, conditional: Conditional) -> list[int]:
        tokens = self._wire.prompt(_document_first(conditional))
        if len(tokens) > PROMPT_LIMIT:
            raise TextTooLong(
                f"The text is too long: {len(tokens)} tokens, the core reads {PROMPT_LIMIT}. "
                "Give a part of it."
            )
        return tokens

    # --- exact scores ---------------------------------------------------------------------------

    def _closed(self, conditional: Conditional) -> NDArray[np.float64]:
        """Log-probabilities of a closed variable's values, normalised over them."""
        values = schema(conditional.corpus).variable(conditional.variable).values
        return _normalised(self._score(self._prompt(conditional), self._tree_of(values)))

    @lru_cache(maxsize=64)  # noqa: B019 - one core lives as long as the process
    def _tree_of(self, values: tuple[str, ...]) -> PrefixTree:
        return PrefixTree.build([self._wire.answer(value) for value in values])

    def _score(
        self, prompt: Sequence[int], tree: PrefixTree, pieces: bool = False
    ) -> NDArray[np.float64]:
        """(n_answers,) log p(answer | prompt): the prompt is read once, then the tree in blocks."""
        read = self._reader.prompt(prompt)
        score = np.zeros(tree.n_nodes)
        roots = tree.children(-1)
        following = self._reader.log_softmax(read.hidden, pieces) if pieces else read.following
        score[roots] = following[torch.from_numpy(tree.token[roots])].double().numpy()
        for block in _blocks(tree):
            self._score_block(read, tree, block, score, pieces)
        leaves = np.flatnonzero(tree.is_leaf())
        leaves = leaves[np.argsort(tree.low[leaves])]
        result = np.empty(len(tree.order))
        # Answers that are spelled by the same tokens share a leaf.
        result[tree.order] = np.repeat(score[leaves], tree.high[leaves] - tree.low[leaves])
        return result

    def _score_block(
        self, read: Prompt, tree: PrefixTree, block: NDArray[np.int64], score: NDArray[np.float64],
        pieces: bool,
    ) -> None:  # fmt: skip
        """Score the children of a block of inner nodes, closed under parents."""
        place = {int(node): i for i, node in enumerate(block)}
        parents = np.array([place.get(int(tree.parent[node]), -1) for node in block])
        hidden = self._reader.branches(read, tree.token[block], parents)
        for start in range(0, len(block), HEAD_ROWS):
            following = self._reader.log_softmax(hidden[start : start + HEAD_ROWS], pieces)
            for row, node in enumerate(block[start : start + HEAD_ROWS]):
                below = tree.children(int(node))
                chosen = following[row, torch.from_numpy(tree.token[below])]
                score[below] = score[node] + chosen.double().numpy()

    # --- open answers ---------------------------------------------------------------------------

    def _search(self, conditional: Conditional, top: int | None, printed: str) -> Distribution:
        """The most probable answers of an enumerable variable."""
        tokens = self._prompt(conditional)
        # The same query has the same error each time, and those of different ones are independent.
        rng = np.random.default_rng(tokens)
        found = search(self._reader, self._wire, self._reader.prompt(tokens), top, rng)
        answers = tuple(Answer(text, float(np.exp(v))) for text, v in found.log_p.items())
        listed = min(sum(a.probability for a in answers), 1.0)
        return Distribution(printed, "exact", answers, listed, found.entropy, found.stderr, found.n)


def _document_first(conditional: Conditional) -> Conditional:
    """The same conditional with its document known first, as it stands in every training row."""
    if conditional.corpus not in corpora.known():
        return conditional
    document = schema(conditional.corpus).document
    known = sorted(conditional.given, key=lambda binding: binding.variable != document)
    return replace(conditional, given=tuple(known))


def _short(conditional: Conditional) -> tuple[notation.Binding, ...]:
    """What is given, without long texts: those are the data of a query, not part of it."""
    return tuple(b for b in conditional.given if len(b.value) <= 60)


def _normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (n,) that sum to one, from scores up to a constant."""
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), np.float64)


def _blocks(tree: PrefixTree) -> Iterator[NDArray[np.int64]]:
    """Inner nodes in blocks of about BLOCK_TOKENS, whole subtrees of the root together."""
    inner = np.flatnonzero(~tree.is_leaf())
    if not len(inner):
        return
    # A node's first answer tells which child of the root it lies under.
    root = np.searchsorted(tree.low[: tree.n_roots], tree.low[inner], side="right") - 1
    order = np.argsort(root, kind="stable")
    inner, root = inner[order], root[order]
    bounds = np.append(np.flatnonzero(np.diff(root)) + 1, len(inner))
    start = 0
    ends = np.append(bounds[1:], len(inner) + BLOCK_TOKENS)
    for bound, following in zip(bounds, ends, strict=True):
        if following - start > BLOCK_TOKENS or bound == len(inner):
            yield np.sort(inner[start:bound])
            start = int(bound)
