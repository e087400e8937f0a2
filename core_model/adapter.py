"""Adapters on disk: low-rank matrices in one safetensors file of bfloat16.

An adapter changes the base or, where its file says so, the base as another adapter has changed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core_model.base_files import sha256
from core_model.decoder import HEAD, Decoder, DecoderShape, LowRank
from core_model.errors import WeightsError

FILE = "adapter.safetensors"
ROWS, ROW_TOKENS = "rows", "row_tokens"
CORPORA = "corpora"
FIRST_CORPORA = ("names", "speeches", "safety")
"""What adapters had learnt before their files said so."""
RELEASE = Path(__file__).parent / "release"
UPON, UPON_SHA256 = "upon", "upon_sha256"
"""In the metadata of an adapter that changes what another has changed: the name of that one's
folder, which is the release or stands beside its own, and the checksum of its file."""


def save_adapter(decoder: Decoder, folder: Path, facts: dict[str, str]) -> None:
    """Write a decoder's adapters to a folder; `facts` go into the file's metadata."""
    tensors = {name: parameter.detach() for name, parameter in decoder.named_parameters()}
    if decoder.rows:
        tensors[ROWS] = torch.stack(list(decoder.rows.values()))
        tensors[ROW_TOKENS] = torch.tensor(list(decoder.rows))
    one = next(iter(decoder.adapters.values()))
    assert isinstance(one, LowRank)
    first = min(int(name.split("_")[0]) for name in decoder.adapters if name != HEAD)
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


def checksum(folder: Path) -> str:
    """The SHA-256 of an adapter's file; raises WeightsError where it can't be read."""
    try:
        return sha256(folder / FILE)
    except OSError as error:
        raise WeightsError(
            f"{folder / FILE} can't be read ({error.strerror}). Restore it."
        ) from error


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and facts of an adapter; raises WeightsError on a damaged or missing one."""
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The adapter {path} can't be read ({error}). Restore it.") from error


def folder_named(name: str, beside: Path = Path()) -> Path:
    """The folder of an adapter by its name: the one that ships with Candor, or a path."""
    return RELEASE if name == RELEASE.name else beside / name


def upon(start: Path, out: Path) -> dict[str, str]:
    """The facts of an adapter in `out` that changes what the one in `start` has changed.

    Raises WeightsError where `start` is neither the release nor a folder beside `out`.
    """
    if start.absolute() != folder_named(start.name, out.parent).absolute():
        raise WeightsError(f"{start} is neither the release nor beside {out}. Train there.")
    return {UPON: start.name, UPON_SHA256: _checksum(start)}


def changed_by(folder: Path) -> list[Path]:
    """The adapters under the one in a folder, from the one next to it down to the base.

    Raises WeightsError where one can't be read or is another than when this one was trained.
    """
    facts = _facts(folder)
    if UPON not in facts:
        return []
    below = folder_named(facts[UPON], folder.parent)
    if _checksum(below) != facts[UPON_SHA256]:
        raise WeightsError(
            f"{folder / FILE} changes the adapter {below / FILE}, which is another since it was "
            "trained. Train it anew."
        )
    return [below, *changed_by(below)]


def _facts(folder: Path) -> dict[str, str]:
    """The metadata of an adapter's file; its tensors are not read."""
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"The adapter {folder / FILE} can't be read ({error}).") from error


def _checksum(folder: Path) -> str:
    try:
        return sha256(folder / FILE)
    except OSError as error:
        raise WeightsError(f"The adapter {folder / FILE} can't be read ({error}).") from error


def learnt(folder: Path) -> tuple[str, ...]:
    """The corpora that an adapter was trained on, from its file's metadata."""
    facts = _facts(folder)
    return tuple(facts[CORPORA].split()) if CORPORA in facts else FIRST_CORPORA


def with_adapter(
    shape: DecoderShape, weights: dict[str, Tensor], folder: Path, dtype: torch.dtype,
    rows: Mapping[int, Tensor] | None = None, rank: int | None = None,
    head_rank: int | None = None,
) -> Decoder:  # fmt: skip
    """A decoder with the adapter's parameters in place; raises WeightsError on a wrong shape.

    rows: rows of the embedding for an adapter that has none of its own. rank, head_rank: of the
    adapters on the layers and on the head, if not those of the file. What is new in a larger rank
    does nothing yet; of a smaller one what does most is kept, the largest singular values of B A.
    """
    for below in changed_by(folder)[:1]:
        weights, rows = with_adapter(shape, weights, below, torch.float32, rows).merged(), None
    tensors, facts = read_adapter(folder)
    try:
        rank = int(facts["rank"]) if rank is None else rank
        scale, first = float(facts["scale"]), int(facts["first_trained"])
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{folder / FILE} is not an adapter of Candor: its metadata lack rank, scale or "
            "first_trained. Give one that scripts/train made."
        ) from error
    made, tokens = tensors.pop(ROWS, None), tensors.pop(ROW_TOKENS, None)
    if made is not None and tokens is not None:
        rows = dict(zip(tokens.tolist(), made.float(), strict=True))
    if head_rank is None:
        head_rank = len(tensors.get(f"adapters.{HEAD}.a", ()))
    decoder = Decoder(shape, weights, dtype, rank, scale * rank, first, rows, head_rank=head_rank)
    try:
        decoder.load_state_dict(_resized({n: t.float() for n, t in tensors.items()}, decoder))
    except (AttributeError, RuntimeError) as error:
        raise WeightsError(f"The adapter in {folder} does not fit this base model.") from error
    return decoder


def _resized(stored: Mapping[str, Tensor], decoder: Decoder) -> dict[str, Tensor]:
    """Stored matrices A (rank, inputs) and B (outputs, rank) in the ranks that a decoder has."""
    made = {name: parameter.detach().clone() for name, parameter in decoder.named_parameters()}
    resized = dict(stored)
    for name in stored:
        to_a, to_b = name, f"{name[:-1]}b"
        if not name.endswith(".a") or name not in made or to_b not in stored:
            continue
        a, b = stored[to_a], stored[to_b]
        rank = len(made[to_a])
        if len(a) > rank:
            b, a = _truncated(b, a, rank)
        elif len(a) < rank and a.shape[1] == made[to_a].shape[1] and len(b) == len(made[to_b]):
            a, b = torch.cat([a, made[to_a][len(a) :]]), torch.cat([b, made[to_b][:, len(a) :]], 1)
        resized |= {to_a: a, to_b: b}
    # What is of no part of the decoder is refused; a head's that the file lacks is fresh.
    return {name: made[name] for name in made if f".{HEAD}." in name} | resized


def _truncated(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B (outputs, rank) and A (rank, inputs) whose product is nearest to that of larger ones."""
    of_b, of_a = torch.linalg.qr(b), torch.linalg.qr(a.T)
    left, sizes, right = torch.linalg.svd(of_b.R @ of_a.R.T)
    root = sizes[:rank].sqrt()
    return of_b.Q @ (left[:, :rank] * root), (root[:, None] * right[:rank]) @ of_a.Q.T
