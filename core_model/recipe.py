"""A training recipe: everything that decides what a run does, read from a TOML file."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor

from core_model.core import Core
from core_model.errors import CandorError
from core_model.prefix_tree import PackedRow
from core_model.wire import Wire


class Task(Protocol):
    """A source of training rows; the rows of a step depend on `rng` alone.

    corpora: the names of those that a core knows once it is trained on these rows.
    """

    corpora: tuple[str, ...]

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """`count` packed rows."""
        ...


@runtime_checkable
class Latent(Protocol):
    """A task some of whose labels are missing: the E-step of EM fills them in between steps.

    expectations: what the last E-step gave; a checkpoint keeps it.
    """

    expectations: dict[str, Tensor]

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        """The E-step: expected labels by the core as it is now."""
        ...


class TaskEntry(BaseModel):
    """One task of a recipe: `source` is `module:factory`, called as factory(wire, **options)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    rows: int = Field(gt=0, description="rows in each step")
    weight: float = Field(default=1.0, gt=0, description="factor of the mean loss of its rows")
    options: dict[str, Any] = {}

    def make(self, wire: Wire) -> Task:
        """The task; raises CandorError when the source or its options are not what there is."""
        module, _, name = self.source.partition(":")
        try:
            factory: Callable[..., Task] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise CandorError(f"Task '{self.name}': no {self.source} ({error}).") from error
        try:
            inspect.signature(factory).bind(wire, **self.options)
        except TypeError as error:
            takes = ", ".join(list(inspect.signature(factory).parameters)[1:]) or "none"
            raise CandorError(
                f"Task '{self.name}': {error}. Options of {self.source}: {takes}."
            ) from error
        return factory(wire, **self.options)


class Recipe(BaseModel):
    """A run: its start, its adapter's size, its schedule and its tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: int = 0
    start: str | None = Field(default=None, description="adapter folder to start from")
    upon: str | None = Field(default=None, description="adapter that stays, and is changed further")
    rank: int = 32
    alpha: float = 32.0
    head_rank: int = Field(default=0, description="of the head's adapter; 0: that of the start")
    first_trained: int = Field(default=0, description="layers below it are left as they are")
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    decay_from: float = Field(default=0.7, description="share of steps after which it decays")
    final_factor: float = Field(default=0.05, description="learning rate at the end, as a factor")
    steps: int = Field(gt=0)
    clip: float = 1.0
    checkpoint_every: int = 25
    expect_every: int = Field(default=100, gt=0, description="steps between two E-steps")
    tasks: tuple[TaskEntry, ...]

    @field_validator("tasks")
    @classmethod
    def _are_told_apart(cls, tasks: tuple[TaskEntry, ...]) -> tuple[TaskEntry, ...]:
        twice = [name for name, n in Counter(entry.name for entry in tasks).items() if n > 1]
        if twice:
            raise ValueError(f"several tasks are named {', '.join(twice)}")
        return tasks

    def factor(self, step: int) -> float:
        """Learning-rate factor of a step: linear warm-up, constant, linear decay."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        begin = self.decay_from * self.steps
        left = max(0.0, (step - begin) / max(1.0, self.steps - begin))
        return warm * (1.0 - (1.0 - self.final_factor) * left)

    def changed(
        self, without: str | None = None, steps: int | None = None, seed: int | None = None
    ) -> Recipe:
        """The recipe without some of its tasks, `A,B`, and with other steps or another seed.

        Its name says so. Raises CandorError for a task that it does not have, or for no step.
        """
        left_out = [name.strip() for name in (without or "").split(",") if name.strip()]
        names = [entry.name for entry in self.tasks]
        for name in left_out:
            if name not in names:
                raise CandorError(f"No task '{name}' to leave out. There are: {', '.join(names)}.")
        tasks = tuple(entry for entry in self.tasks if entry.name not in left_out)
        if (steps is not None and steps < 1) or not tasks:
            raise CandorError("A run takes at least one step of one task.")
        name = "-without-".join([self.name, *left_out]) + (f"-{steps}-steps" if steps else "")
        changes = {"name": name, "tasks": tasks, "steps": steps or self.steps}
        if seed is not None:
            changes |= {"name": f"{name}-seed-{seed}", "seed": seed}
        return self.model_copy(update=changes)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file; raises CandorError with one line that says what is wrong."""
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CandorError(f"No recipe at {path}: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise CandorError(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CandorError(f"{path}: {where}: {first['msg']}.") from error
