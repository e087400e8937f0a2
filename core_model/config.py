"""The program's settings: one typed object, read from the environment once, at the edge.

| variable          | setting     | default                               |
|-------------------|-------------|---------------------------------------|
| `CANDOR_CACHE`    | `cache_dir` | the user's cache folder, `candor`     |
| `CANDOR_DATA`     | `data_dir`  | the user's data folder, `candor`      |
| `CANDOR_BASE`     | `base`      | the embedded base weights             |
| `CANDOR_ADAPTER`  | `adapter`   | the adapter that ships with Candor    |
| `CANDOR_THREADS`  | `threads`   | as many as PyTorch chooses            |
| `CANDOR_ENGINE`   | `engine`    | `auto`: OpenVINO where it can be used |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from core_model.errors import CandorError

Engine = Literal["auto", "openvino", "torch"]
"""What draws texts: OpenVINO GenAI, or the PyTorch decoder that scores. `auto` is OpenVINO, and
PyTorch where that can't be made ready."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and what to load; None means the default that ships with the program."""

    cache_dir: Path
    data_dir: Path
    base: str | None = None
    adapter: Path | None = None
    threads: int | None = None
    engine: Engine = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings of `environment` (default: the process's); an empty value counts as unset.

        Raises CandorError when CANDOR_THREADS is not a positive whole number, or CANDOR_ENGINE not
        one of its three values.
        """
        import platformdirs

        values = os.environ if environment is None else environment
        cache, data = values.get("CANDOR_CACHE"), values.get("CANDOR_DATA")
        adapter = values.get("CANDOR_ADAPTER")
        return cls(
            cache_dir=_folder(cache or platformdirs.user_cache_dir("candor", appauthor=False)),
            data_dir=_folder(data or platformdirs.user_data_dir("candor", appauthor=False)),
            base=values.get("CANDOR_BASE") or None,
            adapter=_folder(adapter) if adapter else None,
            threads=_threads(values.get("CANDOR_THREADS")),
            engine=_engine(values.get("CANDOR_ENGINE")),
        )


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _threads(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise CandorError(f"CANDOR_THREADS is {text!r}; give a whole number, 1 or more.")
    return int(text)


def _engine(text: str | None) -> Engine:
    for engine in get_args(Engine):
        if (text or "auto") == engine:
            return engine  # type: ignore[no-any-return]
    raise CandorError(f"CANDOR_ENGINE is {text!r}; give auto, openvino or torch.")
