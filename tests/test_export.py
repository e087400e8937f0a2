"""A core in other programs' files: nothing is lost on the way, and marks have no probability."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from core_model import corpora, export, gguf_export
from core_model.base_files import BaseFiles
from core_model.config import Settings
from core_model.decoder import Decoder, DecoderShape, fused
from core_model.errors import StorageError
from core_model.export import export_core, hugging_face, quiet_head
from core_model.loading import export as export_release
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.tokenizer import Tokenizer
from core_model.wire import Wire
from tests import tiny

PROMPTS = [tiny.wire().prompt(Conditional("weather", name)) for name in ("sky", "wind", "word")]


@pytest.fixture
def vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny vocabulary, its corpora those of the release: prompts are read as bytes."""
    monkeypatch.setattr(export, "known_prompts", lambda wire, learnt: PROMPTS)
    return tiny.write_vocabulary(tmp_path / "vocab.json")


def test_names_and_order_come_back_from_hugging_faces() -> None:
    merged = tiny.decoder().merged()
    again = fused(tiny.SHAPE, hugging_face(tiny.SHAPE, merged))
    assert again.keys() == merged.keys()
    for name, values in again.items():
        assert torch.allclose(values.float(), merged[name], rtol=2**-10, atol=1e-6), name


def test_a_folder_holds_what_a_server_reads(tmp_path: Path, vocabulary: Path) -> None:
    merged, folder = tiny.decoder().merged(), tmp_path / "core"
    export_core(tiny.SHAPE, merged, vocabulary, tiny.wire(), folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert DecoderShape.read(folder / "config.json") == tiny.SHAPE
    weights = load_file(folder / "model.safetensors")
    silent = list(tiny.wire().silent)
    changed = (weights["lm_head.weight"].float() - merged["embed"]).abs().amax(dim=1) > 0.01
    assert torch.nonzero(changed).squeeze(1).tolist() == silent
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) == tiny.SIZE
    assert {t["id"] for t in tokenizer["added_tokens"]} >= set(silent)


def test_a_name_that_ends_in_gguf_is_one_file(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_export, "merges_of", lambda ranks: [(b"a", b"b")])
    path = tmp_path / "core.gguf"
    export_core(tiny.SHAPE, tiny.decoder().merged(), vocabulary, tiny.wire(), path)
    assert path.read_bytes()[:4] == b"GGUF"


def test_nothing_is_written_over(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(StorageError, match="is there already"):
        export_core(tiny.SHAPE, tiny.decoder().merged(), vocabulary, tiny.wire(), tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(StorageError, match=r"^Could not write"):
        export_core(
            tiny.SHAPE, tiny.decoder().merged(), vocabulary, tiny.wire(), vocabulary / "core"
        )


def test_a_full_disk_leaves_nothing_in_the_way(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    folder = tmp_path / "core"
    monkeypatch.setattr(export, "save_file", full)
    with pytest.raises(StorageError, match="No space left"):
        export_core(tiny.SHAPE, tiny.decoder().merged(), vocabulary, tiny.wire(), folder)
    assert not folder.exists()


def test_the_quiet_row_points_away_from_the_mean_state() -> None:
    decoder = tiny.decoder()
    head = quiet_head(tiny.SHAPE, decoder.merged(), tiny.wire(), PROMPTS)
    with torch.no_grad():
        states = torch.cat([
            decoder(torch.tensor([p]), torch.arange(len(p))[None], None)[0, 1:] for p in PROMPTS
        ])  # fmt: skip
    rows = head[list(tiny.wire().silent)]
    assert rows @ states.mean(dim=0) == pytest.approx(-export.QUIET, rel=1e-4)


@pytest.mark.release
def test_marks_have_no_probability_in_an_exported_core(
    base_weights: BaseFiles, tmp_path: Path
) -> None:
    """Behind passages and names that the row was not fitted on."""
    folder = tmp_path / "core"
    export_release(Settings.from_environment(), folder)
    wire = Wire(Tokenizer(base_weights.tokenizer))
    shape = DecoderShape.read(folder / "config.json")
    decoder = Decoder(shape, load_file(folder / "model.safetensors"), torch.float32)
    records = corpora.load("speeches").records("held_out")[::400]
    prompts = [
        wire.prompt(Conditional("speeches", "year", (Binding("text", r.values["text"]),)))
        for r in records
    ] + [
        wire.prompt(Conditional("names", "name", (Binding("year", "1985"),))) + wire.answer("Emma"),
        wire.prompt(Conditional("dialogue", "reply", (Binding("user", "¿Dónde? def f(x): 漢字"),))),
    ]
    for prompt in prompts:
        with torch.inference_mode():
            hidden = decoder(torch.tensor([prompt]), torch.arange(len(prompt))[None], None)[0, 1:]
            p = torch.softmax(decoder.logits(hidden), dim=-1)
        assert float(p[:, list(wire.silent)].sum(dim=1).max()) < 1e-6


@pytest.mark.server
@pytest.mark.skipif("CANDOR_TEST_SERVER" not in os.environ, reason="no server is named")
def test_a_real_server_answers_as_the_embedded_core() -> None:
    """How to start one stands in docs/decisions/0006-engine.md."""
    import numpy as np

    from core_model.loading import load_embedded
    from core_model.remote_core import RemoteCore

    settings = Settings.from_environment()
    local = load_embedded(settings)
    core = RemoteCore.connect(os.environ["CANDOR_TEST_SERVER"], settings.key, local._wire)
    name = Conditional("names", "name", (Binding("year", "1985"), Binding("sex", "female")))
    listed = ["Jessica", "Ashley", "Jennifer", "Christopher", "Xiomara"]
    assert core.log_prob_of(name, listed) == pytest.approx(local.log_prob_of(name, listed), abs=0.2)
    for record in corpora.load("speeches").records("held_out")[::500]:
        asked = Conditional("speeches", "author", (Binding("text", record.values["text"]),))
        p = {a.value: a.probability for a in local.distribution_of(asked).answers}
        q = {a.value: a.probability for a in core.distribution_of(asked).answers}
        assert sum(p[v] * np.log(p[v] / q[v]) for v in p if p[v] > 0) < 0.02  # nats
    drawn = core.sample_of(name, 200, np.random.default_rng(0))
    assert np.mean(core.log_prob_of(name, drawn)) == pytest.approx(
        np.mean(local.log_prob_of(name, drawn)), abs=0.1
    )
    top = core.distribution_of(name, 5)
    assert len(top.answers) == 5
    number = "".join(core.write(name, np.random.default_rng(0), ["42"], 1.0, 30, "The figure is 4"))
    assert number.startswith("2")
