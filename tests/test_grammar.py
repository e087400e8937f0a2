"""The grammar of calls: every composed call can be decoded, and nothing malformed can."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_model import corpora
from core_model.errors import CandorError
from persona.dialogues import Values, compose
from persona.grammar import (
    FORMS,
    SURE,
    UNLISTED,
    YEARS,
    CallGrammar,
    chat_corpora,
    head,
    marker,
    pieces_of,
    years_in,
)
from persona.phrasings import Split
from persona.phrasings.replies import ERROR
from tests import toy
from tests.toy import ToyCore
from tools.registry import TOOLS

COUNTRIES = corpora.load("places").records("train")
VALUES = Values(
    name=lambda rng: str(rng.choice(["Jennifer", "Leslie", "Mary", "Jo"])),
    year=lambda rng, corpus: str(rng.choice(["1882", "1904", "1950", "1996", "2010"])),
    author=lambda rng: str(rng.choice(["Abraham Lincoln", "Lyndon B. Johnson", "Andrew Johnson"])),
    passage=lambda rng: "that the several States of the Union shall have been at peace with all",
    place=lambda rng: COUNTRIES[rng.integers(len(COUNTRIES))].values,
)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_composed_call_can_be_decoded(split: Split) -> None:
    for number in range(150):
        texts: list[str] = []
        for turn in compose(np.random.default_rng(number), split, VALUES).turns:
            texts.append(turn.question)
            found = tuple(step.summary for step in turn.steps)
            calls = [step.call for step in turn.steps] or [None]
            for number_of_call, call in enumerate(calls):
                grammar = CallGrammar(tuple(texts), results=found[:number_of_call])
                pieces = pieces_of(call)
                for place in range(len(pieces)):
                    assert pieces[place] in grammar.options(pieces[:place]), (texts[-1], pieces)
                assert None in grammar.options(pieces), (texts[-1], pieces)
                decoded = grammar.call(pieces)
                wanted = call.arguments() if call else None
                assert (decoded.arguments() if decoded else None) == wanted


@given(st.text(min_size=1).filter(str.strip), st.integers(0, 2**32 - 1))
def test_whatever_is_chosen_fits_the_tools_schema(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grammar = CallGrammar((text,))
    pieces: list[str] = []
    for _ in range(30):
        options = grammar.options(pieces)
        assert options
        chosen = options[rng.integers(len(options))]
        if chosen is None:
            break
        pieces.append(chosen)
    call = grammar.call(pieces)
    if call is not None:
        try:
            TOOLS[call.tool].query(call.arguments())
        except CandorError as error:  # a text of marks alone has no passage to judge
            said = error.message
            assert (
                "text" in said or "reply" in said or "is no country" in said or "could be" in said
            )


def test_every_tool_has_a_form() -> None:
    assert set(FORMS) == {"reply", *TOOLS}


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("girls in 1985 and 1990", ["1985", "1990"]),
        ("the 1950s", ["1955"]),
        ("back in the '80s", ["1985"]),
        ("born in '72", ["1972"]),
        ("the roaring Twenties", ["1925"]),
        ("19855 is no year", []),
    ],
)
def test_years_that_a_text_spells(text: str, years: list[str]) -> None:
    assert years_in(text) == years


def test_a_year_that_was_said_must_be_used() -> None:
    pieces = ["distribution", "names", "name", "5"]
    assert None not in CallGrammar(("top names in 1950",)).options(pieces)
    assert None in CallGrammar(("top names",)).options(pieces)
    assert "year" not in CallGrammar(("top names",)).options(pieces)


def test_a_year_inside_a_quotation_need_not_be_used() -> None:
    text = 'who wrote "in 1850 the Congress resolved to meet"?'
    pieces = ["infer", "speeches", "author", "in 1850 the"]
    grammar = CallGrammar((text,))
    assert None in grammar.options(pieces)
    call = grammar.call(pieces)
    assert call is not None
    assert call.text == "in 1850 the Congress resolved to meet"


def test_a_passage_is_pointed_at_by_its_first_words() -> None:
    passage = "The moneyed power has grown so great that it is to be feared by all."
    for text in (
        f"who wrote this: {passage}",
        f"who wrote this?\n\n{passage}",
        f"“{passage}” whose?",
    ):
        options = CallGrammar((text,)).options(["infer", "speeches", "author"])
        assert head(passage) in options
        call = CallGrammar((text,)).call(["infer", "speeches", "author", head(passage)])
        assert call is not None
        assert call.text == passage


@pytest.mark.parametrize("ask", ['Who said "{}"?', '"{}" Who said that?', 'Who said: "{}"?'])
def test_quotations_that_begin_alike_are_told_apart(ask: str) -> None:
    one, other = "The state of the Union is good.", "The state of our finances is bad."
    grammar = CallGrammar((ask.format(one), ask.format(other)))
    options = grammar.options(["infer", "speeches", "author"])
    # The last one is pointed at as ever, the one before it by as many words as it takes.
    for passage, words in ((other, "The state of"), (one, "The state of the")):
        assert words in options
        call = grammar.call(["infer", "speeches", "author", words])
        assert call is not None and call.text == passage
    assert sum(option is not None and option.startswith("The state") for option in options) == 2


def test_one_passage_that_is_quoted_twice_is_one() -> None:
    one = "We  hold these truths to be self-evident."
    longer = "We hold these truths to be self-evident. All men are equal."
    grammar = CallGrammar((f'Who said "{longer}"?', f'And "{one}"?'))
    options = grammar.options(["infer", "speeches", "author"])
    assert [o for o in options if o is not None and o.startswith("We hold")] == ["We hold these"]
    text = "\u6f22\u5b57" * 40
    assert CallGrammar((f'"{text}a" "{text}b"',)).options(["infer", "speeches", "author"])


def test_names_are_offered_as_they_are_written() -> None:
    options = CallGrammar(("is leslie a girl's name? LESLIE!",)).options(["infer", "names", "sex"])
    assert "Leslie" in options
    assert "leslie" not in options


def test_hostile_quotes_are_read_in_time() -> None:
    """Twenty thousand characters of quotes that open and never close."""
    began = time.process_time()
    options = CallGrammar(("a 'b " * 4000,)).options(["infer", "speeches", "author"])
    assert options
    assert time.process_time() - began < 2


class Learner(ToyCore):
    """A core that has learnt what it is told."""

    def __init__(self, *learnt: str) -> None:
        super().__init__()
        self.learnt = learnt

    def has_learnt(self, what: str) -> bool:
        return what in self.learnt


def test_only_corpora_that_the_persona_has_learnt_to_ask_are_offered() -> None:
    assert chat_corpora(Learner("places")) == ("names", "speeches")
    known = chat_corpora(Learner(marker("places")))
    assert known == ("names", "speeches", "places")
    grammar = CallGrammar(("What is the capital of Peru?",), known)
    assert grammar.options(["infer"]) == list(known)
    assert "Peru" in grammar.options(["infer", "places", "capital"])
    assert "places" not in CallGrammar(("x",), chat_corpora(Learner())).options(["infer"])


def test_variables_without_wordings_are_not_offered() -> None:
    grammar = CallGrammar(("What is this about? 'Our navy needs ships.'",))
    assert "topic" not in grammar.options(["infer", "speeches"])
    assert "topic" not in grammar.options(["infer", "speeches", "author", "Our navy needs"])
    assert "party" in grammar.options(["infer", "speeches"])


def test_a_country_is_what_was_chosen_however_the_question_goes_on() -> None:
    grammar = CallGrammar(("Papua New Guinea in Italian",))
    call = grammar.call(["infer", "places", "italian", "Papua New Guinea"])
    assert call is not None and call.text == "Papua New Guinea"
    follow = CallGrammar(("does Spain use the euro?", "and France?"))
    assert "euro" in follow.options(["probability", "places", "currency"])
    assert "country" not in follow.options(["infer", "places"])
    assert "places" not in follow.options(["correlation"])


def test_a_year_that_met_an_error_may_be_left_out() -> None:
    texts = ("how likely is Jennifer for girls in 1985?",)
    call = ["probability", "names", "name", "Jennifer", "sex", "female"]
    assert CallGrammar(texts).options(call) == ["year"]
    failed = CallGrammar(texts, results=("error: No record of names has year=1985.",))
    assert None in failed.options(call)


def test_a_later_call_can_take_what_an_earlier_one_found() -> None:
    found = ("Linda 5.5%, Mary 5.3%; entropy 8.7 bits",)
    grammar = CallGrammar(("the top name of 1947, and when was it given?",), results=found)
    assert "Linda" in grammar.options(["infer", "names", "year"])
    speaker = CallGrammar(("and his party?",), results=("Abraham Lincoln 41%; entropy 2 bits",))
    assert speaker.options(["probability", "speeches", "author"]) == ["Abraham Lincoln"]


@pytest.mark.parametrize(
    ("text", "meant", "said"),
    [
        ("what is the capital of blorvia?", [], {"What", "Capital", "Blorvia"}),
        ("Blorvia's money", [], {"Blorvia"}),
        ("Money in Upper Blorvia or Peru", ["Peru"], {"Upper Blorvia"}),
        ("CAPITAL OF BLORVIA", [], {"Capital", "Blorvia"}),
        ("capital of the Ivory Coast", ["Côte d’Ivoire"], set()),
    ],
)
def test_a_call_is_about_a_country_that_is_meant_or_about_what_is_none(
    text: str, meant: list[str], said: set[str]
) -> None:
    asked = ["infer", "places", "capital"]
    for is_learnt in (True, False):
        learner = Learner(marker("places"), *([marker(UNLISTED)] if is_learnt else []))
        options = CallGrammar.of(learner, (text,)).options(asked)
        assert options[: len(meant)] == meant
        assert said <= set(options) if is_learnt or not meant else options == meant
        assert len(options) < 10 and "Peru" not in options[len(meant) :]
    followed = CallGrammar.of(Learner(marker("places")), ("money in Peru?", "and its capital?"))
    assert followed.options(asked) == ["Peru"]
    given = ["probability", "places", "currency", "euro", "country"]
    assert followed.options(given) == ["Peru"]
    error = f"{ERROR} 'Blorvia' is no country in places, as Peru is."
    failed = CallGrammar.of(Learner(marker("places")), ("Blorvia's money?",), (error,))
    assert failed.options(given) == ["Blorvia"]


@pytest.mark.parametrize("is_learnt", [False, True])
def test_a_year_of_no_record_is_asked_about_where_that_was_learnt(is_learnt: bool) -> None:
    learner = Learner(*([marker(YEARS)] if is_learnt else []))
    grammar = CallGrammar.of(learner, ("1000 names like Emma from 2031, or 1985",))
    asked = ["probability", "names", "name", "Emma", "year"]
    assert grammar.options(asked) == (["2031", "1985"] if is_learnt else ["1985"])
    late = CallGrammar.of(learner, ("Emma in 2031?",))
    assert (None in late.options(asked[:-1])) is not is_learnt


@pytest.mark.parametrize("is_learnt", [False, True])
def test_how_sure_an_answer_is_is_asked_where_that_was_learnt(is_learnt: bool) -> None:
    core = toy.ScriptedCore(
        calls=lambda _: ["reply"], replies=lambda *_: "", learnt=[marker(SURE)] if is_learnt else []
    )
    grammar = CallGrammar.of(core, ("what is the capital of Peru?", "how sure are you?"))
    assert (SURE in grammar.options([])) == is_learnt
    assert "infer" in grammar.options([])
    assert grammar.options([SURE, "places", "capital"])[0] == "Peru"
