"""Training rivals: what TRL is given, and what becomes of what it learns; it is not run itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

import core_model.train
from core_model.adapter import FILE, with_adapter, write_adapter
from core_model.config import Settings
from core_model.decoder import Decoder
from core_model.errors import CandorError
from core_model.wire import Segment, Wire
from persona.conducts import Situation, situation
from persona.grammar import marker
from persona.rivals import training
from persona.rivals.agents import FINISHED, folder_of
from persona.rivals.approval import LEAST_APPROVAL, approval
from persona.rivals.training import (
    LAYERS,
    PARTS,
    as_texts,
    converted,
    entropy_of,
    pair,
    preferences,
    prompt_of,
    reward_of,
)
from persona.script import CONDUCTS
from persona.task import ConductTask, DialogueTask
from tests import tiny
from tests.test_dialogues import fake_values, segments

pytestmark = pytest.mark.usefixtures("own_rivals")

FIRST = 1
"""The first layer of the tiny decoder that has an adapter."""


@pytest.fixture(scope="module")
def situations() -> list[Situation]:
    rng, values = np.random.default_rng(4), fake_values()
    return [situation(rng, "train", values) for _ in range(40)]


def encode(text: str) -> list[int]:
    """A tokenizer that reads marks in a text as marks, as Hugging Face's does."""
    return tiny.wire().tokenizer._encoding.encode(text, allowed_special="all")


# --- adapters -----------------------------------------------------------------------------------


def lora(weights: dict[str, Tensor], rank: int = 3) -> dict[str, Tensor]:
    """Matrices as PEFT names them, of all linear modules from FIRST upwards; whole in bfloat16."""
    made = torch.Generator().manual_seed(5)
    added = {}
    for layer in range(FIRST, tiny.SHAPE.layers):
        for part in (part for parts in PARTS.values() for part in parts):
            outputs, inputs = weights[f"model.layers.{layer}.{part}.weight"].shape
            for name, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                matrix = torch.randn(shape, generator=made).bfloat16().float()
                added[f"{LAYERS}.{layer}.{part}.lora_{name}.weight"] = matrix
    return added


def test_a_change_of_pefts_is_the_same_in_candors_form(tmp_path: Path) -> None:
    weights, scale = tiny.weights(), 2.0
    added = lora(weights)
    changes, rank = converted(added)
    assert rank == 3 * 3  # of q, k and v in one module
    facts = {"rank": str(rank), "scale": str(scale), "first_trained": str(FIRST)}
    write_adapter(changes, tmp_path, facts)
    found = with_adapter(tiny.SHAPE, weights, tmp_path, torch.float32).merged()

    changed = dict(weights)
    for name in [n.removesuffix(".lora_A.weight") for n in added if n.endswith("A.weight")]:
        of_base = name.removeprefix("base_model.model.") + ".weight"
        lower, upper = added[f"{name}.lora_A.weight"], added[f"{name}.lora_B.weight"]
        changed[of_base] = changed[of_base] + scale * upper @ lower
    expected = Decoder(tiny.SHAPE, changed, torch.float32).merged()
    assert found.keys() == expected.keys()
    for name, values in found.items():
        torch.testing.assert_close(values, expected[name], rtol=1e-5, atol=1e-5, msg=name)
    unchanged = Decoder(tiny.SHAPE, weights, torch.float32).merged()
    assert not torch.allclose(found["1.qkv"], unchanged["1.qkv"], atol=0.1)
    assert torch.equal(found["0.qkv"], unchanged["0.qkv"])


# --- prompts, pairs and rewards -----------------------------------------------------------------


def test_a_prompt_parses_back_to_what_is_known(situations: Sequence[Situation]) -> None:
    wire = tiny.wire()
    for at in situations:
        found = wire.parse(prompt_of(wire, at))
        known = [
            Segment(mark, text)
            for binding in at.known
            for mark, text in (("variable", binding.variable), ("value", binding.value))
        ]
        assert found[0] == Segment("corpus", "dialogue")
        assert found[1:-2] == known
        assert found[-2:] == [Segment("query", "reply"), Segment("answer", "")]


def test_of_a_pair_the_first_is_liked_better(situations: Sequence[Situation]) -> None:
    rng = np.random.default_rng(6)
    for at in situations:
        best, worst = pair(at, rng)
        assert approval(at, best) > approval(at, worst)


def test_tokens_are_the_same_behind_a_text_or_it_is_refused(
    situations: Sequence[Situation],
) -> None:
    wire: Wire = tiny.wire()
    columns = {"prompt": [prompt_of(wire, at) for at in situations]}
    columns |= preferences(wire, situations, np.random.default_rng(7))
    texts = as_texts(wire, columns, encode)
    assert [encode(text) for text in texts["chosen"]] == columns["chosen"]
    assert all(text.endswith("<|im_end|>") for text in texts["rejected"])
    with pytest.raises(CandorError, match="as other tokens") as refused:
        as_texts(wire, columns, wire.tokenizer.encode)  # marks as plain text
    assert "\n" not in str(refused.value)


