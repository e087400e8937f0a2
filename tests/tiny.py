"""A byte-level vocabulary, a decoder of 20,000 parameters, and tasks it learns within seconds.

The tasks teach it the toy corpus `weather`, whose probabilities are written down.
"""

from __future__ import annotations

import base64
import json
import math
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from core_model.decoder import Decoder, DecoderShape
from core_model.likelihood import batches, row_losses
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from core_model.recipe import Recipe, Task, TaskEntry
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from core_model.vocabulary import PATTERN
from core_model.wire import Wire
from tests import toy

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>"),
    *("<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>"),
    *("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>"),
    *("<jupyter_script>", "<empty_output>"),
)
SIZE = len(SPECIAL) + 256
SHAPE = DecoderShape(
    hidden=32, intermediate=64, layers=2, heads=2, kv_heads=1, head_size=16, vocabulary=SIZE,
    rope_theta=10_000.0, norm_eps=1e-5,
)  # fmt: skip
RANK = 16


def write_vocabulary(path: Path) -> Path:
    """Write the vocabulary of single bytes and the special tokens of the embedded base."""
    tokens = [name.encode() for name in SPECIAL] + [bytes([byte]) for byte in range(256)]
    content = {
        "pattern": PATTERN.replace("UNWRITABLE", ""),
        "tokens": [base64.b64encode(token).decode() for token in tokens],
        "special": {name: number for number, name in enumerate(SPECIAL)},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@cache
def wire() -> Wire:
    """The wire format over that vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        return Wire(Tokenizer(write_vocabulary(Path(folder) / "vocab.json")))


def quiet(stage: str, fraction: float) -> None:
    """Progress that nobody reads."""


def write_base(folder: Path) -> Path:
    """A folder that `--base` takes, with `weights()`."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "hidden_size": SHAPE.hidden,
        "intermediate_size": SHAPE.intermediate,
        "num_hidden_layers": SHAPE.layers,
        "num_attention_heads": SHAPE.heads,
        "num_key_value_heads": SHAPE.kv_heads,
        "head_dim": SHAPE.head_size,
        "vocab_size": SHAPE.vocabulary,
        "rope_theta": SHAPE.rope_theta,
        "rms_norm_eps": SHAPE.norm_eps,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights(), folder / "model.safetensors")
    write_vocabulary(folder / "vocab.json")
    return folder


