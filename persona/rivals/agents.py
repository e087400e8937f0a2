"""Rivals by name: the instruct base, and the agents that `persona.rivals.training` makes.

A trained rival runs as the persona does, with the same tools, call grammar and number constraint,
and without goals. Its tools and its safety query ask Candor's own core, so that what it says of the
data is no worse than what Candor could say: what differs is what it makes of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core_model.config import Settings
from core_model.core import Core
from core_model.errors import UnknownName, WeightsError
from core_model.loading import load_embedded
from persona.agent import Agent
from persona.goals import RIVALS
from persona.rivals.base import Base, BaseAgent

BASE = "base"
TRAINED = Path(__file__).parent / "trained"
"""Where rivals are trained; those that ship with Candor are there."""
FINISHED = "run.json"
"""Stands beside the adapter of a run that came to its end, and says what it depends on."""
RUNS = 3
"""Rivals of a name, each from its own seed, numbered from 1."""


def folder_of(name: str, run: int = 1) -> Path:
    """Where the adapter of a trained rival is."""
    return TRAINED / f"{name}-{run}"


class Rivals:
    """Makes rivals by name; what they need is loaded when the first of them is asked.

    core: asked by tools and by the safety query. engine: of the rivals themselves; the decoder's
    replies begin at once, where another engine has to be made ready for each of them.
    """

    def __init__(self, settings: Settings, core: Core, engine: str = "torch") -> None:
        self._settings = settings
        self._engine = engine
        self._core = core
        self._base: Base | None = None
        self._trained: tuple[str, Core] | None = None

    def agent(self, name: str, seed: int, run: int = 1) -> Agent | BaseAgent:
        """The rival of a name that takes a turn from this seed; run: which of those trained.

        Raises UnknownName, and WeightsError where it has not been trained or can't be loaded.
        """
        if name not in RIVALS:
            raise UnknownName(f"Unknown agent '{name}'. There are: {', '.join(RIVALS)}.")
        if name == BASE:
            self._base = self._base or Base.load(replace(self._settings, engine=self._engine))
            return BaseAgent(self._base, self._core, seed)
        return Agent(self.core(name, run), None, seed, tools=self._core)

    def core(self, name: str, run: int = 1) -> Core:
        """The core of a trained rival; the last one is kept."""
        known = f"{name}-{run}"
        if self._trained is None or self._trained[0] != known:
            folder = folder_of(name, run)
            if not (folder / FINISHED).exists():
                raise WeightsError(
                    f"The rival {name} has not been trained here. Run scripts/rivals, or ask base."
                )
            settings = replace(self._settings, adapter=folder, engine=self._engine)
            self._trained = known, load_embedded(settings, keep=False)
        return self._trained[1]
