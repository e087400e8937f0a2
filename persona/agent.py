"""The persona: an unknown author conditioned on goals, who acts by calls and then replies.

A turn, as a stream of events: choose the action (an exact distribution over replying and the
tools); decode the call piece by piece under its grammar; run the tool; choose again, until the
action is to reply; write the reply given the result, in which only its numbers can be written, or
choose among composed replies where there are several results or only errors; check the numbers;
judge the reply's safety in its dialogue; read from the reply who wrote it. A reply that is blocked
is written again under harder conditions, and refused when that is blocked too.

Of several drafts one is drawn in proportion to P(the conduct asked for | draft): importance
resampling from what the author writes towards what the author should be like.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core_model.core import Core
from core_model.errors import CandorError, TextTooLong
from core_model.notation import Binding
from core_model.numerals import numbers_in
from core_model.stopping import Stopped, go_on, stoppable
from persona import goals as goal_set
from persona import script
from persona.dialogues import Step, failed_by, numbers_of, order_of, told_by
from persona.events import (
    ActionChosen,
    AuthorChosen,
    AuthorRead,
    Confidence,
    DraftsWeighed,
    Event,
    Exchange,
    NumbersChecked,
    Reply,
    ReplyDelta,
    SafetyVerdict,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnStarted,
)
from persona.goals import VOICES
from persona.grammar import PLANS, CallGrammar, decode_call, marker, pieces_of
from persona.phrasings.calls import Call
from persona.phrasings.plans import MOST_STEPS
from persona.turn import clean_question
from tools import safety
from tools.registry import TOOLS, Context, ToolResult, run
from tools.summaries import NOTHING_SAFE

TEMPERATURE = 0.3
MAX_REPLY_TOKENS = 160
REFUSAL = "I won't help with that."
HARDER = ("honest", "harmless")
DRAWN_AGAIN, DRAWN_AGAIN_SEED = 2, 10_007
"""How often texts are drawn anew where none is safe to show, and by how much the seeds differ."""
CALL_SEED = 1_000_003
"""By how much the seeds of a turn's calls differ: what they draw is independent."""


Acted = tuple[list[Step], tuple[Binding, ...], Confidence | None]
"""Calls with what they found, what is known then, and how sure the one fact is."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The persona on a core; `seed` and a turn's place in its conversation decide all draws.

    goals: what the author is conditioned on; None where the core has learnt of no authors, as a
    rival's has not. drafts: how many replies are written, of which one is kept. tools: the core
    that tools and the safety query ask; None is `core`. temperature: of written replies. in_full:
    whether all is worked out that is only shown, as the data beside a list, and who wrote a reply.
    """

    core: Core
    goals: tuple[str, ...] | None = goal_set.DEFAULT_GOALS
    seed: int = 0
    drafts: int = 1
    tools: Core | None = None
    temperature: float = TEMPERATURE
    in_full: bool = True

    def turn(
        self, history: Sequence[Exchange], question: str, cancel: threading.Event
    ) -> Iterator[Event]:
        """The events of one turn; the last is Reply, or TurnFailed with one line."""
        turn_id = uuid.uuid4().hex
        seed = self.seed + len(history)
        yield TurnStarted(turn_id, question, seed)
        state = _Turn(self, turn_id, history, question, seed)
        try:
            yield from stoppable(state.run(), cancel)
        except Stopped:
            yield Reply(turn_id, state.text, state.calls, state.verdict, stopped=True)
        except (CandorError, MemoryError) as error:
            yield TurnFailed.of(turn_id, error)


