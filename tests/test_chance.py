"""Sources of chance: their stated distributions against independent ways to work them out."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core_model import corpora
from core_model.corpora import grammars
from core_model.corpora.base import Split, refuse_held_out
from core_model.corpora.chance import FAMILIES, HELD_OUT_FAMILIES, STRUCTURED, Source, draw
from core_model.corpora.grammars import Table
from core_model.errors import CandorError, HeldOutError
from core_model.measures.chance import chance as measure
from core_model.measures.result import Options
from core_model.planning import Conditional
from core_model.tasks import ChanceTask
from tests import tiny, toy


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)]


def error(p: float, n: int) -> float:
    """Standard error of a share of n draws."""
    return (max(0.0, p * (1 - p)) / n) ** 0.5 + 1e-9


@given(st.integers(0, 2**32), st.sampled_from(list(FAMILIES)))
@settings(max_examples=150)
def test_every_source_sums_to_one_and_says_its_answers_once(seed: int, family: str) -> None:
    source = Source(family, *FAMILIES[family](np.random.default_rng(seed)))
    assert sum(source.p.values()) == pytest.approx(1)
    assert 1 <= len(source.p) <= 300
    assert all(p > 0 and value == value.strip() and value for value, p in source.p.items())
    assert source.text.isascii() and len(source.text) < 400


MASSES = {
    "binomial": lambda n, p: stats.binom(n, p).pmf,
    "geometric": lambda p: stats.geom(p).pmf,
    "Poisson": lambda mean: stats.poisson(mean).pmf,
    "normal": lambda mean, deviation: (
        lambda k: (
            stats.norm(mean, deviation).cdf(k + 0.5) - stats.norm(mean, deviation).cdf(k - 0.5)
        )
    ),
    "hypergeometric": lambda n, red, blue: stats.hypergeom(int(red + blue), int(red), int(n)).pmf,
    "Zipf": lambda low, n, power: stats.zipfian(-power, int(n)).pmf,
    "negative binomial": lambda p, r: lambda k: stats.nbinom(r, p).pmf(k - r),
    "reinforced urn": lambda n, red, blue: stats.betabinom(int(n), red, blue).pmf,
}


@pytest.mark.parametrize("family", MASSES)
def test_families_have_the_masses_that_scipy_gives(family: str) -> None:
    for seed in range(10):
        text, table = FAMILIES[family](np.random.default_rng(seed))
        mass = MASSES[family](*numbers(text))
        for value, p in table.items():
            assert p == pytest.approx(float(mass(int(value))), rel=1e-3, abs=1e-6)


def rolled(text: str) -> Table:
    """p(answer) of the families of dice, by going through all throws."""
    count, sides = map(int, numbers(text))
    of = {"sum": sum, "largest": max, "smallest": min}
    answer = next(fold for word, fold in of.items() if word in text)
    found = Counter(answer(t) for t in itertools.product(range(1, sides + 1), repeat=count))
    return {str(value): n / found.total() for value, n in found.items()}


@pytest.mark.parametrize("family", ["dice", "extreme"])
def test_dice_come_out_as_counted(family: str) -> None:
    for seed in range(6):
        text, table = FAMILIES[family](np.random.default_rng(seed))
        assert table == pytest.approx(rolled(text), abs=2e-6)


@pytest.mark.parametrize("seed", range(12))
def test_a_program_prints_what_python_says_it_does(seed: int) -> None:
    text, table = grammars.program(np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    known = {word: word for word in grammars.WORDS} | {
        "die": lambda sides: int(rng.integers(1, sides + 1)),
        "coin": lambda p: int(rng.random() < p),
        "pick": lambda *values: int(rng.choice(values)),
        "max": max,
    }
    n, seen = 4000, Counter[str]()
    lines = compile(text.replace("print(", "shown.append(", 1), "program", "exec")
    for _ in range(n):
        shown: list[object] = []
        exec(lines, dict(known), {"shown": shown})
        seen[str(shown[0])] += 1
    assert set(seen) <= set(table)
    for value, p in table.items():
        assert seen[value] / n == pytest.approx(p, abs=4 * error(p, n))


def written(text: str, rng: np.random.Generator) -> str:
    """A sentence of a grammar, read from its text and drawn rule by rule."""
    rules = dict(rule.split(": ") for rule in text.split("; "))

    def expand(symbol: str) -> str:
        ways = [way.rsplit(" ", 1) for way in rules[symbol].split(" | ")]
        shares = np.array([float(share.rstrip("%")) for _, share in ways])
        parts, _ = ways[int(rng.choice(len(ways), p=shares / shares.sum()))]
        return " ".join(expand(part) if part in rules else part for part in parts.split())

    return expand("S")


@pytest.mark.parametrize("seed", range(6))
def test_a_grammar_gives_its_sentences_as_often_as_it_says(seed: int) -> None:
    text, table = grammars.grammar(np.random.default_rng(seed))
    rng, n = np.random.default_rng(seed), 3000
    seen = Counter(written(text, rng) for _ in range(n))
    assert set(seen) <= set(table)
    for sentence, p in table.items():
        assert seen[sentence] / n == pytest.approx(p, abs=4.5 * error(p, n))


def test_a_phonology_by_hand() -> None:
    text, table = grammars.phonology(np.random.default_rng(3))
    long = numbers(text)[0] / 100
    short = sum(p for word, p in table.items() if len(re.findall("[aeiou]", word)) == 1)
    assert short == pytest.approx(1 - long)


# --- what is held out -----------------------------------------------------------------------------


def test_three_families_and_a_fifth_of_all_else_are_held_out() -> None:
    rng = np.random.default_rng(0)
    made = [Source(f, *FAMILIES[f](rng)) for f in FAMILIES for _ in range(40)]
    assert all(s.is_held_out for s in made if s.family in HELD_OUT_FAMILIES)
    others = [s.is_held_out for s in made if s.family not in HELD_OUT_FAMILIES]
    assert 0.12 < np.mean(others) < 0.28
    training = [draw(rng, "train", ["mixture"]) for _ in range(20)]
    for part in (part for s in training for part in re.split(r"(?:^|; )in \d+% ", s.text)[1:]):
        assert not Source("", part, {}).is_held_out
    for split in ("train", "held_out"):
        assert all(draw(rng, split).is_held_out == (split == "held_out") for _ in range(50))  # type: ignore[arg-type]


def test_families_that_a_split_has_nothing_of_are_refused() -> None:
    rng = np.random.default_rng(0)
    for names in (["triangular"], ["dyce"]):
        with pytest.raises(CandorError, match="No such families for 'train'"):
            draw(rng, "train", names)
    corpus = corpora.load("chance")
    assert corpus.is_held_out({"source": "anything"})
    assert not corpus.is_held_out({"value": "3"})


def test_records_keep_to_their_split_and_are_counted() -> None:
    corpus = corpora.load("chance")
    train, held_out = corpus.records("train"), corpus.records("held_out")
    assert refuse_held_out(corpus, train)
    with pytest.raises(HeldOutError):
        refuse_held_out(corpus, held_out)
    source = train[0].values["source"]
    same = [r.values["value"] for r in train if r.values["source"] == source]
    counted = corpus.count({"source": source}, ["value"])
    assert counted == Counter((value,) for value in same)


# --- training rows and the measure ----------------------------------------------------------------


def test_rows_ask_for_the_whole_distribution_of_training_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Source] = []

    def noted(rng: np.random.Generator, split: str, families: object) -> Source:
        drawn.append(draw(rng, split, families))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr("core_model.tasks.chance.draw", noted)
    rows = ChanceTask(tiny.wire(), STRUCTURED).rows(np.random.default_rng(0), 4)
    assert len(rows) == 4
    assert len(drawn) == 12
    assert {s.family for s in drawn} <= set(STRUCTURED)
    assert not any(s.is_held_out for s in drawn)


class Knowing(toy.ToyCore):
    """Knows the sources it is shown, and gives a share of its mass to what can't come out."""

    def __init__(self, astray: float) -> None:
        super().__init__()
        self.astray = astray
        self.shown: dict[str, Source] = {}

    def draw(self, rng: np.random.Generator, split: Split, families: Sequence[str]) -> Source:
        source = draw(rng, split, families)
        self.shown[source.text] = source
        return source

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        p = self.shown[conditional.given[0].value].p
        return np.log([p[answer] * (1 - self.astray) for answer in answers])


