"""What a benchmark found: figures by workload, as JSON and as a table with their floors.

A workload's figures are kept with its definition as it was when they were taken, so that a table
never tells old figures by a new definition.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core_model.errors import StorageError
from core_model.measures.report import write
from core_model.measures.result import Goal

if TYPE_CHECKING:
    from core_model.workloads.engines import Bench

REFERENCE = "transformers"


@dataclass(frozen=True, slots=True)
class Floor:
    """What the figure of an engine should reach; `than`: how many times better than another's."""

    goal: Goal
    than: str | None = None
    of: str = "candor"


@dataclass(frozen=True, slots=True)
class Workload:
    """What is timed: a figure by engine, which way is better, and how good it should be."""

    run: Callable[[Bench], dict[str, float]]
    unit: str
    better: Literal["more", "less"]
    reference: str = REFERENCE
    floors: tuple[Floor, ...] = ()

    @property
    def definition(self) -> str:
        """The docstring of what runs, its constants replaced by their values."""
        values = inspect.unwrap(self.run).__globals__
        told = " ".join((inspect.getdoc(self.run) or "").split())
        return re.sub(r"\b[A-Z][A-Z_]+\b", lambda name: _shown(values.get(name[0], name[0])), told)

    def times_better(self, figures: Mapping[str, float], engine: str, than: str) -> float | None:
        """How many times better an engine's figure is than another's; None where one is missing."""
        if engine not in figures or than not in figures:
            return None
        one, other = figures[engine], figures[than]
        return one / other if self.better == "more" else other / one

    def told_floors(self, figures: Mapping[str, float], engine: str) -> str:
        """The floors of an engine's figure, and whether each is met."""
        told = []
        for floor in self.floors:
            if floor.of != engine:
                continue
            value, beside = figures.get(engine), ""
            if floor.than is not None:
                value = self.times_better(figures, engine, floor.than)
                beside = f" × {floor.than}"
            if value is not None:
                is_met = "met" if floor.goal.met(value) else "not met"
                told.append(f"{floor.goal}{beside}, {is_met}")
        return "; ".join(told)


@dataclass(frozen=True, slots=True)
class Timed:
    """The figures of one workload by engine, when they were taken and by which definition."""

    figures: Mapping[str, float]
    unit: str
    date: str
    definition: str

    def is_of(self, workload: Workload) -> bool:
        """Whether they were taken by the workload's definition as it is now."""
        return self.definition == workload.definition


@dataclass(frozen=True, slots=True)
class Report:
    """Figures by workload, all of one machine."""

    machine: str
    results: Mapping[str, Timed] = field(default_factory=dict)

    def with_result(self, name: str, result: Timed) -> Report:
        """The report with one workload's figures added or replaced."""
        return replace(self, results={**self.results, name: result})

    @classmethod
    def read(cls, path: Path) -> Report | None:
        """The report in a file, None where there is none; raises StorageError on a damaged one."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return cls(stored["machine"], {n: Timed(**r) for n, r in stored["workloads"].items()})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{path} is no file of a benchmark ({error}). Delete it or give another."
            ) from error

    def save(self, path: Path, workloads: Mapping[str, Workload]) -> None:
        """Write the JSON file, and the document beside it; raises StorageError."""
        content: dict[str, Any] = {
            "machine": self.machine,
            "workloads": {name: asdict(result) for name, result in self.results.items()},
        }
        write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write(path.with_suffix(".md"), document(self, workloads))


def document(report: Report, workloads: Mapping[str, Workload]) -> str:
    """The table, how it was measured, and what each workload was, as Markdown."""
    results = {name: report.results[name] for name in workloads if name in report.results}
    dates = sorted(result.date for result in results.values())
    outdated = [name for name, result in results.items() if not result.is_of(workloads[name])]
    lines = [
        "# How fast the engine is",
        "",
        "Written by `scripts/benchmark`; not edited by hand. Each workload runs on every engine",
        "that can do it, one after the other in one run on one machine, so that the ratios mean",
        "something; the absolute figures are that machine's. All engines have weights of the same",
        "sizes: Candor's the released core, the others its base. Where `CANDOR_ENGINE` is the",
        "address of a server, that is timed too.",
        "",
        "A ratio says how many times better a figure is than the reference's, transformers or what",
        "has ratio 1. A floor is what a figure should reach or, beside an engine's name, the ratio",
        "to that engine.",
        "",
        f"- machine: {report.machine}",
        f"- date: {' to '.join(dict.fromkeys(dates[:1] + dates[-1:]))}",
        "",
        *table(results, workloads),
        "",
    ]
    if outdated:
        lines += [f"Defined otherwise by now, to be run again: {', '.join(outdated)}.", ""]
    lines += ["## Workloads", ""]
    lines += [f"- **{name}**: {result.definition}" for name, result in results.items()]
    return "\n".join(lines) + "\n"


def table(results: Mapping[str, Timed], workloads: Mapping[str, Workload]) -> list[str]:
    """A row for each figure, as lines of Markdown; none is held to a floor by an old definition."""
    lines = ["| workload | engine | figure | unit | ratio | floor |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        workload, figures = workloads[name], result.figures
        for engine, figure in figures.items():
            ratio = workload.times_better(figures, engine, workload.reference)
            told = "" if ratio is None else f"{ratio:.3g}"
            floors = workload.told_floors(figures, engine) if result.is_of(workload) else ""
            cells = name, engine, f"{figure:.3g}", result.unit, told, floors
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _shown(value: object) -> str:
    """A constant in a sentence."""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
