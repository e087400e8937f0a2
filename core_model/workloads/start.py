"""What a new process costs: seconds to its first answer, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from core_model.workloads.engines import Bench
from core_model.workloads.speed import SAMPLES, TURNS

TURN_WORDS = 60
"""Names, of two to three tokens each: ten turns are as long as a conversation may be."""

START = """
import time
begun = time.monotonic()
import numpy as np
from core_model.config import Settings
from core_model.planning import Conditional
from core_model.loading import load_embedded
core = load_embedded(Settings.from_environment())
core.log_prob_of(Conditional("names", "sex"), ["male"])
ready = time.monotonic() - begun
"""
USE = f"""
from core_model.notation import Binding
from core_model.workloads.speed import names_of
rng = np.random.default_rng(0)
asked, names = names_of("female")
for turn in range(1, {TURNS} + 1):
    said = (Binding("text", " ".join(names[: turn * {TURN_WORDS}])),)
    core.distribution_of(Conditional("speeches", "author", said))
    core.sample_of(Conditional("speeches", "summary", said), 1, rng)
core.sample_of(Conditional("speeches", "summary", said), {SAMPLES}, rng)
core.log_prob_of(asked, names)
"""
TELL = """
# Not getrusage: its peak is inherited from the process that started this one.
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(ready, int(peak.split()[1]) * 1024 / 1e9)
"""


def start(bench: Bench) -> dict[str, float]:
    """Seconds from a new process to the first answer, all files being prepared."""
    return {"candor": _fresh(START)[0]}


def cold_start(bench: Bench) -> dict[str, float]:
    """The same where there are the files of the base and nothing has been made of them yet."""
    with tempfile.TemporaryDirectory() as folder:
        base = str(bench.base.weights.parent)
        return {"candor": _fresh(START, {"CANDOR_CACHE": folder, "CANDOR_BASE": base})[0]}


def memory(bench: Bench) -> dict[str, float]:
    """Peak memory in GB of a process after much use (on Linux).

    A text that grows by TURN_WORDS words in each of TURNS turns is attributed and summed up; then
    SAMPLES summaries are drawn at once, and every name of `names` is scored.
    """
    return {"candor": _fresh(START + USE)[1]}


def _fresh(script: str, changed: Mapping[str, str] | None = None) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", script + TELL], capture_output=True, text=True, check=True,
        env={**os.environ, **(changed or {})},
    )  # fmt: skip
    ready, gigabytes = map(float, done.stdout.split())
    return ready, gigabytes
