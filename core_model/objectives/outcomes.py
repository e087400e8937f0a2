"""What an objective compares beside the answers that are scored: how much they have together."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-6
"""All other answers hold this much at least: a logarithm is taken of it."""


def split(log_p: Tensor) -> Tensor:
    """log p of all the answers together and of all others, (…, 2), from (…, n) of each.

    Among a few answers that are drawn at random the true one has nearly all there is, however it is
    asked for. What competes with it is seen in the share of those that were not drawn. This gap is
    added to that among the answers, and does not stand for it: two relations that hold none of the
    answers possible would agree.
    """
    together = torch.logsumexp(log_p, dim=-1).clamp_max(0.0)
    others = (1 - together.exp()).clamp_min(LEAST).log()
    return torch.stack([together, others], dim=-1)
