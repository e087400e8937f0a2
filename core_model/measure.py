"""Measure the core against the truth: `scripts/measure [--quick] [--only NAMES]`.

1. Load the core.
2. Run each measure; a measure that fails is reported and does not stop the others.
3. After each, write the JSON file and the table that is made of it; at the end, the figures, and
   the temperatures of the model card.

A file that holds results of the same adapter, seed and extent is added to, else replaced; several
processes may add to one file. With `--beside` the measures are run on another model, and its
figures stand as baselines beside those that the file has.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from core_model.config import Settings
from core_model.core import Core
from core_model.errors import CandorError, UnknownName
from core_model.measures.figures import draw
from core_model.measures.in_words import base_in_words
from core_model.measures.report import (
    MEASURES,
    Measured,
    Report,
    definition_of,
    table,
    with_temperatures,
    write,
)
from core_model.measures.result import Options

DOCS = Path(__file__).parent.parent / "docs"
CARD = Path(__file__).parent / "release" / "README.md"
ONLY_RELEASE = ("time",)  # the command always runs the release core
IN_WORDS = tuple(MEASURES)
"""Those of the core, which the base can be asked in words; the tools and the chat add others."""


def measure(
    report: Report, names: Sequence[str], core: Core, options: Options,
    finished: Callable[[Report], None] = lambda report: None,
) -> Report:  # fmt: skip
    """The report with the results of these measures; `finished` is called after each of them."""
    for name in names:
        report = report.with_result(name, _measured(name, core, options))
        finished(report)
    return report


def beside(
    report: Report, names: Sequence[str], core: Core, column: str, options: Options,
    finished: Callable[[Report], None] = lambda report: None,
) -> Report:  # fmt: skip
    """The report with another core's value of each figure among its baselines.

    Where the other core fails in a measure, that is said and its rows stay as they are. Raises
    CandorError where the report lacks a measure.
    """
    for name in names:
        if not (mine := report.results.get(name, Measured())).rows:
            raise CandorError(
                f"'{name}' is not measured yet on this adapter, seed and extent: run it without "
                "--beside first, with --json where --quick."
            )
        other = _measured(name, core, options)
        if other.failure:
            print(f"{name}: {other.failure}", file=sys.stderr)
            continue
        values = {row.name: row.value for row in other.rows}
        rows = tuple(
            replace(row, baselines={**row.baselines, column: values[row.name]})
            if row.name in values
            else row
            for row in mine.rows
        )
        report = report.with_result(name, replace(mine, rows=rows))
        finished(report)
    return report


def _measured(name: str, core: Core, options: Options) -> Measured:
    begun = time.monotonic()
    try:
        result = Measured(tuple(MEASURES[name](core, options)))
    except CandorError as error:
        result = Measured(failure=error.message)
    except Exception as error:  # hours of other measures hang on it
        traceback.print_exc()
        result = Measured(failure=f"{type(error).__name__}: {error}")
    return replace(
        result, date=date.today().isoformat(), seconds=time.monotonic() - begun,
        definition=definition_of(MEASURES[name]),
    )  # fmt: skip


def chosen(only: str | None, known: Iterable[str], what: str = "measure") -> list[str]:
    """The names of `--only A,B` among those known, in their order; raises UnknownName."""
    known = list(known)
    if only is None:
        return known
    asked = [name.strip() for name in only.split(",") if name.strip()]
    for name in asked:
        if name not in known:
            raise UnknownName(f"Unknown {what} '{name}'. There are: {', '.join(known)}.")
    return [name for name in known if name in asked]


def _adapter_sha256(settings: Settings) -> str:
    from core_model.adapter import RELEASE, checksum

    return checksum(settings.adapter or RELEASE)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when a measure failed, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="scripts/measure", description="Measure the core against the truth."
    )
    parser.add_argument("--quick", action="store_true", help="fewer items, no fitting of baselines")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples and intervals")
    parser.add_argument(
        "--beside", metavar="words|NAME=FOLDER",
        help="measure the base asked in words, or another adapter, as a column of baselines",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=Path, help="file of the results (default: docs/measures.json; none if quick)"
    )
    parser.add_argument(
        "--table", type=Path, help="file of the table (default: docs/measures.md; none if quick)"
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="only write the table and figures of the results there are",
    )
    options = parser.parse_args(arguments)
    keep = options.render or not options.quick
    json_path = options.json or (DOCS / "measures.json" if keep else None)
    table_path = options.table or (DOCS / "measures.md" if keep else None)
    try:
        names = chosen(options.only, MEASURES)
        stored = Report.read(json_path) if json_path else None
        run = not options.render
        report = _run(names, options, stored, json_path, table_path) if run else stored
        if run and json_path:
            report = Report.read(json_path)  # with what other processes have added
        if table_path:
            write(table_path, table(report))
            draw(report, table_path.parent / "figures")
        if table_path == DOCS / "measures.md":
            write(CARD, with_temperatures(CARD.read_text(encoding="utf-8"), report))
        print(table(report).split("\n## Definitions")[0].strip())
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    return int(report is not None and any(r.failure for r in report.results.values()))


def _run(
    names: Sequence[str], options: argparse.Namespace, stored: Report | None,
    json_path: Path | None, table_path: Path | None,
) -> Report:  # fmt: skip
    """Load, measure, and save after each measure."""
    from core_model.loading import load_embedded

    settings = Settings.from_environment()
    report = Report(_adapter_sha256(settings), options.seed, options.quick)
    if stored is not None:
        if report.comparable(stored):
            report = stored
        elif options.beside is None:
            print(
                f"{json_path} holds figures of another adapter, seed or extent: replaced.",
                file=sys.stderr,
            )

    def finished(so_far: Report) -> None:
        if json_path:
            so_far = so_far.added_to(json_path, names)
        if table_path:
            write(table_path, table(so_far))

    how = Options(options.seed, options.quick, settings.cache_dir)
    if options.beside is None:
        return measure(report, names, load_embedded(settings), how, finished)
    names = [name for name in names if name not in ONLY_RELEASE]
    if options.beside == "words":
        core: Core = base_in_words(settings)[0]
        names = [name for name in names if name in IN_WORDS]
        return beside(report, names, core, core.name, how, finished)
    column, _, folder = options.beside.partition("=")
    if not folder:
        raise CandorError(f"--beside takes 'words' or NAME=FOLDER, not '{options.beside}'.")
    core = load_embedded(replace(settings, adapter=Path(folder)))
    return beside(report, names, core, column, how, finished)
