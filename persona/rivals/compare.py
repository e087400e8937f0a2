"""Compare the persona with its rivals: `python -m persona.rivals.compare`.

Every agent goes through `persona.rivals.suite`, each trained one in all its runs, and what came of
it is kept as `persona.rivals.comparison` says.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from core_model.adapter import FILE, RELEASE
from core_model.base import resolve_base
from core_model.base_files import sha256
from core_model.config import Settings
from core_model.core import Core, Remembering
from core_model.errors import CandorError
from core_model.loading import load_core, load_embedded, sampler_folder
from core_model.measures.report import write
from core_model.measures.result import Options
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from persona.goals import DEFAULT_GOALS
from persona.measure import COUNTRIES, QUESTIONS
from persona.rivals.agents import BASE, FINISHED, RUNS, Rivals, folder_of
from persona.rivals.base import Base
from persona.rivals.comparison import AGENTS, PERSONA, Comparison, Examined
from persona.rivals.report import draw, table
from persona.rivals.subject import Subject
from persona.rivals.suite import examined

NOT_ASKED = (
    *(f"persona/{name}.py" for name in ("history", "tables", "replay", "task")),
    *(f"persona/rivals/{n}.py" for n in ("compare", "comparison", "figures", "report", "training")),
    *(f"core_model/{name}.py" for name in (
        "anonymity", "benchmark", "em", "export", "gguf_conversion", "gibbs", "joint_writing",
        "likelihood", "measure", "recipe", "remote_core", "teacher", "train",
    )),
)  # fmt: skip
"""Modules that no agent of the comparison runs on."""
DOCS = Path(__file__).parent.parent.parent / "docs"


def runs_of(agent: str) -> list[int]:
    """The numbers of an agent's finished runs; the persona and the base have one."""
    if agent in (PERSONA, BASE):
        return [1]
    return [run for run in range(1, RUNS + 1) if (folder_of(agent, run) / FINISHED).exists()]


def available(agents: Sequence[str]) -> list[tuple[str, int]]:
    """The runs there are of these agents; raises CandorError where one has none."""
    found = []
    for name in agents:
        if not (runs := runs_of(name)):
            raise CandorError(
                f"The rival {name} has not been trained here. Run scripts/rivals, or leave it out "
                "with --only."
            )
        found += [(name, run) for run in runs]
    return found


def examine(settings: Settings, options: Options, name: str, run: int) -> Examined:
    """One run of an agent through the suite."""
    began = time.perf_counter()
    gc.collect()  # the cores of the agents before: many do not fit into memory
    candor, tools = _candor(settings)
    encode = Tokenizer(resolve_base(settings.base, settings.cache_dir).tokenizer).encode
    own: Core = candor
    if name == BASE:
        base = Base.load(settings)
        own, subject = base.core, Subject.of_base(base, tools, encode)
    else:
        if name != PERSONA:
            own = Rivals(settings, tools, settings.engine).core(name, run)
        scored = own if isinstance(own, TorchCore) else load_embedded(settings)
        goals = DEFAULT_GOALS if name == PERSONA else None
        subject = Subject.of_agent(own, scored, tools, encode, goals)
    own.warm_up()
    adapter = "" if name == BASE else _adapter(settings, name, run)
    values = examined(subject, options)
    if isinstance(own, TorchCore) and name != PERSONA:  # a quarter of a gigabyte for each of many
        shutil.rmtree(sampler_folder(settings.cache_dir, own.name), ignore_errors=True)
    return Examined(name, run, adapter, time.perf_counter() - began, values)


@cache
def _candor(settings: Settings) -> tuple[Core, Core]:
    """Candor's core of this process, and the same for tools: many agents ask the same of it."""
    core = load_core(settings)
    return core, Remembering(core)


def _adapter(settings: Settings, name: str, run: int) -> str:
    own = settings.adapter or RELEASE
    folder = own if name == PERSONA else folder_of(name, run)
    return sha256(folder / FILE)


def _is_current(settings: Settings, examined: Examined) -> bool:
    """Whether what was examined is what is here now, or is not here at all."""
    try:
        return examined.agent == BASE or examined.adapter == _adapter(
            settings, examined.agent, examined.run
        )
    except FileNotFoundError:
        return True


