"""Making the core ready from files: a base in a folder, an adapter, and what can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from core_model import corpora, loading, openvino_sampler
from core_model.adapter import CORPORA, FILE, FIRST_CORPORA, learnt, save_adapter
from core_model.config import Settings
from core_model.decoder import Decoder, DecoderShape
from core_model.errors import StorageError, UnknownName, WeightsError
from core_model.loading import load_core
from core_model.planning import Conditional
from core_model.sampler import TorchSampler
from core_model.torch_core import TorchCore
from tests import tiny, toy

WORD = Conditional("weather", "word")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A tiny base in a folder, and an adapter for it whose parameters are not zero."""
    made = tiny.decoder(tiny.RANK)
    torch.manual_seed(3)
    for parameter in made.parameters():
        parameter.data = 0.1 * torch.randn_like(parameter)
    save_adapter(made, tmp_path / "adapter", {CORPORA: "weather"})
    return Settings(
        cache_dir=tmp_path / "cache",
        data_dir=tmp_path / "data",
        base=str(tiny.write_base(tmp_path / "base")),
        adapter=tmp_path / "adapter",
    )


def scores(core: TorchCore) -> list[float]:
    with corpora.register(toy.weather()):
        return core.log_prob_of(WORD, toy.WORDS).tolist()


def merged(settings: Settings) -> Path:
    (path,) = (settings.cache_dir / "merged").glob("*.safetensors")
    return path


def test_a_core_is_the_base_with_the_adapter_added(settings: Settings) -> None:
    assert settings.adapter is not None
    with_adapter = loading.with_adapter(tiny.SHAPE, tiny.weights(), settings.adapter, torch.float32)
    whole = TorchCore(with_adapter.eval(), tiny.wire())
    # The core may compute in bfloat16, which keeps two to three digits.
    assert scores(load_core(settings)) == pytest.approx(scores(whole), rel=0.01)
    alone = TorchCore(tiny.decoder().eval(), tiny.wire())
    assert scores(whole) != pytest.approx(scores(alone), rel=0.05)


def test_a_gpu_is_taken_where_there_is_one_and_then_draws_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As this machine may have none, the decoder is made on the processor and the device noted."""
    asked, prepared = list[tuple[str, torch.dtype]](), list[object]()

    def made(
        shape: DecoderShape, weights: dict[str, torch.Tensor], dtype: torch.dtype, device: str
    ) -> Decoder:
        asked.append((device, dtype))
        return Decoder(shape, weights, torch.float32)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "Decoder", made)
    monkeypatch.setattr(loading, "prepare", lambda *files: prepared.append(files))
    with corpora.register(toy.weather()):
        core = load_core(settings)
        assert len(core.sample_of(WORD, 3, np.random.default_rng(0))) == 3
    assert asked == [("cuda", torch.bfloat16)] and not prepared
    assert isinstance(core, TorchCore) and isinstance(core._sampler, TorchSampler)
    load_core(replace(settings, engine="openvino"))
    assert len(prepared) == 1  # whoever insists has it
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    load_core(settings)
    assert asked[-1][0] == "cpu" and len(prepared) == 2


def test_where_openvino_cannot_be_made_ready_pytorch_draws(settings: Settings) -> None:
    """It refuses the tiny vocabulary, which has no merges."""
    with corpora.register(toy.weather()):
        core = load_core(settings)
        assert len(core.sample_of(WORD, 3, np.random.default_rng(0))) == 3
    with pytest.raises(WeightsError, match="CANDOR_ENGINE=torch"):
        load_core(replace(settings, engine="openvino"))


def test_the_second_start_reads_what_the_first_merged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scores(load_core(settings))
    written = merged(settings).stat().st_mtime_ns
    monkeypatch.setattr(loading, "with_adapter", None)
    assert scores(load_core(settings)) == first
    assert merged(settings).stat().st_mtime_ns == written


def test_merged_weights_cut_short_are_made_again(settings: Settings) -> None:
    first = scores(load_core(settings))
    path = merged(settings)
    path.write_bytes(path.read_bytes()[:5000])
    assert scores(load_core(settings)) == first
    assert load_file(path)


def test_merged_weights_of_another_adapter_are_not_used_and_not_kept(settings: Settings) -> None:
    first, path = scores(load_core(settings)), merged(settings)
    assert settings.adapter is not None
    tensors = load_file(settings.adapter / FILE)
    other = tiny.decoder(tiny.RANK)
    other.load_state_dict({name: 2 * tensor.float() for name, tensor in tensors.items()})
    save_adapter(other, settings.adapter, {CORPORA: "weather"})
    assert scores(load_core(settings)) != first
    assert merged(settings) != path


def test_a_full_disk_costs_time_and_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    first = scores(load_core(settings))
    merged(settings).unlink()
    monkeypatch.setattr(loading, "save_file", full)
    assert scores(load_core(settings)) == first
    assert list((settings.cache_dir / "merged").iterdir()) == []


def test_a_disk_without_room_for_the_sampler_leaves_pytorch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("Could not write model.gguf: No space left on device.")

    monkeypatch.setattr(openvino_sampler, "export_gguf", full)
    assert np.isfinite(scores(load_core(replace(settings, engine="auto")))).all()
    with pytest.raises(WeightsError, match="CANDOR_ENGINE=torch"):
        load_core(replace(settings, engine="openvino"))


@pytest.mark.parametrize("name", ["base/model.safetensors", f"adapter/{FILE}"])
@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_weights_cut_short_are_one_line(settings: Settings, name: str, kept: int) -> None:
    path = settings.cache_dir.parent / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError) as refused:
        load_core(settings)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_missing_adapter_and_one_of_another_kind_are_one_line(settings: Settings) -> None:
    assert settings.adapter is not None
    path = settings.adapter / FILE
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not an adapter of Candor"):
        load_core(settings)
    path.unlink()
    with pytest.raises(WeightsError, match="can't be read"):
        load_core(settings)


def test_a_core_knows_the_corpora_that_its_adapter_names(settings: Settings) -> None:
    assert settings.adapter is not None
    sky, adapter = Conditional("weather", "sky"), tiny.decoder(rank=2)
    with toy.registered(*toy.all_toys()):
        assert loading.load_embedded(settings).distribution_of(sky).answers
        save_adapter(adapter, settings.adapter, {CORPORA: "names"})
        with pytest.raises(UnknownName, match="has not learnt 'weather'"):
            loading.load_embedded(settings).distribution_of(sky)
    save_adapter(adapter, settings.adapter, {})  # as files were made at first
    assert learnt(settings.adapter) == FIRST_CORPORA
