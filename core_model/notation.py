r"""The query notation: its syntax tree, its parser and its printer.

    query   := [corpus ":"] (draw | measure)
    draw    := step (";" step)* ["|" given]
    step    := part ("&" part)*                 part := relation ["^-1"] ["~" notion]
    given   := binding ("," binding)*           binding := variable "=" value
    measure := "P(" given ["|" given] ")"       "H(" variables ["|" given] ")"
             | "I(" variables ";" variables ["|" given] ")"
             | "corr(" variable "," variable ["|" given] ")"

A name is letters, digits, _ and -, starting with a letter or _. A value stands as it is, or in
double quotes where it holds , | ; = ( ) or ", has blanks at an end, is empty, or holds characters
that cannot be seen. Escapes in quotes: \" \\ \n \r \t \uXXXX \UXXXXXXXX.

Law: `parse(format(query)) == query`, for every query printed in at most `MAX_LENGTH` characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args

from core_model.errors import NotationError
from core_model.notation_errors import ESCAPES, UNSEEN, escape, explained, point_at, shown

__all__ = [
    "MAX_LENGTH",
    "AnyQuery",
    "Binding",
    "Correlation",
    "Draw",
    "Entropy",
    "Fork",
    "Measure",
    "MutualInformation",
    "Probability",
    "Query",
    "Step",
    "format",
    "format_bindings",
    "format_steps",
    "format_value",
    "parse",
    "point_at",
]

MAX_LENGTH = 20_000
"""Characters that `parse` reads; longer text belongs in the data, not in the query."""


# --- the tree -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Binding:
    """A variable that is known to have a value."""

    variable: str
    value: str

    def __post_init__(self) -> None:
        _require_names(self.variable)


@dataclass(frozen=True, slots=True)
class Step:
    """One relation of a chain, perhaps backwards, perhaps under a notion of equivalence.

    It may be asked for in plain words, `"who wrote this?"`: then `relation` is empty until the
    query is resolved in a corpus, which knows what the words stand for.
    """

    relation: str
    inverse: bool = False
    notion: str | None = None
    words: str | None = None

    def __post_init__(self) -> None:
        if self.words is None:
            _require_names(self.relation, self.notion)
        elif not self.words.strip() or self.inverse or self.notion is not None:
            raise NotationError(
                "A question in words stands alone: without ^-1 and ~, and not empty."
            )

    @property
    def parts(self) -> tuple[Step, ...]:
        """The step itself, as a `Fork` has several."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Fork:
    """Relations asked side by side; the step that follows reads all of their answers."""

    parts: tuple[Step, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise NotationError("Relations side by side are at least two.")
        _require_distinct([part.words or part.relation for part in self.parts])


@dataclass(frozen=True, slots=True)
class Draw:
    """Relations applied one after another: p(answer | data, given)."""

    corpus: str | None
    steps: tuple[Step | Fork, ...]
    given: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        _require_names(self.corpus)
        _require_some(self.steps, "A draw needs at least one relation.")
        _require_distinct(self.given)


@dataclass(frozen=True, slots=True)
class Probability:
    """P(event | given), a number from 0 to 1."""

    corpus: str | None
    event: tuple[Binding, ...]
    given: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        _require_names(self.corpus)
        _require_some(self.event, "P needs at least one variable=value.")
        _require_distinct(self.event)
        _require_distinct(self.given)


@dataclass(frozen=True, slots=True)
class Entropy:
    """H(variables | given) = -E log p(variables | given)."""

    corpus: str | None
    variables: tuple[str, ...]
    given: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        _require_names(self.corpus, *self.variables)
        _require_some(self.variables, "H needs at least one variable.")
        _require_distinct(self.variables)
        _require_distinct(self.given)


@dataclass(frozen=True, slots=True)
class MutualInformation:
    """I(left; right | given) = H(left | given) + H(right | given) - H(left, right | given)."""

    corpus: str | None
    left: tuple[str, ...]
    right: tuple[str, ...]
    given: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        _require_names(self.corpus, *self.left, *self.right)
        for side in (self.left, self.right):
            _require_some(side, "I needs at least one variable on each side.")
            _require_distinct(side)
        _require_distinct(self.given)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's correlation of two variables coded as numbers, from -1 to 1."""

    corpus: str | None
    left: str
    right: str
    given: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        _require_names(self.corpus, self.left, self.right)
        _require_distinct(self.given)


Measure = Probability | Entropy | MutualInformation | Correlation
Query = Draw | Measure
AnyQuery = TypeVar("AnyQuery", bound=Query)


def _require_names(*names: str | None) -> None:
    for name in names:
        if name is not None and not _IS_NAME.fullmatch(name):
            raise NotationError(
                f"{shown(name)} is not a name: use letters, digits, _ and -, "
                "starting with a letter or _."
            )


def _require_some(parts: Sequence[object], message: str) -> None:
    if not parts:
        raise NotationError(message)


def _require_distinct(parts: Sequence[Binding | str]) -> None:
    seen: set[str] = set()
    for part in parts:
        name = part.variable if isinstance(part, Binding) else part
        if name in seen:
            raise NotationError(f"'{name}' stands twice: name it once.")
        seen.add(name)


# --- the printer --------------------------------------------------------------------------------


def format(query: Query) -> str:  # noqa: A001, RUF100 - read as notation.format
    """The query as one line of notation."""
    match query:
        case Draw(corpus, steps, given):
            body = format_steps(steps) + _format_given(given)
        case Probability(corpus, event, given):
            body = f"P({format_bindings(event)}{_format_given(given)})"
        case Entropy(corpus, variables, given):
            body = f"H({', '.join(variables)}{_format_given(given)})"
        case MutualInformation(corpus, left, right, given):
            body = f"I({', '.join(left)}; {', '.join(right)}{_format_given(given)})"
        case Correlation(corpus, left, right, given):
            body = f"corr({left}, {right}{_format_given(given)})"
    return body if corpus is None else f"{corpus}: {body}"


def format_bindings(bindings: Iterable[Binding]) -> str:
    """`year=1985, sex=female`: bindings as they stand in a query."""
    return ", ".join(f"{b.variable}={format_value(b.value)}" for b in bindings)


def format_value(value: str) -> str:
    """The value as it is where that can be read back, else in double quotes with escapes."""
    return value if _BARE.fullmatch(value) else _quoted(value)


def _quoted(value: str) -> str:
    return '"' + re.sub(rf'["\\{UNSEEN}]', lambda m: escape(m.group()), value) + '"'


def format_steps(steps: Iterable[Step | Fork]) -> str:
    """`father & mother; child`: the steps of a draw."""
    return "; ".join(map(_format_step, steps))


def _format_step(step: Step | Fork) -> str:
    return " & ".join(
        (part.relation if part.words is None else _quoted(part.words))
        + ("^-1" if part.inverse else "")
        + ("" if part.notion is None else f"~{part.notion}")
        for part in step.parts
    )


def _format_given(given: Sequence[Binding]) -> str:
    return f" | {format_bindings(given)}" if given else ""


# --- the grammar --------------------------------------------------------------------------------

_BODY = rf'[^,|;=()"“”{UNSEEN}]'
_VALUE = rf"(?!\s){_BODY}(?:{_BODY}*(?!\s){_BODY})?"
_NAME = r"[^\W\d][\w-]*"
_BARE = re.compile(_VALUE)
_IS_NAME = re.compile(_NAME)
_UNESCAPES = {quoted[1]: char for char, quoted in ESCAPES.items()}

_GRAMMAR = rf"""
start: [NAME ":"] (draw | probability | entropy | mutual_information | correlation)
draw: step (";" step)* ["|" given]
step: part ("&" part)*
part: (NAME | STRING) [INVERSE] ["~" NAME]
given: binding ("," binding)*
binding: NAME "=" (VALUE | STRING)
variables: NAME ("," NAME)*
probability: P_OPEN given ["|" given] ")"
entropy: H_OPEN variables ["|" given] ")"
mutual_information: I_OPEN variables ";" variables ["|" given] ")"
correlation: CORR_OPEN NAME "," NAME ["|" given] ")"

P_OPEN.2: /P *\(/
H_OPEN.2: /H *\(/
I_OPEN.2: /I *\(/
CORR_OPEN.2: /corr *\(/
INVERSE: /\^ *[-\u2212] *1|⁻¹/
NAME: /{_NAME}/
VALUE: /{_VALUE}/
STRING: /"(?:[^"\\]|\\.)*"/s
BLANK: /[ \t\r\n\ufeff\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+/
%ignore BLANK
"""


@cache
def _grammar() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True, transformer=_Build())


