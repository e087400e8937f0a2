"""Measure the core against the truth: `scripts/measure [--quick] [--only NAMES]`.

1. Load the core, and with `--base-row` the base it was trained from.
2. Run each measure; a measure that fails is reported and does not stop the others.
3. After each, write the JSON file and the table that is made of it; at the end, the figures.

A file that holds results of the same adapter, seed and extent is added to, else replaced.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from core_model.base_files import sha256
from core_model.config import Settings
from core_model.core import Core
from core_model.errors import CandorError, UnknownName, WeightsError
from core_model.measures.figures import draw
from core_model.measures.report import MEASURES, Measured, Report, table, write
from core_model.measures.result import MeasureRow, Options

DOCS = Path(__file__).parent.parent / "docs"
WITHOUT_BASE = ("time",)  # the command always runs the release core


def measure(
    report: Report, names: Sequence[str], core: Core, options: Options, base: Core | None = None,
    finished: Callable[[Report], None] = lambda report: None,
) -> Report:  # fmt: skip
    """The report with the results of these measures; `finished` is called after each of them."""
    for name in names:
        begun = time.monotonic()
        try:
            rows = MEASURES[name](core, options)
            if base is not None and name not in WITHOUT_BASE:
                rows = beside(rows, MEASURES[name](base, options), "instruct base")
            result = Measured(tuple(rows))
        except CandorError as error:
            result = Measured(failure=error.message)
        result = replace(result, date=date.today().isoformat(), seconds=time.monotonic() - begun)
        report = report.with_result(name, result)
        finished(report)
    return report


def beside(rows: list[MeasureRow], others: list[MeasureRow], name: str) -> list[MeasureRow]:
    """The rows with another model's value of the same figure among the baselines."""
    values = {row.name: row.value for row in others}
    return [
        replace(row, baselines={**row.baselines, name: values[row.name]})
        if row.name in values
        else row
        for row in rows
    ]


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


def base_core(settings: Settings) -> Core:
    """The base without an adapter, asked in the same wire format."""
    from safetensors.torch import load_file

    from core_model.base import resolve_base
    from core_model.decoder import Decoder, DecoderShape
    from core_model.loading import compute_dtype
    from core_model.tokenizer import Tokenizer
    from core_model.torch_core import TorchCore
    from core_model.wire import Wire

    base = resolve_base(settings.base, settings.cache_dir)
    shape = DecoderShape.read(base.config)
    decoder = Decoder(shape, load_file(base.weights), compute_dtype())
    return TorchCore(decoder.eval(), Wire(Tokenizer(base.tokenizer)), name="instruct base")


def _adapter_sha256(settings: Settings) -> str:
    from core_model.adapter import FILE
    from core_model.loading import RELEASE

    path = (settings.adapter or RELEASE) / FILE
    try:
        return sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}). Restore it.") from error


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, 1 when a measure failed, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="scripts/measure", description="Measure the core against the truth."
    )
    parser.add_argument("--quick", action="store_true", help="fewer items, no fitting of baselines")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples and intervals")
    parser.add_argument(
        "--base-row", action="store_true", help="measure the untrained base, too (slow)"
    )
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
        if table_path:
            write(table_path, table(report))
            draw(report, table_path.parent / "figures")
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
        else:
            print(
                f"{json_path} holds figures of another adapter, seed or extent: replaced.",
                file=sys.stderr,
            )

    def finished(so_far: Report) -> None:
        if json_path:
            so_far.save(json_path)
        if table_path:
            write(table_path, table(so_far))

    core = load_embedded(settings)
    base = base_core(settings) if options.base_row else None
    how = Options(options.seed, options.quick, settings.cache_dir)
    return measure(report, names, core, how, base, finished)


if __name__ == "__main__":
    sys.exit(main())
