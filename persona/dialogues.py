"""Dialogues the persona learns from, composed so that their honesty can be checked.

A dialogue is one to three turns: a question in somebody's words, the call it should lead to with
all arguments resolved, a made-up result in the tools' spelling, and a reply that copies from it.
Some questions lead to several calls, a later one with what an earlier one found.
Wordings are split for good (`persona.phrasings.split_of`); so are first names and years.

    python -m persona.dialogues --held-out 100 --seed 7      the held-out questions, as JSON
    python -m persona.dialogues --show 20 --seed 1           dialogues to read
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from core_model.numerals import numbers_in
from persona.goals import DEFAULT_GOALS, GOALS, condition
from persona.grammar import ANY_YEAR, FIRST_CORPORA, SURE
from persona.phrasings import (
    FollowUp,
    Split,
    Talk,
    Template,
    Words,
    follow_ups,
    split_of,
    talk,
    templates,
)
from persona.phrasings.calls import Call
from persona.phrasings.plans import (
    Plan,
    call_at,
    fill_plan,
    first_answer,
    order,
    plan_replies,
    plans,
)
from persona.phrasings.replies import ERROR, corrected, error_replies, talk_reply, tool_reply
from persona.phrasings.results import made_up, unlisted
from persona.phrasings.style import Manner, manner, reworded, typed
from persona.phrasings.surfaces import Filled, Values, after, applicable, authors, call_of, fill

__all__ = ["Call", "Dialogue", "Turn", "Values", "compose", "corpus_values", "held_out_questions"]

KIND_SHARES: dict[str, float] = {
    "names": 0.215,
    "speeches": 0.19,
    "places": 0.10,
    "plans": 0.12,
    "sure": 0.03,
    "small_talk": 0.07,
    "outside": 0.09,
    "everyday": 0.045,
    "missing": 0.025,
    "harmful": 0.045,
    "borderline": 0.045,
    "safety": 0.025,
}
TALK_KINDS = ("small_talk", "outside", "everyday", "missing", "harmful", "borderline")
"""Those that call no tool, but for some that only sound harmful."""
BORDERLINE_SHARE = 0.25
"""Of what only sounds harmful, how much is a question of names or speeches."""
TOOL_SHARES: dict[str, dict[str, float]] = {
    "names": {
        "sample": 0.18,
        "distribution": 0.22,
        "probability": 0.24,
        "infer": 0.18,
        "entropy": 0.09,
        "mutual_information": 0.05,
        "correlation": 0.04,
    },
    "speeches": {
        "sample": 0.18,
        "distribution": 0.20,
        "probability": 0.16,
        "infer": 0.30,
        "entropy": 0.07,
        "mutual_information": 0.05,
        "correlation": 0.04,
    },
    "places": {
        "infer": 0.52,
        "distribution": 0.24,
        "probability": 0.14,
        "sample": 0.06,
        "entropy": 0.04,
    },
    "safety": {"safety": 1.0},
}
FOLLOW_SHARE = 0.35
"""Share of tool dialogues that go on; a third turn follows a second with THIRD_SHARE."""
THIRD_SHARE = 0.35
GREETING_SHARE = 0.04
AFTER_SHARES: dict[str, float] = {"tool": 0.74, "after": 0.14, "thanks": 0.05, "outside": 0.07}
CALIBRATED_SHARE, BRIEF_SHARE, OTHER_GOAL_SHARE = 0.85, 0.15, 0.95
HELD_OUT_YEAR_SHARE = 0.5
EARLIEST, LATEST, NEAR, FAR_SHARE = 1500, 2100, 30, 0.2
"""Years that a corpus has none of: how far they reach, and how many lie far off."""
NAME_TEMPER = 0.6
"""Names are drawn in proportion to (births)^NAME_TEMPER: common ones first, rare ones too."""
NEW_CALL_TRIES = 20
CORRECTED_SHARE = 0.6
"""Of calls that meet an error, how many are made again without their last condition."""

W = TypeVar("W", bound=Words)


@dataclass(frozen=True, slots=True)
class Step:
    """A call and what came of it: the result's summary, or a line that starts with `error: `."""

    call: Call
    summary: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange; `call` and `summary` are None where no tool was needed.

    wording is the id of the template the question came from; before: the calls that came before
    the last one.
    """

    question: str
    call: Call | None
    summary: str | None
    reply: str
    goals: tuple[str, ...]
    wording: str
    before: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All calls, in order."""
        if self.call is None or self.summary is None:
            return self.before
        return (*self.before, Step(self.call, self.summary))


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns under one set of goals."""

    goals: tuple[str, ...]
    turns: tuple[Turn, ...]


def compose(
    rng: np.random.Generator,
    split: Split,
    values: Values,
    kinds: Sequence[str] = tuple(KIND_SHARES),
) -> Dialogue:
    """One dialogue from the wordings of one split, of these kinds in their shares."""
    return Composer(rng, split, values, _goals(rng), manner(rng)).dialogue(kinds)


def held_out_questions(
    n: int, seed: int, values: Values, about: Sequence[str] = FIRST_CORPORA
) -> list[dict[str, Any]]:
    """Single questions of n distinct held-out wordings, each with its tool and arguments.

    about: the corpora they ask.

    Raises ValueError when there are fewer held-out wordings than n.
    """
    rng = np.random.default_rng(seed)
    wordings = [t for t in templates() if t.split == "held_out" and t.corpus in about]
    if n > len(wordings):
        raise ValueError(f"There are {len(wordings)} held-out wordings, {n} were asked for.")
    questions = []
    for index in rng.permutation(len(wordings))[:n]:
        wording = wordings[index]
        filled = fill(wording, wording.corpus, values, rng)
        call = call_of(wording, filled)
        question = typed(filled.parts, manner(rng), rng)
        questions.append(
            {
                "wording": wording.id,
                "question": question,
                "tool": call.tool,
                "arguments": call.arguments(),
            }
        )
    return questions


def order_of(steps: Sequence[Step]) -> str | None:
    """What is worked out from several results before they are told; None where there is nothing."""
    return order([step.call for step in steps], [step.summary for step in steps])


def numbers_of(steps: Sequence[Step]) -> tuple[str, ...]:
    """The numbers a reply may state: its results', and those of what is asked and known."""
    found: list[str] = []
    for step in steps:
        call = step.call
        of_call = " ".join([call.event_value or "", *(binding.value for binding in call.given)])
        found += [*numbers_in(step.summary), *numbers_in(of_call)]
    return tuple(dict.fromkeys(found))


