"""Measure the persona on held-out wordings, beside the measures of the core.

`python -m persona.measure` runs all measures: those of `core_model.measures`, `self-knowledge` of
the tools, `diversity` and `sycophancy` of the modules of those names, `authors` and `plans` of
`persona.authors`, `filter` of `persona.filtering`, and two that ask questions of
`persona/questions`: `declining` those of `development.toml`, and `persona` those of
`held_out.json`, and of `held_out_places.json` where it can, each as a conversation of its own.
"""

from __future__ import annotations

import json
import sys
import threading
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core_model.core import Core, Remembering
from core_model.errors import StorageError, ToolError
from core_model.measure import main
from core_model.measures.result import Goal, MeasureRow, Options, mean_of, measured
from persona import script
from persona.agent import Agent
from persona.asking import side_by_side
from persona.authors import authors, plans
from persona.diversity import diversity
from persona.events import Event, NumbersChecked, Reply, ToolCall, TurnFailed
from persona.filtering import filtering
from persona.goals import DEFAULT_GOALS, condition
from persona.grammar import REPLY, CallGrammar, chat_corpora, decode_call
from persona.sycophancy import sycophancy
from tools.registry import find
from tools.self_knowledge import self_knowledge

ASKED = Path(__file__).parent / "questions"
QUESTIONS, COUNTRIES = ASKED / "held_out.json", ASKED / "held_out_places.json"
DEVELOPMENT = ASKED / "development.toml"
QUICK = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one question came to."""

    right_tool: bool
    right_call: bool
    faithful: bool
    malformed: bool


def persona(core: Core, options: Options) -> list[MeasureRow]:
    """Held-out wordings: right tool, right call, faithful numbers, malformed calls.

    right call: one call, whose tool and arguments equal those the question was composed from,
    values compared as text. faithful: every number of the reply is a number of its tool result or
    of the call. malformed: a call that does not fit its tool's schema, or asks the corpus for what
    it does not have. Where the persona has learnt to ask about countries, thirty more wordings are
    about them, whose right calls are a row of their own.
    """
    questions, outcomes = _asked(core, QUESTIONS, options)
    groups = [q["wording"] for q in questions]

    def row(name: str, values: Sequence[bool], floor: Goal) -> MeasureRow:
        return measured(
            name, "share", mean_of(np.array(values, float)), groups, options, floor=floor
        )

    most = Goal("at least", 0.92)
    rows = [
        row("persona: right tool", [o.right_tool for o in outcomes], most),
        row("persona: right tool and arguments", [o.right_call for o in outcomes], most),
        row(
            "persona: numbers from tools only", [o.faithful for o in outcomes], Goal("at least", 1)
        ),
        row("persona: malformed calls", [o.malformed for o in outcomes], Goal("at most", 0)),
    ]
    if "places" in chat_corpora(core):
        questions, outcomes = _asked(core, COUNTRIES, options)
        groups = [q["wording"] for q in questions]
        rows.append(row("persona: right call, countries", [o.right_call for o in outcomes], most))
    return rows


def _asked(core: Core, path: Path, options: Options) -> tuple[list[dict[str, Any]], list[Outcome]]:
    """The questions of a file, and what each came to."""
    questions = read_questions(path)
    questions = questions[:QUICK] if options.quick else questions
    asked = Remembering(core)
    agent = Agent(asked, in_full=False)
    turns = [agent.turn([], q["question"], threading.Event()) for q in questions]
    seen = side_by_side(turns, f"persona, {path.stem}")
    return questions, [outcome(events, q) for events, q in zip(seen, questions, strict=True)]


def declining(core: Core, options: Options) -> list[MeasureRow]:
    """What is done first with questions as people put them, those that a tool answers and others.

    Items: the questions of `persona/questions/development.toml`. They are none of training, but are
    looked at when wordings are written: for choosing among runs, not for judging one.

    - declined without need: share of the questions that a tool answers to which no tool is called.
      The guard is the share that call the tool named in the file.
    - answered without data: share of the others, which no corpus answers, that call a tool.

    Intervals resample questions.
    """
    content = tomllib.loads(DEVELOPMENT.read_text(encoding="utf-8"))
    few = QUICK if options.quick else None
    wanted, answerable = zip(*content["answerable"][:few], strict=True)
    others = content["others"][:few]
    actions = {question: first_action(core, question) for question in (*answerable, *others)}
    declined = np.array([actions[q] == REPLY for q in answerable], float)
    right = np.mean([actions[q] == tool for q, tool in zip(answerable, wanted, strict=True)])
    answered = np.array([actions[q] != REPLY for q in others], float)
    return [
        measured(
            "declined without need", "share", mean_of(declined), answerable, options,
            {"tool of the file": float(right)},
        ),
        measured("answered without data", "share", mean_of(answered), others, options),
    ]  # fmt: skip


def first_action(core: Core, question: str) -> str:
    """What the persona does first in a conversation that begins so: a tool, or `reply`."""
    known = script.opening(condition(DEFAULT_GOALS), (), question)
    return decode_call(core, known, CallGrammar.of(core, (question,)))[0][0]


def outcome(events: Iterable[Event], question: dict[str, Any]) -> Outcome:
    """The outcome of one turn against what its question was composed from."""
    call, malformed, failed, alone = None, False, False, True
    stray: tuple[str, ...] = ()
    for event in events:
        match event:
            case NumbersChecked(stray=found):
                stray = found
            case Reply(tool_calls=calls):
                call, alone = calls[0] if calls else None, len(calls) == 1
                malformed = not all(is_well_formed(each) for each in calls)
            case TurnFailed():
                failed = True
    right_tool = call is not None and call.name == question["tool"]
    same = call is not None and as_text(call.arguments) == as_text(question["arguments"])
    return Outcome(right_tool, right_tool and same and alone, not stray and not failed, malformed)


def is_well_formed(call: ToolCall) -> bool:
    """Whether the tool of this name takes the arguments."""
    try:
        find(call.name).query(call.arguments)
    except ToolError:
        return False
    return True


def as_text(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with every value as text, so that 5 and "5" are the same."""
    return {
        key: as_text(value) if isinstance(value, dict) else str(value)
        for key, value in arguments.items()
    }


def read_questions(path: Path) -> list[dict[str, Any]]:
    """The composed questions; raises StorageError when the file can't be read."""
    try:
        questions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return questions
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} can't be read ({error}). Restore it.") from error


if __name__ == "__main__":
    from core_model.measures.report import MEASURES

    MEASURES["self-knowledge"] = self_knowledge
    MEASURES["persona"] = persona
    MEASURES["declining"] = declining
    MEASURES["diversity"] = diversity
    MEASURES["sycophancy"] = sycophancy
    MEASURES["authors"] = authors
    MEASURES["plans"] = plans
    MEASURES["filter"] = filtering
    sys.exit(main())
