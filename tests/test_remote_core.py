"""The core behind a server: the same laws and numbers, and each fault told in one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import openai
import pytest

from core_model import remote_core
from core_model.errors import EngineError, UnknownName
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.remote_core import RemoteCore
from core_model.stopping import Stopped, stopped_by
from tests import fake_server, tiny, toy
from tests.fake_server import FakeServer, serving

DAY = (Binding("sky", "clear"), Binding("wind", "0"))
WORD = Conditional("weather", "word", DAY)
CLOSE = 0.01
"""A server's softmax holds the mark that closes a piece, too."""
AGREEMENT_NATS = 1e-3
TEXT = Conditional("weather", "text", DAY)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pauses between tries, and the toy corpus."""
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.0)
    with toy.registered(toy.weather()):
        yield


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def core(server: FakeServer) -> RemoteCore:
    return RemoteCore.connect(server.url, None, tiny.wire())


def test_it_answers_as_the_decoder_does(core: RemoteCore) -> None:
    local = tiny.trained_core()
    words = [*toy.WORDS, "sleet"]
    assert core.name == "tiny"
    assert core.log_prob_of(WORD, words) == pytest.approx(local.log_prob_of(WORD, words), abs=CLOSE)
    sky, other = (c.distribution_of(Conditional("weather", "sky")) for c in (core, local))
    assert [(a.value, pytest.approx(a.probability, rel=CLOSE)) for a in other.answers] == [
        (a.value, a.probability) for a in sky.answers
    ]
    options = ["calm", "breezy", None]
    assert core.choose(TEXT, ["calm"], options) == pytest.approx(
        local.choose(TEXT, ["calm"], options), abs=CLOSE
    )


def test_what_its_adapter_has_not_learnt_is_refused(server: FakeServer) -> None:
    core = RemoteCore.connect(server.url, None, tiny.wire(), ["names"])
    with pytest.raises(UnknownName, match="has not learnt 'weather'"):
        core.log_prob_of(WORD, ["calm"])


def test_it_agrees_with_the_decoder_in_nats(core: RemoteCore) -> None:
    p, q = (np.exp(c.log_prob_of(WORD, toy.WORDS)) for c in (tiny.trained_core(), core))
    rest = 1 - p.sum(), 1 - q.sum()
    kl = (p * np.log(p / q)).sum() + rest[0] * np.log(rest[0] / rest[1])
    assert abs(float(kl)) < AGREEMENT_NATS


def test_the_most_probable_texts_are_scored_draws(
    core: RemoteCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_core, "SEARCH_DRAWS", 64)
    found, exact = core.distribution_of(WORD, 3), tiny.trained_core().distribution_of(WORD, 3)
    assert [a.value for a in found.answers][:2] == [a.value for a in exact.answers][:2]
    assert found.answers[0].probability == pytest.approx(exact.answers[0].probability, rel=CLOSE)
    assert found.n == 64
    assert abs(found.entropy_nats - exact.entropy_nats) < 4 * (
        found.entropy_stderr + exact.entropy_stderr
    )


def test_an_open_number_allows_little_and_plain_text_almost_all(
    core: RemoteCore, server: FakeServer
) -> None:
    "".join(core.write(TEXT, np.random.default_rng(0), ["37"], 3.0, 60, "About 3"))
    assert {"allowed_token_ids" in body for body in server.requests} == {True, False}
    assert len(server.requests) < 60  # most tokens go on with the request before


def test_without_temperature_the_same_is_written_as_by_the_decoder(core: RemoteCore) -> None:
    texts = [
        "".join(one.write(WORD, np.random.default_rng(0), None, 0.0))
        for one in (core, tiny.trained_core())
    ]
    assert texts[0] == texts[1] != ""


def test_a_busy_server_is_asked_again(core: RemoteCore, server: FakeServer) -> None:
    server.busy = remote_core.RETRIES
    assert np.isfinite(core.log_prob_of(WORD, ["calm"])).all()
    server.busy = remote_core.RETRIES + 1
    with pytest.raises(EngineError, match=r"refused: .*busy"):
        core.log_prob_of(WORD, ["calm"])


LINES = {
    "refuses": "refused: .*too long",
    "rubbish": "no completion|broke off",
    "half": "broke off|can't be reached|no completion",
    "hangs": "did not answer within",
    "no logprobs": "sends no log-probabilities",
    "words": "names no token ids",
    "other tokens": "reads other tokens",
    "dies": "failed: the engine died$",
}


VERBS: list[Callable[[RemoteCore], object]] = [
    lambda core: core.log_prob_of(WORD, ["calm"]),
    lambda core: core.sample_of(WORD, 3, np.random.default_rng(0)),
    lambda core: list(core.write(TEXT, np.random.default_rng(0), None)),
]


@pytest.mark.parametrize("fault", LINES)
def test_a_fault_is_one_line_and_the_next_question_works(
    server: FakeServer, fault: fake_server.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "hangs":
        monkeypatch.setattr(remote_core, "READ_SECONDS", 0.05)
    core = RemoteCore.connect(server.url, None, tiny.wire())
    server.fault = fault
    scores, draws, _ = VERBS
    # It dies in the middle of a text; which tokens it reads is seen where they are echoed.
    for ask in {"dies": [draws], "other tokens": [scores]}.get(fault, [scores, draws]):
        before = len(server.requests)
        with pytest.raises(EngineError, match=LINES[fault]) as raised:
            ask(core)
        assert "\n" not in raised.value.message
        if fault == "hangs":  # else a time-out of a minute would be four
            assert len(server.requests) == before + 1
    server.fault = None
    if fault == "hangs":
        monkeypatch.setattr(remote_core, "READ_SECONDS", 60.0)
        core = RemoteCore.connect(server.url, None, tiny.wire())
    assert len(core.sample_of(WORD, 3, np.random.default_rng(0))) == 3


@pytest.mark.parametrize("verb", VERBS)
def test_waiting_for_a_server_that_hangs_can_be_stopped(
    core: RemoteCore, server: FakeServer, verb: Callable[[RemoteCore], object]
) -> None:
    server.fault = "hangs"
    begun = time.monotonic()
    with pytest.raises(Stopped), stopped_by(server.hung):
        verb(core)
    assert time.monotonic() - begun < remote_core.READ_SECONDS / 2
    server.fault = None
    verb(core)


def test_every_fault_is_tried() -> None:
    assert set(get_args(fake_server.Fault)) == {*LINES, "busy", "empty"}


def test_a_server_without_a_model_or_none_at_all_is_one_line(server: FakeServer) -> None:
    server.fault = "empty"
    with pytest.raises(EngineError, match="offers no model"):
        RemoteCore.connect(server.url, None, tiny.wire())
    with pytest.raises(EngineError, match="can't be reached"):
        RemoteCore.connect("http://127.0.0.1:9/v1", None, tiny.wire())
