"""Prefix trees of answers, and rows that pack a prompt with many answers into one sequence.

A row is a tree of tokens: each has a parent, attends to its ancestors only, and stands at the
position of its depth, so a packed row gives every branch the logits it would have alone. All is
kept in flat arrays; nothing is looked up node by node inside a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """The prefix tree of a set of token sequences, none of which is a prefix of another.

    order: (n_answers,) answers in tree order. Nodes stand in breadth-first order; node i covers
    answers order[low[i]:high[i]] and its children are first_child[i] up to first_child[i+1].
    The virtual root is -1; its children are the first `n_roots` nodes.
    """

    order: Ints
    token: Ints
    parent: Ints
    low: Ints
    high: Ints
    first_child: Ints
    n_roots: int

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> PrefixTree:
        """Tree of the sequences; each ends with a token that stands nowhere else in it."""
        lengths = np.array([len(s) for s in sequences])
        width = int(lengths.max())
        table = np.full((len(sequences), width), -1, np.int64)
        for row, sequence in enumerate(sequences):
            table[row, : len(sequence)] = sequence
        order = np.lexsort(table.T[::-1])
        table, lengths = table[order], lengths[order]
        starts_new = np.zeros(len(sequences), bool)
        starts_new[0] = True
        node_of_row = np.full(len(sequences), -1, np.int64)
        tokens, parents, lows, highs = [], [], [], []
        made = 0
        n_roots = 0
        for depth in range(width):
            starts_new[1:] |= table[1:, depth] != table[:-1, depth]
            inside = lengths > depth
            starts = np.flatnonzero(starts_new & inside)
            group = np.cumsum(starts_new & inside) - 1
            sizes = np.bincount(group[inside], minlength=len(starts))
            tokens.append(table[starts, depth])
            parents.append(node_of_row[starts])
            lows.append(starts)
            highs.append(starts + sizes)
            node_of_row = np.where(inside, made + group, node_of_row)
            made += len(starts)
            n_roots = n_roots or made
        parent = np.concatenate(parents)
        children = np.bincount(parent[parent >= 0], minlength=made)
        first_child = n_roots + np.concatenate([[0], np.cumsum(children)])
        return cls(
            order, np.concatenate(tokens), parent, np.concatenate(lows), np.concatenate(highs),
            first_child, n_roots,
        )  # fmt: skip

    @property
    def n_nodes(self) -> int:
        """Number of nodes, without the virtual root."""
        return len(self.token)

    def is_leaf(self) -> NDArray[np.bool_]:
        """(n_nodes,) whether a node ends an answer."""
        leaf: NDArray[np.bool_] = np.diff(self.first_child) == 0
        return leaf

    def root_of(self, nodes: Ints) -> Ints:
        """Which child of the root each of the nodes is, or lies under."""
        # A node's first answer tells.
        return np.searchsorted(self.low[: self.n_roots], self.low[nodes], side="right") - 1

    def even(self) -> Floats:
        """(n_nodes,) log of a node's share of its parent's answers; the root's children have 0."""
        n_answers = self.high - self.low
        above = np.where(self.parent < 0, n_answers, n_answers[self.parent])
        return np.asarray(np.log(n_answers / above), np.float64)

    def masses(self, weights: Floats) -> Floats:
        """(n_nodes,) sum of the answers' weights below each node; weights: (n_answers,)."""
        cumulative = np.concatenate([[0.0], np.cumsum(weights[self.order])])
        below: Floats = cumulative[self.high] - cumulative[self.low]
        return below

    def sequences(self) -> list[list[int]]:
        """The answers' tokens, in the order in which they were given."""
        paths: list[list[int]] = []
        found: list[list[int]] = [[] for _ in self.order]
        for node, is_leaf in enumerate(self.is_leaf()):
            parent = int(self.parent[node])
            paths.append([*(paths[parent] if parent >= 0 else ()), int(self.token[node])])
            if is_leaf:
                # Answers that are spelled by the same tokens share a leaf.
                for answer in self.order[self.low[node] : self.high[node]]:
                    found[answer] = paths[node]
        return found

    def children(self, node: int) -> slice:
        """The node numbers of a node's children; -1 is the root."""
        if node < 0:
            return slice(0, self.n_roots)
        return slice(int(self.first_child[node]), int(self.first_child[node + 1]))

    def children_of(self, nodes: Ints) -> tuple[Ints, Ints]:
        """(places, children): every child of `nodes` (no root), and the place of its parent."""
        starts = self.first_child[nodes]
        counts = self.first_child[nodes + 1] - starts
        places = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, starts[places] + within

    def visits(
        self, weights: Floats, count: int, rng: np.random.Generator, favour: Floats | None = None
    ) -> dict[int, float]:
        """Nodes on the way to `count` answers drawn by systematic sampling, with their shares.

        The expected share of a node is its probability: an unbiased choice of the nodes of
        E_answer Σ_node KL(node) with little variance. Leaves are left out; the root has share 1.
        favour: (n_answers,) factors of the chance to be drawn; shares are divided by them again.
        """
        favour = np.ones(len(weights)) if favour is None else favour
        cumulative = np.cumsum((weights * favour)[self.order])
        worth = cumulative[-1] / weights.sum() / count / favour[self.order]
        points = (np.arange(count) + rng.random()) / count * cumulative[-1]
        drawn = np.minimum(np.searchsorted(cumulative, points, side="right"), len(cumulative) - 1)
        shares: dict[int, float] = {-1: 1.0}
        for position in drawn:
            node = -1
            while True:
                below = self.children(node)
                child = below.start + int(
                    np.searchsorted(self.low[below], position, side="right") - 1
                )
                if self.first_child[child] == self.first_child[child + 1]:
                    break
                shares[child] = shares.get(child, 0.0) + float(worth[position])
                node = child
        return shares


