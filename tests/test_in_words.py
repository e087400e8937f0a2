"""The base asked in words: what it reads and can be asked, and that it replies with an answer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from core_model import corpora, measure
from core_model.config import Settings
from core_model.corpora import kin
from core_model.measures.in_words import (
    SYSTEM,
    InWordsWire,
    asked_in_words,
    base_in_words,
    in_words,
)
from core_model.measures.report import MEASURES, Report
from core_model.measures.result import Options
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.torch_core import TorchCore
from tests import tiny

FEWER = {"QUICK_PASSAGES": 3, "QUICK_COUNTRIES": 2, "QUICK_FAMILIES": 1, "QUICK_UNLABELLED": 20,
         "QUICK_CASES": 1, "QUICK_CHAINS": 20}  # fmt: skip


def test_what_is_known_and_asked_is_said_and_few_answers_are_listed() -> None:
    said = in_words(Conditional("names", "sex", (Binding("name", "Anna"), Binding("year", "1985"))))
    assert said.splitlines()[1:] == [
        "The name (a given name) is: Anna",
        "The year (year of birth) is: 1985",
        "What is the sex (sex registered at birth)?",
        "Answer with one of: female, male.",
    ]
    assert in_words(Conditional("names", "name")).endswith("Answer with it alone.")


@pytest.mark.parametrize(
    ("corpus", "steps", "said"),
    [
        ("kin", "father; sibling", "brothers and sisters) of the father"),
        ("kin", "father & mother; child", "of the father"),
        ("places", "capital^-1; german", "of the country whose capital it is?"),
    ],
)
def test_chains_are_said_from_the_last_step_to_the_first(
    corpus: str, steps: str, said: str
) -> None:
    assert said in in_words(Conditional(corpus, steps))


def test_the_prompt_is_a_chat_and_an_answer_the_whole_reply() -> None:
    wire = InWordsWire(tiny.wire().tokenizer)
    conditional = Conditional("names", "sex")
    special = wire.tokenizer.special
    prompt = wire.prompt(conditional)
    texts = "".join(
        "<" if token == special["<|im_start|>"] else ">" if token == special["<|im_end|>"]
        else wire.tokenizer.decode([token])
        for token in prompt
    )  # fmt: skip
    assert texts == f"<system\n{SYSTEM}>\n<user\n{in_words(conditional)}>\n<assistant\n"
    assert wire.tokenizer.decode(wire.answer("male")[:-1]) == "male"
    assert wire.answer("male")[-1] == special["<|im_end|>"]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> TorchCore:
    """The tiny base, asked in words."""
    folder = tmp_path_factory.mktemp("words")
    base = tiny.write_base(folder / "base")
    return base_in_words(Settings(folder, folder, str(base), engine="torch"))[0]


@pytest.mark.parametrize(
    "name",
    ["attribution", "inversion", "conditioning", "networks", "transitivity", "writing", "summary"],
)
def test_measures_of_coherence_can_be_put_in_words(
    name: str, core: TorchCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[MEASURES[name].__module__]
    for size, fewer in FEWER.items():
        monkeypatch.setattr(module, size, fewer, raising=False)
    found = measure.measure(Report("ab12", 0, True), [name], core, Options(quick=True))
    assert found.results[name].failure is None
    assert found.results[name].rows


def test_every_variable_and_every_chain_can_be_asked_in_words(core: TorchCore) -> None:
    assert not core.has_learnt("chat:plans")
    for name in corpora.known():
        assert core.knows(name)
        assert all(core.knows_variable(v) for v in corpora.schema(name).variables)
    _, text = kin.draw(np.random.default_rng(0), "train")
    family = (Binding("family", text), Binding("person", "Anna"))
    p = np.exp(core.log_prob_of(Conditional("kin", "father; father", family), kin.PEOPLE))
    assert p.sum() == pytest.approx(1.0)
    assert len(set(asked_in_words())) == len(asked_in_words())
