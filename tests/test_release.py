"""The core on the adapter that ships: a few figures far from chance, and what it promises."""

from __future__ import annotations

import time

import numpy as np
import pytest

from core_model import corpora
from core_model.base_files import BaseFiles
from core_model.config import Settings
from core_model.loading import load_core
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.sampler import ANSWER_LIMIT
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from core_model.wire import Wire
from tools.query import run_query

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def core(base_weights: BaseFiles) -> TorchCore:
    return load_core(Settings.from_environment())


def test_top_names_of_a_held_out_year_within_three_seconds(core: TorchCore) -> None:
    query = "names: name | year=1985, sex=female"
    run_query(core, "names: name | year=1984, sex=male", None, 10, "exact", 0)  # warm
    began = time.process_time()
    found = run_query(core, query, None, 10, "exact", 0)
    # Three seconds on two cores; processor time, so that what else runs does not count.
    assert time.process_time() - began < 6
    assert len(found["answers"]) == 10
    assert 0 < found["listed_mass"] < 1
    born = corpora.load("names").count({"year": "1985", "sex": "female"}, ["name"])
    common = sorted(born, key=lambda name: -born[name])[:40]
    assert sum((answer["value"],) in common for answer in found["answers"]) >= 7


def test_exact_and_listed_probabilities_agree(core: TorchCore) -> None:
    given = (Binding("year", "1925"), Binding("sex", "male"))
    conditional = Conditional("names", "name", given)
    top = core.distribution_of(conditional, 5)
    scored = core.log_prob_of(conditional, [answer.value for answer in top.answers])
    np.testing.assert_allclose(
        np.exp(scored), [answer.probability for answer in top.answers], rtol=2e-2
    )


def test_held_out_passages_beat_chance(core: TorchCore) -> None:
    records = corpora.load("speeches").records("held_out")
    chosen = np.random.default_rng(5).choice(len(records), 24, replace=False)
    right = 0
    for index in chosen:
        values = records[index].values
        text = (Binding("text", values["text"]),)
        posterior = core.distribution_of(Conditional("speeches", "author", text))
        assert sum(a.probability for a in posterior.answers) == pytest.approx(1, abs=1e-6)
        right += values["author"] in [a.value for a in posterior.answers[:5]]
    assert right >= 8  # of 43 authors, five at random would be right in 3 of 24


def test_no_passage_is_longer_than_an_answer_may_be(base_weights: BaseFiles) -> None:
    wire, speeches = Wire(Tokenizer(base_weights.tokenizer)), corpora.load("speeches")
    passages = [r.values["text"] for s in ("train", "held_out") for r in speeches.records(s)]
    assert max(len(wire.answer(passage)) for passage in passages) <= ANSWER_LIMIT
