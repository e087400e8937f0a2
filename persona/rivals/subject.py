"""An agent under test: how the suite of the comparison asks it, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from core_model.core import Core, Remembering
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.torch_core import TorchCore
from persona import script
from persona.agent import TEMPERATURE, Agent
from persona.asking import Answering
from persona.goals import CONDUCTS, VOICES, condition
from persona.rivals.base import Base, BaseAgent

LONGEST = 96
"""Tokens of a reply in an agent's own words, at most; few are longer."""
Known = tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """An agent under test.

    make: the agent of a seed, as in the chat. open: the same at temperature 1. has_tools: whether
    it calls any, and is shown what they find. written: the pieces of a reply behind what is known
    in a dialogue, at temperature 1. surprise: -log p of such replies, nats. own: the core it runs
    on, and encode: how that reads a text as tokens. candor: Candor's core, which the variety of
    names and chance is compared with. goals: what the author of its calls is conditioned on.
    """

    make: Callable[[int], Answering]
    open: Callable[[int], Answering]
    has_tools: bool
    written: Callable[[Known, np.random.Generator], Iterator[str]]
    surprise: Callable[[Known, Sequence[str]], list[float]]
    own: TorchCore
    encode: Callable[[str], list[int]]
    candor: Core
    goals: str | None = None

    @classmethod
    def of_agent(
        cls, core: Core, own: TorchCore, candor: Core, encode: Callable[[str], list[int]],
        goals: tuple[str, ...] | None,
    ) -> Subject:  # fmt: skip
        """The persona, or a rival that runs as it does; own: the same core in this process.

        What it writes in its own words is by an honest and plain author where there are goals.
        """
        asked = Remembering(core)
        labels: tuple[Known, Known] = (), ()
        if goals is not None:
            author = Binding(script.CONDUCT, CONDUCTS[0]), Binding(script.AUTHOR, VOICES[0])
            labels = (Binding("goals", condition(goals)),), author

        def make(seed: int, temperature: float = TEMPERATURE) -> Agent:
            return Agent(asked, goals, seed, tools=candor, temperature=temperature, in_full=False)

        def reply(known: Known) -> Conditional:
            return script.asked("reply", (*labels[0], *known, *labels[1]))

        return cls(
            make, partial(make, temperature=1.0), True,
            lambda known, rng: core.write(reply(known), rng, None, 1.0, LONGEST),
            lambda known, replies: (-core.log_prob_of(reply(known), replies)).tolist(),
            own, encode, candor, None if goals is None else condition(goals),
        )  # fmt: skip

    @classmethod
    def of_base(cls, base: Base, candor: Core, encode: Callable[[str], list[int]]) -> Subject:
        """The base, which has no tools and is not shown what one found."""

        def chat(known: Known) -> tuple[str, list[tuple[str, str]]]:
            said = [b.value for b in known if b.variable in ("user", "assistant")]
            return said[-1], list(zip(said[:-1:2], said[1:-1:2], strict=True))

        def written(known: Known, rng: np.random.Generator) -> Iterator[str]:
            question, before = chat(known)
            return base.written(before, question, rng, 1.0, LONGEST)

        def surprise(known: Known, replies: Sequence[str]) -> list[float]:
            question, before = chat(known)
            lengths = [len(base.wire.answer(reply)) for reply in replies]
            each = [base.surprise(question, reply, before) for reply in replies]
            return [nats * length for nats, length in zip(each, lengths, strict=True)]

        return cls(
            lambda seed: BaseAgent(base, candor, seed, filtered=True),
            lambda seed: BaseAgent(base, candor, seed, 1.0, filtered=True),
            False, written, surprise, base.core, encode, candor,
        )  # fmt: skip
