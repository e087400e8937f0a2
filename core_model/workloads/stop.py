"""How soon work ends that is not wanted any more."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import torch

from core_model.stopping import Stopped, stopped_by
from core_model.wire_core import PROMPT_LIMIT
from core_model.workloads.engines import DECODED, Bench
from core_model.workloads.speed import names_of

AFTER = (0.1, 0.5, 1.0)


def stop(bench: Bench) -> dict[str, float]:
    """Milliseconds from a stop to the end of the work, the longest of stops after AFTER seconds.

    scores: of the names of `names`. prompt: reading PROMPT_LIMIT tokens, by what scores and by what
    draws; 0 where that is over before the stop.
    """
    sampler, (asked, listed) = bench.sampler("openvino"), names_of("female")
    sampler.start()

    def read() -> None:
        with torch.inference_mode():
            bench.core._reader.prompt(bench.prompt(PROMPT_LIMIT))

    def draw() -> None:
        sampler.draw(bench.prompt(PROMPT_LIMIT), 1, bench.rng, limit=DECODED)

    runs: dict[str, Callable[[], object]] = {
        "candor, scores": lambda: bench.core.log_prob_of(asked, listed),
        "candor, prompt": read,
        "candor, sampler's prompt": draw,
    }
    return {name: 1000 * max(wait(run, seconds) for seconds in AFTER) for name, run in runs.items()}


def wait(run: Callable[[], object], seconds: float) -> float:
    """Seconds that work goes on behind a stop so many seconds after its beginning."""
    stop = Due(seconds)
    with contextlib.suppress(Stopped), stopped_by(stop):
        run()
    return max(0.0, time.perf_counter() - stop.at)


class Due(threading.Event):
    """Set from a moment on, `at`: a thread that sets it might have to wait itself."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.at = time.perf_counter() + seconds

    def is_set(self) -> bool:
        return time.perf_counter() >= self.at
