"""Failures no one foresaw: the traceback goes to a log file, the person gets one line."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path

from core_model.errors import CandorError

LOG_NAME = "candor.log"
LOG_LIMIT_BYTES = 1_000_000


def line_for(error: BaseException, log: Path) -> str:
    """One line about any error: a CandorError's own, else its kind and where the log is."""
    if isinstance(error, CandorError):
        return " ".join(str(error).split())
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(": ")
    where = write(error, log)
    return f"Something unforeseen went wrong ({said}). {where}"


def write(error: BaseException, log: Path) -> str:
    """Append the traceback to the log; says where it is, or that it could not be written."""
    text = "".join(traceback.format_exception(error))
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.old"))
        with log.open("a", encoding="utf-8", errors="replace") as out:
            out.write(f"{stamp}\n{text}\n")
    except OSError:
        return "The details could not be written to a file."
    return f"The details are in {log}."
