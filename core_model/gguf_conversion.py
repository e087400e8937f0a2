"""A GGUF file of the llama architecture as the three files this program reads.

1. The metadata become a Hugging Face `config.json`.
2. The vocabulary becomes `vocab.json`.
3. Every tensor is dequantised, renamed, its rotary rows put back in order, rounded to bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_model import base_files
from core_model.base_files import CONFIG, MANIFEST, VOCAB, WEIGHTS, Progress
from core_model.errors import WeightsError
from core_model.vocabulary import vocabulary_of

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray

_CONTROL_TOKEN = 3  # GGUF's token type of special tokens


def convert_gguf(gguf: Path, folder: Path, progress: Progress, source_sha256: str) -> None:
    """Write weights, config, vocabulary and, last, the manifest of `gguf` into `folder`.

    A failure or an interrupt removes everything written. Raises WeightsError when the file is not a
    GGUF, or not one this program can read; OSError and SafetensorError when the disk fails.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{gguf.name} is not a readable GGUF file: {error}.") from error
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        config = _config(reader)
        base_files.write(folder / CONFIG, json.dumps(config, indent=2).encode())
        base_files.write(folder / VOCAB, json.dumps(_vocabulary(reader)).encode())
        _write_weights(folder / WEIGHTS, reader, config, progress)
        base_files.write_manifest(folder, source_sha256)
    except BaseException:
        for name in (WEIGHTS, CONFIG, VOCAB, MANIFEST):
            (folder / name).unlink(missing_ok=True)
        raise


def _write_weights(
    target: Path, reader: GGUFReader, config: Mapping[str, Any], progress: Progress
) -> None:
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for index, tensor in enumerate(reader.tensors):
        name = hugging_face_name(tensor.name)
        values = dequantize(tensor.data, tensor.tensor_type)
        values = values.reshape([int(size) for size in reversed(tensor.shape)])
        if name.endswith("q_proj.weight"):
            values = unpermute(values, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            values = unpermute(values, config["num_key_value_heads"])
        tensors[name] = torch.tensor(values, dtype=torch.bfloat16)  # copies out of the file
        progress("convert", (index + 1) / (len(reader.tensors) + 1))
    with base_files.temporary(target) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    progress("convert", 1.0)


_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`.

    Raises WeightsError for a tensor that a llama model does not have.
    """
    if name in _OUTER:
        return _OUTER[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _INNER and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_INNER[parts[2]]}.weight"
    raise WeightsError(f"The GGUF file holds a tensor this program does not know: {name}.")


def unpermute(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a query or key projection, from interleaved back to split-half rotary order.

    GGUF stores the two rows that one rotation mixes next to each other: its row 2i+j of a head is
    row i + j·d/2 of the original, d the head size. weights: (heads·d, hidden), as is the result.
    """
    rows, hidden = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, hidden)
    return pairs.swapaxes(1, 2).reshape(rows, hidden)


def _config(reader: GGUFReader) -> dict[str, Any]:
    architecture = _field(reader, "general.architecture")
    if architecture != "llama":
        raise WeightsError(f"The GGUF file holds a {architecture!r} model, not a 'llama' one.")
    hidden = int(_field(reader, "llama.embedding_length"))
    heads = int(_field(reader, "llama.attention.head_count"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": int(_field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(_field(reader, "llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(_field(reader, "llama.attention.head_count_kv")),
        "head_dim": hidden // heads,
        "rms_norm_eps": _shortest(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(_field(reader, "llama.rope.freq_base")),
        "max_position_embeddings": int(_field(reader, "llama.context_length")),
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "bos_token_id": int(_field(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(_field(reader, "tokenizer.ggml.eos_token_id")),
        "torch_dtype": "bfloat16",
    }


def _shortest(value: float) -> float:
    """The shortest decimal that is `value` in float32: GGUF rounds 1e-5 to 9.99999975e-06."""
    import numpy as np

    return float(np.format_float_scientific(np.float32(value)))


def _vocabulary(reader: GGUFReader) -> dict[str, Any]:
    model = _field(reader, "tokenizer.ggml.model")
    if model != "gpt2":
        raise WeightsError(f"The GGUF file has a {model!r} tokenizer, not a 'gpt2' one.")
    tokens: Sequence[str] = _field(reader, "tokenizer.ggml.tokens")
    kinds: Sequence[int] = _field(reader, "tokenizer.ggml.token_type")
    special = {tokens[i]: i for i, kind in enumerate(kinds) if kind == _CONTROL_TOKEN}
    return vocabulary_of(tokens, special, _field(reader, "tokenizer.ggml.merges"))


def _field(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise WeightsError(f"The GGUF file has no field {key}.")
    return field.contents()
