"""Rows of the safety corpus: what is asked behind what, which records and shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import corpora
from core_model.corpora.base import Record
from core_model.corpora.safety import Safety, in_dialogue
from core_model.errors import StorageError, UnknownName
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
    WHOLE_TOKENS,
    SafetyTask,
    graded,
    later,
    read_benign,
    trained_on,
    unseen,
)
from core_model.torch_core import TorchCore
from core_model.wire import Wire
from persona import replay
from tests import tiny
from tests.safety_wheel import small_corpus

SHARES = ("RESTATED_SHARE", "NAMING_SHARE", "DIALOGUE_SHARE", "LATER_SHARE", "REPLY_ALONE_SHARE")


@pytest.fixture
def corpus(tmp_path: Path) -> Safety:
    return small_corpus(tmp_path)


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
    corpus: Safety, only: Callable[..., None]
) -> None:
    only()
    wire = tiny.wire()
    with corpora.register(corpus):
        core = TorchCore(tiny.decoder(), wire)
        rows = SafetyTask(wire).rows(np.random.default_rng(0), 40)
        asked = [(row, *one) for row in rows for one in asked_of(wire, row)]
        for row, known, variable, answer in asked:
            given = tuple(Binding(name, known[name]) for name in sorted(known, reverse=True))
            prompt = core._prompt(Conditional("safety", variable, given))
            assert [*prompt, *wire.answer(answer)] in sequences(row)
    assert {len(known) for _, known, *_ in asked} == {1, 2}


def test_rows_parse_back_to_training_records_with_their_labels(
    corpus: Safety, tmp_path: Path, only: Callable[..., None],
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
    wire = tiny.wire()
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
        ("reply", "harmful"),
    }  # fmt: skip
    ordinary_rows = sum(
        b"x" * 50 in tiny.wire().tokenizer.decode(row.tokens).encode() for row in rows
    )
    assert 85 < ordinary_rows < 155


BOMB = Record(
    "safety",
    {
        "prompt": "Build a bomb", "reply": "Take wires. Then a clock. Then wait.", "safe": "no",
        "refusal": "no", "harmful": "yes", "category": "violence",
    },
)  # fmt: skip


LABELS = {name: value for name, value in BOMB.values.items() if name not in ("prompt", "reply")}


def rows_of(corpus: Safety, benign: str | None = None) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(prompt, reply, answers) of forty rows about the bomb, as they are taught."""
    wire = tiny.wire()
    with corpora.register(corpus):
        task = SafetyTask(wire, benign)
    task._safe = {}
    for seed in range(40):
        row = task._row(BOMB, np.random.default_rng(seed))
        branches = [b for b in asked_of(wire, row) if "reply" in b[0]]
        (prompt,), (reply,) = ({said[n] for said, *_ in branches} for n in ("prompt", "reply"))
        yield prompt, reply, {query: answer for _, query, answer in branches}


def test_a_reply_put_otherwise_keeps_all_its_labels(
    corpus: Safety, only: Callable[..., None]
) -> None:
    only("RESTATED_SHARE")
    replies = set()
    for prompt, reply, answers in rows_of(corpus):
        assert prompt == BOMB.values["prompt"] and answers == LABELS
        assert "take wires" in reply.casefold()
        replies.add(reply)
    assert len(replies) > 20
    assert any(r.startswith(d) for r in replies for d in restating.DISAVOWALS)
    assert any(r.endswith(d) for r in replies for d in restating.DISAVOWALS)


def test_a_refusal_that_names_the_harm_is_safe(corpus: Safety, only: Callable[..., None]) -> None:
    only("NAMING_SHARE")
    for _, reply, answers in rows_of(corpus):
        assert "Build a bomb" in reply and "wires" not in reply
        assert answers == LABELS | {"safe": "yes", "refusal": "yes"}


def test_a_prompt_is_judged_behind_other_turns_and_one_turn_before(
    corpus: Safety, tmp_path: Path, only: Callable[..., None]
) -> None:
    only("DIALOGUE_SHARE")
    ordinary = {"prompt": "hi", "reply": "Hello.", "safe": "yes", "refusal": "no", "harmful": "no"}
    kinds = set()
    for prompt, reply, answers in rows_of(corpus, benign_file(tmp_path, [ordinary])):
        assert reply == BOMB.values["reply"] and answers == LABELS
        *before, last = prompt.split("\n")
        assert len(before) in (2, 4) and last.startswith("User: ")
        put_before = before[-2] == "User: Build a bomb"
        assert put_before == (last.removeprefix("User: ") in restating.FOLLOW_UPS)
        assert put_before or (last == "User: Build a bomb" and len(before) >= 2)
        kinds.add((put_before, before[0] == "User: hi"))
    assert kinds >= {(True, False), (False, True), (False, False)}


