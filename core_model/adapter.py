"""Adapters on disk: low-rank matrices in one safetensors file of bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core_model.decoder import Decoder, DecoderShape, LowRank
from core_model.errors import WeightsError

FILE = "adapter.safetensors"
ROWS, ROW_TOKENS = "rows", "row_tokens"
CORPORA = "corpora"
FIRST_CORPORA = ("names", "speeches", "safety")
"""What adapters had learnt before their files said so."""


def save_adapter(decoder: Decoder, folder: Path, facts: dict[str, str]) -> None:
    """Write a decoder's adapters to a folder; `facts` go into the file's metadata."""
    tensors = {name: parameter.detach() for name, parameter in decoder.named_parameters()}
    if decoder.rows:
        tensors[ROWS] = torch.stack(list(decoder.rows.values()))
        tensors[ROW_TOKENS] = torch.tensor(list(decoder.rows))
    one = next(iter(decoder.adapters.values()))
    assert isinstance(one, LowRank)
    first = min(int(name.split("_")[0]) for name in decoder.adapters)
    facts = facts | {
        "rank": str(one.a.shape[0]), "scale": repr(one.scale), "first_trained": str(first)
    }  # fmt: skip
    write_adapter(tensors, folder, facts)


def write_adapter(tensors: Mapping[str, Tensor], folder: Path, facts: dict[str, str]) -> None:
    """Write an adapter's tensors, by the names in `read_adapter`, and its metadata to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        name: (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in tensors.items()
    }
    temporary = folder / (FILE + ".new")
    save_file(stored, temporary, metadata=facts)
    temporary.replace(folder / FILE)


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and facts of an adapter; raises WeightsError on a damaged or missing one."""
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The adapter {path} can't be read ({error}). Restore it.") from error


def learnt(folder: Path) -> tuple[str, ...]:
    """The corpora that an adapter was trained on, from its file's metadata."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            facts = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The adapter {folder / FILE} can't be read ({error}).") from error
    return tuple(facts[CORPORA].split()) if CORPORA in facts else FIRST_CORPORA


def with_adapter(
    shape: DecoderShape, weights: dict[str, Tensor], folder: Path, dtype: torch.dtype,
    rows: Mapping[int, Tensor] | None = None, least_rank: int = 0,
) -> Decoder:  # fmt: skip
    """A decoder with the adapter's parameters in place; raises WeightsError on a wrong shape.

    rows: rows of the embedding for an adapter that has none of its own. An adapter of a smaller
    rank than the least gets it: the directions that are new do nothing yet.
    """
    tensors, facts = read_adapter(folder)
    try:
        rank, scale = max(int(facts["rank"]), least_rank), float(facts["scale"])
        first = int(facts["first_trained"])
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{folder / FILE} is not an adapter of Candor: its metadata lack rank, scale or "
            "first_trained. Give one that scripts/train made."
        ) from error
    made, tokens = tensors.pop(ROWS, None), tensors.pop(ROW_TOKENS, None)
    if made is not None and tokens is not None:
        rows = dict(zip(tokens.tolist(), made.float(), strict=True))
    decoder = Decoder(shape, weights, dtype, rank, scale * rank, first, rows)
    try:
        grown = {
            name: _grown(tensor.float(), decoder.get_parameter(name).detach(), int(facts["rank"]))
            for name, tensor in tensors.items()
        }
        decoder.load_state_dict(grown)
    except (AttributeError, RuntimeError) as error:
        raise WeightsError(f"The adapter in {folder} does not fit this base model.") from error
    return decoder


def _grown(stored: Tensor, fresh: Tensor, rank: int) -> Tensor:
    """A stored matrix, A (rank, inputs) or B (outputs, rank), in a fresh one of larger rank."""
    if stored.shape == fresh.shape:
        return stored
    whole, rows, columns = fresh.clone(), *stored.shape
    wider = rows == rank and columns == fresh.shape[1]
    taller = columns == rank and rows == fresh.shape[0]
    if not (wider or taller):
        return stored  # of another base: it is refused for its shape
    whole[:rows, :columns] = stored
    return whole