Objective = Callable[["Tensor"], "Tensor"]
"""A loss (scalar, nats) of the log-probabilities (n_answers,) of the answers that a row scores."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers whose log-probabilities are computed, and the objective that relates them.

    Answer path_answer[i] has target path_target[i] on its path, both (n_links,); n answers.
    """

    path_answer: NDArray[np.int32]
    path_target: NDArray[np.int32]
    n: int
    objective: Objective


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A tree of tokens with what is asked of it.

    tokens, parents: (n_tokens,), a parent stands before its children, -1 has none.
    Soft targets: at token target_node[j] the next token is target_token[j] with weight
    target_weight[j]; the loss is Σ_j target_weight[j] · -log p(target_token[j] | ancestors).
    floor: the part of that loss which the targets' own entropy makes unavoidable, nats.
    scored: an objective that is added to the loss; its targets have weight 0.
    """

    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    target_node: NDArray[np.int32]
    target_token: NDArray[np.int32]
    target_weight: NDArray[np.float32]
    floor: float = 0.0
    scored: Scored | None = None

    def positions(self) -> NDArray[np.int32]:
        """(n_tokens,) depth of each token."""
        depth = np.zeros(len(self.tokens), np.int32)
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                depth[index] = depth[parent] + 1
        return depth

    def ancestors(self) -> NDArray[np.bool_]:
        """(n_tokens, n_tokens) whether column is row's ancestor or the row's token itself."""
        n = len(self.tokens)
        mask = np.zeros((n, n), bool)
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                mask[index, : parent + 1] = mask[parent, : parent + 1]
            mask[index, index] = True
        return mask


def told_apart(answers: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The shortest beginning of each answer that no other has, of one token at least.

    Equal answers have the same, and one that another begins with is whole.
    """
    ordered = sorted(set(map(tuple, answers)))
    shared = [common_length(one, other) for one, other in pairwise(ordered)]
    ends = map(max, [0, *shared], [*shared, 0])
    kept = {answer: answer[: end + 1] for answer, end in zip(ordered, ends, strict=True)}
    return [kept[tuple(answer)] for answer in answers]


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


