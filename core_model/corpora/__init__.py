"""The corpora Candor knows, by name. Schemas are cheap; records are read when first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

from core_model.corpora.base import Corpus
from core_model.corpora.network_plans import HELD_OUT, TRAINING
from core_model.errors import UnknownName
from core_model.graph import Schema


def _names() -> Corpus:
    from core_model.corpora.names import Names

    return Names()


def _places() -> Corpus:
    from core_model.corpora.places import Places

    return Places()


def _speeches() -> Corpus:
    from core_model.corpora.speeches import Speeches

    return Speeches()


def _safety() -> Corpus:
    from core_model.corpora.safety import Safety

    return Safety()


def _kin() -> Corpus:
    from core_model.corpora.kin import Kin

    return Kin()


def _chance() -> Corpus:
    from core_model.corpora.chance import Chance

    return Chance()


def _stories() -> Corpus:
    from core_model.corpora.stories import Stories

    return Stories()


def _network(name: str) -> Corpus:
    from core_model.corpora.networks import Network

    return Network(name)


_MAKERS: dict[str, Callable[[], Corpus]] = {
    "names": _names,
    "places": _places,
    "speeches": _speeches,
    "safety": _safety,
    "kin": _kin,
    "chance": _chance,
    "stories": _stories,
    **{name: partial(_network, name) for name in (*TRAINING, *HELD_OUT)},
}
_REGISTERED: dict[str, Corpus] = {}


def known() -> tuple[str, ...]:
    """The names of all corpora."""
    return tuple(dict.fromkeys((*_MAKERS, *_REGISTERED)))


@cache
def _make(name: str) -> Corpus:
    return _MAKERS[name]()


def load(name: str) -> Corpus:
    """The corpus of this name; raises UnknownName that lists what there is."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in _MAKERS:
        raise UnknownName(f"Unknown corpus '{name}'. There are: {', '.join(known())}.")
    return _make(name)


def schema(name: str) -> Schema:
    """The schema of a corpus; raises UnknownName."""
    return load(name).schema


@contextmanager
def register(corpus: Corpus) -> Iterator[Corpus]:
    """Add a corpus under its schema's name for the length of a `with` block."""
    name = corpus.schema.corpus
    before = _REGISTERED.get(name)
    _REGISTERED[name] = corpus
    try:
        yield corpus
    finally:
        if before is None:
            del _REGISTERED[name]
        else:
            _REGISTERED[name] = before
