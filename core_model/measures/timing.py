"""The measure `time`: how long a query takes, in a program that runs and in one that starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core_model import notation
from core_model.core import Core
from core_model.errors import CandorError
from core_model.measures.result import Floats, Goal, Ints, MeasureRow, Options, measured
from core_model.notation import Draw

QUERY = "names: name | year={year}, sex=female"
YEAR = 1985
TOP = 10
REPEATS = 5
COLD_REPEATS = 3
COLD_LIMIT_S = 120
SCREEN = 40, 120
FIRST_SCREEN, CAN_ANSWER = b"starting", b"ready"
"""What the chat's status line says at first, and once it can answer."""


def timing(core: Core, options: Options, command: Sequence[str] | None = None) -> list[MeasureRow]:
    """Seconds of `candor query 'names: name | year=1985, sex=female' --top 10 --json`.

    - query, warm: the query's distribution inside this process, from its text. Median over 5
      years from 1985 on, so that nothing an engine keeps of one query serves the next; one query
      before them is not timed. Guard: the slowest.
    - query, cold: the whole command in a process of its own, from start to exit. Median of 3
      (`--quick`: 1). Guard: the slowest.

    - chat, first screen and chat, ready: `candor chat` started in a terminal of its own until its
      first screen is painted, and until it can answer. Median and guard as for the cold query.

    Intervals resample the repetitions. They hold for the machine the figures were measured on.
    """
    _ask(core, YEAR - 30)
    warm = np.array([_ask(core, YEAR + i) for i in range(REPEATS)])
    query = ["query", QUERY.format(year=YEAR), "--top", str(TOP), "--json"]
    program = [*(command or _program())]
    repeats = range(1 if options.quick else COLD_REPEATS)
    cold = np.array([_run([*program, *query]) for _ in repeats])
    painted, ready = np.array([_open_chat([*program, "chat"]) for _ in repeats]).T
    return [
        _row("query, warm", warm, options, Goal("at most", 3.0)),
        _row("query, cold", cold, options, Goal("at most", 10.0)),
        _row("chat, first screen", painted, options, Goal("at most", 1.0)),
        _row("chat, ready", ready, options, Goal("at most", 6.0)),
    ]


def _ask(core: Core, year: int) -> float:
    begun = time.perf_counter()
    query = notation.parse(QUERY.format(year=year))
    assert isinstance(query, Draw)
    core.distribution(query, top=TOP)
    return time.perf_counter() - begun


def _program() -> list[str]:
    """The `candor` command of this Python."""
    installed = Path(sys.executable).parent / "candor"
    if not installed.exists():
        raise CandorError(f"There is no {installed}. Install the program: scripts/setup measure.")
    return [str(installed)]


def _run(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COLD_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CandorError(f"'{command[0]} query' can't be timed: {error}.") from error
    seconds = time.perf_counter() - begun
    try:
        answers = json.loads(done.stdout)["answers"]
    except (ValueError, KeyError, TypeError):
        answers = []
    if done.returncode or not answers:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CandorError(
            f"'{command[0]} query' failed with status {done.returncode}"
            + (f": {said[-1]}" if said else ".")
        )
    return seconds


def _open_chat(command: Sequence[str]) -> tuple[float, float]:
    """Seconds until a program in a terminal shows FIRST_SCREEN, and then CAN_ANSWER."""
    import fcntl
    import pty
    import select
    import struct
    import termios

    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", *SCREEN, 0, 0))
    seen, begun = b"", time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen(
            command, stdin=end, stdout=end, stderr=end, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "CANDOR_DATA": folder},
        )  # fmt: skip
        os.close(end)
        try:
            times = []
            for shown in (FIRST_SCREEN, CAN_ANSWER):
                while shown not in seen:
                    if not select.select([terminal], [], [], COLD_LIMIT_S)[0]:
                        raise CandorError(f"'{command[0]} chat' never showed '{shown.decode()}'.")
                    try:
                        seen += os.read(terminal, 1 << 16)
                    except OSError as error:  # it has ended
                        raise CandorError(
                            f"'{command[0]} chat' ended before it showed '{shown.decode()}'."
                        ) from error
                times.append(time.perf_counter() - begun)
        finally:
            program.kill()
            program.wait()
            os.close(terminal)
    return times[0], times[1]


def _row(name: str, seconds: Floats, options: Options, floor: Goal) -> MeasureRow:
    def median(indices: Ints) -> float:
        return float(np.median(seconds[indices]))

    return measured(
        name, "s", median, range(len(seconds)), options,
        {"slowest": float(seconds.max())}, floor=floor,
    )  # fmt: skip
