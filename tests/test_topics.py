"""The topics that the lexicon is sure of: how many passages, which ones, and what it ignores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_model.corpora.base import Split
from core_model.corpora.speeches import Speeches
from core_model.corpora.topics import LEXICON, TOPICS, listed, seed

EXAMPLES = [
    ("We shall lower the tariff on whatever our people import.", "trade"),
    ("No note of a bank is currency unless it is paid in specie.", "money and banking"),
    ("Receipts exceeded expenditures, and the surplus is yours to dispose of.", "budget and debt"),
    ("Borrowing has doubled the deficit; send me a budget that adds up.", "budget and debt"),
    ("The excise is a direct tax under another name.", "taxes"),
    ("My tax cut leaves each taxpayer with more.", "taxes"),
    ("The trusts have strangled competition.", "economy"),
    ("Inflation is falling and the recession is over.", "economy"),
    ("The strike ended when the employer met the workmen.", "labor and wages"),
    ("Our farmers had a poor crop of wheat.", "agriculture"),
    ("A canal is cheaper than a road over the mountains.", "transportation"),
    ("Repair the bridges and highways that we all drive on.", "transportation"),
    ("The Postmaster-General asks for cheaper postage.", "mail"),
    ("Our envoy has signed a treaty of amity.", "foreign relations"),
    ("After two years of war the enemy asks for an armistice.", "war and peace"),
    ("The terrorists have fled to Afghanistan.", "war and peace"),
    ("Two regiments of infantry and the militia were called out.", "army"),
    ("The navy needs four cruisers and a dry dock.", "navy"),
    ("Settlers may buy the public lands by the acre.", "land and territories"),
    ("The Indian tribes keep their reservations.", "native nations"),
    ("Slavery ends with the emancipation that I proclaimed.", "civil rights"),
    ("Without the right to vote there are no civil rights.", "civil rights"),
    ("The Supreme Court has too few judges.", "courts and crime"),
    ("Violent crime is down where the police walk the streets.", "courts and crime"),
    ("Let every teacher choose the books of his school.", "schools and science"),
    ("Scientists at the laboratory have begun the research.", "schools and science"),
    ("Quarantine alone will not keep yellow fever out.", "health"),
    ("Health insurance should pay the doctor.", "health"),
    ("Pensions are owed to the widows of the fallen.", "welfare"),
    ("Social Security keeps the elderly out of need.", "welfare"),
    ("The forests are cut faster than timber grows.", "energy and nature"),
    ("Solar energy will save us oil.", "energy and nature"),
    ("Immigration must be orderly, and every alien registered.", "immigration"),
    ("A competitive examination opens the civil service to merit.", "government"),
    ("An amendment to the Constitution should fix the day of the election.", "government"),
    ("With gratitude to Almighty God I greet you.", "faith and thanks"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "topic"), EXAMPLES)
def test_the_lexicon_is_sure(text: str, topic: str) -> None:
    assert seed(text) == topic


def test_every_topic_has_an_example() -> None:
    assert {topic for _, topic in EXAMPLES} == set(TOPICS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I shall lay these papers before you at an early day.",
        # One strong term, however often it stands there.
        "The tariff is unjust. A tariff on what we need is a tariff on work.",
        "One bank failed, and then all banks.",
        # Two topics.
        "We import wheat and corn under the new tariff.",
        "Each frigate of the squadron and each regiment of the militia is ready.",
        # A species is no specie.
        "The bank of the river shelters a rare species of bird.",
        # A weak term of another topic.
        "The navy has sent cruisers to Mexico.",
        # Weak terms alone.
        "Trade and commerce, the commerce and trade of a commercial people.",
    ],
)  # fmt: skip
def test_the_lexicon_is_not_sure(text: str) -> None:
    assert seed(text) is None


def test_a_word_of_another_topic_is_outvoted() -> None:
    assert seed("The navy has sent cruisers and a gunboat to Mexico.") == "navy"


@given(
    st.sampled_from(EXAMPLES),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    st.text("-—,.;:!?'\"()[]_* \n", min_size=1, max_size=3),
)
def test_case_and_punctuation_do_not_matter(
    example: tuple[str, str], case: Callable[[str], str], between: str
) -> None:
    text, topic = example
    assert seed(case(between.join(re.findall(r"\w+", text)))) == topic


@given(st.sampled_from(EXAMPLES), st.sampled_from(["x{}", "{}x", "x{}x", "{}7"]))
def test_words_inside_other_words_do_not_match(example: tuple[str, str], around: str) -> None:
    text, _ = example
    assert seed(re.sub(r"\w+", lambda word: around.format(word[0]), text)) is None


def test_a_plural_is_the_same_term() -> None:
    assert seed("The frigate joins the squadron.") == "navy"
    assert seed("The frigates join the squadrons.") == "navy"
    assert seed("The frigates follow the frigate.") is None


def test_a_term_has_one_topic() -> None:
    """Of two mentions one would be lost, and a plural of its own would count as another term."""
    count = Counter(term for pair in LEXICON.values() for terms in pair for term in listed(terms))
    assert [term for term, times in count.items() if times > 1] == []
    assert [term for term in count if f"{term}s" in count] == ["specie"]


def test_few_passages_are_labelled_and_every_topic_is() -> None:
    corpus = Speeches()
    splits: tuple[Split, ...] = ("train", "held_out")
    train, held_out = (
        Counter(seed(record.values["text"]) for record in corpus.records(split)) for split in splits
    )
    both = train + held_out
    assert 0.05 < 1 - both[None] / both.total() <= 0.10
    assert {topic for topic in TOPICS if train[topic] < 30} == set()
