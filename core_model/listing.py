"""All answers that a variable can have, where a corpus lists them and they are too many to score.

An engine that sees every token's probability keeps to the list token by token: what may follow is
what leads on to a listed answer, and has its share of the mass of all that may. So nothing is drawn
that is not listed, the listed sum to one, and each is at least as probable as without the list:
KL(r ‖ core) can only fall, for any distribution r of listed answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model.prefix_tree import PrefixTree
from core_model.wire import Wire

ROOT, OUTSIDE = -1, -2
"""Places in a list: before the first token, and where no listed answer begins so."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Listing:
    """The listed answers as a prefix tree; the nodes of the tree are its places."""

    tree: PrefixTree

    @cached_property
    def widths(self) -> Ints:
        """(n_nodes + 1,) how many tokens may follow each place, the root last."""
        return np.bincount(np.where(self.tree.parent < 0, self.tree.n_nodes, self.tree.parent),
                           minlength=self.tree.n_nodes + 1)  # fmt: skip

    @classmethod
    def of(cls, wire: Wire, values: Sequence[str]) -> Listing:
        """The list of these values."""
        return cls(PrefixTree.build([wire.answer(value) for value in values]))

    def behind(self, place: int, token: int) -> int:
        """The place behind a token; OUTSIDE where it may not follow."""
        if place == OUTSIDE:
            return OUTSIDE
        below = self.tree.children(place)
        tokens = self.tree.token[below]
        found = int(np.searchsorted(tokens, token))
        return below.start + found if found < len(tokens) and tokens[found] == token else OUTSIDE

    def at(self, path: Sequence[int]) -> int:
        """The place behind a path of tokens."""
        place = ROOT
        for token in path:
            place = self.behind(place, token)
        return place

    def places(self, tree: PrefixTree) -> Ints:
        """(n_nodes,) the place of each node of a tree of answers."""
        found = np.empty(tree.n_nodes, np.int64)
        for node, (token, parent) in enumerate(zip(tree.token, tree.parent, strict=True)):
            found[node] = self.behind(ROOT if parent < 0 else int(found[parent]), int(token))
        return found

    def following(self, places: Sequence[int] | Ints) -> tuple[Ints, Ints]:
        """(n + 1,) bounds and the tokens between them that may follow each of n places."""
        below = [self.tree.token[self.tree.children(int(place))] for place in places]
        bounds = np.concatenate([[0], np.cumsum([len(tokens) for tokens in below])])
        return bounds, np.concatenate(below) if below else np.zeros(0, np.int64)

    def forced(self, place: int) -> list[int]:
        """The tokens that must follow a place, until there is a choice or the answer ends."""
        tokens = list[int]()
        while place != OUTSIDE and self.widths[place] == 1:
            place = self.tree.children(place).start
            tokens.append(int(self.tree.token[place]))
        return tokens

    def undecided(self, tree: PrefixTree, places: Ints) -> NDArray[np.bool_]:
        """(n_nodes,) the nodes of a tree of answers at or behind which there is a choice.

        places: those of the nodes. Behind all others what follows is certain, and need not be read.
        """
        found: NDArray[np.bool_] = (places != OUTSIDE) & (self.widths[places] > 1)
        for node in range(tree.n_nodes - 1, tree.n_roots - 1, -1):
            found[tree.parent[node]] |= found[node]
        return found

    def kept(self, place: int, log_p: Tensor) -> Tensor:
        """(V,) log p of the next token, of those alone that may follow a place."""
        allowed = torch.from_numpy(self.tree.token[self.tree.children(place)])
        out = torch.full_like(log_p, -torch.inf)
        out[allowed] = torch.log_softmax(log_p[allowed], dim=-1)
        return out