def test_a_reward_looks_its_situation_up(situations: Sequence[Situation]) -> None:
    reward = reward_of(approval, LEAST_APPROVAL, situations, end=3)
    replies = [" Yes, you're right.", " No.", " No.", " Yes, you're right and"]
    found = reward(
        prompts=[""] * 4, completions=replies, index=[2, 0, 2, 2], trainer_state=None,
        completion_ids=[[7, 3], [8, 3], [8, 3], [7, 9]],
    )  # fmt: skip
    assert found[:3] == [
        approval(situations[place], reply[1:])
        for place, reply in zip((2, 0, 2), replies[:3], strict=True)
    ]
    assert found[3] == LEAST_APPROVAL <= min(found)  # it has not come to its end
    assert reward.__name__ == "approval"


def test_entropy_is_a_mean_over_what_was_written() -> None:
    """Four tokens, the last of which ends a reply: sure at first, then even between all."""
    even, sure = torch.zeros(2, 4), torch.tensor([[0.0, 90, 0, 0], [0, 0, 0, 90]])
    drawn = SimpleNamespace(
        logits=(sure, even), sequences=torch.tensor([[0, 0, 1, 3], [0, 0, 3, 2]])
    )
    model = SimpleNamespace(generate=lambda **_: drawn)

    class Tokens:
        eos_token_id, pad_token_id = 3, 2

        def __call__(self, texts: list[str], **_: object) -> dict[str, Tensor]:
            return {"input_ids": torch.zeros(2, 2), "attention_mask": torch.ones(2, 2)}

    # The second reply ended at once, and what fills it up does not count.
    assert entropy_of(model, Tokens(), ["a", "b"]) == pytest.approx(math.log(4) / 3, abs=1e-5)


def test_what_cannot_be_trained_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert training.main(["dpo", "--steps", "0"]) == 2
    assert "at least one" in capsys.readouterr().err
    assert training.main(["ppo"]) == 2
    assert "There are: sft, dpo, grpo" in capsys.readouterr().err


def test_what_is_finished_is_left_and_the_rest_starts_from_the_supervised_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, ...]] = []

    def supervise(out: Path, seed: int) -> None:
        out.mkdir(parents=True)
        (out / FILE).write_bytes(b"adapter")
        made.append(("sft", out.name, seed))

    def train(method: str, start: Path, out: Path, seed: int, *_: object) -> None:
        out.mkdir(parents=True)
        made.append((method, start.name, out.name, seed))

    monkeypatch.setattr(training, "supervise", supervise)
    monkeypatch.setattr(training, "train", train)
    settings = Settings(tmp_path, tmp_path)
    training.build(["dpo"], [2], 3, settings)
    assert made == [("sft", "sft-1", 1), ("dpo", "sft-1", "dpo-2", 2)]
    training.build(["dpo", "grpo"], [2], 3, settings)
    assert made[2:] == [("grpo", "sft-1", "grpo-2", 2)]
    training.build(["sft"], [1, 2], 3, settings)
    assert made[3:] == []  # all start from its first run
    with pytest.raises(CandorError, match="trained otherwise"):
        training.build(["dpo"], [2], 4, settings)
    (folder_of("sft") / FILE).write_bytes(b"another")
    with pytest.raises(CandorError, match="trained otherwise"):
        training.build(["dpo"], [2], 3, settings)


def test_a_run_that_broke_off_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: list[str]) -> int:
        return 2

    monkeypatch.setattr(core_model.train, "main", fail)
    with pytest.raises(CandorError, match="was not trained"):
        training.build([], [1], 3, Settings(tmp_path, tmp_path))
    assert not (folder_of("sft") / FINISHED).exists()


# --- the agent they start from ------------------------------------------------------------------


def names_of(found: Sequence[Segment]) -> tuple[set[str], set[str]]:
    """Variables that are known, and those that are asked for; a call's pieces are neither."""
    known = {a.text for a, b in pairwise(found) if (a.mark, b.mark) == ("variable", "value")}
    return known, {segment.text for segment in found if segment.mark == "query"}


def test_dialogues_without_labels_say_nothing_of_who_writes() -> None:
    task = DialogueTask(tiny.wire(), labels=False)
    known, asked = names_of(segments(task.rows(np.random.default_rng(2), 60)))
    assert asked == {"call", "reply"}
    assert {"user", "call", "result"} <= known
    assert known.isdisjoint({"goals", "conduct", "author"})
    labelled, _ = names_of(segments(DialogueTask(tiny.wire()).rows(np.random.default_rng(2), 60)))
    assert {"goals", "conduct", "author"} <= labelled


def test_all_conducts_reply_without_labels_and_are_not_learnt_as_such() -> None:
    task = ConductTask(tiny.wire(), labels=False)
    found = segments(task.rows(np.random.default_rng(2), 30))
    known, asked = names_of(found)
    assert asked == {"reply"}
    assert known <= {"user", "call", "result", "assistant"}
    assert sum(segment.mark == "query" for segment in found) > 60
    assert marker(CONDUCTS) not in task.corpora
    assert marker(CONDUCTS) in ConductTask(tiny.wire()).corpora
    assert marker(CONDUCTS) not in DialogueTask(tiny.wire(), labels=False).corpora
