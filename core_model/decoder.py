"""A llama-architecture decoder for packed rows, with low-rank adapters and a key/value cache.

The forward pass is written out because both of its uses need what a general class hides: rows
are trees with an ancestor mask, the vocabulary head is computed only at the tokens that are
asked, and the program must answer seconds after it starts. Tensors: B rows, T new tokens, S
tokens seen in all, D hidden size. Source: Touvron et al. 2023 (llama), Hu et al. 2021 (LoRA).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from core_model.errors import WeightsError
from core_model.stopping import go_on

MODULES = ("qkv", "out", "gate_up", "down")
FEW_ROWS = (4, 64)
"""Rows, from and to, that are multiplied the other way round in float32."""
HEAD = "head"
HEAD_SCALE = 16.0
"""Of the head's low-rank part: what it learns is as large as what the layers do, in fewer steps.

No file says it: with another one, adapters that have such a part would no longer be what they are.
"""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a llama-architecture decoder."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    rope_theta: float
    norm_eps: float

    @classmethod
    def read(cls, config: Path) -> DecoderShape:
        """The shape in a Hugging Face `config.json`; raises WeightsError when it doesn't fit."""
        try:
            c = json.loads(config.read_text(encoding="utf-8"))
            if c.get("model_type") != "llama":
                raise WeightsError(
                    f"{config} describes a '{c.get('model_type')}' model. "
                    "Give one of the llama architecture."
                )
            rope = c.get("rope_theta") or (c.get("rope_parameters") or {}).get("rope_theta", 1e4)
            return cls(
                hidden=c["hidden_size"], intermediate=c["intermediate_size"],
                layers=c["num_hidden_layers"], heads=c["num_attention_heads"],
                kv_heads=c.get("num_key_value_heads", c["num_attention_heads"]),
                head_size=c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"],
                vocabulary=c["vocab_size"], rope_theta=float(rope), norm_eps=c["rms_norm_eps"],
            )  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(
                f"{config} is not a readable model configuration: {error}."
            ) from error

    def outputs(self, module: str) -> tuple[int, int]:
        """(outputs, inputs) of a fused linear module."""
        query = self.heads * self.head_size
        return {
            "qkv": (query + 2 * self.kv_heads * self.head_size, self.hidden),
            "out": (self.hidden, query),
            "gate_up": (2 * self.intermediate, self.hidden),
            "down": (self.hidden, self.intermediate),
        }[module]


