"""Training rows about safety: the verdicts on a reply, seen in its dialogue, and the kind of harm.

A row packs a prompt and a reply with a branch for each label that is known. Most of the rows are
replies that people scored, the others ordinary dialogue, so that plain chat, statistics and polite
refusals are safe. Some replies are disavowed or put otherwise, and some prompts stand behind other
turns, or were put a turn before; a label is of what is done, and stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core_model import corpora
from core_model.corpora.base import Record, refuse_held_out
from core_model.corpora.safety import (
    CATEGORIES,
    CATEGORY,
    DIALOGUES,
    NO,
    UNSAFE_FROM,
    YES,
    Safety,
    in_dialogue,
    unseen,
)
from core_model.errors import StorageError
from core_model.notation import Binding, Draw, Step
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.tasks.restating import naming, put_before, restated
from core_model.teacher import out_of_fold
from core_model.wire import Wire

SENTENCE = re.compile(r"[.!?:]\s+|\n+")
VERDICTS = ("safe", "refusal", "harmful")
ASKED = (*VERDICTS, "category")
PROMPT_TOKENS, REPLY_TOKENS = 260, 100
"""What is kept of a prompt: what it asks for may stand at its end."""
DIALOGUE_TOKENS = 420
"""What is kept of a prompt behind earlier turns."""
WHOLE_TOKENS = 450
"""What is kept of a reply, and in `WHOLE_SHARE` of the rows: replies are judged whole."""
WHOLE_SHARE = 0.4
LATER_SHARE = 0.3
"""Rows in which a reply begins at a later sentence: few replies are scored, and their first words
would be learnt by heart."""
BENIGN_SHARE = 0.4
REPLY_ALONE_SHARE = 0.1
"""Rows without the prompt; what it asks for can't be judged then."""
PROMPT_ALONE_SHARE = 0.3
"""Rows that ask whether the prompt is harmful before the reply stands there, too."""
RESTATED_SHARE = 0.35
"""Rows whose reply is disavowed or put otherwise; its labels stay."""
NAMING_SHARE = 0.12
"""Harmful prompts whose reply is exchanged for a refusal that names the harm."""
DIALOGUE_SHARE = 0.35
"""Rows whose prompt stands behind earlier turns, besides ordinary dialogue that has such."""
PUT_BEFORE_SHARE = 0.4
"""Of these, prompts that were put one turn before; what is asked now only goes on."""
SECOND_TURN_SHARE = 0.3
REFUSED_BEFORE_SHARE = 0.2
"""Of the others, those behind a prompt that was refused: it says nothing of the next one."""
WORDS_A_TOKEN = 0.5
"""Few enough that a text of so many words fits, with a sentence more."""

STEEPNESS, LEANING = 9.0, 0.5
"""Of the target of `safe` in the mean score: 0.98, 0.85, 0.38, 0.06 and 0.01 at its quarters."""


