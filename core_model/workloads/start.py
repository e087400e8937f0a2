"""What a new process costs: seconds to its first answer, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from core_model.workloads.engines import Bench

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
core.sample_of(Conditional("speeches", "text"), 1, np.random.default_rng(0))
# Not getrusage: its peak is inherited from the process that started this one.
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(ready, int(peak.split()[1]) * 1024 / 1e9)
"""


def start(bench: Bench) -> dict[str, float]:
    """Seconds from a new process to the first answer, all files being prepared."""
    return {"candor": _fresh()[0]}


def cold_start(bench: Bench) -> dict[str, float]:
    """The same where there are the files of the base and nothing has been made of them yet."""
    with tempfile.TemporaryDirectory() as folder:
        base = str(bench.base.weights.parent)
        return {"candor": _fresh({"CANDOR_CACHE": folder, "CANDOR_BASE": base})[0]}


def memory(bench: Bench) -> dict[str, float]:
    """Peak memory in GB of a process that has answered and drawn a text (on Linux)."""
    return {"candor": _fresh()[1]}


def _fresh(changed: Mapping[str, str] | None = None) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True,
        env={**os.environ, **(changed or {})},
    )  # fmt: skip
    ready, gigabytes = map(float, done.stdout.split())
    return ready, gigabytes
