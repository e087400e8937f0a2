"""A core in files that other programs read: one GGUF, or a folder in Hugging Face's form.

Both hold the merged weights. The marks of the wire format never stand in a text, but another
program's softmax runs over the whole vocabulary; so their rows in the head are exchanged for one
that points away from the hidden states, and they get no probability.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from core_model import base_files, corpora
from core_model.adapter import FIRST_CORPORA
from core_model.decoder import Decoder, DecoderShape
from core_model.errors import StorageError
from core_model.gguf_export import CONTEXT_TOKENS, export_gguf, spelled
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.wire import Wire

PASSAGES = 10
QUIET = 80.0
RIDGE = 0.3


def export_core(
    shape: DecoderShape, weights: Mapping[str, Tensor], vocabulary: Path, wire: Wire, path: Path,
    learnt: Sequence[str] = FIRST_CORPORA,
) -> None:  # fmt: skip
    """Write the core to `path`: a GGUF where it ends so, else a new folder.

    weights: fused and merged. learnt: the corpora the core knows. Raises StorageError when the
    disk fails or something is there.
    """
    if path.exists():
        raise StorageError(f"{path} is there already. Give another name, or delete it first.")
    weights = {**weights, "head": quiet_head(shape, weights, wire, known_prompts(wire, learnt))}
    if path.suffix == ".gguf":
        export_gguf(shape, weights, vocabulary, "candor", path)
    else:
        _export_folder(shape, weights, vocabulary, path)


def known_prompts(wire: Wire, learnt: Sequence[str]) -> list[list[int]]:
    """Prompts of many kinds: every variable asked alone, and passages with their authors."""
    prompts = [
        wire.prompt(Conditional(corpus, variable.name))
        for corpus in learnt
        if corpus in corpora.known()
        for variable in corpora.schema(corpus).variables
    ]
    records = corpora.load("speeches").records("train")
    for record in records[:: len(records) // PASSAGES]:
        asked = Conditional("speeches", "author", (Binding("text", record.values["text"]),))
        prompts.append(wire.prompt(asked) + wire.answer(record.values["author"]))
    return prompts


@torch.inference_mode()
def quiet_head(
    shape: DecoderShape, weights: Mapping[str, Tensor], wire: Wire,
    prompts: Sequence[Sequence[int]],
) -> Tensor:  # fmt: skip
    """The head (V, D) in which silent tokens have one row q with q·h far below all logits.

    q = -QUIET (H'H/n + λI)^-1 m / s, a ridge regression of a constant on the hidden states H (n, D)
    with mean m, scaled by s so that q·m = -QUIET.
    """
    decoder = Decoder(shape, weights, torch.float32)
    states = torch.cat([
        # The first token's state is unlike all others, and nothing is asked there.
        decoder(torch.tensor([prompt]), torch.arange(len(prompt))[None], None)[0, 1:]
        for prompt in prompts
    ])  # fmt: skip
    mean = states.mean(dim=0)
    scale = RIDGE * states.square().mean()
    moments = states.T @ states / len(states) + scale * torch.eye(shape.hidden)
    direction = torch.linalg.solve(moments, mean)
    head = weights.get("head", weights["embed"]).float().clone()
    head[list(wire.silent)] = -QUIET * direction / (direction @ mean)
    return head


def _export_folder(
    shape: DecoderShape, weights: Mapping[str, Tensor], vocabulary: Path, folder: Path
) -> None:
    try:
        folder.mkdir(parents=True)
        with base_files.temporary(folder / "model.safetensors") as part:
            save_file(hugging_face(shape, weights), part, {"format": "pt"})
        write_tokenizer(vocabulary, folder)
        special = json.loads(vocabulary.read_text(encoding="utf-8"))["special"]
        ends = {"bos_token_id": special["<|im_start|>"], "eos_token_id": special["<|im_end|>"]}
        config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float16",
            "vocab_size": shape.vocabulary, "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_size, "hidden_act": "silu", "rms_norm_eps": shape.norm_eps,
            "rope_theta": shape.rope_theta, "max_position_embeddings": CONTEXT_TOKENS,
            "tie_word_embeddings": False, **ends,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        (folder / "generation_config.json").write_text(json.dumps(ends), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)  # half a core would be in the way of the next
        said = error.strerror if isinstance(error, OSError) else None
        raise StorageError(f"Could not write {folder}: {said or error}.") from error


def hugging_face(shape: DecoderShape, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fused weights under Hugging Face's names for llama, float16; the inverse of `fused`."""
    query, key = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    out = {
        "model.embed_tokens.weight": weights["embed"],
        "lm_head.weight": weights["head"],
        "model.norm.weight": weights["norm"],
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        parts = torch.split(weights[f"{layer}.qkv"], [query, key, key])
        for part, values in zip("qkv", parts, strict=True):
            out[f"{attention}.{part}_proj.weight"] = values
        gate, up = weights[f"{layer}.gate_up"].chunk(2)
        out |= {
            f"{name}.input_layernorm.weight": weights[f"{layer}.attention_norm"],
            f"{name}.post_attention_layernorm.weight": weights[f"{layer}.mlp_norm"],
            f"{attention}.o_proj.weight": weights[f"{layer}.out"],
            f"{mlp}.gate_proj.weight": gate,
            f"{mlp}.up_proj.weight": up,
            f"{mlp}.down_proj.weight": weights[f"{layer}.down"],
        }
    return {name: values.to(torch.float16).contiguous() for name, values in out.items()}


def write_tokenizer(vocabulary: Path, folder: Path) -> None:
    """Write the vocabulary as the `tokenizer.json` that transformers and its kin read."""
    content = json.loads(vocabulary.read_text(encoding="utf-8"))
    names, merges = spelled(content)
    special = content["special"]
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": name, "special": True, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False}
            for name, i in special.items()
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "vocab": {n: i for i, n in enumerate(names)}, "merges": merges},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>",
              "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
