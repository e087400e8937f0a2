"""The sampler on OpenVINO: the same distribution as the decoder's, faults told in one line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from core_model import gguf_conversion, gguf_export, openvino_sampler
from core_model.base_files import BaseFiles
from core_model.core import Conditional
from core_model.decoder import Decoder, DecoderShape, fused
from core_model.errors import CandorError, WeightsError
from core_model.openvino_sampler import OpenVinoSampler, prepare
from core_model.sampler import ANSWER_LIMIT
from core_model.torch_core import TorchCore
from tests import tiny, toy

WORD = Conditional("weather", "word")


def quiet(stage: str, fraction: float) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained tiny decoder in OpenVINO's form."""
    made = tmp_path_factory.mktemp("sampler")
    vocabulary = tiny.write_vocabulary(made / "vocab.json")
    decoder = tiny.trained_decoder()
    with pytest.MonkeyPatch.context() as patch:
        # Its bytes are never merged, and the engine takes no vocabulary without a merge.
        patch.setattr(gguf_export, "merges_of", lambda ranks: [(b"a", b"b")])
        prepare(decoder.shape, decoder.merged(), vocabulary, tiny.wire(), made / "ov", quiet)
    assert {path.name for path in made.iterdir()} == {"ov", "vocab.json"}
    return made / "ov"


@pytest.fixture
def sampler(folder: Path) -> OpenVinoSampler:
    return OpenVinoSampler(folder, tiny.wire().end)


@pytest.fixture
def prompt() -> list[int]:
    return tiny.wire().prompt(WORD)


def test_what_is_drawn_follows_log_prob(sampler: OpenVinoSampler) -> None:
    """Goodness of fit of 600 draws to the exact probabilities of the words, and of all else."""
    with toy.registered(toy.weather()):
        core = TorchCore(tiny.trained_decoder(), tiny.wire(), sampler=sampler)
        drawn = Counter(core.sample_of(WORD, 600, np.random.default_rng(1)))
        p = np.exp(core.log_prob_of(WORD, toy.WORDS))
    kept = p > 0.02
    assert kept.sum() >= 2
    seen = [drawn[word] for word, keep in zip(toy.WORDS, kept, strict=True) if keep]
    expected = 600 * np.append(p[kept], 1 - p[kept].sum())
    assert stats.chisquare([*seen, 600 - sum(seen)], expected).pvalue > 1e-3


def test_a_seed_repeats_its_draws_and_texts_of_one_call_differ(
    sampler: OpenVinoSampler, prompt: list[int]
) -> None:
    first, again, other = (sampler.draw(prompt, 70, np.random.default_rng(s)) for s in (3, 3, 4))
    assert first == again != other
    assert len(first) == 70 and len(set(map(tuple, first))) > 5


def test_no_text_holds_a_mark_or_is_longer_than_the_limit(
    sampler: OpenVinoSampler, prompt: list[int]
) -> None:
    wire = tiny.wire()
    rows = sampler.draw(prompt, 64, np.random.default_rng(5))
    special = set(wire.tokenizer.special.values())
    assert not special & {token for row in rows for token in row}
    assert max(map(len, rows)) <= ANSWER_LIMIT


def test_a_stop_ends_the_work_within_a_step_and_the_next_call_works(
    sampler: OpenVinoSampler, prompt: list[int]
) -> None:
    steps = 0

    def stop() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise Stopped

    with pytest.raises(Stopped):
        sampler.draw(prompt, 64, np.random.default_rng(6), stop)
    assert steps == 3
    assert len(sampler.draw(prompt, 5, np.random.default_rng(6))) == 5


class Stopped(Exception):
    """Stands for the user's Esc."""


def test_a_failing_engine_is_one_line(prompt: list[int], tmp_path: Path) -> None:
    missing = OpenVinoSampler(tmp_path / "nothing", 2)
    with pytest.raises(CandorError, match=r"^The sampling engine failed \(.*CANDOR_ENGINE=torch"):
        missing.draw(prompt, 1, np.random.default_rng(0))


def test_weights_that_cannot_be_prepared_leave_nothing(tmp_path: Path) -> None:
    """The engine refuses a vocabulary without merges."""
    decoder, vocabulary = tiny.decoder(), tiny.write_vocabulary(tmp_path / "vocab.json")
    with pytest.raises(WeightsError, match="CANDOR_ENGINE=torch"):
        prepare(decoder.shape, decoder.merged(), vocabulary, tiny.wire(), tmp_path / "ov", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.json"]


def test_what_is_prepared_is_used_again(folder: Path) -> None:
    before = (folder / openvino_sampler.MODEL).stat().st_mtime_ns
    prepare(tiny.SHAPE, {}, Path("none"), tiny.wire(), folder, quiet)
    assert (folder / openvino_sampler.MODEL).stat().st_mtime_ns == before


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
    gguf_conversion.convert_gguf(tmp_path / "core.gguf", folder, quiet, "0")
    files = BaseFiles.within(folder)
    shape = DecoderShape.read(files.config)
    assert shape == tiny.SHAPE
    again = Decoder(shape, load_file(files.weights), torch.float32).merged()
    for name, values in fused(tiny.SHAPE, merged).items():
        assert torch.allclose(again[name], values.float(), rtol=2**-7, atol=1e-6), name