def told_by(steps: Sequence[Step], goals: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The replies that tell what several calls found; none where fewer than two found something.

    What failed is told too, unless the same was asked again under other conditions and found.
    """
    found = [step for step in steps if not step.summary.startswith(ERROR)]
    if len(found) < 2:
        return []
    again = [replace(step.call, given=()) for step in found]
    told = [step for step in steps if step in found or replace(step.call, given=()) not in again]
    return plan_replies([s.call for s in told], [s.summary for s in told], goals, rng)


def failed_by(steps: Sequence[Step], goals: Sequence[str]) -> list[str]:
    """The replies that tell why nothing was found; none where nothing was asked, or some found."""
    if not steps or any(not step.summary.startswith(ERROR) for step in steps):
        return []
    return error_replies(steps[-1].summary, goals)


@cache
def corpus_values(split: Split) -> Values:
    """Values drawn from the corpora themselves.

    Training sees only its own names, years and passages. Held-out questions have held-out names
    and passages, and in half of them held-out years.
    """
    from core_model import corpora
    from core_model.corpora.base import refuse_held_out
    from core_model.corpora.names import Names

    births, speeches = corpora.load("names"), corpora.load("speeches")
    countries = [record.values for record in corpora.load("places").records("train")]
    assert isinstance(births, Names)
    counts, said = births.counts, speeches.records(split)
    if split == "train":
        counts, said = births.training_counts, refuse_held_out(speeches, said)
    totals = counts.sum(axis=(0, 1), dtype=np.float64) ** NAME_TEMPER
    kept = np.array([split_of(f"name:{name}") == split for name in births.listed])
    cumulated = np.cumsum(np.where(kept, totals, 0.0))
    passages = [record.values["text"] for record in said]
    years = {c.schema.corpus: c.schema.variable("year").values for c in (births, speeches)}
    held_out = {
        c.schema.corpus: [y for y in years[c.schema.corpus] if c.is_held_out({"year": y})]
        for c in (births, speeches)
    }
    trained = {name: [y for y in years[name] if y not in held_out[name]] for name in years}
    listed = tuple(authors())

    def name(rng: np.random.Generator) -> str:
        at = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
        return births.listed[int(at)]

    def year(rng: np.random.Generator, corpus: str) -> str:
        unseen = split == "held_out" and rng.random() < HELD_OUT_YEAR_SHARE
        options = (held_out if unseen else trained)[corpus]
        return options[rng.integers(len(options))]

    return Values(
        name=name,
        year=year,
        author=lambda rng: listed[rng.integers(len(listed))],
        passage=lambda rng: passages[rng.integers(len(passages))],
        place=lambda rng: countries[rng.integers(len(countries))],
        # The held-out questions were drawn before any asked about what is no country.
        nowhere=partial(made_up_name, split) if split == "train" else None,
        never=partial(_year_of_none, years) if split == "train" else None,
    )


def _year_of_none(years: Mapping[str, Sequence[str]], rng: np.random.Generator, corpus: str) -> str:
    """A year that a corpus has no record of, mostly near those that it has."""
    known = [int(year) for year in years[corpus]]
    while True:
        first, last = (EARLIEST, LATEST) if rng.random() < FAR_SHARE else (min(known), max(known))
        year = int(rng.integers(first - NEAR, last + NEAR + 1))
        if year not in known and year in ANY_YEAR:
            return str(year)


def made_up_name(split: Split, rng: np.random.Generator) -> str:
    """A word that nothing is called by, of this split for good."""
    from core_model.measures.confabulation import made_up_word

    while True:
        word = made_up_word(rng)
        if split_of(f"made up:{word}") == split:
            return word


def _goals(rng: np.random.Generator) -> tuple[str, ...]:
    shares = dict.fromkeys(DEFAULT_GOALS, OTHER_GOAL_SHARE)
    shares |= {"calibrated": CALIBRATED_SHARE, "brief": BRIEF_SHARE}
    return tuple(name for name in GOALS if rng.random() < shares[name])


@dataclass(frozen=True, slots=True)
class Composer:
    rng: np.random.Generator
    split: Split
    values: Values
    goals: tuple[str, ...]
    how: Manner

    def dialogue(self, kinds: Sequence[str]) -> Dialogue:
        kind = self.choose({kind: KIND_SHARES[kind] for kind in kinds})
        if kind == "sure":
            return Dialogue(self.goals, self.sure())
        turns = [self.first(kind)]
        if turns[0].call is not None:
            if self.rng.random() < GREETING_SHARE:
                turns.insert(0, self.talk("small_talk", "greeting"))
            share = FOLLOW_SHARE
            while len(turns) < 3 and self.rng.random() < share:
                turns.append(self.next(turns))
                share = THIRD_SHARE
        return Dialogue(self.goals, tuple(turns))

    def first(self, kind: str) -> Turn:
        if kind in TOOL_SHARES:
            tool = self.choose(TOOL_SHARES[kind])
            corpus = "" if kind == "safety" else kind
            plain = [t for t in templates() if t.tool == tool and t.corpus == corpus]
            return self.ask(self.wording([t for t in plain if not _borderline(t)] or plain))
        if kind == "plans":
            return self.plan()
        if kind == "borderline" and self.rng.random() < BORDERLINE_SHARE:
            return self.ask(self.wording([t for t in templates() if _borderline(t)]))
        return self.talk(kind)

    def sure(self) -> tuple[Turn, Turn]:
        """An answer, and how sure that is."""
        about = {kind: KIND_SHARES[kind] for kind in TOOL_SHARES if kind != "safety"}
        while True:
            turn = self.first(self.choose(about))
            if turn.call is not None and (fitting := self.following(turn, sure=True)):
                return turn, self.follow(self.wording(fitting), turn.call)

    def following(self, turn: Turn, sure: bool) -> list[FollowUp]:
        """What may be asked behind a turn of one call: only how sure that is, or all else."""
        if turn.call is None or turn.before or (sure and (turn.summary or "").startswith(ERROR)):
            return []
        return [
            f
            for f in follow_ups()
            if f.split == self.split and (f.tool == SURE) == sure and applicable(f, turn.call)
        ]

    def next(self, turns: Sequence[Turn]) -> Turn:
        """A turn that leans on those before."""
        last = next(turn for turn in reversed(turns) if turn.call is not None)
        kind, call = self.choose(AFTER_SHARES), last.call
        assert call is not None
        if kind == "thanks":
            return self.talk("small_talk", "thanks")
        if kind == "outside":
            return self.talk("outside_after", about=call.corpus)
        fitting = self.following(last, sure=False)
        if turns[-1] is last:  # how sure that is, is asked right behind an answer
            fitting += self.following(last, sure=True)
        if kind == "after" or not fitting:
            return self.talk("after")
        groups = sorted({f.group for f in fitting})
        group = groups[self.rng.integers(len(groups))]
        return self.follow(self.wording([f for f in fitting if f.group == group]), call)

    def ask(self, template: Template) -> Turn:
        filled = fill(template, template.corpus, self.values, self.rng)
        return self.tool_turn(template, filled, call_of(template, filled))

    def follow(self, wording: FollowUp, call: Call) -> Turn:
        for _ in range(NEW_CALL_TRIES):
            filled = fill(wording, call.corpus, self.values, self.rng)
            asked = after(wording, filled, call)
            if asked != call:
                break
        return self.tool_turn(wording, filled, asked)

    def plan(self) -> Turn:
        """A question that several calls answer."""
        plan: Plan = self.wording(plans())
        filled = fill_plan(plan, self.values, self.rng)
        steps: list[Step] = []
        while len(steps) < len(plan.steps):
            first = first_answer(steps[0].summary) if steps else None
            call = call_at(plan, len(steps), filled, first)
            steps.append(Step(call, self.found(call)))
        calls, summaries = [s.call for s in steps], [s.summary for s in steps]
        replies = plan_replies(calls, summaries, self.goals, self.rng)
        reply = replies[self.rng.integers(len(replies))]
        parts = filled.parts
        if self.split == "train":
            parts = reworded(parts, self.rng)
        question = typed(parts, self.how, self.rng)
        return Turn(
            question, calls[-1], summaries[-1], reply, self.goals, plan.id, tuple(steps[:-1])
        )

    def found(self, call: Call) -> str:
        """A made-up result that is no error."""
        while True:
            summary = made_up(call, self.values, self.rng)
            if not summary.startswith(ERROR):
                return summary

    def tool_turn(self, wording: Words, filled: Filled, call: Call) -> Turn:
        summary = made_up(call, self.values, self.rng)
        before: tuple[Step, ...] = ()
        if (
            summary.startswith(ERROR)
            and unlisted(call) is None  # no other condition gives a year that there is none of
            and len(call.given) > 1
            and self.rng.random() < CORRECTED_SHARE
        ):
            before = (Step(call, summary),)
            call = replace(call, given=call.given[:-1])
            summary = self.found(call)
        reply = tool_reply(call, summary, self.goals, self.rng, filled.decade)
        if before:
            reply = f"{corrected(before[0].call.given[-1].variable, self.goals, self.rng)} {reply}"
        later = isinstance(wording, FollowUp)
        parts = filled.parts
        if self.split == "train":
            parts = reworded(parts, self.rng, later)
        question = typed(parts, self.how, self.rng, later)
        return Turn(question, call, summary, reply, self.goals, wording.id, before)

    def talk(self, kind: str, group: str | None = None, about: str = "") -> Turn:
        """A prompt that needs no tool; about: the corpus of the call before it."""
        prompts = [t for t in talk() if t.kind == kind and group in (None, t.group)]
        # "And in France?" is beyond the names, and a question about countries.
        prompts = [t for t in prompts if about != "places" or "country" not in t.slots]
        prompt: Talk = self.wording(prompts)
        filled = fill(prompt, _corpus_of(prompt), self.values, self.rng)
        question = typed(filled.parts, self.how, self.rng)
        reply = talk_reply(prompt, self.goals, self.rng)
        return Turn(question, None, None, reply, self.goals, prompt.id)

    def wording(self, options: Sequence[W]) -> W:
        ours = [option for option in options if option.split == self.split]
        return ours[self.rng.integers(len(ours))]

    def choose(self, shares: dict[str, float]) -> str:
        p = np.array(list(shares.values()))
        return list(shares)[int(self.rng.choice(len(p), p=p / p.sum()))]


def _borderline(template: Template) -> bool:
    return template.group.startswith("borderline")


def _corpus_of(prompt: Talk) -> str:
    return "speeches" if prompt.group.startswith("speeches") else "names"


def _show(n: int, seed: int, split: Split) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        dialogue = compose(rng, split, corpus_values(split))
        print(f"--- {condition(dialogue.goals)}")
        for turn in dialogue.turns:
            print(f"> {turn.question}")
            for step in turn.steps:
                arguments = json.dumps(step.call.arguments(), ensure_ascii=False)
                print(f"  {step.call.tool} {arguments}\n  = {step.summary}")
            print(f"  {turn.reply}")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line described at the top."""
    parser = argparse.ArgumentParser(prog="python -m persona.dialogues")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--held-out", type=int, metavar="N", help="N held-out questions as JSON")
    parser.add_argument(
        "--about", default=",".join(FIRST_CORPORA), help="corpora of held-out questions"
    )
    what.add_argument("--show", type=int, metavar="N", help="N dialogues as text")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.show is not None:
        _show(options.show, options.seed, options.split)
        return
    known = sorted({template.corpus for template in templates() if template.corpus})
    if not set(options.about.split(",")) <= set(known):
        parser.error(f"--about takes some of {','.join(known)}, not '{options.about}'.")
    questions = held_out_questions(
        options.held_out, options.seed, corpus_values("held_out"), options.about.split(",")
    )
    json.dump(questions, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
