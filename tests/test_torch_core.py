"""The core on a decoder: its packed, cached and searched numbers are those of the plain softmax."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from core_model import notation, reader
from core_model.decoder import Decoder
from core_model.errors import CandorError, UnknownName
from core_model.notation import Binding, Draw
from core_model.numerals import numbers_in
from core_model.planning import Conditional
from core_model.prefix_tree import PrefixTree, told_apart
from core_model.sampler import TorchSampler
from core_model.stopping import Stopped, stopped_by
from core_model.torch_core import TorchCore
from core_model.wire_core import PROMPT_LIMIT
from tests import tiny, toy

CLEAR = (Binding("sky", "clear"), Binding("wind", "0"))
WORD = Conditional("weather", "word", CLEAR)
SKY = Conditional("weather", "sky", (Binding("text", "It looked like rain."),))
WIND = Conditional("weather", "wind")
TEXT = Conditional("weather", "text", CLEAR[:1])
ANSWERS = ["calm", "breezy", "breezier", "", "3 knots", "naïve", "calm"]
SAME = 1e-4


@pytest.fixture(autouse=True)
def _weather() -> Iterator[None]:
    with toy.registered(toy.weather()):
        yield


@pytest.fixture
def core() -> TorchCore:
    """Nothing learnt: the laws of computation hold for any weights."""
    return tiny.random_core()


@pytest.fixture
def trained() -> TorchCore:
    """The words for the day learnt: few answers have most of the mass."""
    return tiny.trained_core()


def fresh() -> TorchCore:
    return TorchCore(tiny.decoder().eval(), tiny.wire(), "fresh")


def softmax(tokens: Sequence[int], decoder: Decoder | None = None) -> torch.Tensor:
    """(T, V) log p of the next token behind each: nothing packed and nothing kept."""
    wire, decoder = tiny.wire(), decoder or tiny.decoder()
    row = torch.tensor([tokens])
    with torch.no_grad():
        logits = decoder.logits(decoder(row, torch.arange(len(tokens))[None], None))[0]
    logits[:, sorted(set(wire.tokenizer.special.values()) - {wire.end})] = -torch.inf
    return torch.log_softmax(logits, dim=-1)


def plain(prompt: Sequence[int], answer: Sequence[int], decoder: Decoder | None = None) -> float:
    """log p of the answer's tokens behind a prompt."""
    log_p = softmax([*prompt, *answer], decoder)[len(prompt) - 1 : -1]
    return float(log_p[range(len(answer)), list(answer)].sum())


# --- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditional", [WORD, TEXT], ids=["enumerable", "open"])
def test_scores_are_those_of_a_plain_softmax(core: TorchCore, conditional: Conditional) -> None:
    wire = tiny.wire()
    scores = core.log_prob_of(conditional, ANSWERS)
    prompt = wire.prompt(conditional)
    assert scores == pytest.approx([plain(prompt, wire.answer(a)) for a in ANSWERS], abs=SAME)


@pytest.mark.parametrize("conditional", [WORD, TEXT], ids=["enumerable", "open"])
def test_a_batch_equals_its_single_answers(core: TorchCore, conditional: Conditional) -> None:
    singly = [core.log_prob_of(conditional, [answer])[0] for answer in ANSWERS]
    assert core.log_prob_of(conditional, ANSWERS) == pytest.approx(singly, abs=SAME)
    assert core.log_prob_of(conditional, []).shape == (0,)


def test_many_answers_are_scored_in_blocks(core: TorchCore) -> None:
    answers = [f"{a}{b} day" for a in "abcdefghijkl" for b in "mnopqrstuv"]
    singly = [core.log_prob_of(WORD, [answer])[0] for answer in answers[::30]]
    assert core.log_prob_of(WORD, answers)[::30] == pytest.approx(singly, abs=SAME)


def test_answers_of_the_same_tokens_have_the_same_score(core: TorchCore) -> None:
    one, other = core.log_prob_of(WORD, ["a\ud800", "a?"])
    assert one == other


