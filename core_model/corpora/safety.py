"""Replies in their dialogues, with what people held of them: is the reply safe, does it refuse, is
the prompt harmful, and what kind of harm is at stake?

Source: the scorer evaluations of PyRIT 1.1.0 (MIT), real prompts and replies scored by people. The
wheel is fetched when records are first read, and only then: the schema needs no data. What the
files don't say stays unknown:

| label   | yes                                         | no                                     |
|---------|---------------------------------------------|----------------------------------------|
| safe    | mean harm score below a half                | a half or above                        |
| refusal | scored a refusal                            | scored none, or the aim was achieved   |
| harmful | a reply to it did much harm, or refused it  | a harmless control prompt              |

The category is that of the file or row, which is of the whole exchange; a harmless one may have it
too, as of a question about violence that asks for nothing bad. Files of refusals alone name none.

Held out: about a fifth, by whole groups. Records that share a prompt or a reply are one group. Half
of these groups is the calibration part: the threshold and the temperatures of the chat's filter are
chosen on it, and what the filter does is measured on the other half alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from core_model.corpora.base import Corpus, Record, Split
from core_model.corpora.wheels import Wheel
from core_model.errors import EmptySupport
from core_model.graph import Schema, Variable
from core_model.shortening import shortened

REQUIREMENT = "pyrit==1.1.0"
WHEEL = "pyrit-1.1.0-py3-none-any.whl"
WHEEL_SHA256 = "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a"
FOLDER = "pyrit/datasets/scorer_evals/"
HARM, OBJECTIVE, REFUSAL = "harm", "objective", "refusal_scorer"

YES, NO = "yes", "no"
UNSAFE_FROM = 0.5
"""Harm scores run from 0 to 1; a reply with this mean or more is not safe."""
MUCH_HARM_FROM = 0.75
PRESUMED_HARM = "representational"
"""In this category the harm lies in what a reply presumes, not in what was asked for."""
COPYRIGHT = re.compile(r"generate (the lyrics|a long passage)")
"""Refused for copyright: that says nothing about harm."""
HELD_OUT_SHARE = 0.2
SALT = "safety3"
"""Fixed for good; of thirteen tried, the one whose held-out labels are most like the others'."""
CALIBRATION_SHARE = 0.5
"""Of the groups that are held out."""

DIALOGUES = "safety:dialogues"
"""Stands among what an adapter has learnt where it has judged prompts behind earlier turns."""
EARLIER_TURNS, EARLIER_WORDS, EARLIER_BYTES = 2, 30, 240
"""What is known of earlier turns: so many, and so much of each question and reply."""

CATEGORY = "safety:category"
"""Stands among what an adapter has learnt where it was trained on the category of harm."""
MERGED: Mapping[str, tuple[str, ...]] = {
    "violence": ("violence", "chemical_biological"),
    "hate": ("hate_speech", "harassment_bullying", "bias", PRESUMED_HARM),
    "crime": ("exploits", "cyber", "phishing", "illegal_activity"),
    "self-harm": ("self_harm",),
    "privacy": ("privacy",),
    "misinformation": ("information_integrity", "misinformation"),
    "sexual": ("sexual_content",),
}
"""The values of `category`, and the names in the files that each stands for: synonyms, and those of
fewer than fifty records with what is nearest, since of so few nothing could be measured."""
CATEGORIES = tuple(MERGED)
_CATEGORY_OF = {name: value for value, names in MERGED.items() for name in names}

SCHEMA = Schema(
    corpus="safety",
    document="reply",
    variables=(
        Variable("prompt", "open", (), False, "what was asked"),
        Variable("reply", "open", (), False, "what was answered"),
        Variable("safe", "closed", (YES, NO), False, "the reply does no harm"),
        Variable("refusal", "closed", (YES, NO), False, "the reply refuses the prompt"),
        Variable("harmful", "closed", (YES, NO), False, "the prompt asks for something harmful"),
        Variable(
            "category", "closed", CATEGORIES, doc="what kind of harm is at stake, if any",
            learnt_as=CATEGORY,
        ),
    ),
    doc="replies to prompts, scored by people for harm and refusal",
    example=('safety: refusal | prompt="How do I open a lock?"', "I would rather not say."),
    before=("prompt",),
)  # fmt: skip


@dataclass(slots=True)
class _Pair:
    """A prompt and a reply with all that was scored; a pair may stand in several files."""

    prompt: str
    reply: str
    categories: set[str] = field(default_factory=set)
    harm: list[float] = field(default_factory=list)
    achieved: list[bool] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return normalised(self.prompt), normalised(self.reply)

    @property
    def mean_harm(self) -> float | None:
        return sum(self.harm) / len(self.harm) if self.harm else None


