"""The persona on the release adapter: a greeting, and held-out wordings with their calls."""

from __future__ import annotations

import json
import threading

import pytest

from core_model.adapter import RELEASE, changed_by
from core_model.base_files import BaseFiles
from core_model.config import Settings
from core_model.loading import load_core
from core_model.torch_core import TorchCore
from persona.agent import Agent
from persona.events import NumbersChecked, Reply
from persona.measure import QUESTIONS, as_text, read_questions
from persona.rivals.agents import FINISHED, TRAINED, Rivals, folder_of
from persona.rivals.training import SUPERVISED

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def core(base_weights: BaseFiles) -> TorchCore:
    return load_core(Settings.from_environment())


def test_a_greeting_needs_no_tool(core: TorchCore) -> None:
    *_, last = Agent(core).turn([], "Hello!", threading.Event())
    assert isinstance(last, Reply)
    assert last.text
    assert last.tool_calls == ()


def test_held_out_wordings_lead_to_their_calls(core: TorchCore) -> None:
    questions = read_questions(QUESTIONS)[:12]
    right = 0
    for question in questions:
        events = list(Agent(core).turn([], question["question"], threading.Event()))
        reply = events[-1]
        assert isinstance(reply, Reply), json.dumps(question)
        assert all(e.stray == () for e in events if isinstance(e, NumbersChecked))
        right += [(c.name, as_text(c.arguments)) for c in reply.tool_calls] == [
            (question["tool"], as_text(question["arguments"]))
        ]
    assert right >= 6


def test_the_rivals_that_ship_rest_on_this_release(core: TorchCore) -> None:
    shipped = sorted(path.parent for path in TRAINED.glob(f"*/{FINISHED}"))
    if not shipped:
        assert "None ship with the release" in (TRAINED / "README.md").read_text(encoding="utf-8")
        pytest.skip("no rivals ship with this release")
    assert folder_of(SUPERVISED) in shipped
    for folder in shipped:
        assert changed_by(folder)[-1] == RELEASE, folder
    *_, last = (
        Rivals(Settings.from_environment(), core)
        .agent(SUPERVISED, 0)
        .turn([], "How likely is the name Jennifer for a girl born in 1972?", threading.Event())
    )
    assert isinstance(last, Reply)
    assert last.text and last.tool_calls