@pytest.mark.parametrize("conditional", [SKY, WIND], ids=["sky", "wind"])
def test_a_closed_distribution_sums_to_one(core: TorchCore, conditional: Conditional) -> None:
    found = core.distribution_of(conditional)
    p = [answer.probability for answer in found.answers]
    assert sum(p) == pytest.approx(1.0, abs=1e-9)
    assert found.listed_mass <= 1.0
    assert p == sorted(p, reverse=True)
    assert found.entropy_nats == pytest.approx(-sum(q * math.log(q) for q in p))
    log_p = core.log_prob_of(conditional, [answer.value for answer in found.answers])
    assert np.exp(log_p) == pytest.approx(p)
    assert core.log_prob_of(conditional, ["purple"])[0] == -math.inf
    assert core.distribution_of(conditional, top=1).answers == found.answers[:1]


def test_a_closed_distribution_is_the_softmax_of_what_tells_its_values_apart(
    core: TorchCore,
) -> None:
    prompt, wire = tiny.wire().prompt(WIND), tiny.wire()
    scores = np.array([plain(prompt, wire.answer(v)[:1]) for v in ("0", "10", "20")])
    p = np.exp(scores) / np.exp(scores).sum()
    assert np.exp(core.log_prob_of(WIND, ["0", "10", "20"])) == pytest.approx(p, abs=SAME)


def test_a_stop_is_heeded_while_the_sampler_warms_up() -> None:
    gate, stop = threading.Event(), threading.Event()

    class Slow(TorchSampler):
        def start(self) -> None:
            assert gate.wait(600)

    core = fresh()
    core._sampler = Slow(core._reader, tiny.wire().end)
    core.warm_up()
    stop.set()
    try:
        with stopped_by(stop):
            with pytest.raises(Stopped):
                next(core.write(TEXT, np.random.default_rng(0), None))
            with pytest.raises(Stopped):
                core.sample_of(TEXT, 2, np.random.default_rng(0))
    finally:
        gate.set()
    assert core.sample_of(TEXT, 2, np.random.default_rng(0))


# --- what is left out ---------------------------------------------------------------------------


def many() -> tuple[list[int], PrefixTree]:
    """A prompt, and answers behind it with a dozen first tokens."""
    answers = [tiny.wire().answer(f"{a}{b} day") for a in "abcdefghijkl" for b in "mnopqrstuv"]
    # Each begins with the token of a space.
    return [*tiny.wire().prompt(WORD), answers[0][0]], PrefixTree.build([a[1:] for a in answers])


@pytest.mark.parametrize("share", [1e-6, 0.01, 0.3, 0.9])
def test_what_is_negligible_shares_its_mass_evenly(core: TorchCore, share: float) -> None:
    """All that is followed is exact, and what is not holds less than the share."""
    prompt, tree = many()
    whole, cut = core.score(prompt, tree), core.score(prompt, tree, negligible=share)
    roots = np.array([answer[0] for answer in tree.sequences()])
    assert len(set(roots.tolist())) == 12
    p = softmax(prompt)[-1].exp()
    held = 0.0
    for root in sorted(set(roots.tolist()), key=lambda token: float(p[token])):
        here = roots == root
        held += float(p[root])
        if held < share * float(p[np.unique(roots)].sum()):
            assert cut[here] == pytest.approx(math.log(p[root] / here.sum()), abs=SAME)
        else:
            assert cut[here] == pytest.approx(whole[here], abs=SAME)