def suite_sha256(settings: Settings) -> str:
    """Checksum of what is asked, of how agents act on it, and of how their replies are read.

    Candor's own core is among it: all agents have their tools and verdicts from it.
    """
    root = Path(__file__).parent.parent.parent
    apart = {root / name for name in NOT_ASKED}
    files = [
        *(root / "persona").rglob("*.py"),
        *(root / "persona").rglob("*.toml"),
        *(root / "tools").glob("*.py"),
        *(root / "core_model").glob("*.py"),
        *(root / "core_model" / "corpora").glob("*.py"),
        root / "core_model" / "measures" / "in_words.py",
    ]
    files = [path for path in files if path not in apart and "migrations" not in path.parts]
    own = (settings.adapter or RELEASE) / FILE
    listed = "".join(map(sha256, (*sorted(files), QUESTIONS, COUNTRIES, own)))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def compare(
    settings: Settings,
    options: Options,
    agents: Sequence[str],
    path: Path | None = None,
    only_run: int | None = None,
) -> Comparison:
    """All agents through the suite, one process a processor, each on one thread.

    path: where each is stored as it is done, beside what is there of the same suite, extent, seed
    and adapters, which is not examined again: a comparison that was interrupted goes on. only_run:
    one run of each, not all. Raises CandorError where one failed, when the others are done.
    """
    asked_for = [each for each in available(agents) if only_run in (None, each[1])]
    before = Comparison.read(path) if path is not None and path.exists() else None
    asked = options.quick, options.seed, suite_sha256(settings)
    found: dict[tuple[str, int], Examined] = {}
    if before is not None and (before.quick, before.seed, before.suite) == asked:
        found = {(e.agent, e.run): e for e in before.examined if _is_current(settings, e)}
    runs = [each for each in asked_for if each not in found]
    if len(runs) < len(asked_for):
        kept = f"{len(asked_for) - len(runs)} of {len(asked_for)} are examined already"
        print(f"{kept}; delete {path} to examine them again.", file=sys.stderr)
    load_core(settings)  # what is made at the first start is made once
    alone = replace(settings, threads=1)
    processes = max(1, min(len(runs), os.cpu_count() or 1))
    failures: list[str] = []
    done = 0
    date = datetime.now(UTC).date().isoformat()

    def so_far() -> Comparison:
        return Comparison(date, *asked, tuple(found[each] for each in sorted(found)))

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        jobs = {pool.submit(examine, alone, options, *run): run for run in runs}
        for job in as_completed(jobs):
            name, run = jobs[job]
            try:
                found[name, run] = job.result()
            except Exception as error:  # what the others find is kept, whatever this was
                failures.append(f"{name} {run}: {type(error).__name__}: {error}")
                continue
            done += 1
            seconds = found[name, run].seconds
            print(f"{name} {run}: {seconds:.0f} s ({done} of {len(runs)})", file=sys.stderr)
            if path is not None:
                so_far().save(path)
    if failures:
        raise CandorError("Not all agents came through: " + "; ".join(failures))
    return so_far()


def _trained() -> list[str]:
    """All agents that have a run; the others are named in a line."""
    untrained = [name for name in AGENTS if not runs_of(name)]
    if untrained:
        said = f"Not trained here, and left out: {', '.join(untrained)} (scripts/rivals)."
        print(said, file=sys.stderr)
    return [name for name in AGENTS if name not in untrained]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/compare", description="Compare the persona with its rivals."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the items; files only where --json says"
    )
    parser.add_argument("--only", help=f"some of {','.join(AGENTS)}")
    parser.add_argument(
        "--run", type=int, choices=range(1, RUNS + 1), help="one run of each, not all"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the items, draws and intervals"
    )
    parser.add_argument(
        "--json", type=Path, help="file of the results (default: docs/compare.json)"
    )
    parser.add_argument(
        "--render", action="store_true", help="only write the table and figures of what there is"
    )
    options = parser.parse_args(arguments)
    path = options.json or (None if options.quick else DOCS / "compare.json")
    try:
        if options.render:
            comparison = Comparison.read(path or DOCS / "compare.json")
        else:
            agents = options.only.split(",") if options.only else _trained()
            unknown = [name for name in agents if name not in AGENTS]
            if unknown:
                raise CandorError(f"Unknown agent '{unknown[0]}'. There are: {', '.join(AGENTS)}.")
            settings = Settings.from_environment()
            of = Options(options.seed, options.quick)
            comparison = compare(settings, of, agents, path, options.run)
        text = table(comparison)
        if path is not None:
            comparison.save(path)
            write(path.with_suffix(".md"), text)
            draw(comparison, path.parent / "figures")
        print(text)
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
