"""The real program in a terminal: ask, see the card and a number, quit, reopen, find it again."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_model.base_files import BaseFiles
from core_model.config import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.release]

COLUMNS, ROWS = 120, 46
SECONDS = 240.0
PATIENCE = 3.0
QUESTION = "How likely is the name Jennifer for a girl born in 1972?"

CARD = r"P\(name=Jennifer \| (?:year=1972, sex=female|sex=female, year=1972)\)"


class Terminal:
    """A tmux session of its own server, running one program."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self._socket = f"candor-{uuid.uuid4().hex[:8]}"
        self._folder = folder
        self._cache_dir = cache_dir

    def start(self) -> None:
        """Run `candor chat` on a private data folder."""
        # A size in the environment would be believed before the terminal's own.
        program = ["env", "-u", "COLUMNS", "-u", "LINES"]
        program += [f"CANDOR_DATA={self._folder / 'data'}", f"CANDOR_CACHE={self._cache_dir}"]
        program += [sys.executable, "-m", "tui.cli", "chat"]
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), *program
        )

    def screen(self) -> str:
        """What is on the screen; empty once the program has ended."""
        done = self._tmux("capture-pane", "-p", check=False)
        return done.stdout if done.returncode == 0 else ""

    def keys(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-l", text)

    def wait_for(self, pattern: str) -> str:
        """The screen once the pattern is on it."""
        deadline = time.monotonic() + SECONDS
        screen = ""
        while time.monotonic() < deadline:
            screen = self.screen()
            if re.search(pattern, screen):
                return screen
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} never appeared. The last screen:\n{screen}")

    def press_until(self, key: str, pattern: str) -> str:
        """The screen once the pattern is on it; the key is pressed again when it changes nothing.

        A busy machine may see two presses as one, and tells by no sign when it is ready for more.
        """
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.keys(key)
            pressed = time.monotonic()
            while time.monotonic() - pressed < PATIENCE:
                if re.search(pattern, self.screen()):
                    return self.screen()
                time.sleep(0.1)
        raise AssertionError(f"{pattern!r} never appeared. The last screen:\n{self.screen()}")

    def wait_for_end(self) -> None:
        """Until the program has ended."""
        deadline = time.monotonic() + SECONDS
        while self._tmux("has-session", check=False).returncode == 0:
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.1)

    def kill(self) -> None:
        """End this session's own server."""
        self._tmux("kill-server", check=False)

    def _tmux(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["tmux", "-L", self._socket, *arguments],
            capture_output=True,
            text=True,
            check=check,
            cwd=Path(__file__).parent.parent,
        )


@pytest.fixture
def terminal(tmp_path: Path, base_weights: BaseFiles) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    made = Terminal(tmp_path, Settings.from_environment().cache_dir)
    yield made
    made.kill()


def test_ask_quit_reopen_and_find_again(terminal: Terminal) -> None:
    terminal.start()
    terminal.wait_for("Questions to try")
    # The core may still be loading: the question waits for it.
    terminal.type(QUESTION)
    terminal.keys("Enter")
    screen = terminal.wait_for(r"safe [<>\d.]+%")
    assert re.search(CARD, screen), screen
    assert re.search(r"model, exact .* \d[\d.]*%", screen), screen
    assert re.search(r"counted .* \d[\d.]*%", screen), screen
    number = re.search(r"counted .* (\d[\d.]*%)", screen)
    assert number is not None
    # Quitting before the turn has ended would stop it.
    terminal.wait_for("● ready")

    terminal.keys("C-q")
    terminal.wait_for_end()

    terminal.start()
    terminal.wait_for("Questions to try")
    terminal.keys("C-f")
    terminal.type("jennifer")
    terminal.wait_for(r"Today[\s\S]*How likely is the name")
    # From the search to the list, then the conversation.
    screen = terminal.press_until("Enter", r"counted[\s\S]*safe [<>\d.]+%")
    assert number.group(1) in screen
    terminal.keys("C-q")
    terminal.wait_for_end()
