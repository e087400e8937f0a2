"""What a person chose and wants to find again: theme, sidebar, keys. One small JSON file."""

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


def load(path: Path) -> tuple[Preferences, str | None]:
    """The stored preferences, and one line where the file could not be used."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Preferences(), None
    except (OSError, ValueError) as error:
        return Preferences(), f"{path} could not be read, so defaults are used: {error}"
    if not isinstance(found, dict):
        return Preferences(), f"{path} does not hold a JSON object, so defaults are used."
    kept: dict[str, Any] = {}
    for each in fields(Preferences):
        default = getattr(Preferences(), each.name)
        if isinstance(found.get(each.name), type(default)):
            kept[each.name] = found[each.name]
    keys = kept.get("keys", {})
    kept["keys"] = {str(name): key for name, key in keys.items() if isinstance(key, str)}
    return Preferences(**kept), None


def save(path: Path, preferences: Preferences) -> str | None:
    """Store them; returns one line where that failed, for no choice is worth a crash."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(preferences), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        return f"Your choice was not saved: {error}"
    return None