@v_args(inline=True)
class _Build(Transformer[Token, Query]):
    """Turns each rule into its part of the tree while parsing, so nothing recurses."""

    def start(self, corpus: Token | None, build: tuple[type[Query], tuple[object, ...]]) -> Query:
        kind, parts = build
        return kind(_text(corpus), *parts)  # type: ignore[arg-type]

    def draw(self, *parts: object) -> object:
        return Draw, (parts[:-1], parts[-1] or ())

    def step(self, *parts: tuple[Token, Step]) -> Step | Fork:
        _refuse_repeats(token for token, _ in parts)
        made = tuple(step for _, step in parts)
        return made[0] if len(made) == 1 else Fork(made)

    def part(
        self, relation: Token, inverse: Token | None, notion: Token | None
    ) -> tuple[Token, Step]:
        if relation.type == "NAME":
            return relation, Step(str(relation), inverse is not None, _text(notion))
        beside = inverse or notion
        if beside is not None:
            at = _start(beside)
            raise NotationError(
                f"A question in words stands alone, without what follows at character {at + 1}.", at
            )
        return relation, Step("", words=_unquote(relation))

    def given(self, *pairs: tuple[Token, Binding]) -> tuple[Binding, ...]:
        _refuse_repeats(token for token, _ in pairs)
        return tuple(binding for _, binding in pairs)

    def binding(self, variable: Token, value: Token) -> tuple[Token, Binding]:
        text = _unquote(value) if value.type == "STRING" else str(value)
        return variable, Binding(str(variable), text)

    def variables(self, *names: Token) -> tuple[str, ...]:
        _refuse_repeats(names)
        return tuple(map(str, names))

    def probability(self, _: Token, event: object, given: object) -> object:
        return Probability, (event, given or ())

    def entropy(self, _: Token, variables: object, given: object) -> object:
        return Entropy, (variables, given or ())

    def mutual_information(self, _: Token, left: object, right: object, given: object) -> object:
        return MutualInformation, (left, right, given or ())

    def correlation(self, _: Token, left: Token, right: Token, given: object) -> object:
        return Correlation, (str(left), str(right), given or ())


