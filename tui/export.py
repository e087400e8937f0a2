"""A conversation as a Markdown file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from core_model.errors import StorageError
from persona.goals import RIVALS
from persona.turn import Turn
from tui.render import (
    card_body,
    card_title,
    notes,
    plain,
    printable,
)

WIDTH = 88


def to_markdown(title: str, turns: Sequence[Turn]) -> str:
    """Questions as headings, cards as code blocks, replies as they are, notes in italics."""
    parts = [f"# {printable(title)}"]
    for turn in turns:
        parts.append("## " + printable(turn.question).replace("\n", "\n> "))
        parts += _side(turn)
        if turn.rival is not None:
            what = RIVALS.get(turn.rival.agent, turn.rival.agent)
            parts += [f"### {printable(what)}", *_side(turn.rival)]
    return "\n\n".join(parts) + "\n"


def _side(turn: Turn) -> list[str]:
    """What one agent made of a question."""
    parts = []
    for call in turn.calls:
        body = plain([card_title(call, WIDTH), (), *card_body(call, WIDTH, "full")])
        parts.append(fenced(body))
    if turn.reply:
        parts.append(printable(turn.reply))
    if turn.state == "stopped":
        parts.append("*Stopped.*")
    if turn.failure:
        parts.append(f"*{printable(turn.failure)}*")
    parts += [f"*{plain([line])}*" for line in notes(turn)]
    return parts


def fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def write(path: Path | None, title: str, turns: Sequence[Turn]) -> Path:
    """Write the conversation; without a path, to a new file named by the time and the title.

    Raises StorageError where the file exists or cannot be written.
    """
    chosen = path or Path(default_name(title))
    text = to_markdown(title, turns)
    made: Path | None = None
    try:
        with chosen.expanduser().open("x", encoding="utf-8") as out:
            made = chosen.expanduser()
            out.write(text)
    except FileExistsError as error:
        raise StorageError(f"{chosen} exists already. Name another file.") from error
    except (OSError, RuntimeError, ValueError) as error:
        if made is not None:
            made.unlink(missing_ok=True)  # half a file would stand in the way of the next try
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"{chosen} could not be written: {reason}.") from error
    return chosen


def default_name(title: str) -> str:
    """`candor-2026-11-22-143005-popular-names.md`."""
    slug = "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:40].strip("-")
    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    return f"candor-{stamp}{'-' if slug else ''}{slug}.md"
