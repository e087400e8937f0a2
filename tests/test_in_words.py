"""The base asked in words: what it reads, and that its answers are scored as whole replies."""

from __future__ import annotations

import pytest

from core_model.measures.in_words import SYSTEM, InWordsWire, in_words
from core_model.notation import Binding
from core_model.planning import Conditional
from tests import tiny


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