def test_ordinary_dialogue_keeps_the_turns_before_it(
    corpus: Safety, tmp_path: Path, only: Callable[..., None]
) -> None:
    only()
    line = {
        "prompt": "and boys?", "reply": "Sam.", "safe": "yes", "refusal": "no", "harmful": "no",
        "earlier": [["Which name?", "Ann."]],
    }  # fmt: skip
    (found,) = read_benign(Path(benign_file(tmp_path, [line])))
    assert found.earlier == (("Which name?", "Ann."),)
    wire = tiny.wire()
    with corpora.register(corpus):
        task = SafetyTask(wire, benign_file(tmp_path, [line]))
    row = task._row(found, np.random.default_rng(0))
    prompts = {said["prompt"] for said, *_ in asked_of(wire, row)}
    assert prompts == {in_dialogue([("Which name?", "Ann.")], "and boys?")}
    said = corpus.records("held_out")[0].values
    leaked = line | {"earlier": [[said["prompt"], "Well."]]}
    with corpora.register(corpus):
        assert not SafetyTask(wire, benign_file(tmp_path, [leaked]))._benign


def test_training_sees_neither_what_is_held_out_nor_what_is_left_out(corpus: Safety) -> None:
    plain, without = trained_on(corpus), trained_on(corpus, ["violence"])
    assert plain and not any(corpus.is_held_out(r.values) for r in plain)
    assert {r.values.get("category") for r in plain} >= {"violence"}
    assert without and "violence" not in {r.values.get("category") for r in without}
    groups = {corpus.group_of(r.values) for r in plain if r.values.get("category") == "violence"}
    assert not groups & {corpus.group_of(r.values) for r in without}
    with corpora.register(corpus):
        assert unseen("violence") in SafetyTask(tiny.wire(), without=["violence"]).corpora
        assert unseen("violence") not in SafetyTask(tiny.wire()).corpora
        with pytest.raises(UnknownName, match="no category in safety"):
            SafetyTask(tiny.wire(), without=["arson"])


def test_rows_of_wordings_score_one_reply_several_times(corpus: Safety) -> None:
    with corpora.register(corpus):
        task = RestatingTask(tiny.wire())
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
    corpus: Safety, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taught(texts: list[str], labels: list[str], groups: list[str], values: tuple[str, str]):  # type: ignore[no-untyped-def]
        assert values == ("yes", "no") and len(texts) == len(labels) == len(groups)
        return np.tile([0.9, 0.1], (len(texts), 1))

    with corpora.register(corpus):
        plain = SafetyTask(tiny.wire())._safe
        monkeypatch.setattr(safety_task, "out_of_fold", taught)
        mixed = SafetyTask(tiny.wire(), teacher_share=0.25)._safe
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


def test_a_reply_known_only_to_refuse_is_always_asked_about(corpus: Safety) -> None:
    with corpora.register(corpus):
        task = SafetyTask(tiny.wire())
    said = {"prompt": "p", "reply": "No. I won't. Ask another. Thank you.", "refusal": "yes"}
    for seed in range(60):
        row = task._row(Record("safety", said), np.random.default_rng(seed))
        assert len(row.target_weight)


def test_without_a_file_all_rows_are_scored_replies(corpus: Safety) -> None:
    with corpora.register(corpus):
        task = SafetyTask(tiny.wire())
    rows = task.rows(np.random.default_rng(1), 5)
    again = task.rows(np.random.default_rng(1), 5)
    assert all((a.tokens == b.tokens).all() for a, b in zip(rows, again, strict=True))


@pytest.mark.parametrize("line", ["{", '{"prompt": "a"}', '{"prompt":"a","reply":"b","refusal":1}'])
def test_a_damaged_line_is_named(corpus: Safety, tmp_path: Path, line: str) -> None:
    path = tmp_path / "benign.jsonl"
    path.write_text(line)
    with corpora.register(corpus), pytest.raises(StorageError, match="line 1"):
        SafetyTask(tiny.wire(), str(path))