@dataclass(slots=True)
class Cache:
    """Keys and values of the tokens seen so far, per layer (B, kv_heads, S, head_size)."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""
        return self.keys[0].shape[2] if self.keys else 0

    @property
    def bytes(self) -> int:
        """Size of the keys and values."""
        return 2 * len(self.keys) * self.keys[0].nbytes if self.keys else 0

    def repeated(self, rows: int) -> Cache:
        """The cache of one row for `rows` rows."""
        return Cache(
            [k.expand(rows, -1, -1, -1) for k in self.keys],
            [v.expand(rows, -1, -1, -1) for v in self.values],
        )

    def selected(self, rows: Tensor) -> Cache:
        """The cache of some of the rows, by index."""
        return Cache([k[rows] for k in self.keys], [v[rows] for v in self.values])

    def cut(self, length: int) -> Cache:
        """The cache of the first `length` tokens."""
        return Cache([k[:, :, :length] for k in self.keys], [v[:, :, :length] for v in self.values])


class LowRank(nn.Module):
    """The trained part of one linear module: y += scale · B A x, with B = 0 at the start.

    y (N, outputs) is changed in place: of the head it is the largest tensor of a training step.
    """

    def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = scale
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor, outputs: Tensor | None = None) -> Tensor:
        """y with what is added; outputs: which of them y has, all where none is given."""
        b = self.b if outputs is None else self.b[outputs]
        return y.addmm_(functional.linear(x, self.a.to(x.dtype)), (b * self.scale).to(x.dtype).T)


class Decoder(nn.Module):
    """The decoder. With `rank` it has adapters on the layers from `first_trained` upwards.

    Below `first_trained` nothing is trained, so the backward pass ends there. With `head_rank` the
    head has one too: the log-probabilities of thousands of names can't be had from D numbers by
    rows that were made for other texts. `rows` (D,) by token stand in the embedding and the head
    in place of the base's.
    """

    def __init__(
        self, shape: DecoderShape, weights: Mapping[str, Tensor], dtype: torch.dtype,
        rank: int = 0, alpha: float = 0.0, first_trained: int = 0,
        rows: Mapping[int, Tensor] | None = None, device: str = "cpu", head_rank: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.shape = shape
        self.device = torch.device(device)
        self.dtype = dtype
        self.rows = dict(rows or {})
        self._weights = {
            name: weight.to(self.device, dtype) for name, weight in fused(shape, weights).items()
        }
        self._replace_rows()
        self._inverse_frequency = 1.0 / shape.rope_theta ** (
            torch.arange(0, shape.head_size, 2, dtype=torch.float32, device=self.device)
            / shape.head_size
        )
        self.adapters = nn.ModuleDict()
        for layer in range(first_trained, shape.layers if rank else 0):
            for module in MODULES:
                self.adapters[f"{layer}_{module}"] = LowRank(
                    *shape.outputs(module), rank, alpha / rank
                ).to(self.device)
        if head_rank:
            sizes = shape.vocabulary, shape.hidden
            self.adapters[HEAD] = LowRank(*sizes, head_rank, HEAD_SCALE).to(self.device)

    def _replace_rows(self) -> None:
        if not self.rows:
            return
        tokens = list(self.rows)
        made = torch.stack([self.rows[token] for token in tokens]).to(self.dtype)
        for name in ("embed", "head"):
            self._weights[name] = self._weights[name].clone()
            self._weights[name][tokens] = made

    def _linear(self, layer: int, module: str, x: Tensor) -> Tensor:
        rows, length = x.shape[:2]
        filled = _filled(x.reshape(rows * length, -1))
        y = _product(filled, self._weights[f"{layer}.{module}"])
        name = f"{layer}_{module}"
        if name in self.adapters:
            y = self.adapters[name](filled, y)
        return y[: rows * length].reshape(rows, length, -1)

    def forward(
        self, tokens: Tensor, positions: Tensor, mask: Tensor | Sequence[Tensor] | None,
        cache: Cache | None = None,
    ) -> Tensor:  # fmt: skip
        """Hidden states (B, T, D) after the last norm.

        tokens, positions: (B, T). mask: (B, 1, T, S) bool, True where a token may attend; None is
        causal without a cache and everything with one; a sequence of (t, t), Σ t = T, is the
        diagonal blocks of a mask that is False elsewhere. A cache is appended to in place.
        """
        s = self.shape
        x = functional.embedding(tokens, self._weights["embed"])
        rows, length = tokens.shape
        angle = positions.unsqueeze(-1).float() * self._inverse_frequency
        angle = torch.cat([angle, angle], dim=-1).unsqueeze(1)
        cos, sin = angle.cos().to(self.dtype), angle.sin().to(self.dtype)
        split = [s.heads * s.head_size, s.kv_heads * s.head_size, s.kv_heads * s.head_size]
        fresh = cache is not None and not cache.keys
        for layer in range(s.layers):
            go_on()
            h = functional.rms_norm(
                x, (s.hidden,), self._weights[f"{layer}.attention_norm"], s.norm_eps
            )
            q, k, v = torch.split(self._linear(layer, "qkv", h), split, dim=-1)
            q = _rotate(q.view(rows, length, s.heads, s.head_size).transpose(1, 2), cos, sin)
            k = _rotate(k.view(rows, length, s.kv_heads, s.head_size).transpose(1, 2), cos, sin)
            v = v.view(rows, length, s.kv_heads, s.head_size).transpose(1, 2)
            if cache is not None:
                if fresh:
                    cache.keys.append(k)
                    # A view would keep the whole projection that it is a part of.
                    cache.values.append(v.clone(memory_format=torch.contiguous_format))
                else:
                    k = torch.cat([cache.keys[layer], k], dim=2)
                    v = torch.cat([cache.values[layer], v], dim=2)
                    cache.keys[layer], cache.values[layer] = k, v
            attended = _attend(q, k, v, mask)
            x = x + self._linear(layer, "out", attended.transpose(1, 2).reshape(rows, length, -1))
            h = functional.rms_norm(x, (s.hidden,), self._weights[f"{layer}.mlp_norm"], s.norm_eps)
            gate, up = self._linear(layer, "gate_up", h).chunk(2, dim=-1)
            x = x + self._linear(layer, "down", functional.silu(gate) * up)
        return functional.rms_norm(x, (s.hidden,), self._weights["norm"], s.norm_eps)

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """(…, vocabulary) float32 logits of hidden states (…, D); (…, K) of K tokens alone."""
        flat = _filled(hidden.reshape(-1, hidden.shape[-1]))
        weights = self._weights[HEAD]
        logits = _product(flat, weights if tokens is None else weights[tokens])
        if HEAD in self.adapters:
            logits = self.adapters[HEAD](flat, logits, tokens)
        rows = math.prod(hidden.shape[:-1])
        return logits[:rows].float().reshape(*hidden.shape[:-1], -1)

    def merged(self) -> dict[str, Tensor]:
        """The fused weights with the adapters added in, float32."""
        out = {name: weight.float() for name, weight in self._weights.items()}
        with torch.no_grad():
            for name, adapter in self.adapters.items():
                assert isinstance(adapter, LowRank)
                fused_name = name.replace("_", ".", 1)
                out[fused_name] = out[fused_name] + adapter.scale * adapter.b @ adapter.a
        return out


def _filled(x: Tensor) -> Tensor:
    """(N', D) the rows of x (N, D) and rows of zeros, N' one of few sizes.

    In bfloat16 oneDNN makes a kernel for each number of rows and keeps hundreds of them: megabytes
    for each length of a prompt.
    """
    if x.dtype != torch.bfloat16 or len(x) <= 8:
        return x
    step = 16 if len(x) <= 128 else 64
    return functional.pad(x, (0, 0, 0, -len(x) % step))


def _product(x: Tensor, weights: Tensor) -> Tensor:
    """x weightsᵀ (N, O) of rows x (N, D) and weights (O, D).

    Of a few rows in float32 a processor's kernels take up to twice as long as the other way round.
    """
    is_few = FEW_ROWS[0] <= len(x) <= FEW_ROWS[1] and x.dtype == torch.float32
    if is_few and x.device.type == "cpu" and not torch.is_grad_enabled():
        return (weights @ x.t().contiguous()).t().contiguous()
    return functional.linear(x, weights)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | Sequence[Tensor] | None) -> Tensor:
    """Attention (B, heads, T, head_size) under a mask as `Decoder.forward` takes it."""
    if mask is None or isinstance(mask, Tensor):
        causal = mask is None and k.shape[2] == q.shape[2] > 1
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True
        )
    lengths = [len(block) for block in mask]
    # In float32: on short blocks the backward pass in bfloat16 takes twice the time.
    parts = zip(*(torch.split(x.float(), lengths, dim=2) for x in (q, k, v)), mask, strict=True)
    return torch.cat([_attend(*part) for part in parts], dim=2).to(q.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of (B, heads, T, head_size); Su et al. 2021."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos + turned * sin


def fused(shape: DecoderShape, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under this file's names, projections that read the same input in one matrix.

    Accepts Hugging Face llama names or names that are fused already. Raises WeightsError where
    one is missing or has another shape.
    """
    if "embed" in weights:
        return {"head": weights["embed"]} | dict(weights)
    try:
        embed = weights["model.embed_tokens.weight"]
        out = {
            "embed": embed,
            "head": weights.get("lm_head.weight", embed),
            "norm": weights["model.norm.weight"],
        }
        for layer in range(shape.layers):
            name = f"model.layers.{layer}"
            attention, mlp = f"{name}.self_attn", f"{name}.mlp"
            out[f"{layer}.attention_norm"] = weights[f"{name}.input_layernorm.weight"]
            out[f"{layer}.mlp_norm"] = weights[f"{name}.post_attention_layernorm.weight"]
            out[f"{layer}.qkv"] = torch.cat(
                [weights[f"{attention}.{p}_proj.weight"] for p in "qkv"]
            )
            out[f"{layer}.out"] = weights[f"{attention}.o_proj.weight"]
            out[f"{layer}.gate_up"] = torch.cat(
                [weights[f"{mlp}.{p}_proj.weight"] for p in ("gate", "up")]
            )
            out[f"{layer}.down"] = weights[f"{mlp}.down_proj.weight"]
            for module in MODULES:
                if tuple(out[f"{layer}.{module}"].shape) != shape.outputs(module):
                    raise WeightsError(f"The weights of layer {layer} do not fit config.json.")
    except KeyError as error:
        raise WeightsError(f"The weights lack {error}. Delete them and start again.") from error
    return out
