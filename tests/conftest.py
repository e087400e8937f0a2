"""What every test shares: quiet settings, a private data folder, and the base weights on demand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from core_model.base import ensure_base
from core_model.base_files import BaseFiles
from core_model.config import Settings

# A slow machine must not make a property test fail.
settings.register_profile("candor", deadline=None)
settings.load_profile("candor")
os.environ.setdefault("COLUMNS", "100")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that each compute on all cores stand in each other's way, ten times slower.
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _own_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations of tests never reach the user's own."""
    monkeypatch.setenv("CANDOR_DATA", str(tmp_path / "data"))


@pytest.fixture
def own_rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No rival is trained but those of the test."""
    monkeypatch.setattr("persona.rivals.agents.TRAINED", tmp_path / "trained")


@pytest.fixture(scope="session")
def base_weights() -> BaseFiles:
    """The embedded base weights, fetched when they are missing (for tests marked `release`)."""
    return ensure_base(Settings.from_environment().cache_dir)


@pytest.fixture(scope="session")
def openvino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained tiny decoder in OpenVINO's form."""
    from core_model import gguf_export, openvino_sampler
    from core_model.loading import compute_dtype
    from tests import tiny

    made = tmp_path_factory.mktemp("sampler")
    vocabulary = tiny.write_vocabulary(made / "vocab.json")
    decoder = tiny.trained_decoder()
    with pytest.MonkeyPatch.context() as patch:
        # Its bytes are never merged, and the engine takes no vocabulary without a merge.
        patch.setattr(gguf_export, "merges_of", lambda ranks: [(b"a", b"b")])
        openvino_sampler.prepare(
            decoder.shape, decoder.merged(), vocabulary, tiny.wire(), made / "ov", tiny.quiet,
            compute_dtype(),
        )  # fmt: skip
    assert {path.name for path in made.iterdir()} == {"ov", "vocab.json"}
    return made / "ov"
