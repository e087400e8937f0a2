"""The likelihood objective on packed rows, with exact soft targets.

loss(row) = Σ_j w_j · -log p(token_j | ancestors of node_j), nats. Where the true distribution is
known the targets are it, at every node of the answers' prefix tree, so the expected loss is the
cross-entropy H(true, core) and `loss - floor` is KL(true ‖ core).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core_model.decoder import Decoder
from core_model.prefix_tree import PackedRow

MAX_BATCH_TOKENS = 3000


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length: tokens, positions (B, T); mask (B, 1, T, T).

    nodes: (K,) flat positions b·T + t where something is asked; for each of the M targets,
    target_node (M,) indexes `nodes`, target_row (M,) is its row.
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    nodes: Tensor
    target_node: Tensor
    target_token: Tensor
    target_weight: Tensor
    target_row: Tensor
    rows: tuple[int, ...]


def batches(rows: Sequence[PackedRow], max_tokens: int = MAX_BATCH_TOKENS) -> list[Batch]:
    """Rows in batches of similar length; `Batch.rows` tells which rows a batch holds."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].tokens))
    groups: list[list[int]] = [[]]
    for index in order:
        # Lengths ascend, so this row's length is what the whole group would be padded to.
        if groups[-1] and (len(groups[-1]) + 1) * len(rows[index].tokens) > max_tokens:
            groups.append([])
        groups[-1].append(index)
    return [_collate([rows[i] for i in group], tuple(group)) for group in groups if group]


def _collate(rows: Sequence[PackedRow], numbers: tuple[int, ...]) -> Batch:
    count, length = len(rows), max(len(r.tokens) for r in rows)
    tokens = np.zeros((count, length), np.int64)
    positions = np.zeros((count, length), np.int64)
    mask = np.zeros((count, 1, length, length), bool)
    mask[:, 0, np.arange(length), np.arange(length)] = True  # a padded token sees itself
    for b, row in enumerate(rows):
        n = len(row.tokens)
        tokens[b, :n] = row.tokens
        positions[b, :n] = row.positions()
        mask[b, 0, :n, :n] = row.ancestors()
    flat = np.concatenate([row.target_node + b * length for b, row in enumerate(rows)])
    row_of = [np.full(len(row.target_node), b) for b, row in enumerate(rows)]
    nodes, inverse = np.unique(flat, return_inverse=True)
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(mask),
        torch.from_numpy(nodes),
        torch.from_numpy(inverse),
        torch.from_numpy(np.concatenate([r.target_token for r in rows]).astype(np.int64)),
        torch.from_numpy(np.concatenate([r.target_weight for r in rows])),
        torch.from_numpy(np.concatenate(row_of)),
        numbers,
    )  # fmt: skip


def row_losses(decoder: Decoder, batch: Batch, silent: Sequence[int] = ()) -> Tensor:
    """(B,) loss of each row of the batch, nats; `silent` tokens are left out of the softmax."""
    hidden = decoder(batch.tokens, batch.positions, batch.mask).flatten(0, 1)[batch.nodes]
    logits = decoder.logits(hidden)
    # In place: a copy of the logits would be the largest tensor of a training step.
    logits[:, list(silent)] = -torch.inf
    normaliser = logits.logsumexp(dim=-1)
    chosen = logits[batch.target_node, batch.target_token]
    surprise = normaliser[batch.target_node] - chosen
    losses = torch.zeros(len(batch.rows))
    return losses.index_add(0, batch.target_row, batch.target_weight * surprise)
