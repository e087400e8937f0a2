"""The benchmark's workloads, run on the tiny core, and what their figures are made by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core_model import corpora
from core_model.adapter import CORPORA, save_adapter
from core_model.benchmark import WORKLOADS
from core_model.config import Settings
from core_model.corpora.base import Record, Split
from core_model.openvino_sampler import OpenVinoSampler
from core_model.stopping import go_on
from core_model.torch_core import TorchCore
from core_model.workloads import fidelity, growth, speed, start, stop
from core_model.workloads.engines import Bench
from tests import tiny, toy


class HeldOut(toy.ToyCorpus):
    """Speeches all of which are held out."""

    def records(self, split: Split) -> Sequence[Record]:
        return super().records("train") if split == "held_out" else []


class LikeTransformers:
    """The tiny decoder, called as transformers calls a model."""

    def __call__(self, tokens: torch.Tensor, **options: object) -> SimpleNamespace:
        decoder = tiny.trained_decoder()
        positions = torch.arange(tokens.shape[1]).expand_as(tokens)
        return SimpleNamespace(logits=decoder.logits(decoder(tokens, positions, None)))


class LikeLlama:
    """The tiny decoder, called as llama.cpp's Python binding is."""

    def reset(self) -> None:
        self.scores = np.zeros((0, 0))

    def eval(self, tokens: Sequence[int]) -> None:
        logits = LikeTransformers()(torch.tensor([tokens])).logits[0]
        # Of the whole context, whatever of it has been read.
        self.scores = np.concatenate([logits.detach().numpy(), np.zeros((4, logits.shape[1]))])


@pytest.fixture
def bench(openvino_folder: Path, tmp_path: Path) -> Iterator[Bench]:
    made, wire = Bench(Settings(tmp_path, tmp_path)), tiny.wire()
    made.core = TorchCore(
        tiny.trained_decoder(), wire, "tiny", OpenVinoSampler(openvino_folder, wire.end)
    )
    made.exact, made.sampler_files = tiny.trained_decoder(), openvino_folder
    made.transformers, made.llama_cpp = LikeTransformers(), LikeLlama()
    speeches = toy.speeches()
    with corpora.register(HeldOut(speeches.schema, speeches.table)):
        yield made


@pytest.mark.parametrize(
    "name",
    ["candidates", "attribution", "second-turn", "conversation", "growth-samples",
     "growth-candidates", "growth-context"],
)  # fmt: skip
def test_a_workload_runs_and_each_of_its_figures_is_one(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "TRIES", 2)
    of = WORKLOADS[name]
    figures = of.run(bench)
    assert all(np.isfinite(figure) and figure >= 0 for figure in figures.values())
    assert any(figures.values())
    assert {floor.of for floor in of.floors} <= set(figures)


def test_the_hit_rate_is_of_all_turns_but_what_is_new_in_each(bench: Bench) -> None:
    asked = sum(range(1, speed.TURNS + 1))
    assert speed.hit_rate(bench) == {"candor": pytest.approx(1 - speed.TURNS / asked)}


def test_fidelity_is_that_of_the_engine_that_draws(bench: Bench) -> None:
    near = fidelity.fidelity(bench)
    for engine in ("candor, scores", "llama.cpp"):
        assert near[engine] == pytest.approx(0, abs=1e-9)
    assert 0 < near["candor, samples"] < 0.003
    bench.exact = tiny.decoder()
    far = fidelity.fidelity(bench)
    assert min(far.values()) > 0.1


def test_draws_tell_how_far_two_distributions_are_apart() -> None:
    """As Σ q log q / p does; where they are near, one draw tells it to a tenth."""
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.ones(50))
    for spread, draws in ((0.02, 2_000), (0.5, 20_000)):
        p = q * np.exp(spread * rng.normal(size=50))
        p /= p.sum()
        drawn = rng.choice(50, size=draws, p=q)
        terms = fidelity.kl_terms(np.log(q[drawn]), np.log(p[drawn]))
        assert terms.mean() == pytest.approx((q * np.log(q / p)).sum(), rel=0.1)
        assert terms.min() >= 0


def test_a_planted_quadratic_cost_comes_back() -> None:
    sizes = growth.CONTEXT
    planted = [3.0, 0.5, 0.002]
    costs = [3.0 + 0.5 * n + 0.002 * n * (n - 1) / 2 for n in sizes]
    assert growth.fit_growth(sizes, costs, 2) == pytest.approx(planted)
    noisy = np.array(costs) * np.random.default_rng(0).normal(1, 0.03, len(sizes))
    assert growth.fit_growth(sizes, noisy.tolist(), 2)[2] == pytest.approx(0.002, rel=0.3)
    assert growth.fit_growth(sizes, [0.7 * n for n in sizes], 2) == pytest.approx(
        [0, 0.7, 0], abs=1e-6
    )


def test_no_part_of_a_cost_is_negative() -> None:
    """A straight line through a quadratic cost would begin below nothing."""
    costs = [0.002 * n * n for n in growth.CONTEXT]
    assert np.polyfit(growth.CONTEXT, costs, 1)[1] < 0
    assert min(growth.fit_growth(growth.CONTEXT, costs, 1)) >= 0


def test_work_is_stopped_when_it_is_due_and_what_is_over_waits_for_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless() -> None:
        while True:
            go_on()

    assert stop.wait(endless, 0.01) >= 0
    assert stop.wait(lambda: None, 60) == 0
    scored = list[int]()
    monkeypatch.setattr(bench.core, "score", lambda *row, **_: scored.append(len(row)) or go_on())
    monkeypatch.setattr(stop, "AFTER", (0.0, 0.0))
    figures = stop.stop(bench)
    assert list(figures) == ["candor, scores", "candor, prompt", "candor, sampler's prompt"]
    assert all(figure > 0 for figure in figures.values())
    assert len(scored) == 2


def test_a_cold_start_is_that_of_a_process_with_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.write_base(tmp_path / "base")
    save_adapter(tiny.decoder(tiny.RANK), tmp_path / "adapter", {CORPORA: "names speeches"})
    monkeypatch.setenv("CANDOR_ADAPTER", str(tmp_path / "adapter"))
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path / "cache"))
    bench = Bench(Settings(tmp_path, tmp_path, base=str(base)))
    assert 0 < start.cold_start(bench)["candor"] < 600
    assert not (tmp_path / "cache").exists()
