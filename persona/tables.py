"""The tables of the conversation file, and how a turn becomes their rows and comes back.

`persona.history` explains the storage; `persona.migrations` makes these tables in a file.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from persona.events import AuthorRead, DraftsWeighed, SafetyVerdict
from persona.turn import Call, Turn, readable
from tools.registry import ToolResult

TITLE_LENGTH = 60

metadata = MetaData()
conversation = Table(
    "conversation",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("title", Text, nullable=False),
    Column("created", String(32), nullable=False),
)
message = Table(
    "message",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("conversation_id", String(24), ForeignKey("conversation.id"), nullable=False),
    Column("parent_id", String(24), ForeignKey("message.id")),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("created", String(32), nullable=False),
    Column("stopped", Boolean, nullable=False),
    Column("goals", JSON(none_as_null=True)),
    Column("seed", BigInteger),
    Column("stray", JSON(none_as_null=True)),
    Column("failure", Text),
    Column("authorship", JSON(none_as_null=True)),
    Index("message_by_conversation", "conversation_id"),
)
tool_call = Table(
    "tool_call",
    metadata,
    Column("message_id", String(24), ForeignKey("message.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("query", Text, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error", Text),
    Column("seed", BigInteger),
)
verdict = Table(
    "verdict",
    metadata,
    Column("message_id", String(24), ForeignKey("message.id"), primary_key=True),
    Column("safe", Float, nullable=False),
    Column("refusal", Float, nullable=False),
    Column("prompt_harmful", Float, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("withheld", Float),
)

AUTHORSHIP: dict[str, type[AuthorRead] | type[DraftsWeighed]] = {
    "read": AuthorRead,
    "weighed": DraftsWeighed,
}
"""What a turn knows of its author, by field."""
Row = tuple[Table, dict[str, Any]]


def message_row(
    conversation_id: str, parent_id: str | None, role: str, said: str
) -> dict[str, Any]:
    if parent_id is not None:
        follow(parent_id)
    return {
        "id": new_id(),
        "conversation_id": conversation_id,
        "parent_id": parent_id,
        "role": role,
        "text": readable(said),
        "created": now(),
        "stopped": False,
        "goals": None,
        "seed": None,
        "stray": None,
        "failure": None,
        "authorship": None,
    }


def authorship(turn: Turn) -> dict[str, Any] | None:
    """Who wrote a reply and how its drafts were weighed, as JSON; None where nothing is known."""
    found = {name: asdict(e) for name in AUTHORSHIP if (e := getattr(turn, name)) is not None}
    return found or None


def call_row(message_id: str, position: int, call: Call) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "position": position,
        "call_id": readable(call.call_id),
        "name": readable(call.name),
        "arguments": call.arguments,
        "query": readable(call.query),
        "result": asdict(call.result) if call.result else None,
        "error": readable(call.error) if call.error else None,
        "seed": call.result.seed if call.result else None,
    }


RIVAL = "rival:"
"""Before the agent's name in the role of a message that a rival wrote."""


def turn_of(
    question: Mapping[str, Any],
    answer: Mapping[str, Any] | None,
    calls: Sequence[Mapping[str, Any]],
    judged: Mapping[str, Any] | None,
) -> Turn:
    """A turn from its rows; a question that never got an answer counts as stopped."""
    role = answer["role"] if answer is not None else ""
    turn = Turn(
        id=question["id"],
        question=question["text"],
        goals=tuple(question["goals"] or ()),
        seed=question["seed"] or 0,
        state="stopped",
        agent=role.removeprefix(RIVAL) if role.startswith(RIVAL) else "",
    )
    if answer is None:
        return turn
    failed = answer["failure"] is not None
    return replace(
        turn,
        reply_id=answer["id"],
        reply=answer["text"],
        failure=answer["failure"],
        state="failed" if failed else "stopped" if answer["stopped"] else "done",
        stray=tuple(answer["stray"] or ()),
        calls=tuple(_call(row) for row in sorted(calls, key=lambda row: row["position"])),
        verdict=_verdict(judged) if judged else None,
        **_authorship(answer["authorship"] or {}),
    )


def _authorship(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the author; what was stored in another form is left out."""
    found = {}
    for name, kind in AUTHORSHIP.items():
        if name in stored:
            with suppress(ValidationError):
                found[name] = TypeAdapter(kind).validate_python(stored[name])
    return found


def _verdict(row: Mapping[str, Any]) -> SafetyVerdict:
    return SafetyVerdict(
        row["message_id"], row["safe"], row["refusal"], row["prompt_harmful"], row["blocked"],
        row["withheld"],
    )  # fmt: skip


def _call(row: Mapping[str, Any]) -> Call:
    result, error = None, row["error"]
    if row["result"] is not None:
        try:
            result = _results().validate_python(row["result"])
        except ValidationError:
            error = "This result was stored in a form that this version of Candor does not read."
    return Call(row["call_id"], row["name"], row["arguments"], row["query"], result, error)


@cache
def _results() -> TypeAdapter[ToolResult]:
    return TypeAdapter(ToolResult)


_last_tick = 0


def new_id() -> str:
    """A fresh id that sorts by time: 16 hexadecimal digits of nanoseconds and 6 random ones."""
    # Some clocks tick slowly, and any can be set back; ids must still sort in the order of making.
    global _last_tick
    _last_tick = max(time.time_ns(), _last_tick + 1)
    return f"{_last_tick:016x}{secrets.token_hex(3)}"


def follow(known: str) -> None:
    """Have every id made from now on sort after this one, whatever the clock says."""
    global _last_tick
    with suppress(ValueError):  # of another form, as no version wrote it
        _last_tick = max(_last_tick, int(known[:16], 16))


def now() -> str:
    """The time in UTC, ISO form, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def title_of(question: str) -> str:
    """The first line of a question, cut at `TITLE_LENGTH` characters."""
    first = next((line.strip() for line in question.splitlines() if line.strip()), "Untitled")
    return readable(first if len(first) <= TITLE_LENGTH else first[: TITLE_LENGTH - 1] + "…")
