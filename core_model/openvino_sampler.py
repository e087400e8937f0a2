"""Free texts drawn by OpenVINO GenAI: many at once, the prompt read once for all of them.

The merged weights go through one GGUF file into OpenVINO's own form, which is kept and maps into
memory at the next start. The tokens that never stand in a text are ruled out inside the model, so
the engine draws from the same distribution that `TorchCore` scores.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core_model.decoder import DecoderShape
from core_model.errors import EngineError, StorageError, WeightsError
from core_model.gguf_export import export_gguf
from core_model.sampler import ANSWER_LIMIT, lots
from core_model.stopping import go_on
from core_model.wire import Wire

if TYPE_CHECKING:
    from openvino import Model, Node
    from openvino_genai import ContinuousBatchingPipeline
    from openvino_genai.py_openvino_genai import GenerationHandle, GenerationOutput

MODEL = "openvino_model.xml"
CACHE_BLOCKS = 720
"""Of 32 tokens each: a prompt and 64 texts at their longest, and a reply beside them."""
READ_AT_ONCE = 96
"""Tokens that are read or drawn in a step, whose end a stop waits for; `AT_ONCE` texts fit in."""
RULED_OUT = -1e9
KV_CACHE = "f16"
"""What keys and values are kept in; bfloat16 where that is computed in. Not left to the engine: its
default is u8 on a processor, but f16 where the file says so, as one made from a GGUF does."""
GROUP, LEAST_SCALE = 32, 2.0**-24
"""Inputs of a matrix in 8 bits that share a scale, and the least scale, which float16 can hold."""
KEPT_SECONDS = 86_400
"""How long the files of another core are kept."""


def prepare(
    shape: DecoderShape, weights: Mapping[str, Tensor], vocabulary: Path, wire: Wire, folder: Path,
    report: Callable[[str, float], None], dtype: torch.dtype,
) -> None:  # fmt: skip
    """Write the sampler's files into `folder`, unless they are there; whole or not at all.

    dtype: what the processor computes in; in bfloat16 the weights are kept in it, else in 8 bits.

    Raises WeightsError when the weights can't be brought into OpenVINO's form.
    """
    if (folder / MODEL).exists():
        with contextlib.suppress(OSError):  # another's files can be read alone
            os.utime(folder)  # in use: who prepares another core leaves it
        return
    import openvino as ov
    import openvino_genai as genai
    from openvino import opset13

    made = folder.with_name(folder.name + ".new")
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir(parents=True)
        report("preparing the sampler", 0.5)
        source = made / "model.gguf"
        export_gguf(shape, weights, vocabulary, "candor", source)
        report("preparing the sampler", 0.7)
        # Reading a GGUF, the engine leaves its own form of it in the same folder.
        genai.LLMPipeline(str(source), "CPU", enable_save_ov_model=True)
        report("preparing the sampler", 0.9)
        model = ov.Core().read_model(made / MODEL)
        bias = np.zeros((1, 1, shape.vocabulary), np.float32)
        bias[..., wire.never_in_text(shape.vocabulary)] = RULED_OUT
        result = model.outputs[0].node
        ruled = opset13.add(result.input_value(0), opset13.constant(bias))
        result.input(0).replace_source_output(ruled.output(0))
        if dtype == torch.bfloat16:
            _in_bfloat16(model, shape.vocabulary)
        else:
            _in_eight_bits(model)
        ov.save_model(model, made / "ruled.xml", compress_to_fp16=False)
        for suffix in ("xml", "bin"):
            (made / f"ruled.{suffix}").replace((made / MODEL).with_suffix(f".{suffix}"))
        # Prompts come as tokens: the engine's own tokenizers would only take memory.
        for needless in (source, *made.glob("openvino_*tokenizer.*")):
            needless.unlink()
        for old in folder.parent.iterdir():
            # Another program may not have opened its own yet.
            if old != made and time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        made.replace(folder)
    except (OSError, RuntimeError, LookupError, StorageError) as error:  # the engine's own, too
        raise WeightsError(
            f"The sampler could not be prepared in {folder} ({_line(error)}). "
            "Set CANDOR_ENGINE=torch to do without it."
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _in_bfloat16(model: Model, vocabulary: int) -> None:
    """Multiply by weights in bfloat16, of which the engine makes no float32 copies.

    It computes in bfloat16 either way. The head stays as it is: the engine finds it by the
    operations around it, to leave out the logits of a prompt.
    """
    import openvino as ov
    from openvino import opset13

    for node, held in _products(model):
        if vocabulary in held.shape:
            continue
        weight = torch.from_numpy(held).bfloat16()
        bits = ov.Tensor(weight.view(torch.uint16).numpy(), list(weight.shape), ov.Type.bf16)
        turned = node.get_attributes()
        product = opset13.matmul(
            opset13.convert(node.input_value(0), "bf16"),
            ov.op.Constant(bits, shared_memory=False),
            turned["transpose_a"],
            turned["transpose_b"],
        )
        readers = list(node.output(0).get_target_inputs())
        wide = opset13.convert(product, "f32").output(0)
        for reader in readers:
            reader.replace_source_output(wide)


def _in_eight_bits(model: Model) -> None:
    """Keep the matrices in 8 bits, w = (q - zero) * scale, each `GROUP` inputs with their own two.

    The engine knows the form and widens a part at a time while it multiplies in float32; of wider
    weights it makes float32 copies and keeps both.
    """
    from openvino import opset13

    for node, held in _products(model):
        if not node.get_attributes()["transpose_b"] or held.shape[1] % GROUP:
            continue
        grouped = held.astype(np.float32).reshape(len(held), -1, GROUP)
        least = np.minimum(grouped.min(axis=2, keepdims=True), 0)
        most = np.maximum(grouped.max(axis=2, keepdims=True), 0)
        scale = np.maximum((most - least) / 255, LEAST_SCALE).astype(np.float16)
        zero = np.rint(-least / scale).clip(0, 255).astype(np.uint8)
        bits = (np.rint(grouped / scale) + zero).clip(0, 255).astype(np.uint8)
        centred = opset13.subtract(
            opset13.convert(opset13.constant(bits), "f16"),
            opset13.convert(opset13.constant(zero), "f16"),
        )
        widened = opset13.multiply(centred, opset13.constant(scale))
        whole = opset13.reshape(widened, opset13.constant(np.array(held.shape)), False)
        node.input(1).replace_source_output(opset13.convert(whole, "f32").output(0))


def _products(model: Model) -> list[tuple[Node, NDArray[np.float16]]]:
    """Each product by weights that are kept narrower than they are multiplied, and the weights."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        widened = node.input_value(1).get_node()
        if widened.get_type_name() != "Convert":
            continue
        held = widened.input_value(0).get_node()
        if held.get_type_name() == "Constant":
            found.append((node, np.array(held.data)))
    return found


