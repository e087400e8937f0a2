"""Laws of every engine, over the trained tiny decoder."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from core_model.notation import Binding
from core_model.numerals import NumberGuard, TokenTable, numbers_in
from core_model.openvino_sampler import OpenVinoSampler
from core_model.planning import Conditional
from core_model.prefix_tree import PrefixTree
from core_model.remote_core import RemoteCore
from core_model.sampler import ANSWER_LIMIT, AT_ONCE
from core_model.stopping import Stopped, stopped_by
from core_model.torch_core import TorchCore
from core_model.wire_core import WireCore
from tests import tiny, toy
from tests.fake_server import serving

DAY = (Binding("sky", "clear"), Binding("wind", "0"))
WORD = Conditional("weather", "word", DAY)
SKY = Conditional("weather", "sky", DAY[1:])


@pytest.fixture(params=["torch", "openvino", "server"])
def core(request: pytest.FixtureRequest, openvino_folder: Path) -> Iterator[WireCore]:
    with toy.registered(toy.weather()):
        if request.param == "server":
            with serving() as server:
                yield RemoteCore.connect(server.url, None, tiny.wire())
        else:
            wire, sampler = tiny.wire(), None
            if request.param == "openvino":
                sampler = OpenVinoSampler(openvino_folder, wire.end)
            made = TorchCore(tiny.trained_decoder(), wire, sampler=sampler)
            made.warm_up()
            yield made


def test_a_distribution_sums_to_one(core: WireCore) -> None:
    assert sum(a.probability for a in core.distribution_of(SKY).answers) == pytest.approx(1)
    assert sum(a.probability for a in core.distribution_of(WORD).answers) < 1


def test_batch_equals_single(core: WireCore) -> None:
    together = core.log_prob_of(WORD, toy.WORDS)
    alone = [core.log_prob_of(WORD, [word])[0] for word in toy.WORDS]
    assert together == pytest.approx(alone, abs=1e-4)


def test_draws_follow_log_prob(core: WireCore) -> None:
    """Goodness of fit of 600 draws to the exact probabilities of the words, and of all else."""
    drawn = Counter(core.sample_of(WORD, 600, np.random.default_rng(1)))
    p = np.exp(core.log_prob_of(WORD, toy.WORDS))
    kept = p > 0.02
    assert kept.sum() >= 2
    seen = [drawn[word] for word, keep in zip(toy.WORDS, kept, strict=True) if keep]
    expected = 600 * np.append(p[kept], 1 - p[kept].sum())
    assert stats.chisquare([*seen, 600 - sum(seen)], expected).pvalue > 1e-3


def test_a_seed_repeats_its_draws_and_texts_of_one_call_differ(core: WireCore) -> None:
    prompt, n = tiny.wire().prompt(WORD), AT_ONCE + 6
    first, again, other = (core.draw(prompt, n, np.random.default_rng(s))
                           for s in (3, 3, 4))  # fmt: skip
    assert first == again != other
    assert len(first) == n and len(set(map(tuple, first))) > 5


def test_no_text_holds_a_mark_or_is_longer_than_the_limit(core: WireCore) -> None:
    wire = tiny.wire()
    rows = core.draw(wire.prompt(WORD), 64, np.random.default_rng(5))
    assert not set(wire.tokenizer.special.values()) & {token for row in rows for token in row}
    assert max(map(len, rows)) <= ANSWER_LIMIT


class SetAt(threading.Event):
    """Set once it has been looked at so many times, as by an Esc in the middle of the work."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    def is_set(self) -> bool:
        self._left -= 1
        return self._left <= 0


@pytest.mark.parametrize("looks", [1, 2, 3, 5])
@pytest.mark.parametrize("verb", ["log_prob_of", "sample_of", "distribution_of", "choose", "write"])
def test_a_stop_ends_any_work_within_a_step_and_the_next_call_is_right(
    core: WireCore, verb: str, looks: int
) -> None:
    day = (Binding("text", f"a day, stopped at {looks}, {verb}"),)  # which no cache has
    verbs: dict[str, Callable[[], object]] = {
        "log_prob_of": lambda: core.log_prob_of(Conditional("weather", "word", day), toy.WORDS),
        "sample_of": lambda: core.sample_of(
            Conditional("weather", "text", day), 5, np.random.default_rng(6)
        ),
        "distribution_of": lambda: core.distribution_of(Conditional("weather", "word", day), 3),
        "choose": lambda: core.choose(
            Conditional("weather", "text", day), ["calm"], ["calm", "breezy", None]
        ),
        "write": lambda: list(
            core.write(Conditional("weather", "text", day), np.random.default_rng(6), None)
        ),
    }
    # An engine of two layers may be done before it is looked at a third time.
    ends = pytest.raises(Stopped) if looks < 3 else contextlib.suppress(Stopped)
    with ends, stopped_by(SetAt(looks)):
        verbs[verb]()
    first = verbs[verb]()
    np.testing.assert_equal(first, verbs[verb]())


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_has_no_other_numbers(core: WireCore, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(core.write(WORD, rng, ["37"], 3.0, 60, "About 3"))
    assert set(numbers_in("About 3" + text)) == {"37"}


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_is_ruled_out_leaves_the_others_their_shares(
    core: WireCore, temperature: float
) -> None:
    """Goodness of fit of the first token of 200 guarded texts to the model's, renormalised."""
    wire = tiny.wire()
    prompt, size = wire.prompt(WORD), wire.tokenizer.size
    tokens = np.setdiff1d(np.arange(size), wire.never_in_text(size))
    log_p = core.score(prompt, PrefixTree.build([[int(token)] for token in tokens]))
    first = int(log_p.argmax())
    assert np.exp(log_p[first]) > 0.1
    guard = Without(TokenTable.of(wire.tokenizer), int(tokens[first]))
    p = np.exp(np.delete(log_p, first) / temperature)
    p, tokens, rng = p / p.sum(), np.delete(tokens, first), np.random.default_rng(7)
    drawn = Counter(
        next(core.stream(prompt, rng, temperature, guard), wire.end) for _ in range(200)
    )
    kept = p > 0.03
    assert kept.sum() >= 2
    seen = [drawn[int(token)] for token in tokens[kept]]
    expected = 200 * np.append(p[kept], 1 - p[kept].sum())
    assert stats.chisquare([*seen, 200 - sum(seen)], expected).pvalue > 1e-3


class Without(NumberGuard):
    """Rules out one token."""

    def __init__(self, table: TokenTable, token: int) -> None:
        super().__init__(table, [])
        self._token = token

    def allowed(self) -> NDArray[np.bool_]:
        """(V,) all but that."""
        return np.arange(self._table.tokenizer.size) != self._token


def test_without_chance_the_most_probable_text_is_written(core: WireCore) -> None:
    written = {"".join(core.write(WORD, np.random.default_rng(s), None, 0.0)) for s in range(3)}
    scored = dict(zip(toy.WORDS, core.log_prob_of(WORD, toy.WORDS), strict=True))
    assert written == {max(scored, key=scored.__getitem__)}


def test_a_relation_of_dialogues_needs_no_schema(core: WireCore) -> None:
    """Who wrote a reply is asked of what no corpus lists: log p of each answer as it is spelled."""
    known = (Binding("user", "hi"), Binding("assistant", "Hello."))
    asked = Conditional("dialogue", "conduct", known)
    both = core.log_prob_of(asked, ["honest", "evasive"])
    one = [core.log_prob_of(asked, [answer])[0] for answer in ("honest", "evasive")]
    assert both == pytest.approx(one, abs=1e-3)
    assert (both < 0).all() and np.exp(both).sum() < 1
