"""From settings to a core that answers: base weights, the adapter merged in, one cached file.

The merged weights are kept beside the base weights under the checksums of what they were made
from, so a second start only maps one file. Computation is in bfloat16 where the processor has
instructions for it, else in float32: emulated bfloat16 is several times slower than either.
Texts are drawn by OpenVINO, whose form of the same weights is kept likewise.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core_model.adapter import FILE, RELEASE, changed_by, learnt, with_adapter
from core_model.base import resolve_base
from core_model.base_files import BaseFiles, sha256
from core_model.config import Settings
from core_model.decoder import Decoder, DecoderShape
from core_model.errors import WeightsError
from core_model.openvino_sampler import OpenVinoSampler, prepare
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from core_model.wire import Wire
from core_model.wire_core import WireCore

Progress = Callable[[str, float], None]


def load_core(settings: Settings, progress: Progress | None = None) -> WireCore:
    """The core of these settings, in this process or behind a server.

    progress: called with a stage and a fraction from 0 to 1. Raises WeightsError or EngineError,
    one line each, when it can't be made ready.
    """
    if settings.server is None:
        return load_embedded(settings, progress)
    from core_model.remote_core import RemoteCore

    base = resolve_base(settings.base, settings.cache_dir, progress)
    wire, known = Wire(Tokenizer(base.tokenizer)), learnt(settings.adapter or RELEASE)
    return RemoteCore.connect(settings.server, settings.key, wire, known)


def load_embedded(
    settings: Settings, progress: Progress | None = None, keep: bool = True
) -> TorchCore:
    """The core in this process, whatever engine is configured; otherwise as `load_core`.

    keep: whether the merged weights are kept for the next start, in place of any others.
    """
    report = progress or (lambda stage, fraction: None)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    base, adapter = _files(settings, progress)
    report("reading the weights", 0.2)
    shape = DecoderShape.read(base.config)
    wire, name = Wire(Tokenizer(base.tokenizer)), identity(base, adapter)
    with _alone(settings.cache_dir):
        kept = settings.cache_dir / "merged" if keep else None
        merged = _cached(base, shape, adapter, kept, report)
    sampler = sampler_of(settings, shape, merged, base.tokenizer, wire, name, report)
    report("preparing the core", 0.95)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoder = Decoder(shape, merged, compute_dtype(), device=device)
    core = TorchCore(decoder.eval(), wire, name, sampler, learnt(adapter))
    report("ready", 1.0)
    return core


def sampler_of(
    settings: Settings, shape: DecoderShape, weights: dict[str, Tensor], vocabulary: Path,
    wire: Wire, name: str, report: Progress,
) -> OpenVinoSampler | None:  # fmt: skip
    """What draws texts from these fused weights, of a name of their own; None is the decoder.

    Raises WeightsError or ImportError where OpenVINO is asked for and can't be made ready.
    """
    if settings.engine == "torch" or (settings.engine != "openvino" and torch.cuda.is_available()):
        return None
    folder = sampler_folder(settings.cache_dir, name)
    try:
        with _alone(settings.cache_dir):
            prepare(shape, weights, vocabulary, wire, folder, report, compute_dtype())
        return OpenVinoSampler(folder, wire.end, settings.threads)
    except (WeightsError, ImportError):
        if settings.engine == "openvino":
            raise
    return None


def export(settings: Settings, path: Path, progress: Progress | None = None) -> None:
    """Write the embedded core for other programs; raises WeightsError and StorageError."""
    from core_model.export import export_core

    report = progress or (lambda stage, fraction: None)
    base, adapter = _files(settings, progress)
    shape = DecoderShape.read(base.config)
    report("merging the adapter", 0.2)
    weights = _merged(base, shape, adapter)
    report("writing the core", 0.5)
    wire = Wire(Tokenizer(base.tokenizer))
    export_core(shape, weights, base.tokenizer, wire, path, learnt(adapter))
    report("ready", 1.0)


def merged_weights(settings: Settings) -> dict[str, Tensor]:
    """The fused weights of the embedded core, float32; raises WeightsError."""
    base, adapter = _files(settings, None)
    return _merged(base, DecoderShape.read(base.config), adapter)


def _files(settings: Settings, progress: Progress | None) -> tuple[BaseFiles, Path]:
    """Files of the base, and the folder of the adapter."""
    return resolve_base(settings.base, settings.cache_dir, progress), settings.adapter or RELEASE


@contextlib.contextmanager
def _alone(cache_dir: Path) -> Iterator[None]:
    """While one process makes files, others wait and then find them."""
    from filelock import FileLock

    lock = FileLock(cache_dir / "core.lock")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:  # a disk that takes no lock takes no files either
        pass
    try:
        yield
    finally:
        lock.release()


def compute_dtype() -> torch.dtype:
    """bfloat16 where the processor computes it natively, else float32."""
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def sampler_folder(cache_dir: Path, name: str) -> Path:
    """Where the sampler's form of a core is kept."""
    kind = "bf16" if compute_dtype() == torch.bfloat16 else "u8"
    return cache_dir / "openvino" / f"{name}-{kind}"