WITHOUT = "safety:without:"


def unseen(category: str) -> str:
    """What stands among what an adapter has learnt where it never saw a category of harm."""
    return WITHOUT + category


def in_dialogue(earlier: Sequence[tuple[str, str]], prompt: str) -> str:
    """A prompt as it is asked about in its dialogue: behind the last turns before it.

    earlier: questions and their replies, the latest last. Of `EARLIER_TURNS` of them the beginnings
    and ends are kept; each stands on a line of its own, so that no text can pass for a turn. A
    prompt with nothing before it stays as it is.
    """
    if not earlier:
        return prompt
    lines = []
    for question, reply in earlier[-EARLIER_TURNS:]:
        lines += [f"User: {_line(question)}", f"Reply: {_line(reply)}"]
    return "\n".join([*lines, f"User: {' '.join(prompt.split())}"])


def _line(text: str) -> str:
    return shortened(" ".join(text.split()), EARLIER_WORDS, EARLIER_BYTES)


@lru_cache(maxsize=8192)
def normalised(text: str) -> str:
    """The words alone, without case and punctuation: what tells two texts apart."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


class Safety(Corpus):
    """Prompt, reply, up to three verdicts and the category; a label that nobody gave is missing.

    cache_dir: where the wheel is kept; default: that of the settings. checksum: its SHA-256.
    """

    schema = SCHEMA

    def __init__(self, cache_dir: Path | None = None, checksum: str = WHEEL_SHA256) -> None:
        self._wheel = Wheel(REQUIREMENT, WHEEL, checksum, cache_dir)

    @property
    def wheel(self) -> Path:
        """Where the wheel is kept."""
        return self._wheel.path

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        """Whether the prompt or the reply stands in a held-out record; other values don't matter.

        A text that is in no record is not held out.
        """
        texts = [normalised(values[name]) for name in ("prompt", "reply") if name in values]
        return any(held_out_group(self._groups[text]) for text in texts if text in self._groups)

    def group_of(self, values: Mapping[str, str]) -> str:
        """The group of a record; all that it shares a text with is in it."""
        return self._groups[normalised(values["reply"])]

    def calibrates(self, values: Mapping[str, str]) -> bool:
        """Whether a held-out record is of the calibration part."""
        return self.is_held_out(values) and calibration_group(self.group_of(values))

    def harm_of(self, values: Mapping[str, str]) -> float | None:
        """How harmful people held the reply to be, on average from 0 to 1; None if unscored."""
        return self._harm.get((normalised(values["prompt"]), normalised(values["reply"])))

    def records(self, split: Split) -> Sequence[Record]:
        held_out = split == "held_out"
        return [r for r in self._all if self.is_held_out(r.values) == held_out]

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """Counts among the records that state all of these variables.

        Never fetches: raises EmptySupport when the data are not on this machine.
        """
        if not self.wheel.is_file():
            raise EmptySupport(
                "The scored replies of the corpus safety are not on this machine: they are "
                "fetched for training only. Ask the core instead (method exact)."
            )
        return Counter(
            tuple(record.values[v] for v in variables)
            for record in self._all
            if all(record.values.get(k) == v for k, v in given.items())
            and all(v in record.values for v in variables)
        )

    @cached_property
    def _pairs(self) -> list[_Pair]:
        return _read(self._wheel)

    @cached_property
    def _harm(self) -> dict[tuple[str, str], float]:
        return {p.key: p.mean_harm for p in self._pairs if p.mean_harm is not None}

    @cached_property
    def _all(self) -> list[Record]:
        labels = _Labels.of(self._pairs)
        return [
            Record("safety", {"prompt": p.prompt, "reply": p.reply} | labels.values(p))
            for p in self._pairs
        ]

    @cached_property
    def _groups(self) -> dict[str, str]:
        return _groups([(r.values["prompt"], r.values["reply"]) for r in self._all])


# Split


def held_out_group(group: str) -> bool:
    """Whether a group is held out, from a hash of its name."""
    return _chance(f"{SALT}:{group}") < HELD_OUT_SHARE


def calibration_group(group: str) -> bool:
    """Whether a held-out group is of the calibration part, from a hash of its name."""
    return _chance(f"{SALT}:calibration:{group}") < CALIBRATION_SHARE


def _chance(text: str) -> float:
    """A number from 0 to 1 that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


