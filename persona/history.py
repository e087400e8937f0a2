"""Conversations on disk.

Storage: one SQLite file, written through SQLAlchemy, in which nothing is ever changed, and nothing
removed but a whole conversation that its user deletes. Only its user may read the file.
A `conversation` has a tree of `message` rows: a question (role `user`) whose parent is the reply
it follows, and the reply (`assistant`) that answers it, with the `failure` that cut it short if
any. What another agent replied beside it has the role `rival:` and that agent's name. Asking again
adds a sibling; reading takes the newest branch. What answered a reply hangs on
it: its `tool_call` rows with arguments, notation, whole result and seed, and one `verdict`. A
question row carries the goals and the seed in force, so any turn can be run again. Ids are made
here, in time order, before a row is written; so rows that the disk refuses wait in memory, in
order, and go with the next save. A message's id sorts after all that is known of its conversation,
even where the clock has been set back since. The schema's version is SQLite's `user_version`; only
a file behind `SCHEMA_VERSION` loads Alembic. A damaged file is moved aside whole, never repaired
in place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from core_model.errors import StorageError
from persona.tables import (
    RIVAL,
    Row,
    authorship,
    call_row,
    conversation,
    follow,
    message,
    message_row,
    new_id,
    now,
    title_of,
    tool_call,
    turn_of,
    verdict,
)
from persona.turn import Turn, readable

SCHEMA_VERSION = 6
BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation in the list; `created` is UTC in ISO form."""

    id: str
    title: str
    created: str


