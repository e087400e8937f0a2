"""The sampler on OpenVINO: what is made ready for it, faults told in one line."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from safetensors.torch import load_file

from core_model import gguf_conversion, gguf_export, openvino_sampler
from core_model.base_files import BaseFiles
from core_model.decoder import Decoder, DecoderShape, fused
from core_model.errors import CandorError, WeightsError
from core_model.loading import compute_dtype
from core_model.notation import Binding
from core_model.openvino_sampler import CACHE_BLOCKS, OpenVinoSampler, prepare
from core_model.planning import Conditional
from core_model.torch_core import TorchCore
from core_model.workloads.fidelity import kl_terms, next_log_p
from tests import tiny

WORD = Conditional("weather", "word")
BLOCK_TOKENS = 32


@pytest.fixture
def prompt() -> list[int]:
    return tiny.wire().prompt(WORD)


def test_a_failing_engine_is_one_line(prompt: list[int], tmp_path: Path) -> None:
    missing = OpenVinoSampler(tmp_path / "nothing", 2)
    with pytest.raises(CandorError, match=r"^The sampling engine failed \(.*CANDOR_ENGINE=torch"):
        missing.draw(prompt, 1, np.random.default_rng(0))


@pytest.mark.parametrize("is_there", [True, False])
def test_the_engine_writes_once_it_is_warm_and_the_decoder_where_it_cannot(
    prompt: list[int], openvino_folder: Path, tmp_path: Path, is_there: bool
) -> None:
    wire, asked = tiny.wire(), list[int]()
    sampler = OpenVinoSampler(openvino_folder if is_there else tmp_path / "nothing", wire.end, 1)
    whole = sampler.stream

    def counted(prompt: list[int], rng: np.random.Generator, temperature: float):  # type: ignore[no-untyped-def]
        asked.append(len(prompt))
        return whole(prompt, rng, temperature)

    sampler.stream = counted  # type: ignore[assignment, method-assign]
    core = TorchCore(tiny.trained_decoder(), wire, sampler=sampler)
    for is_warm in (False, True):
        if is_warm:
            core.warm_up()
        assert list(core.stream(prompt, np.random.default_rng(0), 1.0, None))
        assert asked == [len(prompt)] * (is_warm and is_there)


def test_a_writer_that_stops_at_its_limit_is_taken_up_again(
    prompt: list[int], openvino_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_sampler, "ANSWER_LIMIT", 2)
    wire = tiny.wire()
    sampler = OpenVinoSampler(openvino_folder, wire.end)
    core = TorchCore(tiny.trained_decoder(), wire, sampler=sampler)
    core.warm_up()
    texts = [list(core.stream(prompt, np.random.default_rng(s), 1.0, None)) for s in range(4)]
    assert max(map(len, texts)) > 2


def test_an_unfinished_text_leaves_nothing_under_way(
    prompt: list[int], openvino_folder: Path
) -> None:
    sampler = OpenVinoSampler(openvino_folder, tiny.wire().end)
    written = sampler.stream(prompt, np.random.default_rng(8), 1.0)
    next(written)
    assert sampler._engine.has_non_finished_requests()
    written.close()
    assert not sampler._engine.has_non_finished_requests()


def test_two_threads_may_draw_at_once(prompt: list[int], openvino_folder: Path) -> None:
    """And each gets what it gets alone, but for the last digits of a sum, which may move a draw."""
    sampler = OpenVinoSampler(openvino_folder, tiny.wire().end)

    def drawn(seed: int) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        return [*sampler.draw(prompt, 8, rng), list(sampler.stream(prompt, rng, 1.0))]

    alone = [drawn(seed) for seed in range(8)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(drawn, range(8)))
    both = [
        pair for texts in zip(together, alone, strict=True) for pair in zip(*texts, strict=True)
    ]
    assert len(both) == 72 and sum(one == other for one, other in both) > 60


def test_what_is_drawn_comes_from_the_decoders_distribution(openvino_folder: Path) -> None:
    """KL(engine ‖ decoder) of the next token is under 0.003 nats, in bfloat16 too."""
    wire, decoder, rng = tiny.wire(), tiny.trained_decoder(), np.random.default_rng(0)
    sampler = OpenVinoSampler(openvino_folder, wire.end)
    long = Binding("text", "It rained all day and the hills were grey. " * 4)
    terms = list[float]()
    for given in ((), (Binding("sky", "clear"), Binding("wind", "0")), (long,)):
        prompt = wire.prompt(Conditional("weather", "word", given))
        for text, own in sampler.draw_scored(prompt, 64, rng, limit=24):
            assert (own <= 0).all()
            log_p = next_log_p(decoder, prompt + text, wire)[len(prompt) - 1 : -1]
            terms += kl_terms(own, log_p[range(len(text)), text].numpy()).tolist()
    assert len(terms) > 1000
    assert np.mean(terms) < 0.003


def test_scored_draws_are_the_same_draws(prompt: list[int], openvino_folder: Path) -> None:
    wire = tiny.wire()
    sampler = OpenVinoSampler(openvino_folder, wire.end, 1)
    plain = sampler.draw(prompt, 70, np.random.default_rng(3), limit=6)
    scored = sampler.draw_scored(prompt, 70, np.random.default_rng(3), limit=6)
    assert [text[:-1] if text[-1] == wire.end else text for text, _ in scored] == plain
    assert all(len(text) == len(own) for text, own in scored)
    assert {wire.end} < {text[-1] for text, _ in scored}  # some ended, some met the limit


def test_keys_and_values_are_kept_in_what_is_asked_for(
    openvino_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> int:
        sampler = OpenVinoSampler(openvino_folder, tiny.wire().end)
        sampler.draw([5], 1, np.random.default_rng(0), limit=1)
        return int(sampler._engine.get_metrics().kv_cache_size_in_bytes)

    values = 2 * tiny.SHAPE.layers * tiny.SHAPE.kv_heads * tiny.SHAPE.head_size
    in_16_bits = CACHE_BLOCKS * BLOCK_TOKENS * values * 2
    assert openvino_sampler.KV_CACHE == "f16"
    assert kept() == in_16_bits
    monkeypatch.setattr(openvino_sampler, "KV_CACHE", "u8")
    assert kept() < in_16_bits


def test_weights_that_cannot_be_prepared_leave_nothing(tmp_path: Path) -> None:
    """The engine refuses a vocabulary without merges."""
    decoder, vocabulary = tiny.decoder(), tiny.write_vocabulary(tmp_path / "vocab.json")
    with pytest.raises(WeightsError, match="CANDOR_ENGINE=torch"):
        prepare(
            decoder.shape, decoder.merged(), vocabulary, tiny.wire(), tmp_path / "ov", tiny.quiet,
            torch.float32,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.json"]


@pytest.mark.skipif(compute_dtype() == torch.bfloat16, reason="kept in bfloat16 here")
def test_matrices_are_kept_in_8_bits_and_in_nothing_else(openvino_folder: Path) -> None:
    model = ov.Core().read_model(openvino_folder / openvino_sampler.MODEL)
    kept = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    matrices = sorted(op.get_byte_size() for op in kept if op.get_element_type() == ov.Type.u8)
    # q, k, v, out, gate, up and down of each layer, and the head; each has its zeros beside it.
    assert len(matrices) == 2 * (7 * tiny.SHAPE.layers + 1)
    assert matrices[-1] == tiny.SHAPE.vocabulary * tiny.SHAPE.hidden
    wide = [op for op in kept if op.get_element_type() in (ov.Type.f16, ov.Type.f32)]
    rows = [op.shape for op in wide if len(op.shape) == 2 and min(op.shape) > 1]
    assert len(rows) <= 1  # the embedding's


def test_what_is_prepared_is_used_again(openvino_folder: Path) -> None:
    before = (openvino_folder / openvino_sampler.MODEL).stat().st_mtime_ns
    os.utime(openvino_folder, (0, 0))
    prepare(tiny.SHAPE, {}, Path("none"), tiny.wire(), openvino_folder, tiny.quiet, compute_dtype())
    assert (openvino_folder / openvino_sampler.MODEL).stat().st_mtime_ns == before
    # Who prepares another core deletes what has not been used for long.
    assert time.time() - openvino_folder.stat().st_mtime < openvino_sampler.KEPT_SECONDS


@pytest.mark.skipif(compute_dtype() != torch.bfloat16, reason="computed in float32 here")
def test_weights_are_kept_in_what_is_computed_in(openvino_folder: Path) -> None:
    """All but the head's, which is behind a widening; the engine would keep float32 copies."""
    model = ov.Core().read_model(openvino_folder / openvino_sampler.MODEL)
    products = [node for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"]
    weights = [node.input_value(1).get_node() for node in products]
    kept = [w for w in weights if w.get_type_name() == "Constant"]
    assert {w.get_element_type() for w in kept} == {ov.Type.bf16}
    assert len(kept) == 7 * tiny.SHAPE.layers
    assert [w.get_type_name() for w in weights[-1:]] == ["Convert"]


def test_a_merge_joins_what_the_merges_before_it_made() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"abc": 4, b"abab": 5}
    assert gguf_export.merges_of(ranks) == [(b"a", b"b"), (b"ab", b"c"), (b"ab", b"ab")]


def test_rotary_rows_go_back_to_where_they_were() -> None:
    rows = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
    there = gguf_export.permute(rows, 3)
    assert not np.array_equal(there, rows)
    assert np.array_equal(gguf_conversion.unpermute(there, 3), rows)


def test_an_exported_core_is_read_back_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_export, "merges_of", lambda ranks: [(b"a", b"b")])
    monkeypatch.setattr(gguf_conversion, "vocabulary_of", lambda *vocabulary: {})
    vocabulary = tiny.write_vocabulary(tmp_path / "vocab.json")
    merged = tiny.decoder().merged()
    gguf_export.export_gguf(tiny.SHAPE, merged, vocabulary, "tiny", tmp_path / "core.gguf")
    folder = tmp_path / "base"
    folder.mkdir()
    gguf_conversion.convert_gguf(tmp_path / "core.gguf", folder, tiny.quiet, "0")
    files = BaseFiles.within(folder)
    shape = DecoderShape.read(files.config)
    assert shape == tiny.SHAPE
    again = Decoder(shape, load_file(files.weights), torch.float32).merged()
    for name, values in fused(tiny.SHAPE, merged).items():
        assert torch.allclose(again[name], values.float(), rtol=2**-7, atol=1e-6), name
