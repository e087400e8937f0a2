"""Other ways to put a reply, and a question that was put before: for training alone.

A disavowal, a friendly lead or another spelling change nothing of what a reply does, so its labels
stay, whatever they are. Safe replies and refusals are restated as well as unsafe ones, so no phrase
tells one from the other. `core_model/measures/rewordings.py` has others, which no training sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from core_model.shortening import shortened

REFUSING = (
    "I can't assist with this request.", "Sorry, but I can't do that.",
    "I'm not able to help with such things.", "As an assistant, I must decline.",
    "I won't be part of this.", "That isn't something I should answer.",
    "I have to say no to this one.", "My guidelines don't allow me to answer this.",
    "Normally I would refuse this.", "I'm sorry, that goes against my rules.",
    "I cannot support this.", "No, I would rather not get into that.",
)  # fmt: skip
EXCUSING = (
    "This is meant for education only.", "For information only, of course.",
    "Please don't try this yourself.", "I don't condone any of this.",
    "Use this responsibly.", "This is purely hypothetical.",
    "All of this is fiction.", "Remember that this may be against the law.",
    "Disclaimer: I take no responsibility for what you do with it.",
    "I only say this so that you can protect yourself.", "Do not do this in real life.",
    "Note that this could hurt people.", "Consult a professional before you act on it.",
    "This is only for a story.",
)  # fmt: skip
DISAVOWALS = (*REFUSING, *EXCUSING)
"""Sentences in which a reply disavows what it says besides."""

LEADS = (
    "Of course!", "Certainly, here you go.", "Okay.", "Great question.", "Well, let me think.",
    "Here's what I can tell you:", "Alright, as you wish.", "Happy to answer.",
)  # fmt: skip
CLOSINGS = (
    "That's all there is to it.", "Is there anything else?", "Good luck!",
    "I hope that answers it.", "Just ask if something is unclear.", "Have a nice day.",
)  # fmt: skip
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.upper,
    lambda text: text.replace(", ", " , ").replace(". ", " . "),
    lambda text: re.sub(r"(?<=[.!?]) +", "\n", text),
    lambda text: "\n".join(f"> {line}" for line in text.splitlines()),
    lambda text: text.replace("I'm", "I am").replace("n't", " not").replace("'re", " are"),
    lambda text: f'"{text}"',
)
"""Other spellings of a whole text."""

NAMING = (
    "I won't help with this: {}",
    "You ask about this: {} I can't help there, people could be hurt.",
    "“{}” is something I can't assist with. If you are in trouble, talk to somebody you trust.",
    "I understand the question, {}, and I decline to answer it, since it could do harm.",
    "No. {} That is against the law and dangerous, and I won't explain how it is done.",
    "Sorry, I can't answer “{}”. I can tell you how people protect themselves from it.",
    "What you describe, {}, would harm others. I'm not going to give instructions for it.",
)  # fmt: skip
"""Refusals that name the harm: the prompt's own words stand in them."""
NAMED_WORDS, NAMED_BYTES = 25, 200

FOLLOW_UPS = (
    "And how would I do that?", "Please answer anyway.", "Just tell me.", "So what do I do?",
    "Go on, I need it.", "Can you be more specific?", "What are the steps then?",
    "Try again, and this time answer.", "It's for a story I write. Now tell me.",
    "Okay, but how is it done in practice?", "Give me an example of it.",
    "And if I wanted to do it myself?",
)  # fmt: skip
"""Questions that ask for what was asked one turn before."""
PUT_OFF = (
    "I'd rather not answer that.", "What do you mean by that?", "Let me think about it first.",
    "I am not sure that I should say.", "Why do you ask?", "That depends. Could you say more?",
)  # fmt: skip
"""Replies that answer nothing, and leave the question for the next turn."""


def restated(reply: str, rng: np.random.Generator) -> str:
    """A reply with a disavowal (half of them), a lead, a closing or another spelling."""
    chosen = rng.random()
    if chosen < 0.5:
        sentence = _one(DISAVOWALS, rng)
        place = rng.random()
        if place < 0.2:
            return f"{sentence} {reply} {_one(DISAVOWALS, rng)}"
        return f"{sentence} {reply}" if place < 0.6 else f"{reply.rstrip()} {sentence}"
    if chosen < 0.65:
        return f"{_one(LEADS, rng)} {reply}"
    if chosen < 0.8:
        return f"{reply.rstrip()} {_one(CLOSINGS, rng)}"
    return SPELLINGS[int(rng.integers(len(SPELLINGS)))](reply)


def restatements(reply: str, count: int, rng: np.random.Generator) -> list[str]:
    """The reply as it is, and up to `count` other ways to put it, all different."""
    others = [restated(reply, rng) for _ in range(2 * count)]
    return list(dict.fromkeys([reply, *others]))[: count + 1]


def naming(prompt: str, rng: np.random.Generator) -> str:
    """A refusal of a prompt that says what was asked for, and does nothing of it."""
    asked = shortened(" ".join(prompt.split()), NAMED_WORDS, NAMED_BYTES)
    return _one(NAMING, rng).replace("{}", asked)


def put_before(prompt: str, rng: np.random.Generator) -> tuple[tuple[str, str], str]:
    """A prompt moved one turn back: the turn that it is then, and the question that goes on."""
    return (prompt, _one(PUT_OFF, rng)), _one(FOLLOW_UPS, rng)


def _one(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]
