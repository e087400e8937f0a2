"""The layers: dependencies point one way, and light imports stay light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core_model", "tools", "persona", "tui")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def test_import_contracts_are_kept() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    result = run(str(lint_imports), "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_tools_load_neither_the_interface_nor_the_persona() -> None:
    loaded = modules_after(
        "import tools, pkgutil, importlib\n"
        "for module in pkgutil.walk_packages(tools.__path__, 'tools.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert "tools" in loaded
    assert not loaded & {"textual", "persona", "tui", "sqlalchemy"}


def test_command_line_starts_without_torch() -> None:
    loaded = modules_after("import tui.cli")
    assert "tui" in loaded
    assert not loaded & {"torch", "scipy", "pandas", "pyarrow"}


def test_core_knows_nothing_of_chat() -> None:
    assert not modules_after("import core_model.core, core_model.notation") & {
        *("tools", "persona", "tui", "textual", "sqlalchemy"),
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_settings_read_the_environment(package: str) -> None:
    """`os.getenv` and `os.environ[...]` belong to core_model/config.py; passing it on is fine."""
    readers = ("os.getenv(", "os.environ[", "os.environ.get(", "os.environ.setdefault(")
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if any(reader in path.read_text(encoding="utf-8") for reader in readers)
    ]
    assert set(found) <= {"core_model/config.py"}


@pytest.mark.parametrize("script", ["setup", "chat", "test", "train", "measure", "rivals"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert run("bash", "-n", str(path)).returncode == 0
