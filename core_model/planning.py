"""From a draw in the notation to the conditional distributions that answer it, step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core_model import notation, priors
from core_model.corpora import known, schema
from core_model.errors import CandorError, InvalidQuery
from core_model.graph import Variable
from core_model.notation import Binding, Draw, Fork, Step

State = tuple[str, ...]
"""The answers that the next step reads: one in a chain, several behind relations side by side."""


@dataclass(frozen=True, slots=True)
class Conditional:
    """p(variable | given) in one corpus."""

    corpus: str
    variable: str
    given: tuple[Binding, ...] = ()

    def bind(self, *bindings: Binding) -> Conditional:
        """The same conditional with more known; raises CandorError on a variable known twice."""
        given = {b.variable for b in self.given}
        for binding in bindings:
            if binding.variable in given:
                raise CandorError(f"'{binding.variable}' is given twice. Give it once.")
        return replace(self, given=self.given + bindings)


def in_order(conditional: Conditional) -> Conditional:
    """The same conditional with what is known in the order in which cores learn and are asked it.

    The document, behind what stands before it, and then the rest as it was given.
    """
    if conditional.corpus not in known():
        return conditional
    of_corpus = schema(conditional.corpus)
    first = (*of_corpus.before, of_corpus.document)

    def place(binding: Binding) -> int:
        return first.index(binding.variable) if binding.variable in first else len(first)

    return replace(conditional, given=tuple(sorted(conditional.given, key=place)))


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One relation of a draw: its conditional, and what it reads of the answers before it.

    reads: the variables that the state's answers are bound to. forgets: how many of these answers
    are no longer read once this one is there.
    """

    conditional: Conditional
    reads: tuple[str, ...] = ()
    forgets: int = 0

    @property
    def variable(self) -> Variable:
        """The variable that it answers."""
        return schema(self.conditional.corpus).asked(self.conditional.variable)

    @property
    def is_listed(self) -> bool:
        """Whether all answers can be listed, those of a closed variable."""
        return self.variable.kind == "closed"

    def bind(self, state: State) -> Conditional:
        """The conditional once the answers before it are known; a first step has none."""
        read = zip(self.reads, state, strict=True)
        return self.conditional.bind(*(Binding(name, value) for name, value in read))

    def behind(self, state: State, answer: str) -> State:
        """What the next relation reads, once this one has answered."""
        return (*state[self.forgets :], answer)


def is_joint(query: Draw) -> bool:
    """Whether a draw asks for several variables at once."""
    return len(query.steps[-1].parts) > 1


def at_once(query: Draw, data: str | None = None) -> Conditional:
    """A whole chain as one question: the core states itself what is else worked out step by step.

    A question in words is put to the core as it stands, and a prior that the query states is stated
    to the core. Raises what `plan` raises, and InvalidQuery for what is none of these, ends in
    several variables, or has conditions beside the text that a chain reads: in one question they
    can't be told apart from it.
    """
    query, prior = priors.split(query)
    steps = plan(query, data)
    first = steps[0].conditional
    if prior is not None:
        return first.bind(Binding(priors.NAME, prior))
    words = query.steps[0].words if isinstance(query.steps[0], Step) else None
    if len(query.steps) == 1:
        if words is None:
            raise InvalidQuery(
                "Only a chain of relations, 'a; b', a question in words or what has a prior is "
                "asked as one question."
            )
        return replace(first, variable=words)
    corpus = schema(first.corpus)
    question = notation.format_steps(_named(step) for step in query.steps)
    corpus.asked(question)
    if corpus.document and query.given and steps[0].variable.of is None:
        raise InvalidQuery(
            "Asked as one question, a chain knows nothing but its data. Leave out what stands "
            "behind '|', or use --method exact."
        )
    return replace(first, variable=question)


def learnt_chains(corpus: str) -> str:
    """What stands among what an adapter has learnt where a corpus's chains can be asked at once."""
    return f"{corpus}:chains"


def _named(step: Step | Fork) -> Step | Fork:
    """The step by the names of its relations."""
    if isinstance(step, Fork):
        return Fork(tuple(replace(part, words=None) for part in step.parts))
    return replace(step, words=None)


def plan(query: Draw, data: str | None = None) -> list[PlannedStep]:
    """Conditionals of a draw, relation by relation.

    A relation r reads the corpus's document and answers r; r^-1 reads r and answers the document.
    `data` is what the first step reads. What is given after `|` is known in every step that does
    not itself ask for it. Behind relations side by side the next step reads all their answers;
    each of them reads those named before it, so that they are drawn jointly. An answer that is
    one `of` another variable's values is read as such, and the document stays known beside it.
    Raises UnknownName and CandorError on a query the corpus can't answer.
    """
    if query.corpus is None:
        raise CandorError("Which corpus? Begin the query with its name, as in 'names: name'.")
    corpus = schema(query.corpus)
    checked = corpus.resolve(query)
    assert isinstance(checked, Draw)
    if any(binding.variable == priors.NAME for binding in checked.given):
        raise InvalidQuery("A prior is weighed exactly. Use --method exact.")
    steps: list[PlannedStep] = []
    given = checked.given
    previous: tuple[Variable, ...] = ()
    for index, step in enumerate(checked.steps):
        about = {variable.of for variable in previous if variable.of is not None}
        read = tuple(v.name for v in previous)
        if len(previous) == 1 and previous[0].of is not None:
            read = (previous[0].of,)
        asked: list[str] = []
        for part in step.parts:
            answer = corpus.document if part.inverse else part.relation
            if answer in read:
                raise CandorError(
                    f"Step {index + 1} reads '{answer}' and answers it too. Ask another relation."
                )
            reads = (*read, *asked)
            known = tuple(b for b in given if b.variable not in {answer, *reads, *about})
            conditional = Conditional(query.corpus, answer, known)
            if data is not None and (index == 0 or about):
                if not corpus.document:
                    raise CandorError(
                        f"{query.corpus} has no document and reads no data: "
                        "give what is known after '|'."
                    )
                source = part.relation if part.inverse and index == 0 else corpus.document
                if source == answer:
                    raise CandorError(f"'{answer}' is both the data and what is asked.")
                conditional = conditional.bind(corpus.spelled(Binding(source, data)))
            steps.append(PlannedStep(conditional, reads))
            asked.append(answer)
        # Once all of a step have answered, what they read is behind them.
        steps[-1] = replace(steps[-1], forgets=len(read))
        previous = tuple(corpus.variable(name) for name in asked)
    return steps