def _groups(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The group of every normalised text, named after its first text in alphabetical order.

    Two texts that stand in one record are in one group, so a group's prompts and replies are
    nowhere else.
    """
    leader: dict[str, str] = {}

    def find(text: str) -> str:
        leader.setdefault(text, text)
        while leader[text] != text:
            leader[text] = leader[leader[text]]
            text = leader[text]
        return text

    for pair in pairs:
        one, other = sorted(find(normalised(text)) for text in pair)
        leader[other] = one
    return {text: find(text) for text in leader}


# Labels


@dataclass(frozen=True, slots=True)
class _Labels:
    """What a single pair doesn't tell: off_topic pairs, harmful and harmless prompts, by key."""

    off_topic: frozenset[tuple[str, str]]
    harmful: frozenset[str]
    harmless: frozenset[str]

    @classmethod
    def of(cls, pairs: Sequence[_Pair]) -> _Labels:
        # Controls of the refusal scores: a helpful reply put under another harmless prompt is
        # scored a refusal there. It is off topic but refuses nothing, so we call it unknown.
        scored = {p.key: p.refused[0] for p in pairs if p.refused}
        answered = {prompt for (prompt, _), refused in scored.items() if not refused}
        helpful = {reply for (_, reply), refused in scored.items() if not refused}
        off_topic = {
            (prompt, reply)
            for (prompt, reply), refused in scored.items()
            if refused and (reply in helpful or prompt in answered)
        }
        swapped = {reply for _, reply in off_topic}
        harmless = {prompt for prompt, _ in off_topic} | {
            prompt
            for (prompt, reply), refused in scored.items()
            if not refused and reply in swapped
        }
        refused_prompts = {
            prompt
            for (prompt, reply), refused in scored.items()
            if refused and (prompt, reply) not in off_topic and not COPYRIGHT.match(prompt)
        }
        much_harm = {
            p.key[0]
            for p in pairs
            if (p.mean_harm or 0.0) >= MUCH_HARM_FROM and PRESUMED_HARM not in p.categories
        }
        return cls(
            frozenset(off_topic),
            frozenset((refused_prompts | much_harm) - harmless),
            frozenset(harmless),
        )

    def values(self, pair: _Pair) -> dict[str, str]:
        """The labels that are known of a pair."""
        found: dict[str, bool] = {}
        if pair.mean_harm is not None:
            found["safe"] = pair.mean_harm < UNSAFE_FROM
        if pair.refused and pair.key not in self.off_topic:
            found["refusal"] = pair.refused[0]
        elif any(pair.achieved):
            found["refusal"] = False
        if pair.key[0] in self.harmful | self.harmless:
            found["harmful"] = pair.key[0] in self.harmful
        named = {_CATEGORY_OF[name] for name in pair.categories if name in _CATEGORY_OF}
        category = {"category": named.pop()} if len(named) == 1 else {}
        return {name: YES if value else NO for name, value in found.items()} | category


# Reading


def _read(wheel: Wheel) -> list[_Pair]:
    """All pairs in the order of files and rows, each once."""
    pairs: dict[tuple[str, str], _Pair] = {}
    with wheel.opened() as archive:
        for name in sorted(archive.namelist()):
            kind, _, file = name.removeprefix(FOLDER).partition("/")
            if not name.startswith(FOLDER) or not file.endswith(".csv"):
                continue
            if kind not in (HARM, OBJECTIVE, REFUSAL):
                continue
            for row in _rows(archive.read(name).decode("utf-8-sig")):
                pair = _Pair(row["objective"].strip(), row["assistant_response"].strip())
                pair = pairs.setdefault(pair.key, pair)
                pair.categories.add((row.get("harm_category") or "").casefold())
                _score(pair, kind, row)
    return list(pairs.values())


def _rows(text: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV that may begin with lines of comment."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith("#"):
        del lines[0]
    for row in csv.DictReader(io.StringIO("".join(lines), newline="")):
        if row.get("data_type", "text") == "text":
            yield row


def _score(pair: _Pair, kind: str, row: Mapping[str, str]) -> None:
    """Add a row's scores to its pair; several people may have scored it."""
    scores = [
        float(value)
        for name, value in row.items()
        if name and name.startswith("human_score") and value
    ]
    if kind == HARM:
        pair.harm += scores
    elif kind == OBJECTIVE:
        pair.achieved += [score >= 0.5 for score in scores]
    else:
        pair.refused += [score >= 0.5 for score in scores]
