"""The engines that a benchmark times, all with weights of the same sizes."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from core_model.base import resolve_base
from core_model.base_files import BaseFiles
from core_model.config import Settings
from core_model.decoder import Decoder
from core_model.export import write_tokenizer
from core_model.gguf_export import CONTEXT_TOKENS, export_gguf, spelled
from core_model.loading import compute_dtype, load_embedded, merged_weights, sampler_folder
from core_model.openvino_sampler import OpenVinoSampler
from core_model.prefix_tree import PrefixTree
from core_model.remote_core import RemoteCore
from core_model.sampler import Sampler, TorchSampler
from core_model.torch_core import TorchCore

PROMPT_TOKENS, DECODED, CANDIDATE_TOKENS = 200, 32, 3
TRIES = 5

Made = TypeVar("Made")


class Bench:
    """The engines, each made when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rng = np.random.default_rng(0)

    @cached_property
    def core(self) -> TorchCore:
        """The released core as users have it."""
        return load_embedded(self.settings)

    @cached_property
    def server(self) -> RemoteCore | None:
        """The core on the server that is configured, if one is."""
        if self.settings.server is None:
            return None
        return RemoteCore.connect(self.settings.server, self.settings.key, self.core._wire)

    @cached_property
    def base(self) -> BaseFiles:
        """Files of the base."""
        return resolve_base(self.settings.base, self.settings.cache_dir)

    @cached_property
    def exact(self) -> Decoder:
        """The decoder in float32, which the others are compared with."""
        shape = self.core._reader._decoder.shape
        return Decoder(shape, merged_weights(self.settings), torch.float32)

    @cached_property
    def transformers(self) -> Any:
        """The base in transformers, in the type that this machine computes fastest in."""
        from transformers import LlamaForCausalLM

        model: Any = LlamaForCausalLM.from_pretrained(
            self.base.weights.parent, dtype=compute_dtype()
        )
        return model.eval()

    @cached_property
    def ctranslate2(self) -> Any:
        """The base in CTranslate2, int8."""
        import ctranslate2

        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.mkdir()
            for path in (self.base.weights, self.base.config):
                (source / path.name).symlink_to(path)
            write_tokenizer(self.base.tokenizer, source)
            converted = Path(folder) / "converted"
            converter = ctranslate2.converters.TransformersConverter(str(source))
            converter.convert(str(converted), quantization="int8")
            return ctranslate2.Generator(str(converted), device="cpu", compute_type="int8")

    @cached_property
    def llama_cpp(self) -> Any:
        """The core in llama.cpp, float16; None where its Python package is not installed."""
        try:
            from llama_cpp import Llama
        except ImportError:
            return None
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "core.gguf"
            export_gguf(self.exact.shape, self.exact.merged(), self.base.tokenizer, "core", file)
            return Llama(
                str(file), n_ctx=CONTEXT_TOKENS, logits_all=True, verbose=False,
                n_threads=self.settings.threads or os.cpu_count(),
            )  # fmt: skip

    @cached_property
    def token_names(self) -> list[str]:
        """Tokens as CTranslate2 spells them."""
        content = json.loads(self.base.tokenizer.read_text(encoding="utf-8"))
        return spelled(content)[0]

    @cached_property
    def sampler_files(self) -> Path:
        """The core in the form of what draws texts."""
        return sampler_folder(self.settings.cache_dir, self.core.name)

    @cached_property
    def _plain(self) -> NDArray[np.int64]:
        """Tokens that may stand in a text, without the end."""
        wire = self.core._wire
        size = wire.tokenizer.size
        return np.setdiff1d(np.arange(size), [*wire.never_in_text(size), wire.end])

    def prompt(self, length: int) -> list[int]:
        """A prompt that no engine has seen."""
        return [int(token) for token in self.rng.choice(self._plain, length)]

    def candidates(self, n: int, length: int) -> PrefixTree:
        """n answers of `length` tokens that share hardly anything."""
        tokens = self.rng.choice(self._plain, (n, length)).tolist()
        return PrefixTree.build([[*answer, self.core._wire.end] for answer in tokens])

    def sampler(self, engine: str) -> Sampler:
        """Candor's sampler on an engine; its texts never end before their limit."""
        never = 2**31 - 1  # no token has this number
        if engine == "torch":
            return TorchSampler(self.core._reader, never)
        return OpenVinoSampler(self.sampler_files, never)


def timed(run: Callable[[], Made]) -> tuple[float, Made]:
    """(seconds, what it returns)."""
    begun = time.perf_counter()
    made = run()
    return time.perf_counter() - begun, made