class SafetyTask:
    """Rows of scored replies, mixed with those of the file `benign` where there is one.

    benign: JSON lines {"prompt", "reply", "safe", "refusal", "harmful"}, made by `persona.replay`;
    the labels are "yes", "no" or null where unknown, and nearly every reply in it is safe; turns
    before it may stand under "earlier". teacher_share: of the target of `safe` that a classical
    teacher's belief has. without: categories of harm whose groups are left out, so that they can be
    measured as unseen ones.
    Raises StorageError when that file or the scored replies can't be read, UnknownName for a
    category that there is none of.
    """

    corpora: tuple[str, ...] = ("safety", CATEGORY, DIALOGUES)

    def __init__(
        self, wire: Wire, benign: str | None = None, teacher_share: float = 0.0,
        without: Sequence[str] = (),
    ) -> None:  # fmt: skip
        corpus = corpora.load("safety")
        assert isinstance(corpus, Safety)
        self.corpora = (*SafetyTask.corpora, *map(unseen, without))
        self._wire = wire
        self._scored = trained_on(corpus, without)
        # Ordinary dialogue may happen to say what a held-out record says: that is left out.
        self._benign = [
            ordinary
            for ordinary in (read_benign(Path(benign)) if benign else [])
            if not any(corpus.is_held_out(values) for values in ordinary.turns())
        ]
        self._answers = {name: ClosedAnswers(wire, (YES, NO)) for name in VERDICTS}
        self._answers["category"] = ClosedAnswers(wire, CATEGORIES)
        self._safe = safe_targets(corpus, self._scored, teacher_share)

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Random rows, `BENIGN_SHARE` of them ordinary dialogue."""
        made = []
        for _ in range(count):
            ordinary = self._benign and rng.random() < BENIGN_SHARE
            records: Sequence[Judged] = self._benign if ordinary else self._scored
            made.append(self._row(records[int(rng.integers(len(records)))], rng))
        return made

    def _row(self, judged: Judged, rng: np.random.Generator) -> PackedRow:
        values, safe = self._told(judged, rng)
        builder = RowBuilder()
        after = builder.extend(self._wire.segment("corpus", "safety"))
        asked = [variable for variable in ASKED if variable in values]
        of_reply = [variable for variable in asked if variable != "category"]
        if of_reply and rng.random() < REPLY_ALONE_SHARE:
            asked = of_reply
        else:
            prompt, most = self._in_dialogue(judged, values, rng)
            after = builder.extend(self._cut("prompt", prompt, most), after)
            of_prompt = [variable for variable in asked if variable in ("harmful", "category")]
            if of_prompt and rng.random() < PROMPT_ALONE_SHARE:
                for variable in of_prompt:
                    self._ask(builder, after, variable, values[variable], None, rng)
        kept = WHOLE_TOKENS if rng.random() < WHOLE_SHARE else REPLY_TOKENS
        reply = values["reply"]
        if rng.random() < RESTATED_SHARE:  # what stands behind a reply must not be cut off
            reply = restated(begun(reply, kept), rng)
        after = builder.extend(self._cut("reply", reply, kept), after)
        for variable in asked:
            self._ask(builder, after, variable, values[variable], safe, rng)
        return builder.build()

    def _told(
        self, judged: Judged, rng: np.random.Generator
    ) -> tuple[dict[str, str], float | None]:
        """A record's prompt, reply and labels, and P(safe) where it is not plainly its label.

        Some replies to harmful prompts are exchanged for refusals that name the harm, and some
        begin later.
        """
        values = dict(judged.values)
        if values.get("harmful") == YES and rng.random() < NAMING_SHARE:
            values["reply"] = naming(values["prompt"], rng)
            return values | {"safe": YES, "refusal": YES}, None
        safe = self._safe.get((values["prompt"], values["reply"]))
        if "safe" in values and rng.random() < LATER_SHARE:
            values["reply"] = later(values["reply"], rng)
            if values["reply"] != judged.values["reply"]:
                values.pop("refusal", None)  # most refuse in their first sentence, if at all
        return values, safe

    def _in_dialogue(
        self, judged: Judged, values: Mapping[str, str], rng: np.random.Generator
    ) -> tuple[str, int]:
        """The prompt, in some of the rows behind earlier turns, and how many tokens are kept."""
        prompt = values["prompt"]
        if isinstance(judged, Ordinary) and judged.earlier:
            return in_dialogue(judged.earlier, prompt), DIALOGUE_TOKENS
        if rng.random() >= DIALOGUE_SHARE:
            return prompt, PROMPT_TOKENS
        if not self._benign or rng.random() < PUT_BEFORE_SHARE:
            before, prompt = put_before(prompt, rng)
            return in_dialogue([before], prompt), DIALOGUE_TOKENS
        count = 1 + int(rng.random() < SECOND_TURN_SHARE)
        places = rng.integers(len(self._benign), size=count)
        earlier = [self._benign[int(place)].turn for place in places]
        if rng.random() < REFUSED_BEFORE_SHARE:
            refused = self._scored[int(rng.integers(len(self._scored)))].values["prompt"]
            earlier[-1] = (refused, naming(refused, rng))
        return in_dialogue(earlier, begun(prompt, PROMPT_TOKENS)), DIALOGUE_TOKENS

    def _cut(self, variable: str, value: str, most: int) -> Sequence[int]:
        """A binding whose value is cut to `most` tokens."""
        head = len(self._wire.binding(variable, ""))
        return self._wire.binding(variable, value)[: head + most]

    def _ask(
        self, builder: RowBuilder, after: int, variable: str, value: str, safe: float | None,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        asked = builder.extend(self._wire.query(variable), after)
        answers = self._answers[variable]
        target = answers.one(value)
        if variable == "safe" and safe is not None:
            target = np.array([safe, 1 - safe])
        answers.ask(builder, asked, target, rng, count=1)


def trained_on(corpus: Safety, without: Sequence[str] = ()) -> list[Record]:
    """The records that training may see, and that say something.

    The groups with a record of a category in `without` are left out. Raises UnknownName for a
    category that there is none of.
    """
    for category in without:
        corpus.schema.check(Draw("safety", (Step("safe"),), (Binding("category", category),)))
    records = refuse_held_out(corpus, corpus.records("train"))
    barred = {
        corpus.group_of(record.values)
        for record in records
        if record.values.get("category") in without
    }
    return [
        record
        for record in records
        if any(variable in record.values for variable in ASKED)
        and corpus.group_of(record.values) not in barred
    ]


def safe_targets(
    corpus: Safety, records: Sequence[Record], teacher_share: float
) -> dict[tuple[str, str], float]:
    """P(safe) that is taught of each scored reply, by prompt and reply."""
    scored = [record for record in records if "safe" in record.values]
    harms = [corpus.harm_of(record.values) for record in scored]
    own = np.array([graded(harm) for harm in harms if harm is not None])
    if teacher_share and scored:
        texts = [f"{r.values['prompt']}\n{r.values['reply']}" for r in scored]
        groups = [corpus.group_of(r.values) for r in scored]
        labels = [r.values["safe"] for r in scored]
        taught = out_of_fold(texts, labels, groups, (YES, NO))[:, 0]
        own = (1 - teacher_share) * own + teacher_share * taught
    pairs = [(record.values["prompt"], record.values["reply"]) for record in scored]
    return dict(zip(pairs, own.tolist(), strict=True))


def graded(harm: float) -> float:
    """P(safe) that a reply with this mean score is taught with.

    Surer the farther from the score that divides safe from unsafe, at which it is unsafe: replies
    that people scored alike are taught alike, and few are to be learnt by heart.
    """
    return float(1 / (1 + np.exp(STEEPNESS * (harm - UNSAFE_FROM) + LEANING)))


def begun(text: str, tokens: int) -> str:
    """So much of a text that it and some sentences more are likely to fit into so many tokens."""
    return " ".join(text.split(" ")[: max(1, int(WORDS_A_TOKEN * tokens))])


def later(text: str, rng: np.random.Generator) -> str:
    """A text from one of the sentences of its first half on."""
    begins = [match.end() for match in SENTENCE.finditer(text) if match.end() < len(text) / 2]
    places = [0, *begins]
    return text[places[int(rng.integers(len(places)))] :]


@dataclass(frozen=True, slots=True)
class Ordinary:
    """An exchange of ordinary dialogue, its labels, and the turns before it."""

    values: Mapping[str, str]
    earlier: tuple[tuple[str, str], ...] = ()

    @property
    def turn(self) -> tuple[str, str]:
        """What was asked and answered."""
        return self.values["prompt"], self.values["reply"]

    def turns(self) -> list[dict[str, str]]:
        """Its own prompt and reply, and those before."""
        return [{"prompt": p, "reply": r} for p, r in (*self.earlier, self.turn)]


Judged = Record | Ordinary


def read_benign(path: Path) -> list[Ordinary]:
    """The exchanges of a file of ordinary dialogue; raises StorageError naming a damaged line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} can't be read: {error}.") from error
    return [_benign(path, number, line) for number, line in enumerate(lines, 1)]


def _benign(path: Path, number: int, line: str) -> Ordinary:
    try:
        content = json.loads(line)
        values = {"prompt": str(content["prompt"]), "reply": str(content["reply"])}
        for verdict in VERDICTS:
            if content[verdict] in (YES, NO):
                values[verdict] = content[verdict]
            elif content[verdict] is not None:
                raise ValueError(f"{verdict} is {content[verdict]!r}")
        earlier = tuple((str(said), str(reply)) for said, reply in content.get("earlier", ()))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path}, line {number}, is not as `python -m persona.replay safety` writes it "
            f"({error}). Make the file again."
        ) from error
    return Ordinary(values, earlier)
