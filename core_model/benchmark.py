"""How fast the engine is beside others: `scripts/benchmark [--json FILE] [--only NAMES]`.

1. Make each engine when a workload first asks for it.
2. Run the workloads, on every engine that can do them, one after the other.
3. After each, write the JSON file, and beside it the table that is made of it.

A file that holds figures of the same machine is added to, else replaced.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch

from core_model.config import Settings
from core_model.errors import CandorError
from core_model.loading import compute_dtype
from core_model.measure import DOCS, chosen
from core_model.measures.result import Goal
from core_model.workloads import speed
from core_model.workloads.engines import Bench
from core_model.workloads.fidelity import fidelity
from core_model.workloads.growth import (
    growth_with_candidates,
    growth_with_context,
    growth_with_samples,
)
from core_model.workloads.report import REFERENCE, Floor, Report, Timed, Workload, document
from core_model.workloads.start import cold_start, memory, start
from core_model.workloads.stop import stop


def _at_least(times: float, than: str = REFERENCE) -> Floor:
    return Floor(Goal("at least", times), than)


def _at_most(bound: float, of: str = "candor") -> Floor:
    return Floor(Goal("at most", bound), of=of)


INT8, ANEW = "ctranslate2 int8", "candor, nothing kept"
WORKLOADS: dict[str, Workload] = {
    "single": Workload(speed.single_stream, "tokens/s", "more", floors=(_at_least(2),)),
    "samples": Workload(
        speed.many_samples, "tokens/s", "more", floors=(_at_least(3), _at_least(2, INT8))
    ),
    "samples-short": Workload(speed.many_samples_of_a_short_prompt, "tokens/s", "more"),
    "candidates": Workload(speed.candidates, "s", "less", floors=(_at_least(20),)),
    "names": Workload(speed.names_of_a_year, "s", "less", floors=(_at_most(4),)),
    "attribution": Workload(speed.attribution, "passages/s", "more", floors=(_at_least(4),)),
    "second-turn": Workload(speed.second_turn, "s", "less", ANEW, (_at_least(2, ANEW),)),
    "conversation": Workload(speed.conversation, "s", "less"),
    "hit-rate": Workload(speed.hit_rate, "share", "more"),
    "fidelity": Workload(
        fidelity, "nats/token", "less",
        floors=(_at_most(0.003, "candor, scores"), _at_most(0.003, "candor, samples")),
    ),
    "growth-samples": Workload(growth_with_samples, "ms", "less"),
    "growth-candidates": Workload(growth_with_candidates, "ms", "less"),
    "growth-context": Workload(growth_with_context, "ms", "less"),
    "stop": Workload(stop, "ms", "less"),
    "start": Workload(start, "s", "less", floors=(_at_most(6),)),
    "cold": Workload(cold_start, "s", "less"),
    "memory": Workload(memory, "GB", "less", floors=(_at_most(1.5),)),
}  # fmt: skip


def machine() -> str:
    """The processor's name, where the system tells it, and how it is computed with."""
    try:
        named = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
    except OSError:
        named = []
    name = named[0] if named else platform.processor() or platform.machine()
    kind = str(compute_dtype()).removeprefix("torch.")
    return f"{name}, {torch.get_num_threads()} threads, {platform.system()}, {kind}"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description="Time the engine beside others."
    )
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument(
        "--json", type=Path, help="file of the figures, with their table beside it (default: none)"
    )
    parser.add_argument(
        "--render", action="store_true",
        help="only write the table of the figures there are (default: of docs/benchmark.json)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        names = chosen(options.only, WORKLOADS, "workload")
        report = _rendered(options.json) if options.render else _run(names, options.json)
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    print(document(report, WORKLOADS).split("\n## Workloads")[0].strip())
    return 0


def _rendered(path: Path | None) -> Report:
    path = path or DOCS / "benchmark.json"
    report = Report.read(path)
    if report is None:
        raise CandorError(f"There are no figures at {path}. Run scripts/benchmark --json {path}.")
    report.save(path, WORKLOADS)
    return report


def _run(names: Sequence[str], path: Path | None) -> Report:
    bench, report = Bench(Settings.from_environment()), Report(machine())
    stored = Report.read(path) if path is not None else None
    if stored is not None and stored.machine == report.machine:
        report = stored
    elif stored is not None:
        print(f"{path} holds figures of another machine: replaced.", file=sys.stderr)
    for name in names:
        workload = WORKLOADS[name]
        figures = workload.run(bench)
        timed = Timed(figures, workload.unit, date.today().isoformat(), workload.definition)
        report = report.with_result(name, timed)
        print(f"{name} done", file=sys.stderr)
        if path is not None:  # each time, so that a later failure loses nothing
            report.save(path, WORKLOADS)
    return report


if __name__ == "__main__":
    sys.exit(main())