def test_what_is_negligible_is_not_read(core: TorchCore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    branches = core._reader.branches

    def counted(*asked: Any) -> torch.Tensor:
        read.append(len(asked[1]))
        return branches(*asked)

    monkeypatch.setattr(core._reader, "branches", counted)
    prompt, tree = many()
    core.score(prompt, tree)
    whole, read[:] = sum(read), []
    core.score(prompt, tree, negligible=0.5)
    assert 0 < sum(read) < whole


@pytest.mark.parametrize("at_once", [3, reader.READ_AT_ONCE])
def test_a_prompt_that_is_kept_gives_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Asked again, asked behind others that begin alike, and asked after it was dropped."""
    monkeypatch.setattr(reader, "READ_AT_ONCE", at_once)
    monkeypatch.setattr(reader, "KEPT_BYTES", 60_000)
    core = fresh()
    known = [("text", "It rained."), ("sky", "clear"), ("wind", "0"), ("sky", "cloudy")]
    asked = [
        Conditional("weather", "word", tuple(Binding(*pair) for pair in known[:n]))
        for n in (3, 1, 2, 0, 4, 3)
    ]
    asked += [Conditional("weather", "word", (Binding("wind", str(n)),)) for n in range(8)]
    asked += asked[:2]
    for conditional in asked:
        alone = [plain(tiny.wire().prompt(conditional), tiny.wire().answer(a)) for a in ANSWERS[:2]]
        assert core.log_prob_of(conditional, ANSWERS[:2]) == pytest.approx(alone, abs=SAME)
        kept = list(core._reader._kept.values())
        assert occupied(kept) == sum(read.bytes for read in kept) <= 60_000
    assert 1 < len(kept) < len(set(asked))


def occupied(kept: Sequence[reader.Prompt]) -> int:
    """Bytes of memory that prompts hold, whole storages and not what is seen of them."""
    tensors = [t for read in kept for t in (*read.cache.keys, *read.cache.values, read.hidden)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def test_a_core_that_nobody_holds_leaves_memory() -> None:
    """A comparison loads one after the other."""
    core = fresh()
    assert core.distribution_of(SKY).answers and core.log_prob_of(WORD, ANSWERS).shape == (7,)
    held = weakref.ref(core)
    del core
    gc.collect()
    assert held() is None


def test_what_the_cache_saves_can_be_read() -> None:
    """A second turn reads what is new in it, and the same question again reads nothing."""
    core = fresh()
    assert core.prompt_use.hit_rate == 0
    first = Conditional("weather", "word", (Binding("text", "It rained all day long."),))
    core.log_prob_of(first, ANSWERS)
    assert (core.prompt_use.asked, core.prompt_use.reused) == (len(core._prompt(first)), 0)
    core.log_prob_of(first, ANSWERS)
    assert core.prompt_use.hit_rate == 0.5
    second = first.bind(Binding("sky", "clear"))
    core.log_prob_of(second, ANSWERS)
    known = core._wire.prompt(first).index(core._wire.marks["query"])
    assert core.prompt_use.reused == len(core._prompt(first)) + known


def test_a_document_is_read_first_wherever_it_is_given(core: TorchCore) -> None:
    """As in every training row; the order of the labels stays as it is given."""
    text, sky, wind = Binding("text", "It rained."), Binding("sky", "clear"), Binding("wind", "0")
    first = core.log_prob_of(Conditional("weather", "word", (text, sky, wind)), ANSWERS)
    for given in ((sky, text, wind), (sky, wind, text)):
        assert (core.log_prob_of(Conditional("weather", "word", given), ANSWERS) == first).all()
    other = core.log_prob_of(Conditional("weather", "word", (text, wind, sky)), ANSWERS)
    assert (other != first).all()


def test_half_precision_changes_little(core: TorchCore) -> None:
    half = TorchCore(Decoder(tiny.SHAPE, tiny.weights(), torch.bfloat16).eval(), tiny.wire())
    assert half.log_prob_of(WORD, ANSWERS) == pytest.approx(
        core.log_prob_of(WORD, ANSWERS), rel=0.02, abs=0.1
    )
    assert half.distribution_of(WIND).listed_mass == pytest.approx(1.0)
    assert len(half.sample_of(WORD, 2, np.random.default_rng(0))) == 2


# --- samples ------------------------------------------------------------------------------------


def fits(samples: Sequence[str], p: dict[str, float]) -> bool:
    """Pearson's χ² over the cells that expect five samples, the rest pooled."""
    n, counts = len(samples), Counter(samples)
    large = [value for value, q in p.items() if n * q >= 5]
    observed = [counts[value] for value in large]
    expected = [n * p[value] for value in large]
    rest = n - sum(expected)
    if rest >= 1:
        observed, expected = [*observed, n - sum(observed)], [*expected, rest]
    scale = sum(observed) / sum(expected)
    return bool(stats.chisquare(observed, [e * scale for e in expected]).pvalue > 1e-3)


@pytest.mark.parametrize("conditional", [SKY, WIND], ids=["sky", "wind"])
def test_samples_of_closed_answers_fit(core: TorchCore, conditional: Conditional) -> None:
    samples = core.sample_of(conditional, 2000, np.random.default_rng(1))
    answers = core.distribution_of(conditional).answers
    assert fits(samples, {answer.value: answer.probability for answer in answers})


def test_samples_of_listed_answers_fit(trained: TorchCore) -> None:
    samples = trained.sample_of(WORD, 600, np.random.default_rng(2))
    values = [*toy.WORDS, *sorted(set(samples))[:40]]
    p = np.exp(trained.log_prob_of(WORD, values))
    assert fits(samples, dict(zip(values, p.tolist(), strict=True)))


def test_the_first_character_of_a_sample_fits(core: TorchCore) -> None:
    """Of an untrained core whole answers never come twice, their beginnings do."""
    samples = core.sample_of(TEXT, 250, np.random.default_rng(3))
    p = softmax(tiny.wire().prompt(TEXT))[-1].exp().tolist()
    first = {chr(byte): p[len(tiny.SPECIAL) + byte] for byte in range(33, 127)}
    assert fits([sample[:1] for sample in samples], first)
    assert core.sample_of(TEXT, 0, np.random.default_rng(3)) == []


def test_a_seed_repeats_its_samples(core: TorchCore) -> None:
    one, same, other = (core.sample_of(WORD, 3, np.random.default_rng(s)) for s in (4, 4, 5))
    assert one == same != other


# --- the search ---------------------------------------------------------------------------------


def test_listed_answers_have_their_own_probabilities(core: TorchCore) -> None:
    found = core.distribution_of(WORD, top=5)
    p = [answer.probability for answer in found.answers]
    assert len(p) == 5
    assert p == sorted(p, reverse=True)
    log_p = core.log_prob_of(WORD, [answer.value for answer in found.answers])
    assert np.exp(log_p) == pytest.approx(p, rel=1e-3)
    assert found.listed_mass == pytest.approx(sum(p))


def test_the_search_finds_the_most_probable_answers(trained: TorchCore) -> None:
    for sky, wind in tiny.DAYS:
        given = (Binding("sky", sky), Binding("wind", wind))
        conditional = Conditional("weather", "word", given)
        found = trained.distribution_of(conditional, top=3)
        p = [answer.probability for answer in found.answers]
        log_p = trained.log_prob_of(conditional, [answer.value for answer in found.answers])
        assert np.exp(log_p) == pytest.approx(p, rel=1e-3)
        words = np.sort(np.exp(trained.log_prob_of(conditional, toy.WORDS)))[::-1]
        assert p == pytest.approx(words[:3], rel=1e-3)


def test_the_entropy_is_that_of_all_answers(trained: TorchCore) -> None:
    """-E log p over drawn token paths, within four standard errors of both."""
    found, wire = trained.distribution_of(WORD, top=2), tiny.wire()
    prompt, rng = wire.prompt(WORD), np.random.default_rng(6)
    drawn = Counter(map(tuple, trained._sampler.draw(prompt, 400, rng)))
    decoder = tiny.trained_decoder()
    surprise = np.repeat(
        [-plain(prompt, [*path, wire.end], decoder) for path in drawn], list(drawn.values())
    )
    error = math.hypot(float(surprise.std()) / math.sqrt(len(surprise)), found.entropy_stderr)
    assert abs(found.entropy_nats - float(surprise.mean())) < 4 * error
    assert 0 < found.entropy_stderr < 0.5
    assert found.listed_mass < 1


def test_memory_that_is_short_is_a_memory_error_and_the_next_question_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"

    def full(*_: object) -> None:
        raise RuntimeError(short)

    core = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "forward", full)
        with pytest.raises(MemoryError):
            core.log_prob_of(WORD, ["calm"])
        short = "something else"
        with pytest.raises(RuntimeError, match="something else"):
            core.log_prob_of(WORD, ["calm"])
    assert np.isfinite(core.log_prob_of(WORD, ["calm"])).all()


