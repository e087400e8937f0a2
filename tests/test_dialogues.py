"""Dialogues: every call is valid, every number is copied, and the two splits never meet."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import corpora
from core_model.errors import CandorError
from persona.dialogues import (
    KIND_SHARES,
    TOOL_SHARES,
    Dialogue,
    Turn,
    Values,
    compose,
    corpus_values,
    held_out_questions,
)
from persona.goals import DEFAULT_GOALS, GOALS, condition, parse_goals
from persona.phrasings import (
    PIECE,
    SLOT_VARIABLES,
    Split,
    Words,
    follow_ups,
    read,
    talk,
    templates,
)
from persona.phrasings.calls import Call
from persona.phrasings.style import LEAD_INS, Part, reworded
from persona.phrasings.surfaces import authors
from tools import TOOLS

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NAMES = ("Mary", "Anna", "Jennifer", "Leslie", "Mildred", "Noah", "Oscar", "Aisha", "D'Andre")
WORDS = ("we", "have", "in", "1862", "spent", "30", "percent", "of", "the", "year's", "revenue")
HELD_OUT = Path(__file__).parent / "heldout_questions.json"


COUNTRIES = corpora.load("places").records("train")


def fake_values() -> Values:
    names = NAMES + tuple(f"Zo{chr(97 + i)}{chr(97 + j)}" for i in range(8) for j in range(8))

    def year(rng: np.random.Generator, corpus: str) -> str:
        options = corpora.schema(corpus).variable("year").values
        return options[rng.integers(len(options))]

    return Values(
        name=lambda rng: names[rng.integers(len(names))],
        year=year,
        author=lambda rng: list(authors())[rng.integers(len(authors()))],
        passage=lambda rng: " ".join(rng.choice(WORDS, size=60)),
        place=lambda rng: COUNTRIES[rng.integers(len(COUNTRIES))].values,
    )


@cache
def dialogues(split: Split, n: int = 500) -> tuple[Dialogue, ...]:
    rng = np.random.default_rng(3)
    values = fake_values()
    return tuple(compose(rng, split, values) for _ in range(n))


def turns() -> list[Turn]:
    return [t for s in ("train", "held_out") for d in dialogues(s) for t in d.turns]


def every_wording() -> list[Words]:
    return [*templates(), *follow_ups(), *talk()]


def normalised(text: str) -> str:
    return re.sub(r"[^a-z_{}<>: ]", "", text.lower()).strip()


def test_there_are_enough_wordings() -> None:
    assert len(templates()) >= 400
    assert len([t for t in talk() if t.kind == "harmful"]) >= 30
    assert len([t for t in talk() if t.kind == "borderline"]) >= 30
    outside = {r for t in talk() if t.kind.startswith("outside") for r in t.replies}
    assert len(outside) >= 25
    asked = {t.tool for t in templates()}
    assert asked == set(TOOLS) | {"distribution"}
    for tool, group in read("replies").items():
        if tool in asked:
            assert len(group["full"]) >= 6 and len(group["plain"]) >= 6


def test_wordings_are_distinct_and_split_once() -> None:
    wordings = every_wording()
    assert len({w.id for w in wordings}) == len(wordings)
    for kind in (templates(), talk()):
        texts = Counter(normalised(w.text) for w in kind)
        assert [t for t, n in texts.items() if n > 1 and t] == []
    divided = [w for w in wordings if not getattr(w, "only_train", False)]
    share = sum(w.split == "held_out" for w in divided) / len(divided)
    assert 0.15 < share < 0.25
    train = {normalised(w.text) for w in wordings if w.split == "train"}
    held_out = {normalised(w.text) for w in templates() if w.split == "held_out"}
    assert not train & held_out


def test_every_slot_is_known() -> None:
    lists = set(read("talk")["lists"])
    for words in every_wording():
        assert set(words.slots) <= set(SLOT_VARIABLES) | lists, words.text
        rest = PIECE.sub("", words.text)
        assert not set("{}<>") & set(rest), words.text


def test_authors_and_parties_are_those_of_the_corpus() -> None:
    schema = corpora.schema("speeches")
    assert set(authors()) == set(schema.variable("author").values)
    assert set(read("surfaces")["weights"]["party"]) == set(schema.variable("party").values)


def test_dialogues_use_the_wordings_of_their_split_alone() -> None:
    split_by_id = {w.id: w.split for w in every_wording()}
    for split in ("train", "held_out"):
        for dialogue in dialogues(split):
            assert 1 <= len(dialogue.turns) <= 3
            assert {split_by_id[turn.wording] for turn in dialogue.turns} == {split}


def check(call: Call) -> None:
    """The arguments fit the tool, name variables of the corpus, and values that it has."""
    arguments = call.arguments()
    if call.tool in TOOLS and call.tool != "safety":
        TOOLS[call.tool].validate(arguments)
    if call.tool == "safety":
        assert arguments["reply"]
        return
    schema = corpora.schema(call.corpus)
    known = dict(arguments["given"]) | arguments.get("event", {})
    for variable, value in known.items():
        found = schema.variable(variable)
        assert found.kind != "closed" or value in found.values
        assert value
    for variable in call.target:
        schema.variable(variable)
        assert variable not in arguments["given"]
    if call.tool == "infer":
        assert arguments["text"]
        assert schema.document not in arguments["given"]


def test_calls_are_valid() -> None:
    calls = [t.call for t in turns() if t.call is not None]
    for call in calls:
        check(call)
    assert {call.tool for call in calls} == set(TOOLS) | {"distribution"}


def test_no_number_without_a_tool() -> None:
    for turn in turns():
        if turn.call is None:
            assert turn.summary is None
            assert not NUMBER.search(turn.reply), turn.reply
    for prompt in talk():
        assert not any(NUMBER.search(reply) for reply in prompt.replies)


def test_every_number_in_a_reply_is_copied() -> None:
    for turn in turns():
        if turn.call is None:
            continue
        told = json.dumps(turn.call.arguments(), ensure_ascii=False) + str(turn.summary)
        assert set(NUMBER.findall(turn.reply)) <= set(NUMBER.findall(told)), turn
        assert "{" not in turn.reply and turn.reply == turn.reply.strip()


def test_goals_change_the_reply() -> None:
    errors: list[Turn] = []
    brief: list[int] = []
    full: list[int] = []
    for turn in turns():
        if turn.call is None or str(turn.summary).startswith("error"):
            continue
        if "calibrated" not in turn.goals:
            assert "±" not in turn.reply and " data" not in turn.reply, turn.reply
        elif "±" in str(turn.summary):
            assert "±" in turn.reply
            errors.append(turn)
        if turn.call.tool == "entropy":
            (brief if "brief" in turn.goals else full).append(len(turn.reply))
    assert errors and np.mean(brief) < np.mean(full)


def test_follow_ups_resolve_what_they_lean_on() -> None:
    follows = {f.id for f in follow_ups()}
    leaning = [
        (before, turn)
        for dialogue in dialogues("train")
        for before, turn in zip(dialogue.turns, dialogue.turns[1:], strict=False)
        if turn.wording in follows and before.call is not None
    ]
    assert len(leaning) > 30
    for before, turn in leaning:
        assert turn.call is not None and before.call is not None
        assert turn.call.corpus == before.call.corpus
        if "follow.again" not in turn.wording:
            assert turn.call != before.call
        kept = {b.variable for b in before.call.given}
        assert kept <= {b.variable for b in turn.call.given}


def test_given_is_in_order_of_mention() -> None:
    call = next(
        t.call
        for d in dialogues("train")
        for t in d.turns[:1]
        if t.call and {b.variable for b in t.call.given} == {"sex", "year"}
    )
    assert list(call.arguments()["given"]) == [b.variable for b in call.given]


def test_kinds_come_in_their_shares() -> None:
    firsts = [d.turns[0].call for d in dialogues("train")]
    tools = sum(call is not None for call in firsts) / len(firsts)
    expected = sum(KIND_SHARES[kind] for kind in TOOL_SHARES)
    assert abs(tools - expected) < 0.08
    assert sum(KIND_SHARES.values()) == pytest.approx(1.0)


def test_composing_is_reproducible() -> None:
    values = fake_values()
    once, again = (compose(np.random.default_rng(5), "train", values) for _ in range(2))
    assert once == again


def test_held_out_file_is_reproducible_and_held_out() -> None:
    stored = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    assert stored == held_out_questions(100, 7, corpus_values("held_out"))
    assert len({entry["wording"] for entry in stored}) == len(stored) == 100
    held_out = {t.id for t in templates() if t.split == "held_out"}
    assert {entry["wording"] for entry in stored} <= held_out
    assert {entry["arguments"]["corpus"] for entry in stored} == {"names", "speeches"}


def test_held_out_questions_about_countries_are_reproducible() -> None:
    stored = json.loads(HELD_OUT.with_name("heldout_places.json").read_text(encoding="utf-8"))
    assert stored == held_out_questions(30, 7, corpus_values("held_out"), ["places"])
    assert {entry["arguments"]["corpus"] for entry in stored} == {"places"}


def test_goals_are_parsed() -> None:
    assert parse_goals("calibrated, honest") == ("honest", "calibrated")
    assert parse_goals("+brief -calibrated") == ("honest", "helpful", "harmless", "brief")
    assert parse_goals("") == ()
    assert condition(DEFAULT_GOALS) == "honest, helpful, harmless, calibrated"
    assert condition(()) == "none"
    assert set(DEFAULT_GOALS) < set(GOALS)
    for wrong in ("kind", "brief -calibrated"):
        with pytest.raises(CandorError):
            parse_goals(wrong)


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_other_words_leave_what_a_question_asks(seed: int) -> None:
    """Interchanged words are of one group, and no value, mention or passage changes."""
    rng = np.random.default_rng(seed)
    parts = (
        Part("how likely was the name ", "free"), Part("Common", "value"),
        Part(" for kids born in ", "free"), Part("1901", "value"), Part("likely kids", "fixed"),
    )  # fmt: skip
    changed = reworded(parts, rng)
    kept = [p for p in changed if p.text not in LEAD_INS]
    assert [p.kind for p in kept] == [p.kind for p in parts]
    assert [p for p in kept if p.kind != "free"] == [p for p in parts if p.kind != "free"]
    assert kept[0].text in ("how likely was the name ", "how probable was the name ")
    assert len(reworded(parts, rng, later=True)) == len(parts)


def test_some_questions_to_learn_from_are_reworded_and_led_in() -> None:
    rng, parts = np.random.default_rng(0), (Part("how likely is it?", "free"),)
    seen = Counter("".join(p.text for p in reworded(parts, rng)) for _ in range(300))
    assert seen["how likely is it?"] > seen["how probable is it?"] > 0
    assert any(text.startswith(LEAD_INS) for text in seen)