class RowBuilder:
    """Puts a packed row together, branch by branch."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._nodes: list[NDArray[np.int32]] = []
        self._targets: list[NDArray[np.int32]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._floor = 0.0
        self._n_targets = 0
        self._paths: list[list[int]] = []
        self._prompts: dict[tuple[int, int], int] = {}

    def extend(self, tokens: Sequence[int], after: int = -1) -> int:
        """Add a chain of tokens behind a token; returns the index of its last."""
        for token in tokens:
            self._tokens.append(token)
            self._parents.append(after)
            after = len(self._tokens) - 1
        return after

    def prompt(self, tokens: Sequence[int]) -> int:
        """Add a prompt from the root, along what earlier prompts share with it; its last token."""
        after = -1
        for token in tokens:
            shared = self._prompts.get((after, token))
            if shared is None:
                shared = self._prompts[after, token] = self.extend([token], after)
            after = shared
        return after

    def answer(self, tokens: Sequence[int], after: int, weight: float = 1.0) -> int:
        """Add a chain and ask for each of its tokens; its last token is only a target.

        Returns the index of the last token that stands in the row.
        """
        nodes = [after]
        for token in tokens[:-1]:
            nodes.append(self.extend([token], nodes[-1]))
        self._add(np.array(nodes), np.array(tokens), np.full(len(tokens), weight))
        return nodes[-1]

    def tree(
        self, tree: PrefixTree, weights: Floats, after: int, shares: dict[int, float],
        weight: float = 1.0,
    ) -> None:  # fmt: skip
        """Ask for the exact distribution over a tree's answers at the nodes in `shares`.

        weights: (n_answers,), any scale. A node's loss counts by its share; its ancestors must be
        in `shares` too (`PrefixTree.visits` gives such a choice).
        """
        masses = tree.masses(weights)
        index_of = {-1: after}
        for node in sorted(shares):
            if node >= 0:
                index_of[node] = self.extend(
                    [int(tree.token[node])], index_of[int(tree.parent[node])]
                )
            below = tree.children(node)
            mass = masses[below]
            likely = mass > 0
            probability = mass[likely] / mass.sum()
            scaled = shares[node] * weight * probability
            self._add(np.full(len(scaled), index_of[node]), tree.token[below][likely], scaled)
            self._floor -= float((scaled * np.log(probability)).sum())

    def score(self, tree: PrefixTree, after: int) -> slice:
        """Compute log p of every answer of a tree behind a token, for the row's objective.

        Returns the answers' places among all that the row scores, in the tree's own order of
        answers as they were given to `PrefixTree.build`.
        """
        leaf = tree.is_leaf()
        paths: list[list[int]] = [[] for _ in range(tree.n_nodes)]
        index_of = {-1: after}
        for node in range(tree.n_nodes):
            parent = int(tree.parent[node])
            paths[node] = [*(paths[parent] if parent >= 0 else ()), self._n_targets]
            token = tree.token[node : node + 1]
            self._add(np.array([index_of[parent]]), token, np.zeros(1))
            if not leaf[node]:
                index_of[node] = self.extend([int(token[0])], index_of[parent])
        first = len(self._paths)
        self._paths += [[] for _ in tree.order]
        for end in np.flatnonzero(leaf):
            for answer in tree.order[tree.low[end] : tree.high[end]]:
                self._paths[first + int(answer)] = paths[end]
        return slice(first, len(self._paths))

    def score_path(self, tokens: Sequence[int], after: int, lengths: Sequence[int]) -> slice:
        """Compute log p of a chain's first tokens behind a token, for each of these lengths.

        Returns their places among all that the row scores.
        """
        nodes = [after]
        for token in tokens[:-1]:
            nodes.append(self.extend([token], nodes[-1]))
        begin, first = self._n_targets, len(self._paths)
        self._add(np.array(nodes), np.array(tokens), np.zeros(len(tokens)))
        self._paths += [list(range(begin, begin + length)) for length in lengths]
        return slice(first, len(self._paths))

    def _add(self, nodes: NDArray[np.int64], tokens: NDArray[np.int64], weights: Floats) -> None:
        self._nodes.append(nodes.astype(np.int32))
        self._targets.append(tokens.astype(np.int32))
        self._weights.append(weights.astype(np.float32))
        self._n_targets += len(nodes)

    def build(self, objective: Objective | None = None) -> PackedRow:
        """The row; with what `score` was asked for, its objective."""
        scored = None
        if objective is not None:
            lengths = [len(path) for path in self._paths]
            scored = Scored(
                np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
                np.concatenate(self._paths).astype(np.int32),
                len(lengths),
                objective,
            )
        return PackedRow(
            np.array(self._tokens, np.int32),
            np.array(self._parents, np.int32),
            np.concatenate(self._nodes),
            np.concatenate(self._targets),
            np.concatenate(self._weights),
            self._floor,
            scored,
        )