def weights(seed: int = 0, shape: DecoderShape = SHAPE, spread: float = 2) -> dict[str, Tensor]:
    """Random weights under Hugging Face names; the head is tied. spread: of the logits."""
    made = torch.Generator().manual_seed(seed)

    def matrix(outputs: int, inputs: int) -> Tensor:
        return torch.randn(outputs, inputs, generator=made) / math.sqrt(inputs)

    query, key = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    out = {
        "model.embed_tokens.weight": spread * matrix(shape.vocabulary, shape.hidden),
        "model.norm.weight": torch.ones(shape.hidden),
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            out[f"{name}.{norm}.weight"] = torch.ones(shape.hidden)
        for part, size in (("q", query), ("k", key), ("v", key)):
            out[f"{name}.self_attn.{part}_proj.weight"] = matrix(size, shape.hidden)
        out[f"{name}.self_attn.o_proj.weight"] = matrix(shape.hidden, query)
        for part in ("gate", "up"):
            out[f"{name}.mlp.{part}_proj.weight"] = matrix(shape.intermediate, shape.hidden)
        out[f"{name}.mlp.down_proj.weight"] = matrix(shape.hidden, shape.intermediate)
    return out


def decoder(
    rank: int = 0, seed: int = 0, first_trained: int = 0, spread: float = 2, head_rank: int = 0
) -> Decoder:
    """A decoder on `weights(seed)`, its adapters fresh."""
    torch.manual_seed(seed)
    made = weights(seed, spread=spread)
    scale = float(rank)
    return Decoder(SHAPE, made, torch.float32, rank, scale, first_trained, head_rank=head_rank)


class WordTask:
    """The word for the day given sky and wind: exact targets at every node of the words' tree."""

    corpora = ("weather",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._tree = PrefixTree.build([wire.answer(word) for word in toy.WORDS])

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        return [self.row(*list(toy.WORD)[rng.integers(len(toy.WORD))]) for _ in range(count)]

    def row(self, sky: str, wind: str) -> PackedRow:
        """The words for one day."""
        builder = RowBuilder()
        given = (Binding("sky", sky), Binding("wind", wind))
        asked = builder.extend(self._wire.prompt(Conditional("weather", "word", given)))
        shares = np.array(toy.WORD[sky, wind])
        builder.tree(self._tree, shares, asked, every_node(self._tree, shares))
        return builder.build()


class SkyTask:
    """The sky given the wind."""

    corpora = ("weather",)

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._tree = PrefixTree.build([wire.answer(sky) for sky in toy.SKY])

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        return [self._row(("0", "10", "20")[rng.integers(3)]) for _ in range(count)]

    def _row(self, wind: str) -> PackedRow:
        builder = RowBuilder()
        given = (Binding("wind", wind),)
        asked = builder.extend(self._wire.prompt(Conditional("weather", "sky", given)))
        shares = np.array([p * toy.WIND[sky][wind] for sky, p in toy.SKY.items()])
        builder.tree(self._tree, shares, asked, every_node(self._tree, shares))
        return builder.build()


def every_node(tree: PrefixTree, weights: np.ndarray) -> dict[int, float]:
    """Every node that is no leaf, with its probability as its share."""
    inner = np.flatnonzero(~tree.is_leaf() & (tree.masses(weights) > 0))
    masses = tree.masses(weights) / weights.sum()
    return {-1: 1.0} | {int(node): float(masses[node]) for node in inner}


def recipe(steps: int, checkpoint_every: int = 100) -> Recipe:
    """Both tasks, a few rows of each."""
    entries = [("words", "WordTask", 4), ("skies", "SkyTask", 2)]
    return Recipe(
        name="tiny", rank=RANK, alpha=RANK, learning_rate=0.02, warmup_steps=3, steps=steps,
        checkpoint_every=checkpoint_every,
        tasks=tuple(
            TaskEntry(name=name, source=f"tests.tiny:{source}", rows=rows)
            for name, source, rows in entries
        ),
    )  # fmt: skip


@cache
def random_core() -> TorchCore:
    """A core that has learnt nothing: laws of computation hold for any weights."""
    return TorchCore(decoder().eval(), wire(), "random")


DAYS = (("clear", "0"), ("cloudy", "20"))
"""The days that the trained decoder knows the words for."""


@cache
def trained_decoder(steps: int = 80) -> Decoder:
    """A decoder whose words for two days are mostly right."""
    plan, task = recipe(steps), WordTask(wire())
    model = decoder(RANK, spread=4)  # the embeddings stay as they are: wide ones can be sure
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    (batch,) = batches([task.row(*day) for day in DAYS])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = plan.learning_rate * plan.factor(step)
        optimizer.zero_grad()
        row_losses(model, batch).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return Decoder(SHAPE, model.merged(), torch.float32).eval()


def learnt(task: Task, steps: int, rows: int = 4, learning_rate: float = 0.02) -> Decoder:
    """A decoder that was trained on so many rows of a task in each step."""
    rng, model = np.random.default_rng(0), decoder(2 * RANK, spread=4)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    for step in range(steps):
        warm = min(1.0, (step + 1) / 5)
        optimizer.param_groups[0]["lr"] = learning_rate * warm * (1 - step / steps)
        optimizer.zero_grad()
        for batch in batches(task.rows(rng, rows)):
            row_losses(model, batch).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@cache
def trained_core() -> TorchCore:
    """A core on the trained decoder: few answers have most of the mass."""
    return TorchCore(trained_decoder(), wire(), "trained")
