"""How people word things: templates of questions and replies, read from the files beside this one.

A question template mixes words with slots (`{year}`, `{girls}`, `{passage}`) and, where two
variables are compared, mentions of them (`<sex:gender>`). A digit tells apart values of one slot
(`{year1}`, `{year2}`). Each has an id made of its group and a
hash of its words, and belongs for good to one split: the same hash holds out about a fifth, so
adding or moving templates never changes the side of another. Those of a group's list `training`
came when the held-out questions were drawn already and are all on the training side.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "held_out"]
HELD_OUT_SHARE = 0.2
SALT = 180
"""Fixed for good; of those tried, the one that leaves fewest groups without held-out wordings."""
PIECE = re.compile(
    r"\{(?P<slot>[a-z_]+)(?P<which>[1-9]?)\}|<(?P<variable>[a-z]+):(?P<words>[^>]*)>"
)
SLOT_VARIABLES: Mapping[str, str] = {
    "girls": "sex", "girl": "sex", "girl_names": "sex", "girl_name": "sex", "female": "sex",
    "party": "party", "a_republican": "party", "republicans": "party", "spoken": "medium",
    "year": "year", "decade": "year", "name": "name", "author": "author",
    "land": "country", "capital": "capital", "currency": "currency", "continent": "continent",
    "passage": "text", "bare_passage": "text", "saying": "saying",
    "n": "n", "few": "n", "count": "n", "top": "top",
}  # fmt: skip


def split_of(identity: str) -> Split:
    """The side of an id, from a hash of it: the same on every machine and for ever."""
    digest = hashlib.sha256(f"{SALT}:{identity}".encode()).digest()
    return "held_out" if int.from_bytes(digest[:4]) < HELD_OUT_SHARE * 2**32 else "train"


@dataclass(frozen=True, slots=True)
class Words:
    """One wording: its text, id and split."""

    group: str
    text: str

    @property
    def id(self) -> str:
        """Group and hash of the words."""
        return f"{self.group}.{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    @property
    def split(self) -> Split:
        """The side this wording is on."""
        return split_of(self.id)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots in order of mention."""
        return tuple(m["slot"] for m in PIECE.finditer(self.text) if m["slot"])

    @property
    def mentioned(self) -> tuple[str, ...]:
        """Variables that are mentioned without a value, in order."""
        return tuple(m["variable"] for m in PIECE.finditer(self.text) if m["variable"])

    def binds(self, variable: str) -> bool:
        """Whether one of the slots gives a value of this variable."""
        return any(SLOT_VARIABLES.get(slot) == variable for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Template(Words):
    """A question that calls a tool.

    target: the variables asked about; event: the slot's variable whose value is the event;
    text: the slot that is the document (`name`, `passage`, `saying`); n: a fixed number;
    only_train: written when the held-out questions were already drawn, so on the training side.
    """

    tool: str
    corpus: str
    target: tuple[str, ...] = ()
    event: str | None = None
    document: str | None = None
    n: int | None = None
    only_train: bool = False

    @property
    def split(self) -> Split:
        """The side this wording is on."""
        return "train" if self.only_train else split_of(self.id)


@dataclass(frozen=True, slots=True)
class FollowUp(Words):
    """A question that changes the call before it. Empty fields leave things as they were.

    tools, from_target, uses: the calls it may follow (their tool, target, and a variable they
    have a value of). `target` "same" keeps the target while the tool changes.
    """

    corpus: str
    tools: tuple[str, ...]
    from_target: str | None = None
    uses: str | None = None
    tool: str | None = None
    target: str | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Talk(Words):
    """A prompt that needs no tool.

    kind: small_talk, missing, after, everyday, outside, harmful, or borderline: it only sounds so.
    """

    kind: str
    replies: tuple[str, ...]


@cache
def read(name: str) -> dict[str, Any]:
    """One data file beside this module, parsed."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def templates() -> tuple[Template, ...]:
    """All questions that call a tool."""
    return tuple(
        Template(
            group=group["name"],
            text=text,
            tool=group["tool"],
            corpus=group["corpus"],
            target=tuple(group.get("target", ())),
            event=group.get("event"),
            document=group.get("text"),
            n=group.get("n"),
            only_train=key == "training",
        )
        for file in ("names", "speeches", "places")
        for group in read(file)["group"]
        for key in ("templates", "training")
        for text in group.get(key, ())
    )


@cache
def follow_ups() -> tuple[FollowUp, ...]:
    """All questions that lean on the turn before."""
    return tuple(
        FollowUp(
            group=group["name"],
            text=text,
            corpus=group["corpus"],
            tools=tuple(group["tools"]),
            from_target=group.get("from_target"),
            uses=group.get("uses"),
            tool=group.get("tool"),
            target=group.get("target"),
            event=group.get("event"),
        )
        for group in read("follow_ups")["follow_up"]
        for text in group["templates"]
    )


@cache
def talk() -> tuple[Talk, ...]:
    """All prompts that need no tool, each with the replies that fit it."""
    general = tuple(read("talk")["outside_replies"]["general"])
    prompts = (
        Talk(group["name"], text, group["kind"], tuple(group.get("replies", general)))
        for group in read("talk")["talk"]
        for text in group["prompts"]
    )
    answered = (
        Talk(group["name"], text, group["kind"], (answer,))
        for group in read("answers")["talk"]
        for text, answer in group["answers"]
    )
    return (*prompts, *answered)
