"""What a person chose and wants to find again: theme, sidebar, keys. One small JSON file.

A person may write it by hand, so one that can't be read is left as it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Preferences:
    """`keys` maps an action's name to the keys that replace its own."""

    theme: str = "dark"
    sidebar: bool = True
    keys: dict[str, str] = field(default_factory=dict)


WORDS = {str: "text", bool: "true or false", dict: "object"}
"""What each field of the file is called."""


def load(path: Path) -> tuple[Preferences, str | None]:
    """The stored preferences, and one line where the file could not be used."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Preferences(), None
    except (OSError, ValueError) as error:
        return Preferences(), _unused(path, f"could not be read ({error})")
    if not isinstance(found, dict):
        return Preferences(), _unused(path, "does not hold a JSON object")
    kept: dict[str, Any] = {}
    problem = None
    for each in fields(Preferences):
        wanted = type(getattr(Preferences(), each.name))
        if isinstance(found.get(each.name), wanted):
            kept[each.name] = found[each.name]
        elif each.name in found:
            problem = _unused(path, f"has no {WORDS[wanted]} as '{each.name}'")
    keys = kept.get("keys", {})
    kept["keys"] = {str(name): key for name, key in keys.items() if isinstance(key, str)}
    return Preferences(**kept), problem


def _unused(path: Path, why: str) -> str:
    return f"{path} {why}: defaults are used, and no choice is saved. Mend or delete it."


def save(path: Path, preferences: Preferences) -> str | None:
    """Store them; returns one line where that failed, for no choice is worth a crash."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A full disk would leave half of it in the place of what was there.
        made = path.with_suffix(".new")
        made.write_text(json.dumps(asdict(preferences), indent=2) + "\n", encoding="utf-8")
        made.replace(path)
    except OSError as error:
        return f"Your choice was not saved: {error}"
    return None