def _kind() -> str:
    """What the kept weights are in: bfloat16 where it is computed in, else float16."""
    return "bf16" if compute_dtype() == torch.bfloat16 else "f16"


def identity(base: BaseFiles, adapter: Path | None) -> str:
    """Checksum of what the merged weights are made of; without an adapter, of the base's."""
    made_of = hashlib.sha256()
    adapters = [] if adapter is None else [adapter, *changed_by(adapter)]
    for path in (base.config, base.weights, *(folder / FILE for folder in adapters)):
        try:
            if path == base.weights:  # its manifest or, for a user's own folder, size and date
                status = path.stat()
                made_of.update(f"{path}{status.st_size}{status.st_mtime_ns}".encode())
            else:
                made_of.update(sha256(path).encode())
        except OSError as error:
            raise WeightsError(f"{path} can't be read ({error.strerror}). Restore it.") from error
    return made_of.hexdigest()[:16]


def _cached(
    base: BaseFiles, shape: DecoderShape, adapter: Path, folder: Path | None, report: Progress
) -> dict[str, Tensor]:
    """The merged weights from the cached file, or made and cached; only made without a folder.

    In bfloat16 where that is computed in, so that the file maps into memory and nothing is copied;
    else in float16, half the size of float32 and an eighth of bfloat16's error.
    """
    dtype = torch.bfloat16 if _kind() == "bf16" else torch.float16
    path = folder / f"{identity(base, adapter)}-{_kind()}.safetensors" if folder else None
    if path is not None and path.exists():
        try:
            return load_file(path)
        except (OSError, SafetensorError):
            path.unlink(missing_ok=True)  # cut short: made again below
    report("merging the adapter", 0.4)
    merged = {name: w.to(dtype).contiguous() for name, w in _merged(base, shape, adapter).items()}
    if folder is None or path is None:
        return merged
    temporary = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(merged, temporary)
        temporary.replace(path)
        for old in folder.glob("*.safetensors"):
            if old != path:
                old.unlink()
    except (OSError, SafetensorError):
        temporary.unlink(missing_ok=True)  # a full disk costs time at the next start, no more
    return merged


def _merged(base: BaseFiles, shape: DecoderShape, adapter: Path) -> dict[str, Tensor]:
    """The fused weights with the adapter added in, float32; without a head where it is tied."""
    try:
        weights = load_file(base.weights)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"The base weights {base.weights} are damaged ({error}). Delete that folder and start "
            "again."
        ) from error
    merged = with_adapter(shape, weights, adapter, torch.float32).merged()
    if merged["head"].data_ptr() == merged["embed"].data_ptr() or torch.equal(
        merged["head"], merged["embed"]
    ):
        merged.pop("head")
    return merged
