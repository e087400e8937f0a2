"""A core as one GGUF file: the adapter merged in, matrices in float16, norms in float32.

The inverse of `gguf_conversion`: names, the order of rotary rows and the vocabulary go back to
what GGUF's readers expect (llama.cpp, OpenVINO GenAI). The marks of the wire format are rows of
the embedding, so the file answers the same prompts, given as token ids.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model import base_files
from core_model.decoder import DecoderShape
from core_model.errors import StorageError
from core_model.vocabulary import character_of_byte

PRE_TOKENIZER = "smollm"
"""GGUF's name for: single digits, then byte level. No other vocabulary is read by Candor."""
CONTEXT_TOKENS = 8192
_NORMAL, _CONTROL = 1, 3


def export_gguf(
    shape: DecoderShape, weights: Mapping[str, Tensor], vocabulary: Path, name: str, path: Path
) -> None:
    """Write the file, whole or not at all.

    weights: fused and merged, as `Decoder.merged` gives them; without `head` it is the embedding.
    Raises StorageError when the disk fails.
    """
    from gguf import GGUFWriter, LlamaFileType

    try:
        with base_files.temporary(path) as part:
            writer = GGUFWriter(part, "llama")
            writer.add_name(name)
            writer.add_file_type(LlamaFileType.MOSTLY_F16)
            writer.add_context_length(CONTEXT_TOKENS)
            writer.add_embedding_length(shape.hidden)
            writer.add_block_count(shape.layers)
            writer.add_feed_forward_length(shape.intermediate)
            writer.add_head_count(shape.heads)
            writer.add_head_count_kv(shape.kv_heads)
            writer.add_rope_dimension_count(shape.head_size)
            writer.add_rope_freq_base(shape.rope_theta)
            writer.add_layer_norm_rms_eps(shape.norm_eps)
            writer.add_vocab_size(shape.vocabulary)
            _add_vocabulary(writer, vocabulary)
            for key, values in _tensors(shape, weights):
                writer.add_tensor(key, values)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
    except OSError as error:
        raise StorageError(f"Could not write {path}: {error.strerror or error}.") from error


def _tensors(
    shape: DecoderShape, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    def matrix(values: Tensor) -> NDArray[np.generic]:
        return values.float().numpy().astype(np.float16)

    def norm(key: str) -> NDArray[np.generic]:
        return weights[key].float().numpy()

    yield "token_embd.weight", matrix(weights["embed"])
    if "head" in weights:
        yield "output.weight", matrix(weights["head"])
    yield "output_norm.weight", norm("norm")
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        q, k, v = torch.split(weights[f"{layer}.qkv"], [queries, keys, keys])
        gate, up = weights[f"{layer}.gate_up"].chunk(2)
        yield f"{block}.attn_norm.weight", norm(f"{layer}.attention_norm")
        yield f"{block}.attn_q.weight", permute(matrix(q), shape.heads)
        yield f"{block}.attn_k.weight", permute(matrix(k), shape.kv_heads)
        yield f"{block}.attn_v.weight", matrix(v)
        yield f"{block}.attn_output.weight", matrix(weights[f"{layer}.out"])
        yield f"{block}.ffn_norm.weight", norm(f"{layer}.mlp_norm")
        yield f"{block}.ffn_gate.weight", matrix(gate)
        yield f"{block}.ffn_up.weight", matrix(up)
        yield f"{block}.ffn_down.weight", matrix(weights[f"{layer}.down"])


def permute(weights: NDArray[np.generic], heads: int) -> NDArray[np.generic]:
    """Rows (heads·d, hidden) of a query or key projection in GGUF's interleaved rotary order."""
    rows, hidden = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, hidden)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, hidden))


def _add_vocabulary(writer: object, vocabulary: Path) -> None:
    from gguf import GGUFWriter

    assert isinstance(writer, GGUFWriter)
    content = json.loads(vocabulary.read_text(encoding="utf-8"))
    special = set(content["special"].values())
    tokens, merges = spelled(content)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if i in special else _NORMAL for i in range(len(tokens))])
    writer.add_token_merges(merges)
    end = content["special"]["<|im_end|>"]
    writer.add_bos_token_id(content["special"]["<|im_start|>"])
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def spelled(content: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Tokens of a `vocab.json` in GPT-2's printable characters, special ones as they are, and the
    merges between two of them, parted by a space.
    """
    special, written = set(content["special"].values()), character_of_byte()
    tokens = [base64.b64decode(token) for token in content["tokens"]]
    plain = {token: i for i, token in enumerate(tokens) if i not in special}

    def printable(token: bytes) -> str:
        return "".join(written[byte] for byte in token)

    names = [t.decode() if i in special else printable(t) for i, t in enumerate(tokens)]
    return names, [" ".join(map(printable, merge)) for merge in merges_of(plain)]


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The merges of a byte-level vocabulary, from its tokens by rank.

    A token's merge joins what its bytes come to by the merges of lower rank: two parts.
    """
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _merged(token, ranks, rank)
            if len(parts) == 2:
                merges.append((parts[0], parts[1]))
    return merges


def _merged(token: bytes, ranks: Mapping[bytes, int], below: int) -> Sequence[bytes]:
    """The bytes of a token after all merges of rank less than `below`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        found = [(ranks.get(a + b, below), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, place = min(found, default=(below, 0))
        if rank >= below:
            return parts
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
