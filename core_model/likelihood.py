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
from core_model.prefix_tree import PackedRow, Scored

MAX_BATCH_TOKENS = 3000


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows end to end, N tokens in all, without padding: tokens, positions (1, N).

    masks: for each row, the (T, T) ancestors of its tokens, as the decoder takes them. nodes: (K,)
    places where something is asked; for each of the M targets, target_node (M,) indexes `nodes`,
    target_row (M,) is its row. scored: what the objectives of these rows relate, by row.
    """

    tokens: Tensor
    positions: Tensor
    masks: tuple[Tensor, ...]
    nodes: Tensor
    target_node: Tensor
    target_token: Tensor
    target_weight: Tensor
    target_row: Tensor
    rows: tuple[int, ...]
    scored: tuple[Scored | None, ...]


def batches(rows: Sequence[PackedRow], max_tokens: int = MAX_BATCH_TOKENS) -> list[Batch]:
    """Rows in batches of at most `max_tokens`; `Batch.rows` tells which rows a batch holds."""
    groups: list[list[int]] = [[]]
    filled = 0
    for index, row in enumerate(rows):
        if groups[-1] and filled + len(row.tokens) > max_tokens:
            groups.append([])
            filled = 0
        groups[-1].append(index)
        filled += len(row.tokens)
    return [_collate([rows[i] for i in group], tuple(group)) for group in groups if group]


def _collate(rows: Sequence[PackedRow], numbers: tuple[int, ...]) -> Batch:
    starts = np.cumsum([0, *(len(row.tokens) for row in rows)])
    flat = np.concatenate([r.target_node + start for r, start in zip(rows, starts, strict=False)])
    nodes, inverse = np.unique(flat, return_inverse=True)
    return Batch(
        torch.from_numpy(np.concatenate([r.tokens for r in rows]).astype(np.int64))[None],
        torch.from_numpy(np.concatenate([r.positions() for r in rows]))[None],
        tuple(torch.from_numpy(r.ancestors()) for r in rows),
        torch.from_numpy(nodes),
        torch.from_numpy(inverse),
        torch.from_numpy(np.concatenate([r.target_token for r in rows]).astype(np.int64)),
        torch.from_numpy(np.concatenate([r.target_weight for r in rows])),
        torch.from_numpy(np.repeat(np.arange(len(rows)), [len(r.target_node) for r in rows])),
        numbers,
        tuple(row.scored for row in rows),
    )


def row_losses(decoder: Decoder, batch: Batch, silent: Sequence[int] = ()) -> Tensor:
    """(B,) loss of each row of the batch, nats; `silent` tokens are left out of the softmax."""
    hidden = decoder(batch.tokens, batch.positions, batch.masks)[0, batch.nodes]
    logits = decoder.logits(hidden)
    # In place: a copy of the logits would be the largest tensor of a training step.
    logits[:, list(silent)] = -torch.inf
    normaliser = logits.logsumexp(dim=-1)
    chosen = logits[batch.target_node, batch.target_token]
    surprise = normaliser[batch.target_node] - chosen
    losses = torch.zeros(len(batch.rows))
    losses = losses.index_add(0, batch.target_row, batch.target_weight * surprise)
    if not any(batch.scored):
        return losses
    # Targets stand row by row.
    counts = torch.bincount(batch.target_row, minlength=len(batch.rows))
    of_row = torch.split(surprise, counts.tolist())
    return losses + torch.stack(
        [
            torch.zeros(()) if scored is None else scored.objective(log_p_of(scored, -nats))
            for scored, nats in zip(batch.scored, of_row, strict=True)
        ]
    )


def log_p_of(scored: Scored, log_p: Tensor) -> Tensor:
    """(n_answers,) log-probabilities of scored answers from those of a row's targets (M,)."""
    answers, targets = torch.from_numpy(scored.path_answer), torch.from_numpy(scored.path_target)
    return torch.zeros(scored.n).index_add(0, answers.long(), log_p[targets.long()])