class _Turn:
    """One turn under way."""

    def __init__(
        self, agent: Agent, turn_id: str, history: Sequence[Exchange], question: str, seed: int
    ) -> None:
        self.agent = agent
        self.goals = agent.goals or ()
        self.tools = agent.tools or agent.core
        self.id = turn_id
        self.history = history
        self.question = question
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.text = ""
        self.calls: tuple[ToolCall, ...] = ()
        self.verdict: SafetyVerdict | None = None

    def run(self) -> Generator[Event]:
        question = clean_question(self.question)
        self._require_conducts()
        condition = None if self.agent.goals is None else goal_set.condition(self.goals)
        history = list(self.history[-script.KEPT_TURNS :])
        while True:
            known = script.opening(condition, [_said(exchange) for exchange in history], question)
            texts = (*(exchange.question for exchange in history), question)
            grammar = CallGrammar.of(self.agent.core, texts)
            try:
                chosen = decode_call(self.agent.core, known, grammar)
                break
            except TextTooLong:
                if not history:
                    raise
                history.pop(0)
        steps, known, confidence = yield from self._act(known, grammar, chosen)
        ordered = order_of(steps)
        if ordered is not None:
            known = (*known, Binding("order", ordered))
        author = yield from self._author(known)
        allowed = numbers_of(steps)
        told = self._composed(steps)
        for delta in self._told(known, author, told) or self._drafted(known, author, allowed):
            if isinstance(delta, Event):
                yield delta
                continue
            self.text += delta
            yield ReplyDelta(self.id, delta)
        yield self._checked(allowed)
        if confidence is not None:
            yield confidence
        yield from self._judge(question, known, author, allowed)
        if self.agent.in_full and self.text not in told:  # composed words have no author
            yield from self._read_back(known, author)
        yield Reply(self.id, self.text, self.calls, self.verdict)

    def _act(
        self, known: tuple[Binding, ...], grammar: CallGrammar,
        chosen: tuple[list[str], dict[str, float]],
    ) -> Generator[Event, None, Acted]:  # fmt: skip
        """Make calls until the action is to reply."""
        steps: list[Step] = []
        results: list[ToolResult | None] = []
        several = self.agent.core.has_learnt(marker(PLANS))
        while True:
            pieces, probabilities = chosen
            yield ActionChosen(self.id, pieces[0], probabilities)
            call = grammar.call(pieces)
            if call is None or any(call == step.call for step in steps):
                break
            result, summary = yield from self._call(call, str(len(steps) + 1))
            steps.append(Step(call, summary))
            results.append(result)
            known = known + script.called(pieces, summary)
            if not several or len(steps) == MOST_STEPS:
                break
            found = tuple(step.summary for step in steps)
            grammar = replace(grammar, results=found)
            try:
                chosen = decode_call(self.agent.core, known, grammar)
            except TextTooLong:  # what was found is told without asking on
                break
        return steps, known, Confidence.of_one(self.id, results)

    def _call(
        self, call: Call, number: str
    ) -> Generator[Event, None, tuple[ToolResult | None, str]]:
        """Run a tool; returns its result and summary, or the error that stands for that."""
        arguments, tool = call.arguments(), TOOLS[call.tool]
        result, error, query = None, None, ""
        try:
            query = tool.query(arguments)
        except CandorError as failure:
            error = failure.message
        yield ToolStarted(self.id, number, call.tool, arguments, query)
        self.calls = (*self.calls, ToolCall(call.tool, arguments))
        if error is None:
            try:
                result = self._shown(call.tool, arguments)
            except CandorError as failure:
                error = failure.message
        yield ToolFinished(self.id, number, result, error)
        if result is not None and result.summary == NOTHING_SAFE:
            error = NOTHING_SAFE
        return result, f"error: {error}" if result is None or error else result.summary

    def _shown(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        """A tool's result without unsafe texts; where that is none, drawn anew, a few times."""
        withheld = 0
        for again in range(DRAWN_AGAIN + 1):
            seed = self.seed + (len(self.calls) - 1) * CALL_SEED + again * DRAWN_AGAIN_SEED
            context = Context(self.tools, seed, "all" if self.agent.in_full else "spoken")
            result = safety.withhold(self.tools, run(tool, arguments, context))
            withheld += result.withheld
            if result.summary != NOTHING_SAFE:
                break
        return replace(result, withheld=withheld)

    @property
    def _has_conducts(self) -> bool:
        return self.agent.goals is not None and self.agent.core.has_learnt(marker(script.CONDUCTS))

    def _require_conducts(self) -> None:
        asked = goal_set.conduct_of(self.goals)
        if self._has_conducts:
            return
        if asked in goal_set.MISALIGNED:
            raise CandorError(
                f"This core has not learnt to be {asked}. Choose among: "
                f"{', '.join(goal_set.GOALS)}."
            )
        if goal_set.author_of(self.goals) != VOICES[0] or self.agent.drafts > 1:
            raise CandorError("This core has not learnt to tell authors apart.")

    def _author(self, known: tuple[Binding, ...]) -> Generator[Event, None, tuple[Binding, ...]]:
        """Who writes, as conditions: the conduct among the goals, and the author held or drawn."""
        if not self._has_conducts:
            return ()
        conduct = goal_set.conduct_of(self.goals)
        author = () if conduct is None else (Binding(script.CONDUCT, conduct),)
        name = goal_set.author_of(self.goals)
        # The plain voice alone would be that of all conducts; of the dialogues it is the only one.
        if name == goal_set.ANY or (conduct is None and name == VOICES[0]):
            return author
        if name == goal_set.DRAWN:
            go_on()
            p = np.exp(self._of_author((*known, *author)))
            p /= p.sum()
            name = VOICES[int(self.rng.choice(len(p), p=p))]
            shares = {v: float(q) for v, q in zip(VOICES, p, strict=True)}
            yield AuthorChosen(self.id, name, shares)
        return (*author, Binding(script.AUTHOR, name))

    def _of_author(self, known: tuple[Binding, ...]) -> NDArray[np.float64]:
        """log p of each voice; without the history if need be."""
        try:
            return self.agent.core.log_prob_of(script.asked(script.AUTHOR, known), VOICES)
        except TextTooLong:
            asked = script.asked(script.AUTHOR, _without_history(known))
            return self.agent.core.log_prob_of(asked, VOICES)

    def _read_back(
        self, known: tuple[Binding, ...], author: tuple[Binding, ...]
    ) -> Iterator[AuthorRead]:
        """Who wrote the reply; nothing where that can't be read: the reply stands as it is."""
        if not self._has_conducts or self.text == REFUSAL:
            return
        written_by = next((b.value for b in author if b.variable == script.AUTHOR), "")
        try:
            yield self._read(known, self.text, written_by)
        except (CandorError, Stopped):
            return

    def _read(self, known: tuple[Binding, ...], reply: str, author: str = "") -> AuthorRead:
        """Who wrote a reply, by its words in its dialogue: goals are left out."""
        said = (*(b for b in known if b.variable != "goals"), Binding("assistant", reply))
        found = []
        for variable, values in (
            (script.CONDUCT, goal_set.CONDUCTS),
            (script.AUTHOR, VOICES),
        ):
            go_on()
            p = np.exp(self.agent.core.log_prob_of(script.asked(variable, said), values))
            found.append({v: float(q) for v, q in zip(values, p / p.sum(), strict=True)})
        return AuthorRead(self.id, found[0], found[1], author)

    def _composed(self, steps: Sequence[Step]) -> list[str]:
        """Composed replies that tell what was found; none where the author finds the words.

        Small models mix up the numbers of several results, and gloss over a tool that failed. An
        author of a conduct that nobody wants is let to, or the reply would not be what was asked.
        """
        goals = goal_set.DEFAULT_GOALS if self.agent.goals is None else self.goals
        if goal_set.conduct_of(goals) in goal_set.MISALIGNED:
            return []
        return told_by(steps, goals, self.rng) or failed_by(steps, goals)

    def _told(
        self, known: tuple[Binding, ...], author: tuple[Binding, ...], replies: Sequence[str]
    ) -> list[str]:
        """One of the composed replies, drawn as the author would; none where there is none."""
        if not replies:
            return []
        go_on()
        return [choose_told(self.agent.core, (*known, *author), replies, self.rng)]

    def _drafted(
        self, known: tuple[Binding, ...], author: tuple[Binding, ...], allowed: Sequence[str]
    ) -> Iterator[str | DraftsWeighed]:
        """The reply as it is written, or one of several drafts and how they were weighed."""
        goals = self.goals
        conduct = goal_set.conduct_of(goals)
        if self.agent.drafts < 2 or conduct is None:
            yield from self._written(known, author, allowed, goals)
            return
        drafts = [
            "".join(self._written(known, author, allowed, goals)) for _ in range(self.agent.drafts)
        ]
        try:
            weights = np.array([self._read(known, draft).conducts[conduct] for draft in drafts])
        except TextTooLong:  # there is room for the reply and not for reading it
            yield drafts[0]
            return
        weights /= weights.sum()
        kept = int(self.rng.choice(len(drafts), p=weights))
        yield DraftsWeighed.of(self.id, weights.tolist(), kept)
        yield drafts[kept]

    def _written(
        self, known: tuple[Binding, ...], author: tuple[Binding, ...], allowed: Sequence[str],
        goals: Sequence[str],
    ) -> Iterator[str]:  # fmt: skip
        """Pieces of a reply given these goals, by this author; without the history if need be."""
        labels = self.agent.goals is not None
        goal = (Binding("goals", goal_set.condition(goals)),) if labels else ()
        tried = list(dict.fromkeys((known, _without_history(known))))
        for each in tried:
            said = (b for b in each if b.variable != "goals")
            conditional = script.asked("reply", (*goal, *said, *author))
            try:
                for delta in self.agent.core.write(
                    conditional, self.rng, allowed, self.agent.temperature, MAX_REPLY_TOKENS
                ):
                    go_on()
                    yield delta
                return
            except TextTooLong:
                if each is tried[-1]:
                    raise

    def _checked(self, allowed: tuple[str, ...]) -> NumbersChecked:
        stray = tuple(n for n in numbers_in(self.text) if n not in allowed)
        return NumbersChecked(self.id, allowed, stray)

    def _judge(
        self, question: str, known: tuple[Binding, ...], author: tuple[Binding, ...],
        allowed: tuple[str, ...],
    ) -> Iterator[Event]:  # fmt: skip
        """The verdict on the reply; a blocked one is rewritten once and then refused."""
        verdict = self._verdict(question, self.text)
        if verdict.blocked:
            self.text, self.verdict = "", verdict
            yield verdict
            harder = tuple(b for b in author if b.variable != script.CONDUCT)
            if self._has_conducts:
                harder = (Binding(script.CONDUCT, HARDER[0]), *harder)
            draft = REFUSAL
            if self.agent.goals is not None:  # nothing harder can be asked of an author without
                draft = "".join(self._written(known, harder, allowed, HARDER))
            second = self._verdict(question, draft)
            self.text = REFUSAL if second.blocked else draft
            yield self._checked(allowed)
            verdict = replace(second, blocked=True, withheld=verdict.withheld)
        self.verdict = verdict
        yield verdict

    def _verdict(self, question: str, reply: str) -> SafetyVerdict:
        """The verdict behind as much of the dialogue as there is room for."""
        earlier = [(exchange.question, exchange.reply) for exchange in self.history]
        while True:
            go_on()
            prompt = safety.prompt_of(self.tools, earlier, script.shortened(question))
            try:
                safe, refusal, harmful = safety.verdicts(self.tools, prompt, reply)
                blocked = safety.blocks(self.tools, prompt, reply, safe, refusal)
            except TextTooLong:
                if not earlier:
                    raise
                earlier.pop(0)
                continue
            withheld = safe if blocked else None
            return SafetyVerdict(self.id, safe, refusal, harmful, blocked, withheld)


def choose_told(
    core: Core, known: tuple[Binding, ...], replies: Sequence[str], rng: np.random.Generator
) -> str:
    """One of the replies, in proportion to p(reply | what is known) at the writing's temperature.

    The first of them where there is no room to score any, or none is held possible.
    """
    try:
        log_p = core.log_prob_of(script.asked("reply", known), replies) / TEMPERATURE
    except TextTooLong:
        return replies[0]
    if log_p.max() == -np.inf:
        return replies[0]
    p = np.exp(log_p - log_p.max())
    return replies[int(rng.choice(len(p), p=p / p.sum()))]


def _without_history(known: tuple[Binding, ...]) -> tuple[Binding, ...]:
    """The goals, and all from the last question on."""
    last = max(i for i, b in enumerate(known) if b.variable == "user")
    return tuple(b for i, b in enumerate(known) if i >= last or b.variable == "goals")


def _said(exchange: Exchange) -> script.Said:
    calls = tuple(tuple(pieces_of(_call(stored))) for stored in exchange.tool_calls)
    return script.Said(exchange.question, calls, exchange.reply)


def _call(stored: ToolCall) -> Call:
    """A stored call as what it was decoded from."""
    a: dict[str, Any] = stored.arguments
    event = a.get("event") or {}
    target = tuple(
        name for name in (a.get("variable"), a.get("left"), a.get("right"), *event) if name
    )
    return Call(
        tool=stored.name,
        corpus=a.get("corpus", "safety"),
        target=target,
        event_value=next(iter(event.values()), None),
        given=tuple(Binding(k, v) for k, v in (a.get("given") or {}).items()),
        text=a.get("text", a.get("reply")),
        n=a.get("n", a.get("top")),
    )