def _text(token: Token | None) -> str | None:
    return None if token is None else str(token)


def _start(token: Token) -> int:
    return token.start_pos or 0


def _refuse_repeats(names: Iterable[Token]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            at = _start(name)
            raise NotationError(
                f"'{name}' stands twice, again at character {at + 1}: name it once.", at
            )
        seen.add(str(name))


def _unquote(token: Token) -> str:
    def char(found: re.Match[str]) -> str:
        code, letter = found.group(1) or found.group(2), found.group(3)
        if code and int(code, 16) <= 0x10FFFF:
            return chr(int(code, 16))
        if letter in _UNESCAPES:
            return _UNESCAPES[letter]
        at = _start(token) + 1 + found.start()
        raise NotationError(
            f"Unknown escape {shown(found.group())} at character {at + 1}: expected one of "
            r"\" \\ \n \r \t \uXXXX (write \\ for a backslash).",
            at,
        )

    pattern = r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))"
    return re.sub(pattern, char, token[1:-1], flags=re.DOTALL)


# --- the parser ---------------------------------------------------------------------------------


def parse(text: str) -> Query:
    """The query that the text stands for. Raises NotationError, with the place and the remedy."""
    if len(text) > MAX_LENGTH:
        raise NotationError(
            f"The query has {len(text):,} characters, and at most {MAX_LENGTH:,} are read: "
            "pass long text as data instead.",
            MAX_LENGTH,
        )
    if not text.strip():
        raise NotationError(
            "The query is empty: write a relation, such as author, "
            "or names: name | year=1985, sex=female.",
            0,
        )
    state = _grammar().parse_interactive(text)
    read: list[Token] = []
    try:
        for token in state.iter_parse():
            read.append(token)  # noqa: PERF402, RUF100 - the tokens read before an error explain it
        query = state.feed_eof()  # type: ignore[no-untyped-call]
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        position = len(text.rstrip()) if at_end else error.pos_in_stream or 0
        # The token that did not fit is yielded before it is fed.
        fitted = [token for token in read if _start(token) < position]
        raise explained(text, position, at_end, fitted, _accepted_after(fitted)) from None
    assert isinstance(query, Draw | Measure)
    return query


def _accepted_after(tokens: Sequence[Token]) -> set[str]:
    """Terminals that may follow; read anew, since a token that fails has moved its state on."""
    state = _grammar().parse_interactive()
    for token in tokens:
        state.feed_token(token)
    accepts: set[str] = state.accepts()  # type: ignore[no-untyped-call]
    return accepts
