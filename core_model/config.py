"""The program's settings: one typed object, read from the environment once, at the edge.

| variable          | setting     | default                               |
|-------------------|-------------|---------------------------------------|
| `CANDOR_CACHE`    | `cache_dir` | the user's cache folder, `candor`     |
| `CANDOR_DATA`     | `data_dir`  | the user's data folder, `candor`      |
| `CANDOR_BASE`     | `base`      | the embedded base weights             |
| `CANDOR_ADAPTER`  | `adapter`   | the adapter that ships with Candor    |
| `CANDOR_THREADS`  | `threads`   | as many as PyTorch chooses            |
| `CANDOR_ENGINE`   | `engine`    | `auto`: OpenVINO where it can be used |
| `CANDOR_KEY`      | `key`       | none: what a server asks for          |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core_model.errors import CandorError

ENGINES = ("auto", "openvino", "torch")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and what to load; None means the default that ships with the program.

    engine: what draws texts, OpenVINO GenAI or the PyTorch decoder that scores; `auto` is OpenVINO,
    and PyTorch where that can't be made ready. An address is that of a server which does all.
    """

    cache_dir: Path
    data_dir: Path
    base: str | None = None
    adapter: Path | None = None
    threads: int | None = None
    engine: str = "auto"
    key: str | None = None

    @property
    def server(self) -> str | None:
        """The address of the server that does the work, where there is one."""
        return None if self.engine in ENGINES else self.engine

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings of `environment` (default: the process's); an empty value counts as unset.

        Raises CandorError when CANDOR_THREADS is not a positive whole number, or CANDOR_ENGINE
        neither an engine nor an address.
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
            engine=_engine(values.get("CANDOR_ENGINE") or "auto"),
            key=values.get("CANDOR_KEY") or None,
        )


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _threads(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise CandorError(f"CANDOR_THREADS is {text!r}; give a whole number, 1 or more.")
    return int(text)


def _engine(text: str) -> str:
    address = urlsplit(text)
    if text in ENGINES or (address.scheme in ("http", "https") and address.netloc):
        return text
    raise CandorError(
        f"CANDOR_ENGINE is {text!r}; give auto, openvino, torch or a server's address such as "
        "http://localhost:8000/v1."
    )