@pytest.mark.parametrize("astray", [0.0, 0.25])
def test_the_measure_of_a_core_that_knows_all_and_of_one_that_strays(
    astray: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Knowing(astray)
    monkeypatch.setattr("core_model.measures.chance.draw", core.draw)
    rows = {row.name: row for row in measure(core, Options(quick=True))}
    for kind in ("unseen parameters", "unseen families"):
        row = rows[f"chance TV, {kind}"]
        assert row.value == pytest.approx(astray, abs=1e-6)
        assert row.guard["mass outside"] == pytest.approx(astray, abs=1e-6)
        assert row.baselines["even"] > 0
        assert rows[f"chance excess TV, {kind}"].value == pytest.approx(astray, abs=0.06)
    for family in STRUCTURED:
        assert rows[f"{family} KL"].guard["valid"] == pytest.approx(1 - astray)
    assert rows["program KL"].value == pytest.approx(-np.log(1 - astray), abs=1e-6)


def test_of_the_families_that_are_trained_on_each_comes_as_often() -> None:
    """A mixture is held out where a part of it is, and must not be rarer for that."""
    rng = np.random.default_rng(0)
    drawn = Counter(draw(rng, "train").family for _ in range(1600))
    assert set(drawn) == {*FAMILIES} - {*HELD_OUT_FAMILIES}
    assert min(drawn.values()) > 60 and max(drawn.values()) < 145