class History:
    """Conversations kept in one file; `problem` is the last save's one-line problem, if any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._engine: Engine | None = None
        self._waiting: list[Row] = []
        # Every row this session wrote or read, so that a file that breaks now costs nothing.
        self._session: dict[tuple[str, str, int], Row] = {}
        self._refused: str | None = None

    # ---- opening -------------------------------------------------------------------------

    def open(self) -> str | None:
        """Make the file ready; returns one line for the user where it was not as expected.

        Never raises for a file's sake: a damaged one is moved aside, an unusable one leaves the
        conversation in memory.
        """
        try:
            self._prepare()
        except StorageError as error:
            self._refused = self.problem = str(error)
        except (DatabaseError, OSError) as error:
            if _damaged(error):
                return self._start_afresh()
            self.problem = self._unsaved(error)
        return self.problem

    def _prepare(self) -> Engine:
        if self._refused:
            raise StorageError(self._refused)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.path.exists():
            with suppress(OSError):  # another user's, which may be read all the same
                self.path.chmod(0o600)
        else:
            self.path.touch(mode=0o600)
        engine = self._engine or self._connected()
        with engine.connect() as connection:
            version = int(connection.execute(text("PRAGMA user_version")).scalar_one())
            if connection.execute(text("PRAGMA quick_check(1)")).scalar_one() != "ok":
                raise DatabaseError("PRAGMA quick_check", None, ValueError("damaged pages"))
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{self.path.name} was written by a newer Candor, so this session is kept in "
                "memory only. Update Candor, or choose another data folder."
            )
        if version < SCHEMA_VERSION:
            if version:
                shutil.copy2(self.path, self.path.with_name(f"history.before-v{version + 1}.db"))
            self._migrate(engine)
        self._engine = engine
        return engine

    def _connected(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self.path}",
            poolclass=NullPool,
            connect_args={"timeout": BUSY_SECONDS},
            json_serializer=_json,
        )

        @event.listens_for(engine, "connect")
        def _(connection: Any, _: object) -> None:
            # SQLite's own folding knows the letters of ASCII only.
            connection.create_function("casefold", 1, str.casefold, deterministic=True)
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten

        return engine

    def _migrate(self, engine: Engine) -> None:
        """Bring the file to `SCHEMA_VERSION`; Alembic costs most of a second, so it loads here."""
        from alembic import command
        from alembic.config import Config

        config = Config()
        scripts = Path(__file__).parent / "migrations"
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        with engine.connect() as connection:
            # The driver begins no transaction for what makes tables: without one, a full disk or
            # a kill would leave some of them. A second process waits here and finds the work done.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            if connection.execute(text("PRAGMA user_version")).scalar_one() < SCHEMA_VERSION:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.execute(text(f"PRAGMA user_version = {SCHEMA_VERSION}"))
            connection.commit()

    def _start_afresh(self) -> str:
        """Move a damaged file aside, begin a new one with all that this session has said."""
        stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
        aside = self.path.with_name(f"history.corrupt-{stamp}.db")
        number = 1
        while aside.exists():
            number += 1
            aside = self.path.with_name(f"history.corrupt-{stamp}-{number}.db")
        self._engine = None
        try:
            self.path.replace(aside)
            journal = self.path.with_name(f"{self.path.name}-journal")
            if journal.exists():
                journal.replace(aside.with_name(f"{aside.name}-journal"))
            self._prepare()
        except (OSError, DatabaseError) as error:
            self.problem = self._unsaved(error)
            return self.problem
        self._waiting = list(self._session.values())
        self._flush()
        return (
            f"The conversation file was damaged. It is kept as {aside.name}, "
            "and a new one has been started."
        )

    # ---- writing -------------------------------------------------------------------------

    def start(self, question: str) -> str:
        """A new conversation titled by its first question, saved with it; returns its id."""
        row = {"id": new_id(), "title": title_of(question), "created": now()}
        self._wait([(conversation, row)])
        return str(row["id"])

    def ask(
        self,
        conversation_id: str,
        parent_id: str | None,
        question: str,
        goals: Sequence[str],
        seed: int,
    ) -> Turn:
        """Save a question before it is answered; `parent_id` is the reply it follows."""
        row = {
            **message_row(conversation_id, parent_id, "user", question),
            "goals": list(goals),
            "seed": seed,
        }
        self._save([(message, row)])
        return Turn(row["id"], row["text"], tuple(goals), seed)

    def answer(self, conversation_id: str, turn: Turn) -> str:
        """Save what answered a question, in one transaction; returns the reply's id."""
        role = f"{RIVAL}{turn.agent}" if turn.agent else "assistant"
        row = {
            **message_row(conversation_id, turn.id, role, turn.reply),
            "stopped": turn.state == "stopped",
            "stray": list(turn.stray),
            "failure": readable(turn.failure or "") if turn.state == "failed" else None,
            "authorship": authorship(turn),
        }
        rows: list[Row] = [(message, row)]
        for position, call in enumerate(turn.calls):
            rows.append((tool_call, call_row(row["id"], position, call)))
        if turn.verdict is not None:
            values = asdict(turn.verdict)
            values.pop("turn_id")
            rows.append((verdict, {"message_id": row["id"], **values}))
        self._save(rows)
        return str(row["id"])

    def delete(self, conversation_id: str) -> None:
        """Remove a conversation and all that was said in it; raises StorageError where it stays.

        Copies that were made before the file's schema changed, or of a damaged file, are left as
        they are.
        """
        mine = select(message.c.id).where(message.c.conversation_id == conversation_id)
        try:
            engine = self._engine or self._prepare()
            with engine.begin() as connection:
                said = {row.id for row in connection.execute(mine)}
                for table in (verdict, tool_call):
                    connection.execute(table.delete().where(table.c.message_id.in_(mine)))
                connection.execute(
                    message.delete().where(message.c.conversation_id == conversation_id)
                )
                connection.execute(
                    conversation.delete().where(conversation.c.id == conversation_id)
                )
        except (DatabaseError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StorageError(f"Not deleted ({reason}). Try again.") from error
        rows = [*self._waiting, *self._session.values()]
        said |= {row["id"] for _, row in rows if row.get("conversation_id") == conversation_id}
        gone = {conversation_id, *said}

        def stays(row: Row) -> bool:
            return (row[1].get("id") or row[1]["message_id"]) not in gone

        self._waiting = [row for row in self._waiting if stays(row)]
        self._session = {key: row for key, row in self._session.items() if stays(row)}

    def save_again(self) -> str | None:
        """Try what waits once more; returns the problem if there still is one."""
        self._flush()
        return self.problem

    @property
    def unsaved(self) -> int:
        """Rows that are only in memory."""
        return len(self._waiting)

    def _save(self, rows: Sequence[Row]) -> None:
        self._wait(rows)
        self._flush()

    def _wait(self, rows: Sequence[Row]) -> None:
        self._waiting.extend(rows)
        self._remember(rows)

    def _remember(self, rows: Sequence[Row]) -> None:
        for table, row in rows:
            key = (table.name, row.get("id") or row["message_id"], row.get("position", 0))
            self._session[key] = (table, row)
            if table is message:
                follow(row["id"])

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            engine = self._engine or self._prepare()
            with engine.begin() as connection:
                for table, row in self._begun() + self._waiting:
                    # A commit may have succeeded although it reported an error.
                    connection.execute(insert(table).on_conflict_do_nothing(), row)
        except StorageError as error:
            self.problem = str(error)
        except (DatabaseError, OSError) as error:
            self.problem = self._start_afresh() if _damaged(error) else self._unsaved(error)
        else:
            self._waiting.clear()
            self.problem = None

    def _begun(self) -> list[Row]:
        """The conversations that waiting messages are of: another window may have deleted them."""
        of = {row["conversation_id"] for table, row in self._waiting if table is message}
        return [self._session[key] for c in of if (key := ("conversation", c, 0)) in self._session]

    def _unsaved(self, error: Exception) -> str:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return (
            f"Not saved ({reason}): this conversation is kept in memory and saved with the next "
            f"message. Check the space and permissions of {self.path.parent}."
        )

    # ---- reading -------------------------------------------------------------------------

    def conversations(self, search: str = "", limit: int | None = None) -> list[Listed]:
        """Newest first, `limit` at most; with `search`, those that have it in title or messages."""
        search = readable(search).casefold()
        unsaved = {
            row["conversation_id"]
            for table, row in self._waiting
            if table is message and search in row["text"].casefold()
        }
        found = {
            row["id"]: Listed(row["id"], row["title"], row["created"])
            for table, row in self._waiting
            if table is conversation and (search in row["title"].casefold() or row["id"] in unsaved)
        }
        columns = select(conversation.c.id, conversation.c.title, conversation.c.created)
        if search:
            said = select(message.c.conversation_id).where(
                func.casefold(message.c.text).contains(search, autoescape=True)
            )
            columns = columns.where(
                or_(
                    func.casefold(conversation.c.title).contains(search, autoescape=True),
                    conversation.c.id.in_(said),
                    conversation.c.id.in_(unsaved),
                )
            )
        for row in self._read(columns.order_by(conversation.c.id.desc()).limit(limit)):
            found[row["id"]] = Listed(row["id"], row["title"], row["created"])
        return sorted(found.values(), key=lambda listed: listed.id, reverse=True)[:limit]

    def turns(self, conversation_id: str) -> tuple[Turn, ...]:
        """The newest branch of a conversation, oldest turn first."""
        if not self._waiting:
            self.problem = self._refused  # what an earlier reading met is not about this one
        self._rows(conversation, conversation.c.id == conversation_id)
        messages = {
            row["id"]: row
            for row in self._rows(message, message.c.conversation_id == conversation_id)
            if row["conversation_id"] == conversation_id
        }
        mine = select(message.c.id).where(message.c.conversation_id == conversation_id)
        calls: dict[str, list[dict[str, Any]]] = {}
        for row in self._rows(tool_call, tool_call.c.message_id.in_(mine)):
            calls.setdefault(row["message_id"], []).append(row)
        verdicts = {
            row["message_id"]: row for row in self._rows(verdict, verdict.c.message_id.in_(mine))
        }
        written = [row for _, row in sorted(messages.items()) if row["role"] != "user"]
        rivals = {row["parent_id"]: row for row in written if row["role"].startswith(RIVAL)}
        answers = {r["parent_id"]: r for r in written if not r["role"].startswith(RIVAL)}

        def told(question: dict[str, Any], answer: dict[str, Any] | None) -> Turn:
            key = answer["id"] if answer else ""
            return turn_of(question, answer, calls.get(key, []), verdicts.get(key))

        turns: list[Turn] = []
        at: str | None = max(messages, default=None)
        while at is not None and at in messages:
            row = messages[at]
            if row["role"] == "user":
                turn = told(row, answers.get(at))
                rival = told(row, rivals[at]) if at in rivals else None
                turns.append(replace(turn, rival=rival))
            at = row["parent_id"]
        return tuple(reversed(turns))

    def _rows(self, table: Table, condition: ColumnElement[bool]) -> list[dict[str, Any]]:
        """Stored rows under a condition, then the table's rows that wait to be stored."""
        stored = self._read(select(table).where(condition))
        self._remember([(table, row) for row in stored])
        return [*stored, *(row for waits, row in self._waiting if waits is table)]

    def _read(self, statement: Select[Any]) -> list[dict[str, Any]]:
        try:
            engine = self._engine or self._prepare()
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(statement).mappings()]
        except StorageError as error:
            self.problem = str(error)
        except (DatabaseError, OSError) as error:
            self.problem = self._start_afresh() if _damaged(error) else self._unsaved(error)
        except ValueError as error:
            self.problem = f"A part of this conversation is damaged and is not shown ({error})."
        return []


def _damaged(error: Exception) -> bool:
    """Whether the file itself is bad; SQLite's full, locked and read-only are subclasses."""
    return type(error) is DatabaseError


def _json(value: object) -> str:
    return readable(json.dumps(value, ensure_ascii=False))
