"""The core on the embedded decoder: exact scores over packed prefix trees, and batched sampling.

Every score is a full softmax over plain text and the end mark (other special tokens can't be part
of an answer). The answers of a closed variable are normalised over its values. Prompts are kept
in a small cache, so the next query on the same data does not read it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model import notation
from core_model.core import Answer, Conditional, Core, Distribution
from core_model.corpora import schema
from core_model.decoder import Cache, Decoder
from core_model.errors import CandorError
from core_model.notation import Draw, Step
from core_model.numerals import NumberGuard
from core_model.prefix_tree import PrefixTree
from core_model.wire import Wire

BLOCK_TOKENS = 512
HEAD_ROWS = 256
KEPT_PROMPTS = 6
PROMPT_LIMIT = 2048
ANSWER_LIMIT = 120
SEARCH_ROUNDS = 6
SEARCH_WIDTH = 96
COVERED = 0.9
TAIL_PATHS = 48


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt that was read: its cache and the log-probabilities of its next token (V,)."""

    tokens: tuple[int, ...]
    cache: Cache
    following: Tensor


class TorchCore(Core):
    """Core on a merged decoder; deterministic for a seed and a number of threads."""

    def __init__(self, decoder: Decoder, wire: Wire, name: str = "candor") -> None:
        self.name = name
        self._decoder = decoder
        self._wire = wire
        self._read: OrderedDict[tuple[int, ...], _Read] = OrderedDict()
        blocked = set(wire.tokenizer.special.values()) - {wire.end}
        self._blocked = torch.tensor(sorted(blocked))
        self._guard_tokens = NumberGuard.token_table(wire.tokenizer)

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
    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        variable = schema(conditional.corpus).variable(conditional.variable)
        if variable.kind == "closed":
            p = np.exp(self._closed(conditional))
            return [variable.values[i] for i in rng.choice(len(p), size=n, p=p / p.sum())]
        rows = self._decode(self._prompt(conditional), n, rng)
        return [self._wire.tokenizer.decode_value(row) for row in rows]

    @torch.inference_mode()
    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        variable = schema(conditional.corpus).variable(conditional.variable)
        printed = notation.format(
            Draw(conditional.corpus, (Step(conditional.variable),), _short(conditional))
        )
        if variable.kind == "open":
            raise CandorError(
                f"'{conditional.variable}' is free text: its answers can only be sampled. "
                "Use --method sampled."
            )
        if variable.kind == "enumerable":
            return self._search(conditional, top, printed)
        log_p = self._closed(conditional)
        p = np.exp(log_p)
        order = np.argsort(-p, kind="stable")
        answers = tuple(Answer(variable.values[i], float(p[i])) for i in order)
        entropy = float(-(p[p > 0] * log_p[p > 0]).sum())
        whole = Distribution(printed, "exact", answers, float(p.sum()), entropy, 0.0, 0)
        return whole.top(top)

    @torch.inference_mode()
    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        prompt = self._prompt(conditional)
        for piece in partial:
            prompt += self._wire.piece(piece)
        if len(options) == 1:
            return np.zeros(1)
        tree = PrefixTree.build(
            [self._wire.piece(o) if o is not None else [self._wire.end] for o in options]
        )
        return self._score(prompt, tree)

    @torch.inference_mode()
    def write(
        self, conditional: Conditional, rng: np.random.Generator, numbers: Sequence[str] | None,
        temperature: float = 1.0, max_tokens: int = ANSWER_LIMIT, opening: str = "",
    ) -> Iterator[str]:  # fmt: skip
        prompt = self._prompt(conditional) + self._wire.tokenizer.encode_value(opening)
        read = self._read_prompt(prompt)
        guard = NumberGuard(self._guard_tokens, numbers) if numbers is not None else None
        cache = Cache(list(read.cache.keys), list(read.cache.values))
        following = read.following
        tokens: list[int] = []
        shown = ""
        while len(tokens) < max_tokens:
            scores = following / temperature
            if guard is not None:
                scores = scores.masked_fill(~guard.allowed(), -torch.inf)
            token = int(_draw(torch.softmax(scores, dim=-1).unsqueeze(0), rng)[0])
            if token == self._wire.end:
                break
            tokens.append(token)
            if guard is not None:
                guard.push(token)
            text = self._wire.tokenizer.decode_value(tokens)
            # A character may take several tokens; it is shown once it is whole.
            if not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
            following = self._advance(torch.tensor([[token]]), cache)[0]

    # --- reading prompts ------------------------------------------------------------------------

    def _prompt(self, conditional: Conditional) -> list[int]:
        tokens = self._wire.prompt(conditional)
        if len(tokens) > PROMPT_LIMIT:
            raise CandorError(
                f"The text is too long: {len(tokens)} tokens, the core reads {PROMPT_LIMIT}. "
                "Give a part of it."
            )
        return tokens

    def _read_prompt(self, tokens: Sequence[int]) -> _Read:
        """Read a prompt, starting from the longest one kept that it shares a beginning with."""
        key = tuple(tokens)
        if key in self._read:
            self._read.move_to_end(key)
            return self._read[key]
        shared, best = 0, None
        for kept in self._read.values():
            same = _common(kept.tokens, key)
            if same > shared:
                shared, best = same, kept
        shared = min(shared, len(key) - 1)
        cache = best.cache.cut(shared) if best is not None and shared else Cache()
        new = torch.tensor([key[shared:]])
        positions = torch.arange(shared, len(key)).unsqueeze(0)
        mask = None
        if shared:
            mask = torch.ones(len(key) - shared, len(key), dtype=torch.bool).tril(shared)[None, None]
        hidden = self._decoder(new, positions, mask, cache)
        read = _Read(key, cache, self._log_softmax(hidden[:, -1])[0])
        self._read[key] = read
        while len(self._read) > KEPT_PROMPTS:
            self._read.popitem(last=False)
        return read

    def _log_softmax(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (…, V) of the next token, special tokens but the end left out."""
        logits = self._decoder.logits(hidden)
        logits[..., self._blocked] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    def _advance(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read one more token in each row (B, 1); returns log-probabilities (B, V)."""
        positions = torch.full_like(tokens, cache.length)
        return self._log_softmax(self._decoder(tokens, positions, None, cache)[:, -1])

    # --- exact scores ---------------------------------------------------------------------------

    def _closed(self, conditional: Conditional) -> NDArray[np.float64]:
        """Log-probabilities of a closed variable's values, normalised over them."""
        values = schema(conditional.corpus).variable(conditional.variable).values
        scores = self._score(self._prompt(conditional), self._tree_of(values))
        top = scores.max()
        return scores - top - np.log(np.exp(scores - top).sum())

    @lru_cache(maxsize=64)  # noqa: B019 - one core lives as long as the process
    def _tree_of(self, values: tuple[str, ...]) -> PrefixTree:
        return PrefixTree.build([self._wire.answer(value) for value in values])

    def _score(self, prompt: Sequence[int], tree: PrefixTree) -> NDArray[np.float64]:
        """(n_answers,) log p(answer | prompt): the prompt is read once, then the tree in blocks."""
        read = self._read_prompt(prompt)
        score = np.zeros(tree.n_nodes)
        roots = tree.children(-1)
        score[roots] = read.following[torch.from_numpy(tree.token[roots])].double().numpy()
        for block in _blocks(tree):
            self._score_block(read, tree, block, score)
        leaves = np.flatnonzero(tree.is_leaf())
        result = np.empty(len(tree.order))
        result[tree.order[tree.low[leaves]]] = score[leaves]
        return result

    def _score_block(
        self, read: _Read, tree: PrefixTree, block: NDArray[np.int64], score: NDArray[np.float64]
    ) -> None:
        """Score the children of a block of inner nodes, closed under parents."""
        place = {int(node): i for i, node in enumerate(block)}
        parents = np.array([place.get(int(tree.parent[node]), -1) for node in block])
        hidden = self._read_branches(read, tree.token[block], parents)
        for start in range(0, len(block), HEAD_ROWS):
            following = self._log_softmax(hidden[start : start + HEAD_ROWS])
            for row, node in enumerate(block[start : start + HEAD_ROWS]):
                below = tree.children(int(node))
                chosen = following[row, torch.from_numpy(tree.token[below])]
                score[below] = score[node] + chosen.double().numpy()

    def _read_branches(
        self, read: _Read, tokens: NDArray[np.int64], parents: NDArray[np.int64]
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
        cache = Cache(list(read.cache.keys), list(read.cache.values))
        hidden: Tensor = self._decoder(
            torch.from_numpy(tokens).unsqueeze(0),
            torch.from_numpy(depth + behind).unsqueeze(0),
            torch.from_numpy(mask)[None, None],
            cache,
        )[0]
        return hidden

    # --- open answers ---------------------------------------------------------------------------

    def _decode(self, prompt: Sequence[int], n: int, rng: np.random.Generator) -> list[list[int]]:
        """n independent answers, as tokens without the end."""
        read = self._read_prompt(prompt)
        cache = read.cache.repeated(n)
        tokens = _draw(read.following.exp().expand(n, -1), rng)
        rows: list[list[int]] = [[] for _ in range(n)]
        alive = torch.arange(n)
        for _ in range(ANSWER_LIMIT):
            going = tokens != self._wire.end
            if not bool(going.all()):
                alive, tokens, cache = alive[going], tokens[going], cache.selected(going)
            for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
                rows[row].append(token)
            if len(alive) == 0:
                break
            tokens = _draw(self._advance(tokens.unsqueeze(1), cache).exp(), rng)
        return rows

    def _search(self, conditional: Conditional, top: int | None, printed: str) -> Distribution:
        """Most probable answers of an enumerable variable, by best-first search over token paths.

        Every path more probable than the least of the top answers is followed, so those are
        exact. The rest of the entropy, Σ_paths p(path) H(next | path), comes from `TAIL_PATHS`
        paths drawn among those not followed, each to its end: an unbiased estimate with an error.
        """
        read = self._read_prompt(self._prompt(conditional))
        found: dict[tuple[int, ...], float] = {}
        frontier: dict[tuple[int, ...], float] = {(): 0.0}
        entropy = 0.0
        wanted = top or 200
        for _ in range(SEARCH_ROUNDS if top else 2 * SEARCH_ROUNDS):
            best = sorted(frontier, key=lambda path: -frontier[path])[:SEARCH_WIDTH]
            ranked = sorted(found.values(), reverse=True)
            least = ranked[wanted - 1] if len(ranked) >= wanted else -np.inf
            covered = sum(np.exp(v) for v in found.values())
            if not best or (frontier[best[0]] < least and (top or covered > COVERED)):
                break
            for path, following in zip(best, self._follow(read, best), strict=True):
                score = frontier.pop(path)
                p = following.exp()
                entropy += float(np.exp(score) * -(p * following.clamp(min=-1e9)).sum())
                values, tokens = following.topk(400 if not path else 40)
                for value, token in zip(values.tolist(), tokens.tolist(), strict=True):
                    if token == self._wire.end:
                        found[path] = score + value
                    elif score + value > np.log(1e-6):
                        frontier[(*path, token)] = score + value
        tail, error = self._tail_entropy(read, frontier, np.random.default_rng(0))
        merged: dict[str, float] = {}
        for path, score in found.items():
            text = self._wire.tokenizer.decode_value(path)
            merged[text] = merged.get(text, 0.0) + float(np.exp(score))
        answers = tuple(
            Answer(text, p) for text, p in sorted(merged.items(), key=lambda item: -item[1])
        )[:wanted]
        listed = sum(a.probability for a in answers)
        return Distribution(printed, "exact", answers, listed, entropy + tail, error, 0)

    def _follow(self, read: _Read, paths: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """Log-probabilities (V,) behind each path of tokens."""
        place: dict[tuple[int, ...], int] = {}
        for path in paths:
            for end in range(1, len(path) + 1):
                place.setdefault(path[:end], len(place))
        if not place:
            return [read.following for _ in paths]
        order = sorted(place, key=len)
        place = {prefix: i for i, prefix in enumerate(order)}
        tokens = np.array([prefix[-1] for prefix in order])
        parents = np.array([place.get(prefix[:-1], -1) for prefix in order])
        hidden = self._read_branches(read, tokens, parents)
        wanted = [place[path] for path in paths if path]
        following = iter(self._log_softmax(hidden[wanted]))
        return [next(following) if path else read.following for path in paths]

    def _tail_entropy(
        self, read: _Read, frontier: dict[tuple[int, ...], float], rng: np.random.Generator
    ) -> tuple[float, float]:
        """Σ over paths not followed of p(path) · H(rest | path), with its standard error, nats."""
        if not frontier:
            return 0.0, 0.0
        paths = list(frontier)
        mass = np.exp(np.array([frontier[path] for path in paths]))
        points = (np.arange(TAIL_PATHS) + rng.random()) / TAIL_PATHS * mass.sum()
        drawn = np.minimum(np.searchsorted(np.cumsum(mass), points), len(paths) - 1)
        going = {i: paths[place] for i, place in enumerate(drawn)}
        totals = np.zeros(TAIL_PATHS)
        for _ in range(8):
            if not going:
                break
            following = self._follow(read, list(going.values()))
            for i, row in zip(list(going), following, strict=True):
                p = row.exp()
                totals[i] += float(-(p * row.clamp(min=-1e9)).sum())
                token = int(_draw(p.unsqueeze(0), rng)[0])
                if token == self._wire.end:
                    del going[i]
                else:
                    going[i] = (*going[i], token)
        share = float(mass.sum())
        return share * float(totals.mean()), share * float(totals.std() / np.sqrt(TAIL_PATHS))


def _short(conditional: Conditional) -> tuple[notation.Binding, ...]:
    """What is given, without long texts: those are the data of a query, not part of it."""
    return tuple(b for b in conditional.given if len(b.value) <= 60)


def _draw(probabilities: Tensor, rng: np.random.Generator) -> Tensor:
    """(B,) one index a row of probabilities (B, V), by inverting the cumulative sum."""
    cumulative = probabilities.double().cumsum(dim=-1)
    points = torch.from_numpy(rng.random(len(cumulative))).unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True).squeeze(-1).clamp(
        max=probabilities.shape[-1] - 1
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))


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
    for bound, following in zip(bounds, np.append(bounds[1:], len(inner) + BLOCK_TOKENS), strict=True):
        if following - start > BLOCK_TOKENS or bound == len(inner):
            yield np.sort(inner[start:bound])
            start = int(bound)
