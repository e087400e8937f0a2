"""Prefix trees of answers, and rows that pack many branches behind one prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model.prefix_tree import PrefixTree, RowBuilder, told_apart
from tests.tiny import every_node

END = 9
ANSWERS = st.lists(
    st.lists(st.integers(0, 3), max_size=5).map(tuple), min_size=1, max_size=12, unique=True
).map(lambda rows: [(*row, END) for row in rows])
FIXED = [(1, 2, END), (1, END), (1, 2, 3, END), (2, 2, END), (END,), (2, 3, 1, END)]
WEIGHTS = np.array([3.0, 2.0, 0.5, 1.5, 1.0, 0.0])


def path(tree: PrefixTree, node: int) -> tuple[int, ...]:
    """The tokens from the root to a node."""
    tokens: list[int] = []
    while node >= 0:
        tokens.append(int(tree.token[node]))
        node = int(tree.parent[node])
    return tuple(reversed(tokens))


def some_weights(answers: Sequence[object]) -> np.ndarray:
    return np.random.default_rng(len(answers)).random(len(answers)) + 0.01


@settings(max_examples=60)
@given(ANSWERS)
def test_the_leaves_are_the_answers(answers: list[tuple[int, ...]]) -> None:
    tree = PrefixTree.build(answers)
    leaves = np.flatnonzero(tree.is_leaf())
    spelled = {path(tree, leaf): answers[tree.order[tree.low[leaf]]] for leaf in leaves}
    assert all(one == other for one, other in spelled.items())
    assert set(spelled) == set(answers)
    assert sorted(tree.order) == list(range(len(answers)))


@settings(max_examples=60)
@given(ANSWERS)
def test_answers_are_told_apart_by_their_shortest_beginnings(
    answers: list[tuple[int, ...]],
) -> None:
    found = told_apart([*answers, answers[0]])
    assert found[-1] == found[0]
    for answer, beginning in zip(answers, found, strict=False):
        end = len(beginning)
        assert end >= 1 and answer[:end] == tuple(beginning)
        assert not any(other[:end] == answer[:end] for other in answers if other != answer)
        shorter = answer[: end - 1]
        assert end == 1 or any(other[: end - 1] == shorter for other in answers if other != answer)


@settings(max_examples=60)
@given(ANSWERS)
def test_children_know_their_parents(answers: list[tuple[int, ...]]) -> None:
    tree = PrefixTree.build(answers)
    seen: list[int] = []
    for node in range(-1, tree.n_nodes):
        below = list(range(tree.n_nodes))[tree.children(node)]
        assert all(tree.parent[child] == node for child in below)
        assert len({int(tree.token[child]) for child in below}) == len(below)
        seen += below
    assert seen == list(range(tree.n_nodes))
    assert all(tree.parent[node] < node for node in range(tree.n_nodes))


@settings(max_examples=60)
@given(ANSWERS)
def test_a_mass_is_that_of_the_answers_below(answers: list[tuple[int, ...]]) -> None:
    tree, weights = PrefixTree.build(answers), some_weights(answers)
    masses = tree.masses(weights)
    for node in range(tree.n_nodes):
        begun = path(tree, node)
        below = [w for a, w in zip(answers, weights, strict=True) if a[: len(begun)] == begun]
        assert masses[node] == pytest.approx(sum(below))
        covered = {answers[i] for i in tree.order[tree.low[node] : tree.high[node]]}
        assert covered == {a for a in answers if a[: len(begun)] == begun}
    assert masses[: tree.n_roots].sum() == pytest.approx(weights.sum())


@settings(max_examples=60)
@given(ANSWERS, st.integers(1, 7), st.integers(0, 2**32))
def test_visits_lead_down_and_stray_less_than_one_draw(
    answers: list[tuple[int, ...]], count: int, seed: int
) -> None:
    """Systematic sampling: a share is its probability rounded down or up to 1/count."""
    tree, weights = PrefixTree.build(answers), some_weights(answers)
    shares = tree.visits(weights, count, np.random.default_rng(seed))
    p = tree.masses(weights) / weights.sum()
    assert shares.pop(-1) == 1.0
    for node, share in shares.items():
        assert not tree.is_leaf()[node]
        assert tree.parent[node] == -1 or int(tree.parent[node]) in shares
        assert abs(share - p[node]) < 1 / count + 1e-9
    missed = [n for n in np.flatnonzero(~tree.is_leaf()) if int(n) not in shares]
    assert all(p[node] < 1 / count + 1e-9 for node in missed)


@pytest.mark.parametrize("favour", [None, np.array([0.2, 1.0, 3.0, 1.0, 0.5, 2.0])])
def test_visits_are_unbiased(favour: np.ndarray | None) -> None:
    """The mean share of a node is its probability, within four standard errors, whichever answers
    are drawn more readily.
    """
    tree, draws, count = PrefixTree.build(FIXED), 600, 2
    inner = np.flatnonzero(~tree.is_leaf())
    p = (tree.masses(WEIGHTS) / WEIGHTS.sum())[inner]
    rng = np.random.default_rng(0)
    shares = np.zeros((draws, len(inner)))
    for row in shares:
        visited = tree.visits(WEIGHTS, count, rng, favour)
        row += [visited.get(int(node), 0.0) for node in inner]
    error = shares.std(axis=0) / np.sqrt(draws)
    assert (abs(shares.mean(axis=0) - p) <= 4 * error + 1e-9).all()


# --- packed rows --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(-1, 9))))
def test_a_packed_row_is_a_tree_in_depth_and_in_sight(
    branches: list[tuple[list[int], int]],
) -> None:
    builder, ends = RowBuilder(), [-1]
    chains: dict[int, tuple[int, ...]] = {-1: ()}
    for tokens, behind in branches:
        after = ends[behind % len(ends)]
        end = builder.extend(tokens, after)
        for place, number in enumerate(range(end - len(tokens) + 1, end + 1)):
            chains[number] = (*chains[after], *tokens[: place + 1])
        ends.append(end)
    builder.answer([END], ends[-1])
    row = builder.build()
    seen, positions = row.ancestors(), row.positions()
    assert len(row.tokens) == len(chains) - 1
    for node in range(len(row.tokens)):
        above = np.flatnonzero(seen[node])
        assert tuple(row.tokens[above]) == chains[node]
        assert list(positions[above]) == list(range(len(above)))
        assert above[-1] == node


def test_an_answer_is_asked_token_by_token() -> None:
    builder = RowBuilder()
    asked = builder.extend([5, 6])
    last = builder.answer([7, 8, END], asked, weight=0.5)
    row = builder.build()
    assert list(row.tokens) == [5, 6, 7, 8]  # the end is only a target
    assert list(row.target_node) == [1, 2, 3]
    assert list(row.target_token) == [7, 8, END]
    assert list(row.target_weight) == [0.5] * 3
    assert (last, row.floor) == (3, 0.0)


def test_the_floor_of_a_tree_is_the_entropy_of_its_answers() -> None:
    """Σ_node p(node) H(next | node) = H(answer)."""
    tree, builder = PrefixTree.build(FIXED), RowBuilder()
    asked = builder.extend([5])
    builder.tree(tree, WEIGHTS, asked, every_node(tree, WEIGHTS), weight=0.5)
    row = builder.build()
    p = WEIGHTS[WEIGHTS > 0] / WEIGHTS.sum()
    assert row.floor == pytest.approx(-0.5 * float((p * np.log(p)).sum()), abs=1e-6)
    by_node = np.bincount(row.target_node, weights=row.target_weight)
    assert by_node[asked] == pytest.approx(0.5)
    assert by_node.sum() == pytest.approx(
        0.5 * sum(q * len(a) for a, q in zip(FIXED, WEIGHTS / WEIGHTS.sum(), strict=True))
    )
