"""Long work that whoever started it may stop.

Engines call `go_on` at every step, and the decoder between two layers, so that a stop is heeded
within some hundredths of a second whatever is under way: a prompt being read, thousands of answers
being scored. What asks an engine need not know of it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
POLLED_SECONDS = 0.03
"""Between two looks at whether work elsewhere is still wanted."""

_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


class Stopped(Exception):
    """The work under way is not wanted any more."""


def go_on() -> None:
    """Raise Stopped if the work under way in this thread is not wanted any more."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise Stopped


@contextlib.contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Work inside raises Stopped soon after `stop` is set."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def stoppable(items: Generator[T], stop: threading.Event) -> Generator[T]:
    """The items, each of them made inside `stopped_by`; what reads them stands outside."""
    with contextlib.closing(items):
        while True:
            with stopped_by(stop):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item


def apart(items: Generator[T]) -> Generator[T]:
    """The items, made in a thread of their own: waiting for one that never comes can be stopped.

    Left before its end, the thread ends at the next item, or when that fails.
    """
    made: queue.SimpleQueue[tuple[T | None, BaseException | None, bool]] = queue.SimpleQueue()
    left = threading.Event()

    def make() -> None:
        try:
            with contextlib.closing(items):
                for item in items:
                    if left.is_set():
                        return
                    made.put((item, None, False))
        except BaseException as error:
            made.put((None, error, True))
        else:
            made.put((None, None, True))

    threading.Thread(target=make, daemon=True).start()
    try:
        while True:
            go_on()
            try:
                item, error, is_last = made.get(timeout=POLLED_SECONDS)
            except queue.Empty:
                continue
            if error is not None:
                raise error
            if is_last:
                return
            yield item  # type: ignore[misc]
    finally:
        left.set()