def test_free_text_is_not_listed(core: TorchCore) -> None:
    with pytest.raises(CandorError, match="free text"):
        core.distribution_of(TEXT)


def test_a_text_that_is_too_long_is_refused(core: TorchCore) -> None:
    conditional = Conditional("weather", "sky", (Binding("text", "x" * PROMPT_LIMIT),))
    with pytest.raises(CandorError, match="too long"):
        core.distribution_of(conditional)


# --- pieces and writing -------------------------------------------------------------------------


def test_a_corpus_that_was_not_learnt_is_refused_and_says_what_is_known() -> None:
    core = TorchCore(tiny.decoder().eval(), tiny.wire(), learnt=("names",))
    with pytest.raises(UnknownName, match="has not learnt 'weather'"):
        core.distribution_of(Conditional("weather", "sky"))
    knows = TorchCore(tiny.decoder().eval(), tiny.wire(), learnt=("names", "weather"))
    assert knows.distribution_of(Conditional("weather", "sky")).listed_mass == pytest.approx(1.0)


def test_a_chain_asked_as_one_question_is_a_distribution_of_its_own(core: TorchCore) -> None:
    query = notation.parse("weather: sky; wind")
    assert isinstance(query, Draw)
    found = core.asked(query, "A grey day.")
    assert found.method == "asked"
    assert {answer.value for answer in found.answers} == {"0", "10", "20"}
    assert found.listed_mass == pytest.approx(1.0)
    mixture = core.distribution(query, "A grey day.")
    assert found.answers != mixture.answers


