"""Work that is stopped, in this thread and in one of its own."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from core_model.stopping import Stopped, apart, go_on, stoppable, stopped_by


def counted(ended: threading.Event, upto: int = 3) -> Generator[int]:
    try:
        for number in range(upto):
            go_on()
            yield number
    finally:
        ended.set()


def test_only_what_is_inside_is_stopped() -> None:
    stop = threading.Event()
    stop.set()
    go_on()
    with pytest.raises(Stopped), stopped_by(stop):
        go_on()
    go_on()


def test_what_reads_the_items_stands_outside_of_their_stop() -> None:
    stop, ended = threading.Event(), threading.Event()
    items = stoppable(counted(ended), stop)
    assert next(items) == 0
    stop.set()
    go_on()
    with pytest.raises(Stopped):
        next(items)
    assert ended.is_set()


def test_an_inner_stop_gives_way_to_the_outer_one() -> None:
    inner, outer = threading.Event(), threading.Event()
    outer.set()
    with stopped_by(outer):
        assert list(stoppable(counted(threading.Event()), inner)) == [0, 1, 2]
        with pytest.raises(Stopped):
            go_on()


def test_items_made_apart_are_the_same_and_so_is_what_they_raise() -> None:
    def broken() -> Generator[int]:
        yield 1
        raise ValueError("broken")

    assert list(apart(counted(threading.Event(), 50))) == list(range(50))
    items = apart(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_what_is_made_apart_ends_when_nobody_wants_it() -> None:
    ended, made = threading.Event(), threading.Event()

    def endless() -> Generator[int]:
        try:
            while True:
                made.wait()
                yield 1
        finally:
            ended.set()

    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped), stopped_by(stop):
        next(apart(endless()))
    made.set()
    assert ended.wait(10)
