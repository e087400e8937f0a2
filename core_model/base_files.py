"""The files of a base, written whole or not at all, and the manifest that vouches for them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

WEIGHTS, CONFIG, VOCAB = "model.safetensors", "config.json", "vocab.json"
MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1

Progress = Callable[[str, float], None]  # (stage, fraction done in [0, 1])


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Paths of one base.

    weights: safetensors, Hugging Face llama names; tokenizer: vocab.json; config: config.json.
    """

    weights: Path
    tokenizer: Path
    config: Path

    @classmethod
    def within(cls, folder: Path) -> BaseFiles:
        return cls(weights=folder / WEIGHTS, tokenizer=folder / VOCAB, config=folder / CONFIG)


def is_intact(folder: Path, source_sha256: str, *, verify: bool = False) -> bool:
    """Whether `folder` holds a finished base made from the given source.

    Compares file sizes with the manifest and, with `verify`, SHA-256 checksums too.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if (manifest["format"], manifest["source_sha256"]) != (MANIFEST_FORMAT, source_sha256):
            return False
        recorded = {name: manifest["files"][name] for name in (WEIGHTS, CONFIG, VOCAB)}
        return all(
            (folder / name).stat().st_size == entry["bytes"]
            and (not verify or sha256(folder / name) == entry["sha256"])
            for name, entry in recorded.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_manifest(folder: Path, source_sha256: str) -> None:
    """Record size and checksum of the finished files; written last, as a folder without it is
    unfinished.
    """
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (WEIGHTS, CONFIG, VOCAB)
    }
    manifest = {"format": MANIFEST_FORMAT, "source_sha256": source_sha256, "files": files}
    write(folder / MANIFEST, json.dumps(manifest, indent=2).encode())


def write(target: Path, content: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with temporary(target) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """A name to write to beside `target`: it becomes `target` when the block ends well, and is
    removed when it does not.
    """
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)  # noqa: PTH105  one name for tests to make fail
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