class OpenVinoSampler:
    """Draws texts behind a prompt; deterministic for a seed and a number of threads.

    threads: how many compute; None is as many as OpenVINO chooses.
    """

    def __init__(self, folder: Path, end: int, threads: int | None = None) -> None:
        self._folder = folder
        self._end = end
        self._threads = threads
        self._requests = 0
        self._stepping = threading.Lock()

    def start(self) -> None:
        """As `Sampler.start`."""
        with _faults(), self._stepping:
            _ = self._engine

    def draw(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator,
        limit: int = ANSWER_LIMIT,
    ) -> list[list[int]]:  # fmt: skip
        """As `Sampler.draw`; raises EngineError if the engine fails."""
        with _faults():
            outputs = self._drawn(prompt, n, rng, limit, has_scores=False)
            rows: list[list[int]] = [list(output.generated_ids) for output in outputs]
        return [row[:-1] if row[-1:] == [self._end] else row for row in rows]

    def draw_scored(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator,
        limit: int = ANSWER_LIMIT,
    ) -> list[tuple[list[int], NDArray[np.float64]]]:  # fmt: skip
        """As `draw`, with the end where it was drawn, and log p (T,) of the tokens, nats.

        log p is what the engine drew each token from. Raises EngineError.
        """
        with _faults():
            outputs = self._drawn(prompt, n, rng, limit, has_scores=True)
            return [(list(o.generated_ids), np.array(o.generated_log_probs)) for o in outputs]

    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float
    ) -> Generator[int]:
        """As `Sampler.stream`, at most `ANSWER_LIMIT` tokens; raises EngineError."""
        with _faults(), self._request(prompt, 1, rng, ANSWER_LIMIT, temperature) as request:
            while self._step(request) or request.can_read():
                while request.can_read():
                    for output in request.read().values():
                        yield from output.generated_ids
            _check_finished(request)

    def _drawn(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator, limit: int, has_scores: bool
    ) -> list[GenerationOutput]:
        outputs: list[GenerationOutput] = []
        for lot in lots(n):
            with self._request(prompt, lot, rng, limit, has_scores=has_scores) as request:
                while self._step(request):
                    pass
                _check_finished(request)
                outputs += request.read_all()
        return outputs

    @contextlib.contextmanager
    def _request(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator, limit: int,
        temperature: float = 1.0, has_scores: bool = False,
    ) -> Iterator[GenerationHandle]:  # fmt: skip
        """n texts under way behind a prompt; dropped where they are left unfinished."""
        import openvino as ov
        import openvino_genai as genai

        config = genai.GenerationConfig()
        config.do_sample = temperature > 0
        if temperature > 0:
            config.temperature = temperature
        config.max_new_tokens = limit
        config.num_return_sequences = n
        config.logprobs = int(has_scores)
        config.set_eos_token_id(self._end)
        config.rng_seed = int(rng.integers(2**31))
        tokens = ov.Tensor(np.array([prompt], np.int64))
        with self._stepping:
            self._requests += 1
            request = self._engine.add_request(self._requests, tokens, config)
        try:
            yield request
        finally:
            if _is_running(request):
                request.cancel()
                with self._stepping:
                    if self._engine.has_non_finished_requests():
                        self._engine.step()  # in which it is dropped

    def _step(self, request: GenerationHandle) -> bool:
        """Draw one more token of everything under way, unless the request is done; whether so."""
        go_on()
        with self._stepping:  # another thread's texts may be among them
            if not _is_running(request):
                return False
            self._engine.step()
            return True

    @cached_property
    def _engine(self) -> ContinuousBatchingPipeline:
        import openvino_genai as genai

        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = CACHE_BLOCKS
        scheduler.max_num_batched_tokens = READ_AT_ONCE
        scheduler.enable_prefix_caching = True
        # Not compiled ahead (CACHE_DIR): that takes as long to read and 40 MB more.
        # What 8-bit weights are multiplied by is not rounded to 8 bits, as some processors would.
        options: dict[str, object] = {
            "KV_CACHE_PRECISION": KV_CACHE, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }  # fmt: skip
        if self._threads is not None:
            # Pinned, each of several such programs would compute on the first processor.
            options |= {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
        engine = genai.ContinuousBatchingPipeline(self._folder, scheduler, "CPU", options)
        _give_back()
        return engine


def _is_running(request: GenerationHandle) -> bool:
    return bool(request.get_status().name == "RUNNING")


def _check_finished(request: GenerationHandle) -> None:
    """Raises RuntimeError where the engine gave a request up, such as for want of room."""
    if (status := request.get_status().name) != "FINISHED":
        raise RuntimeError(f"a text was {status.lower()}")


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """What the engine raises, as one line."""
    try:
        yield
    except (RuntimeError, ImportError, OSError) as error:
        raise EngineError(
            f"The sampling engine failed ({_line(error)}). Ask again, or start with "
            "CANDOR_ENGINE=torch."
        ) from error


def _give_back() -> None:
    """Return to the system the memory that compiling has left free, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _line(error: Exception) -> str:
    """The first line of what an engine says of its failure."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
