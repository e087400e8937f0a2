"""A measurement as a whole: its rows, what they were measured on, as JSON and as a table."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core_model.core import Core
from core_model.errors import StorageError
from core_model.measures.anonymity import anonymity
from core_model.measures.attribution import attribution
from core_model.measures.calibration import calibration
from core_model.measures.chance import chance
from core_model.measures.conditioning import conditioning
from core_model.measures.confabulation import confabulation
from core_model.measures.inversion import inversion
from core_model.measures.names import names
from core_model.measures.networks import networks
from core_model.measures.paraphrase import paraphrase
from core_model.measures.result import Goal, MeasureRow, Options
from core_model.measures.safety import safety
from core_model.measures.summary import summary
from core_model.measures.timing import timing
from core_model.measures.transitivity import transitivity
from core_model.measures.writing import writing

CARD_MARKS = "<!-- temperatures -->", "<!-- end -->"
Measure = Callable[[Core, Options], list[MeasureRow]]
MEASURES: dict[str, Measure] = {
    "names": names,
    "attribution": attribution,
    "inversion": inversion,
    "conditioning": conditioning,
    "networks": networks,
    "transitivity": transitivity,
    "writing": writing,
    "chance": chance,
    "paraphrase": paraphrase,
    "calibration": calibration,
    "summary": summary,
    "anonymity": anonymity,
    "confabulation": confabulation,
    "safety": safety,
    "time": timing,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measure gave: its rows or why it failed, when, and how long it took.

    definition: what was measured, as the measure said then.
    """

    rows: tuple[MeasureRow, ...] = ()
    failure: str | None = None
    date: str = ""
    seconds: float = 0.0
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Results by measure, all of one adapter, one seed and one extent."""

    adapter_sha256: str
    seed: int
    quick: bool
    results: Mapping[str, Measured] = field(default_factory=dict)

    def with_result(self, name: str, result: Measured) -> Report:
        """The report with one measure's result added or replaced."""
        return replace(self, results={**self.results, name: result})

    def comparable(self, other: Report) -> bool:
        """Whether the figures of both may stand in one table."""
        return (self.adapter_sha256, self.seed, self.quick) == (
            other.adapter_sha256, other.seed, other.quick,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain values for the JSON file."""
        return {
            "adapter_sha256": self.adapter_sha256,
            "seed": self.seed,
            "quick": self.quick,
            "runs": {
                name: {
                    "date": r.date,
                    "seconds": round(r.seconds, 1),
                    "failure": r.failure,
                    "definition": r.definition,
                }
                for name, r in self.results.items()
            },
            "measures": [
                {"run": name} | row.to_json() for name, r in self.results.items() for row in r.rows
            ],
        }

    @classmethod
    def read(cls, path: Path) -> Report | None:
        """The report in a file, None where there is none; raises StorageError on a damaged one."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            rows = [(row.pop("run"), MeasureRow.from_json(row)) for row in stored["measures"]]
            results = {
                name: Measured(
                    tuple(row for of, row in rows if of == name),
                    r["failure"], r["date"], r["seconds"], r.get("definition", ""),
                )
                for name, r in stored["runs"].items()
            }  # fmt: skip
            return cls(stored["adapter_sha256"], stored["seed"], stored["quick"], results)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} is no file of measures ({error}). Delete it or give another."
            ) from error

    def save(self, path: Path) -> None:
        """Write the JSON file; raises StorageError."""
        write(path, json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")

    def added_to(self, path: Path, names: Sequence[str]) -> Report:
        """Write the results of these measures beside the others that the file has by now.

        Another process may have added to it meanwhile. Returns what the file holds then; raises
        StorageError.
        """
        from filelock import FileLock

        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            stored = Report.read(path)
            others = stored.results if stored is not None and self.comparable(stored) else {}
            own = {name: self.results[name] for name in names if name in self.results}
            whole = replace(self, results={**self.results, **others, **own})
            whole.save(path)
        return whole


def write(path: Path, text: str) -> None:
    """Replace a file by a text, whole or not at all; raises StorageError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")  # another process may write too
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} can't be written: {error.strerror}.") from error


def figure_path(folder: Path, measure: str) -> Path:
    """The file of a measure's figures."""
    return folder / f"{measure}.svg"


def table(report: Report | None) -> str:
    """The report in Markdown: one table of all figures, then the definition of each measure."""
    lines = [
        "# Measures",
        "",
        "Written by `scripts/measure` from `measures.json`; not edited by hand. Intervals are",
        "bootstrap 95%; of fewer than eight groups, as n says, they say little. Guards and",
        "baselines are those figures on the same items.",
        "",
    ]
    if report is None or not report.results:
        lines += ["Nothing has been measured yet.", ""]
    else:
        dates = sorted({r.date for r in report.results.values()})
        lines += [
            f"- adapter: sha256 `{report.adapter_sha256}`",
            f"- date: {dates[0]}" + (f" to {dates[-1]}" if len(dates) > 1 else ""),
            f"- seed: {report.seed}",
            "- extent: " + ("quick, on fewer items" if report.quick else "full"),
            "",
            "| figure | value | 95% interval | unit | n | floor | aim | guard | baselines |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        ordered = [n for n in MEASURES if n in report.results]
        lines += [_line(row) for name in ordered for row in report.results[name].rows]
        failures = [(n, report.results[n].failure) for n in ordered]
        lines += ["", *(f"Not measured: {n}. {failure}" for n, failure in failures if failure)]
        missing = [n for n in MEASURES if n not in report.results]
        if missing and not report.quick:
            lines += ["", f"Not measured on this adapter yet: {', '.join(missing)}."]
    lines += ["", "## Definitions"]
    for name, measure in MEASURES.items():
        now = definition_of(measure)
        then = report.results[name].definition if report and name in report.results else ""
        lines += ["", f"### {name}", ""]
        if then and then != now:
            lines += ["Measured under this definition, and defined otherwise by now.", ""]
        lines += [then or now]
        if report is not None and name in report.results and report.results[name].rows:
            lines += ["", f"![{name}]({figure_path(Path('figures'), name)})"]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def definition_of(measure: Callable[..., object]) -> str:
    """What a measure says of itself, as the table prints it."""
    return inspect.getdoc(measure) or ""


def with_temperatures(card: str, report: Report | None) -> str:
    """A model card whose line of temperatures is that of the report's calibration.

    The line stands between two marks, and says so where an adapter is not calibrated yet; a card
    without marks stays as it is.
    """
    begin, end = CARD_MARKS
    before, found, rest = card.partition(begin)
    after = rest.partition(end)[2]
    rows = report.results["calibration"].rows if report and "calibration" in report.results else ()
    if not found:
        return card
    fitted = ", ".join(f"{r.name.split()[0]} {number(r.guard['temperature'])}" for r in rows)
    return f"{before}{begin}\n{fitted or 'Not measured on this adapter yet'}.\n{end}{after}"


def _line(row: MeasureRow) -> str:
    known = row.low is not None and row.high is not None
    cells = [
        row.name,
        number(row.value),
        f"{number(row.low)} to {number(row.high)}" if known else "none",
        row.unit,
        str(row.n),
        _goal(row.floor, row.value),
        _goal(row.aim, row.value),
        _listed(row.guard),
        _listed(row.baselines),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def number(value: float | None) -> str:
    """Three significant figures, and no more than four decimals."""
    if value is None:
        return ""
    if value != value:
        return "undefined"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.4f}" if "e" in text else text


def _goal(goal: Goal | None, value: float) -> str:
    return "" if goal is None else f"{goal}, {'met' if goal.met(value) else 'not met'}"


def _listed(figures: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {number(value)}" for name, value in figures.items())
