"""Copying: the system's clipboard program where there is one, else the terminal (OSC 52)."""

from __future__ import annotations

import shutil
import subprocess

PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("pbcopy",),
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
    ("clip.exe",),
)
SECONDS = 1.5


def copy_to_system(text: str) -> str | None:
    """The name of the program that took the text, or None where none did."""
    for command in PROGRAMS:
        if shutil.which(command[0]) is None:
            continue
        try:
            # Some programs stay alive to serve the clipboard; their output must not hold us.
            subprocess.run(
                command,
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return command[0]
    return None
