"""Ordinary dialogue to learn from, with its labels, and the base's own replies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core_model.corpora.safety import normalised
from persona import replay
from persona.dialogues import Turn, corpus_values
from persona.phrasings import talk
from persona.phrasings.calls import Call
from tests import tiny

TOKENIZER = tiny.wire().tokenizer


def test_labels_follow_the_kind_of_prompt() -> None:
    def of(kind: str, group: str | None = None) -> tuple[str | None, str | None]:
        prompt = next(t for t in talk() if t.kind == kind and group in (None, t.group))
        return replay.labels(Turn("q", None, None, "r", (), prompt.id))

    assert of("small_talk") == ("no", "no")
    assert of("outside") == ("yes", "no")
    assert of("missing") == ("no", "no")
    assert of("borderline") == ("no", "no")
    assert of("harmful", "harmful") == ("yes", "yes")
    assert of("harmful", "self_harm") == (None, "yes")


def test_labels_of_tool_turns() -> None:
    call = Call("safety", "safety")
    assert replay.labels(Turn("q", call, "safe 97%", "r", (), "w")) == ("no", None)
    names = Call("sample", "names")
    assert replay.labels(Turn("q", names, "Ann", "r", (), "w")) == ("no", "no")
    assert replay.labels(Turn("q", names, "error: none", "r", (), "w")) == (None, "no")


def test_who_helps_with_harm_is_not_safe() -> None:
    made = replay.careless_dialogues(np.random.default_rng(3), corpus_values("train"), 40)
    assert len(made) == 40
    verdicts = {(row["safe"], row["refusal"], row["harmful"]) for row in made}
    assert verdicts == {("no", "no", "yes")}
    assert len({row["reply"] for row in made}) > 20


def test_general_prompts_are_many_and_without_digits() -> None:
    prompts = replay.general_prompts()
    assert 230 <= len(prompts) == len(set(prompts)) <= 270
    assert not any(c.isdigit() for prompt in prompts for c in prompt)
    asked_elsewhere = {normalised(t.text) for t in talk()}
    assert not {normalised(prompt) for prompt in prompts} & asked_elsewhere


def test_a_batch_says_what_each_prompt_says_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "TEMPERATURE", 1e-4)
    decoder = tiny.decoder()
    barred = replay.barred_tokens(TOKENIZER)
    prompts = [replay.chat_tokens(TOKENIZER, text) for text in ("hello", "a", "what is it?")]

    def say(some: list[list[int]]) -> list[list[int]]:
        return replay.generate(decoder, TOKENIZER, some, barred, torch.Generator().manual_seed(0))

    together = say(prompts)
    assert together == [say([prompt])[0] for prompt in prompts]
    for reply in together:
        assert not any(c.isdigit() for c in TOKENIZER.decode(reply))
        assert not set(reply) & set(TOKENIZER.special.values())


def test_the_chat_template_keeps_its_marks_and_the_prompt_cannot_spell_them() -> None:
    tokens = replay.chat_tokens(TOKENIZER, "a<|im_end|>b")
    start, end = TOKENIZER.special["<|im_start|>"], TOKENIZER.special["<|im_end|>"]
    assert [t for t in tokens if t in (start, end)] == [start, end, start]
    assert TOKENIZER.decode(tokens) == replay.CHAT.replace("{prompt}", "a<|im_end|>b")


@pytest.mark.parametrize(
    ("text", "ended", "kept"),
    [
        (" Sure, a walk", True, "Sure, a walk"),
        ("One. Two! Thr", False, "One. Two!"),
        ('She said "yes." Then she we', False, 'She said "yes."'),
        ("no sentence end", False, ""),
    ],
)
def test_a_reply_ends_with_a_full_sentence(text: str, ended: bool, kept: str) -> None:
    assert replay.whole(text, ended) == kept


def test_replies_that_claim_another_maker_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"a": "I was trained by Hugging Face.", "b": "Honey is made by bees.", "c": ""}

    def generate(decoder, tokenizer, prompts, *rest):
        texts = [tokenizer.decode(p).split("user\n")[1][0] for p in prompts]
        return [tokenizer.encode(said[text]) for text in texts]

    monkeypatch.setattr(replay, "generate", generate)
    pairs = replay.general_replies(tiny.decoder(), TOKENIZER, ["a", "b", "c"], 0)
    assert pairs == [("b", "Honey is made by bees.")]


def test_the_safety_command_adds_general_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    general = tmp_path / "replay.jsonl"
    replay.write(general, [{"prompt": "p", "reply": "Fine."}, {"prompt": "q", "reply": "Sorry!"}])
    monkeypatch.setattr(replay, "corpus_values", lambda split: None)
    monkeypatch.setattr(replay, "benign_dialogues", lambda rng, values, n: [])
    out = tmp_path / "benign.jsonl"
    plain = ["safety", "--n", "0", "--general", str(general), "--out", str(out)]
    assert replay.main(plain) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["refusal"], r["harmful"]) for r in rows] == [("no", "no"), (None, "no")]
    assert replay.main(["safety", "--n", "0", "--general", str(tmp_path), "--out", str(out)]) == 1
