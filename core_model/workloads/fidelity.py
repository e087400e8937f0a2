"""How near the engines come to the decoder in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core_model import corpora
from core_model.decoder import Decoder
from core_model.measures.result import Floats
from core_model.notation import Binding
from core_model.openvino_sampler import RULED_OUT, OpenVinoSampler
from core_model.planning import Conditional
from core_model.wire import Wire
from core_model.workloads.engines import Bench

PASSAGES, TEXTS, TOKENS = 12, 8, 32


@torch.inference_mode()
def fidelity(bench: Bench) -> dict[str, float]:
    """KL(engine ‖ the float32 decoder) of the next token, nats a token.

    scores: the mean over the tokens of PASSAGES held-out passages; so of llama.cpp, which reads the
    core's weights from a GGUF file, where it is installed. samples: of TEXTS texts of at
    most TOKENS tokens that the engine draws behind the first half of each of these passages,
    estimated from its own log-probabilities of what it drew.
    """
    records = corpora.load("speeches").records("held_out")
    wire, scorer = bench.core._wire, bench.core._reader._decoder
    sampler = OpenVinoSampler(bench.sampler_files, wire.end)
    of_scores, of_draws, of_llama = list[float](), list[float](), list[float]()
    for record in records[:: max(1, len(records) // PASSAGES)]:
        given = (Binding("author", record.values["author"]),)
        prompt = wire.prompt(Conditional("speeches", "text", given))
        row = prompt + wire.answer(record.values["text"])
        of = slice(len(prompt) - 1, len(row) - 1)
        log_q, log_p = (next_log_p(decoder, row, wire)[of] for decoder in (scorer, bench.exact))
        of_scores += kl(log_q, log_p)
        if (llama := bench.llama_cpp) is not None:
            llama.reset()
            llama.eval(row)
            of_llama += kl(text_log_p(torch.tensor(llama.scores[: len(row)]), wire)[of], log_p)
        begun = row[: (len(prompt) + len(row)) // 2]
        for text, own in sampler.draw_scored(begun, TEXTS, bench.rng, limit=TOKENS):
            log_p = next_log_p(bench.exact, begun + text, wire)[len(begun) - 1 : -1]
            of_draws += kl_terms(own, log_p[range(len(text)), text].numpy()).tolist()
    found = {"candor, scores": of_scores, "candor, samples": of_draws, "llama.cpp": of_llama}
    return {engine: float(np.mean(terms)) for engine, terms in found.items() if terms}


@torch.inference_mode()
def next_log_p(decoder: Decoder, row: Sequence[int], wire: Wire) -> Tensor:
    """(T, V) log p of the next token of a text behind each token of a row."""
    tokens = torch.tensor([row], device=decoder.device)
    positions = torch.arange(len(row), device=decoder.device)[None]
    return text_log_p(decoder.logits(decoder(tokens, positions, None))[0].cpu(), wire)


def text_log_p(logits: Tensor, wire: Wire) -> Tensor:
    """(T, V) log p of the next token of a text from logits (T, V)."""
    logits = logits.double()
    logits[:, wire.never_in_text(logits.shape[1])] = RULED_OUT
    return torch.log_softmax(logits, dim=-1)


def kl(log_q: Tensor, log_p: Tensor) -> list[float]:
    """KL(q ‖ p) of each row (T, V), nats."""
    divergences: list[float] = (log_q.exp() * (log_q - log_p)).sum(dim=1).tolist()
    return divergences


def kl_terms(log_q: Floats, log_p: Floats) -> Floats:
    """(T,) r - 1 - log r, r = p / q at tokens drawn from q; their mean estimates KL(q ‖ p), nats.

    E_q[r] = 1, so r - 1 moves no mean, and takes away most of the variance of -log r. Schulman
    2020, "Approximating KL divergence".
    """
    return np.expm1(log_p - log_q) - (log_p - log_q)