def test_a_choice_is_the_softmax_of_what_tells_its_pieces_apart(core: TorchCore) -> None:
    wire, options = tiny.wire(), ["names", "speeches", None]
    call = Conditional("dialogue", "call", (Binding("user", "hello"),))
    prompt = wire.prompt(call) + wire.piece("sample")
    pieces = [[wire.end] if o is None else wire.piece(o) for o in options]
    scores = np.array([plain(prompt, piece) for piece in told_apart(pieces)])
    p = np.exp(scores) / np.exp(scores).sum()
    assert np.exp(core.choose(call, ["sample"], options)) == pytest.approx(p, abs=SAME)
    assert core.choose(call, ["sample"], ["names"]) == pytest.approx([0.0])


REPLY = Conditional("dialogue", "reply", (Binding("user", "hello"),))


def test_a_choice_goes_on_from_the_prompt_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen piece by piece has the same odds as where each prompt is read whole."""
    options = [["calm", "stormy", None], ["breezy", "a grey day", None], ["calm", "calmer", None]]
    chosen, apart = ["stormy", "a grey day"], []
    for place in range(3):
        core = fresh()  # it has read nothing that it could go on from
        apart.append(core.choose(WORD, chosen[:place], options[place]))
    core = fresh()
    for place in range(3):
        found = core.choose(WORD, chosen[:place], options[place])
        assert found == pytest.approx(apart[place], abs=1e-5)
    assert len(core._reader._kept) == 1
    monkeypatch.setattr(reader, "FEW", 2)  # too much stands behind it: a prompt of its own
    assert core.choose(WORD, chosen, options[2]) == pytest.approx(apart[2], abs=1e-5)
    assert len(core._reader._kept) == 2


def written(core: TorchCore, seed: int, numbers: list[str] | None, **options: Any) -> str:
    return "".join(core.write(REPLY, np.random.default_rng(seed), numbers, **options))


@pytest.mark.parametrize("numbers", [["3.25%", "-0.41"], []])
def test_only_the_given_numbers_are_written(core: TorchCore, numbers: list[str]) -> None:
    for seed in range(4):
        text = written(core, seed, numbers, max_tokens=60)
        assert set(numbers_in(text)) <= {"3.25", "-0.41"} & {n.strip("%") for n in numbers}


def test_a_number_is_not_cut_off(core: TorchCore) -> None:
    """The limit falls behind the opening's first digit, where only the number's rest may stand."""
    assert written(core, 0, ["1985"], max_tokens=0, opening="In 19") == "85"
    assert written(core, 0, ["1985"], max_tokens=0, opening="In 1985") == ""


def test_writing_repeats_by_seed_and_ends_at_its_limit(core: TorchCore) -> None:
    assert written(core, 1, None, max_tokens=20) == written(core, 1, None, max_tokens=20)
    assert written(core, 1, None, max_tokens=20) != written(core, 2, None, max_tokens=20)
    cold = {written(core, seed, None, max_tokens=12, temperature=0.0) for seed in (1, 2)}
    assert len(cold) == 1
    assert len(cold.pop()) <= 12


def test_writing_can_be_stopped(core: TorchCore) -> None:
    stream = core.write(REPLY, np.random.default_rng(0), None, max_tokens=40)
    first = next(iter(stream))
    assert first
    stream.close()  # type: ignore[attr-defined]
    assert written(core, 0, None, max_tokens=40).startswith(first)


def test_a_trained_core_writes_what_it_knows(trained: TorchCore) -> None:
    texts = [
        "".join(trained.write(WORD, np.random.default_rng(seed), None, temperature=0.5))
        for seed in range(12)
    ]
    assert sum(text in toy.WORDS for text in texts) >= 9
    behind = trained.write(WORD, np.random.default_rng(0), [], temperature=0.0, opening="bre")
    assert "".join(behind) == "ezy"
