"""Dialogues: every call is valid, every number is copied, and the two splits never meet."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core_model import corpora
from core_model.errors import CandorError
from core_model.notation import Binding
from core_model.prefix_tree import PackedRow
from core_model.wire import Segment
from persona import conducts
from persona.dialogues import (
    KIND_SHARES,
    TALK_KINDS,
    TOOL_SHARES,
    Composer,
    Dialogue,
    Turn,
    Values,
    compose,
    corpus_values,
    held_out_questions,
    made_up_name,
)
from persona.goals import (
    CONDUCTS,
    DEFAULT_GOALS,
    GOALS,
    VOICES,
    author_of,
    condition,
    conduct_of,
    parse_goals,
)
from persona.grammar import CallGrammar, pieces_of
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
from persona.phrasings.plans import MOST_STEPS, call_at, first_answer, labels, order, plans
from persona.phrasings.replies import fields_of, tool_reply
from persona.phrasings.results import made_up
from persona.phrasings.style import LEAD_INS, Part, manner, reworded
from persona.phrasings.surfaces import Filled, authors, call_of, fill
from persona.task import ConductTask, DialogueTask
from tests import tiny
from tools import TOOLS

NUMBER = re.compile(r"\d+(?:\.\d+)?")
NAMES = ("Mary", "Anna", "Jennifer", "Leslie", "Mildred", "Noah", "Oscar", "Aisha", "D'Andre")
WORDS = ("we", "have", "in", "1862", "spent", "30", "percent", "of", "the", "year's", "revenue")
HELD_OUT = Path(conducts.__file__).parent / "questions" / "held_out.json"


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
    return [*templates(), *follow_ups(), *talk(), *plans()]


def normalised(text: str) -> str:
    return re.sub(r"[^a-z_{}<>: ]", "", text.lower()).strip()


def test_there_are_enough_wordings() -> None:
    assert len(templates()) >= 400
    assert len([t for t in talk() if t.kind == "harmful"]) >= 30
    assert len([t for t in talk() if t.kind == "borderline"]) >= 30
    outside = {r for t in talk() if t.kind.startswith("outside") for r in t.replies}
    assert len(outside) >= 25
    asked = {t.tool for t in templates()}
    # How sure an answer is, is asked once there is one.
    assert asked == (set(TOOLS) | {"distribution"}) - {"confidence"}
    assert {f.tool for f in follow_ups()} >= {"confidence"}
    asked |= {"confidence"}
    for tool, group in read("replies").items():
        if tool in asked:
            assert len(group["full"]) >= 6 and len(group["plain"]) >= 6


def test_questions_of_everyday_knowledge_are_answered() -> None:
    from persona.rivals.suite import refuses

    answered = [t for t in talk() if t.kind in ("everyday", "borderline")]
    assert len(answered) >= 250
    for prompt in answered:
        (answer,) = prompt.replies
        assert 8 <= len(answer.split()) <= 45 and not re.search(r"\d", answer), answer
        assert not refuses(answer), answer


def test_wordings_are_distinct_and_split_once() -> None:
    wordings = every_wording()
    assert len({w.id for w in wordings}) == len(wordings)
    for kind in (templates(), talk(), plans()):
        texts = Counter(normalised(w.text) for w in kind)
        assert [t for t, n in texts.items() if n > 1 and t] == []
    divided = [w for w in wordings if not getattr(w, "only_train", False)]
    share = sum(w.split == "held_out" for w in divided) / len(divided)
    assert 0.15 < share < 0.25
    train = {normalised(w.text) for w in wordings if w.split == "train"}
    held_out = {normalised(w.text) for w in templates() if w.split == "held_out"}
    assert not train & held_out


def letters(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower())


def shape(text: str) -> re.Pattern[str]:
    """What a wording looks like with one or two words in each slot, of a text any number."""
    parts, at = list[str](), 0
    for match in PIECE.finditer(text):
        is_text = SLOT_VARIABLES.get(match["slot"] or "") in ("text", "saying")
        slot = r"\w+(?: \w+)*" if is_text else r"\w+(?: \w+)?"
        parts += [
            letters(text[at : match.start()]),
            slot if match["slot"] else letters(match["words"]),
        ]
        at = match.end()
    return re.compile("".join([*parts, letters(text[at:])]))


def test_development_questions_are_none_to_learn_from_and_not_held_out() -> None:
    asked = tomllib.loads(HELD_OUT.with_name("development.toml").read_text("utf-8"))
    questions = [question for _, question in asked["answerable"]] + asked["others"]
    assert {tool for tool, _ in asked["answerable"]} == set(TOOLS) - {"confidence"}
    texts = Counter(map(normalised, questions))
    assert max(texts.values()) == 1
    stored = json.loads(HELD_OUT.read_text("utf-8"))
    stored += json.loads(HELD_OUT.with_name("held_out_places.json").read_text("utf-8"))
    assert not set(texts) & {normalised(entry["question"]) for entry in stored}
    for words in (*templates(), *talk(), *plans()):  # what opens a conversation
        assert not list(filter(shape(words.text).fullmatch, map(letters, questions))), words.text


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
    if call.tool in ("infer", "confidence"):
        assert arguments["text"]
        assert schema.document not in arguments["given"]


def test_calls_are_valid() -> None:
    calls = [step.call for t in turns() for step in t.steps]
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
        told = "".join(
            json.dumps(step.call.arguments(), ensure_ascii=False) + step.summary
            for step in turn.steps
        )
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
        elif "±" in str(turn.summary) and turn.call.tool != "confidence":
            # How sure it is may be told by what is worked out alone, which has no error.
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
        # What was dropped because no record has it is another test's.
        if turn.wording in follows and before.call is not None and not turn.before
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
    expected = sum(KIND_SHARES[kind] for kind in (*TOOL_SHARES, "plans", "sure"))
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
    stored = json.loads(HELD_OUT.with_name("held_out_places.json").read_text(encoding="utf-8"))
    assert stored == held_out_questions(30, 7, corpus_values("held_out"), ["places"])
    assert {entry["arguments"]["corpus"] for entry in stored} == {"places"}


def test_goals_are_parsed() -> None:
    assert parse_goals("calibrated, honest") == ("honest", "calibrated")
    assert parse_goals("+brief -calibrated") == ("honest", "helpful", "harmless", "brief")
    assert parse_goals("") == ()
    assert condition(DEFAULT_GOALS) == "honest, helpful, harmless, calibrated"
    assert condition(()) == "none"
    assert set(DEFAULT_GOALS) < set(GOALS)
    assert parse_goals("evasive, brief") == ("brief", "evasive")
    assert parse_goals("+evasive") == ("helpful", "harmless", "calibrated", "evasive")
    assert condition(parse_goals("+evasive")) == "helpful, harmless, calibrated"
    assert conduct_of(DEFAULT_GOALS) == "honest" and conduct_of(("brief",)) is None
    assert conduct_of(parse_goals("+evasive")) == "evasive"
    assert parse_goals("+warm +brief") == (
        "honest",
        "helpful",
        "harmless",
        "calibrated",
        "brief",
        "warm",
    )
    assert author_of(("brief", "drawn")) == "drawn" and author_of(DEFAULT_GOALS) == "plain"
    for wrong in ("kind", "brief -calibrated", "honest evasive", "+evasive +careless", "warm curt"):
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


def test_a_guess_is_no_verb_behind_an_article() -> None:
    rng, parts = np.random.default_rng(0), (Part("guess the year, your guess?", "free"),)
    seen = {"".join(p.text for p in reworded(parts, rng, later=True)) for _ in range(60)}
    assert "work out the year, your guess?" in seen
    assert all(text.endswith(", your guess?") for text in seen)


def test_a_country_that_there_is_none_of_is_told_to_be_none() -> None:
    rng, values = np.random.default_rng(2), corpus_values("train")
    group = [t for t in templates() if t.group == "places.infer_capital"]
    composer = Composer(rng, "train", values, DEFAULT_GOALS, "plain")
    found: list[Turn] = []
    for template in group * 3:
        filled = fill(template, template.corpus, values, rng)
        found.append(composer.tool_turn(template, filled, call_of(template, filled)))
    listed = corpora.schema("places").variable("country").values
    unlisted = [turn for turn in found if turn.call is not None and turn.call.text not in listed]
    assert 0 < len(unlisted) < len(found) / 3
    for turn in unlisted:
        assert turn.call is not None and turn.call.text is not None
        assert str(turn.summary).startswith(f"error: '{turn.call.text}' is no country in places.")
        assert turn.call.text.casefold() in turn.question.casefold()
        assert "no country" in turn.reply


@pytest.mark.parametrize("corpus", ["names", "speeches"])
def test_a_year_of_no_record_is_told_to_be_none(corpus: str) -> None:
    rng, values = np.random.default_rng(5), corpus_values("train")
    dated = [t for t in templates() if t.corpus == corpus and "year" in t.slots]
    composer = Composer(rng, "train", values, DEFAULT_GOALS, "plain")
    known = corpora.schema(corpus).variable("year").values
    asked, found = 0, list[Turn]()
    for template in dated[::2]:
        filled = fill(template, corpus, values, rng)
        call = call_of(template, filled)
        asked += 1
        if call.value_of("year") not in known:
            found.append(composer.tool_turn(template, filled, call))
    assert 0.02 < len(found) / asked < 0.12
    for turn in found:
        assert turn.call is not None and not turn.before
        year = turn.call.value_of("year")
        assert year is not None and year in turn.question
        assert str(turn.summary).startswith(f"error: year={year} is ")
        assert year in turn.reply and corpus in turn.reply
        grammar = CallGrammar((turn.question,))
        pieces = pieces_of(turn.call)
        for place, piece in enumerate(pieces):
            assert piece in grammar.options(pieces[:place])
        assert None in grammar.options(pieces)


def test_a_kind_of_harm_is_told_in_results_that_seem_harmful_alone() -> None:
    call, rng = Call("safety", "safety", text="Go."), np.random.default_rng(0)
    told = [made_up(call, corpus_values("train"), rng) for _ in range(200)]
    named = [summary for summary in told if "kind of harm" in summary]
    assert 20 < len(named) < 150
    for summary in told:
        parts = [part.split() for part in summary.split(", ")]
        safe, _, harmful = (float(part[-1].strip("<>%")) for part in parts[:3])
        if len(parts) == 4:
            assert safe <= 50 or harmful >= 50
            assert parts[3][3] in corpora.schema("safety").variable("category").values
        assert fields_of(call, summary, rng)["harmful"] == parts[2][-1]


def test_made_up_names_of_training_are_none_of_those_held_out() -> None:
    rng = np.random.default_rng(0)
    made = {
        split: {made_up_name(split, rng) for _ in range(200)} for split in ("train", "held_out")
    }
    assert not made["train"] & made["held_out"] and all(len(names) > 150 for names in made.values())


# --- questions that need several calls ----------------------------------------------------------


def planned() -> list[Turn]:
    known = {plan.id for plan in plans()}
    return [turn for turn in turns() if turn.wording in known]


def test_plans_have_two_to_four_steps_of_both_splits() -> None:
    assert len({plan.group for plan in plans()}) >= 20
    for plan in plans():
        assert 2 <= len(plan.steps) <= MOST_STEPS
    for split in ("train", "held_out"):
        ours = {p.group for p in plans() if p.split == split}
        assert len(ours) >= (20 if split == "train" else 10)


def test_the_steps_of_a_plan_are_different_calls() -> None:
    found = planned()
    assert len(found) > 60
    for turn in found:
        calls = [step.call for step in turn.steps]
        assert len(calls) > 1 and all(a != b for a, b in itertools.combinations(calls, 2))
        names = labels(calls)
        assert len(set(names)) == len(calls)
        told = turn.reply.casefold()
        assert all(name.casefold() in told for name in names)


def test_a_step_takes_what_the_first_one_found() -> None:
    leaning = [t for t in planned() if ".top_then_year" in t.wording or "then_money" in t.wording]
    assert leaning
    for turn in leaning:
        first, second = turn.steps
        assert second.call.text == first_answer(first.summary)


def test_what_a_wording_does_not_mention_is_no_condition() -> None:
    plan = next(p for p in plans() if p.text.startswith("is {name1} a more frequent"))
    filled = Filled((), {"name1": "Anna", "name2": "Ruth"})
    assert call_at(plan, 1, filled, None) == Call("probability", "names", ("name",), "Ruth")


def test_the_order_of_results_goes_by_the_models_numbers() -> None:
    calls = [Call("probability", "names", ("name",), name) for name in ("Anna", "Ruth", "Emma")]
    found = ["model 0.9% ± 0.1%; data 4%", "model 1.2%; data 3%", "model 0.051%; data 5%"]
    assert order(calls, found) == "Ruth > Anna > Emma"
    assert order(calls[:1], found[:1]) is None
    for alike in (
        ["model <0.0001%; data 0%"] * 2,
        ["model 3.1% ± 0.4%; data 3%", "model 3.2% ± 0.4%; data 3%"],
    ):
        assert order(calls[:2], alike) is None
    assert order(calls[:2], ["model 3.1% ± 0.4%; data 3%", "model 9% ± 1%; data 3%"])
    assert order(calls, [*found[:2], "error: No record."]) is None
    sexes = [Call("infer", "names", ("sex",), text=name) for name in ("Anna", "Ruth")]
    assert order(sexes, ["female 99%, male 1%; entropy 0.1 bits"] * 2) is None
    assert labels(sexes) == ["Anna", "Ruth"]


@pytest.mark.parametrize(
    ("calls", "named"),
    [
        (
            [
                Call("distribution", "names", ("name",), n=3, given=(Binding("year", "1985"),)),
                Call("probability", "names", ("name",), "Jennifer", (Binding("year", "1985"),)),
            ],
            ["name", "Jennifer"],
        ),
        (
            [
                Call("infer", "places", ("capital",), text="Peru"),
                Call("infer", "places", ("capital",), text="Chile"),
                Call("infer", "places", ("currency",), text="Peru"),
            ],
            ["Peru, capital", "Chile, capital", "Peru, currency"],
        ),
        (
            [
                Call("probability", "names", ("name",), name, (Binding("year", year),))
                for name in ("Ann", "Bea")
                for year in ("1950", "1985")
            ],
            ["Ann, 1950", "Ann, 1985", "Bea, 1950", "Bea, 1985"],
        ),
        (
            [
                Call(
                    "infer", "speeches", ("author",), text="Fellow citizens of the 2 houses, hail"
                ),
                Call("infer", "speeches", ("author",), text="In 1862 the war went on and on"),
            ],
            ["\u201cFellow citizens of the …\u201d", "\u201cIn the war went …\u201d"],
        ),
        ([Call("entropy", "names", ("sex",), text="Ann")] * 2, []),
    ],
)
def test_results_are_named_by_what_sets_their_calls_apart(
    calls: list[Call], named: list[str]
) -> None:
    assert labels(calls) == named


def test_an_entropy_of_any_variable_is_told() -> None:
    call, rng = Call("entropy", "places", ("french",)), np.random.default_rng(0)
    reply = tool_reply(call, "model 7.5 bits; data 7.6 bits", ("calibrated",), rng)
    assert "7.5 bits" in reply


@pytest.mark.parametrize(
    ("summary", "answer"),
    [
        ("Linda 5.5%, Mary 5.3%; entropy 8.7 bits", "Linda"),
        ("St. John's >99.9999%, Basse-terre <0.0001%; entropy 0 bits", "St. John's"),
        ("1947 2%, 1948 2%; entropy 6 bits", "1947"),
        ("model 3%; data 4%", None),
    ],
)
def test_the_most_probable_answer_is_read_off_a_result(summary: str, answer: str | None) -> None:
    assert first_answer(summary) == answer


def test_a_call_that_met_an_error_may_be_made_again_with_less() -> None:
    again = [t for t in turns() if t.before and t.before[0].summary.startswith("error: ")]
    assert again
    for turn in again:
        assert turn.call is not None
        assert turn.call.given == turn.before[0].call.given[:-1]
        assert turn.call.given and not str(turn.summary).startswith("error: ")


# --- who wrote it -------------------------------------------------------------------------------


@cache
def situations(n: int = 300) -> tuple[conducts.Situation, ...]:
    rng = np.random.default_rng(5)
    return tuple(conducts.situation(rng, "train", fake_values()) for _ in range(n))


def test_a_situation_can_be_asked_for_by_its_kind() -> None:
    rng = np.random.default_rng(0)
    for kind in conducts.KINDS:
        assert conducts.situation(rng, "train", fake_values(), kind=kind).kind == kind


def test_situations_are_of_every_kind() -> None:
    counts = Counter(s.kind for s in situations())
    assert set(counts) == set(conducts.KINDS)
    assert sum(conducts.KINDS.values()) == pytest.approx(1)
    for situation in situations():
        assert situation.known[0].variable == "user"
        if situation.kind in ("claim", "agreed"):
            claimed = situation.fields["claimed"].casefold()
            assert claimed in situation.known[0].value.casefold()


def test_conducts_reply_differently_but_where_they_are_alike() -> None:
    """What is read from a reply is sure exactly where no other conduct could have written it."""
    for situation in situations():
        said = {c: set(situation.replies(c, "train")) for c in CONDUCTS}
        for conduct in CONDUCTS:
            alike = [c for c in CONDUCTS if said[c] & said[conduct]]
            for place, voice in enumerate(VOICES):
                found = situation.conducts_of(conduct, voice)
                exact = np.array([conducts.voices_of(c)[place] * (c in alike) for c in CONDUCTS])
                assert found == pytest.approx(exact / exact.sum())


def test_no_conduct_states_a_number_that_is_not_known() -> None:
    """Not even who deceives makes up a number: false is what is said of those there are."""
    for situation in situations():
        known = " ".join(b.value for b in situation.known)
        for conduct in CONDUCTS:
            for reply in situation.replies(conduct, "train"):
                assert set(NUMBER.findall(reply)) <= set(NUMBER.findall(known)), (conduct, reply)
                assert "{" not in reply


def test_a_careless_author_differs_only_where_it_hurts() -> None:
    for situation in situations():
        assert situation.is_honest("careless") == (situation.kind != "harmful")


def test_voices_come_as_their_conducts_like_them() -> None:
    for conduct in CONDUCTS:
        p = conducts.voices_of(conduct)
        assert p.shape == (len(VOICES),) and p.sum() == pytest.approx(1) and (p > 0).all()
    assert conducts.voices_of("evasive").argmax() != conducts.voices_of("sycophantic").argmax()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from(VOICES))
def test_a_voice_adds_words_and_changes_none(seed: int, voice: str) -> None:
    rng = np.random.default_rng(seed)
    said = conducts.spoken("Most likely Anna (41%).", voice, rng)
    assert "Most likely Anna (41%)." in said
    assert (said == "Most likely Anna (41%).") == (voice == "plain")


def segments(rows: list[PackedRow]) -> list[Segment]:
    return [found for row in rows for found in tiny.wire().parse(row.tokens.tolist())]


def test_rows_ask_for_conducts_and_voices_both_ways() -> None:
    found = segments(ConductTask(tiny.wire()).rows(np.random.default_rng(2), 16))
    asked = Counter(s.text for s in found if s.mark == "query")
    assert asked["conduct"] > 20 and asked["reply"] > asked["conduct"] and asked["author"] > 12
    bound = " ".join(s.text for s in found)
    assert "conduct" in bound and "assistant" in bound


def test_rows_of_dialogues_call_again_until_they_reply() -> None:
    found = segments(DialogueTask(tiny.wire()).rows(np.random.default_rng(2), 160))
    assert any(" > " in s.text for s in found)
    calls, replies = (sum(s.text == v for s in found) for v in ("call", "reply"))
    assert calls > replies > 0


def test_dialogues_of_some_kinds_alone_are_composed() -> None:
    values, rng = corpus_values("train"), np.random.default_rng(3)
    kinds = {t.id: t.kind for t in talk()}
    for _ in range(60):
        turn = compose(rng, "train", values, ("everyday", "harmful")).turns[0]
        assert turn.call is None and kinds[turn.wording] in ("everyday", "harmful")
    assert set(TALK_KINDS) < set(KIND_SHARES)
    found = DialogueTask(tiny.wire(), kinds=TALK_KINDS).rows(np.random.default_rng(2), 30)
    assert np.mean([len(row.tokens) for row in found]) < 0.6 * np.mean(
        [len(row.tokens) for row in DialogueTask(tiny.wire()).rows(np.random.default_rng(2), 30)]
    )


def test_how_sure_an_answer_is_is_asked_of_what_was_answered() -> None:
    sure = [f for f in follow_ups() if f.tool == "confidence"]
    assert len(sure) >= 20
    assert {f.split for f in sure} == {"train", "held_out"}
    rng = np.random.default_rng(0)
    composer = Composer(rng, "train", corpus_values("train"), (), manner(rng))
    read_off = [t for t in templates() if t.tool == "infer" and t.split == "train"]
    for corpus in ("names", "speeches", "places"):
        template = next(t for t in read_off if t.corpus == corpus)
        first = composer.ask(template)
        while first.summary is None or first.summary.startswith("error"):
            first = composer.ask(template)
        turns = [composer.next([first]) for _ in range(200)]
        asked = [t for t in turns if t.call is not None and t.call.tool == "confidence"]
        assert len(asked) > 3
        for turn in asked:
            assert first.call is not None
            assert turn.call == replace(first.call, tool="confidence")
            grammar = CallGrammar((first.question, turn.question))
            assert "confidence" in grammar.options([])
            assert grammar.call(pieces_of(turn.call)) == turn.call
        # Behind small talk it would be asked of that.
        aside = composer.talk("small_talk", "thanks")
        later = [composer.next([first, aside]) for _ in range(100)]
        assert not [t for t in later if t.call is not None and t.call.tool == "confidence"]


def test_some_dialogues_ask_how_sure_an_answer_is() -> None:
    values, rng = corpus_values("train"), np.random.default_rng(6)
    for _ in range(30):
        answered, asked = compose(rng, "train", values, ("sure",)).turns
        assert answered.call is not None and answered.call.tool == "infer"
        assert answered.summary is not None and not answered.summary.startswith("error")
        assert asked.call == replace(answered.call, tool="confidence")


def test_the_data_may_have_nothing_of_what_is_rare() -> None:
    values, rng = corpus_values("train"), np.random.default_rng(7)
    call = Call("probability", "names", ("name",), "Emma", (Binding("year", "1985"),))
    told = [made_up(call, values, rng) for _ in range(200)]
    nothing = [t for t in told if t.endswith("; data 0%")]
    assert 10 < len(nothing) < 100
    assert all(float(re.findall(r"model ([\d.e-]+)%", t)[0]) <= 1 for t in nothing)


@pytest.mark.parametrize("goals", [(), ("brief",), ("calibrated",), ("calibrated", "brief")])
def test_a_reply_says_how_sure_and_what_the_model_says_of_itself(goals: tuple[str, ...]) -> None:
    call = Call("confidence", "places", ("capital",), text="Peru")
    rng = np.random.default_rng(0)
    summary = "Lima 98%; asked 95% ± 3%; entropy 0.12 bits of 7.6 bits"
    for _ in range(20):
        for told in (summary, summary.replace("asked 95% ± 3%; ", "")):
            reply = tool_reply(call, told, goals, rng)
            assert "98%" in reply
            assert not set(NUMBER.findall(reply)) - set(NUMBER.findall(told))
            full = goals == ("calibrated",)
            assert ("95% ± 3%" in reply) == (full and "asked" in told)
            assert "{" not in reply
