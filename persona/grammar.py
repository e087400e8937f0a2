"""The grammar of a call: which piece may follow which, so a malformed call can't be decoded.

A call is an answer made of pieces: the tool, then what the tool needs, then what is given.

    probability | names | name | Jennifer | year | 1972 | sex | female |
    infer | speeches | author | Four score and |
    reply |

Closed variables offer their values; names, numbers and passages offer what the dialogue holds. A
passage is pointed at by its first words: they tell the dialogue's passages apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core_model.core import Core
from core_model.corpora import schema
from core_model.errors import UnknownName
from core_model.graph import Schema, Variable
from core_model.notation import Binding
from core_model.stopping import go_on
from persona import script
from persona.phrasings.calls import Call
from persona.phrasings.replies import ERROR
from persona.phrasings.surfaces import DECADE_WORDS

REPLY = "reply"
CORPORA = ("names", "speeches", "places")
FIRST_CORPORA = ("names", "speeches")
"""Those that every persona has learnt to ask; the others stand in an adapter's file."""
PLANS, UNLISTED, YEARS, SURE = "plans", "unlisted", "years", "confidence"
"""Stand in an adapter's file where its persona has learnt to make several calls in one turn, to ask
about a country that there is none of, about a year that a corpus does not have, and how sure an
answer is."""
SHORTEST_UNLISTED = 3
"""Letters of what is taken for the name of a country that there is none of."""
WITHOUT_WORDINGS = {("speeches", "topic"), ("speeches", "summary")}
FORMS: dict[str, tuple[str, ...]] = {
    REPLY: (),
    "sample": ("corpus", "variable", "count"),
    "distribution": ("corpus", "variable", "count"),
    "infer": ("corpus", "variable", "document"),
    SURE: ("corpus", "variable", "document"),
    "probability": ("corpus", "variable", "value"),
    "entropy": ("corpus", "variable"),
    "mutual_information": ("corpus", "variable", "other"),
    "correlation": ("corpus", "variable", "other"),
    "safety": ("document",),
}
MOST = {"sample": 400, "distribution": 20}
HEAD_WORDS, HEAD_CHARACTERS = 3, 60
"""What points at a passage: so many words, and less where there are no blanks between them."""
MORE_WORDS = 6
"""How many more may point at a quotation that begins as another does."""
LONG_MESSAGE = 30
FEW = 3
ANY_YEAR = range(1400, 2200)
"""Numbers of four digits that are read as years where no corpus has them."""
COUNTS = tuple(str(n) for n in (*range(1, 21), 25, 30, 40, 50, 100))
_WORD = re.compile(r"[^\W\d_][^\W\d_'’-]*(?:[-'’][^\W\d_]+)*")
_CAPITALISED = re.compile(r"\b[^\W\d_a-z]\w+(?: [^\W\d_a-z]\w+)*")
_YEAR = re.compile(r"(?<!\d)(?:(\d{3})0s|(\d{4})|['’]?(\d)0s|['’](\d\d))(?!\w)")
_QUOTED = re.compile(
    r"“([^“”]{2,})”|«([^«»]{2,})»|\"([^\"]{2,})\"|(?<!\w)['‘](.{2,2000}?)['’](?!\w)", re.S
)


def chat_corpora(core: Core) -> tuple[str, ...]:
    """The corpora that a core's persona has learnt to ask."""
    return (
        *FIRST_CORPORA,
        *(c for c in CORPORA if c not in FIRST_CORPORA and core.has_learnt(marker(c))),
    )


def marker(corpus: str) -> str:
    """What stands among what an adapter has learnt where its persona asks a corpus."""
    return f"chat:{corpus}"


def _in_chat(corpus: Schema) -> list[Variable]:
    """The variables of a corpus that questions have wordings for."""
    return [v for v in corpus.variables if (corpus.corpus, v.name) not in WITHOUT_WORDINGS]


def _is_listed(corpus: Schema, binding: Binding) -> bool:
    """Whether a corpus has such a value of a closed variable, in some spelling."""
    try:
        corpus.spelled(binding)
    except UnknownName:
        return False
    return True


def head(span: str, words: int = HEAD_WORDS) -> str:
    """The first words of a passage, by which a call points at it."""
    shown = " ".join(span.split()[:words])
    return shown[:HEAD_CHARACTERS] if words == HEAD_WORDS else shown


def _is_same(one: str, other: str) -> bool:
    """Whether a passage is another, or its beginning, blanks aside."""
    words = sorted((one.split(), other.split()), key=len)
    return words[1][: len(words[0])] == words[0]


def _bare(span: str) -> str:
    """A span without blanks and quotation marks about it."""
    return span.strip().strip("\"“”'‘’").strip()


def pieces_of(call: Call | None) -> list[str]:
    """A call as its pieces; None is a reply without a tool."""
    if call is None:
        return [REPLY]
    pieces = [call.tool]
    for place in FORMS[call.tool]:
        match place:
            case "corpus":
                pieces.append(call.corpus)
            case "variable":
                pieces.append(call.target[0])
            case "other":
                pieces.append(call.target[1])
            case "count":
                arguments = call.arguments()
                pieces.append(str(arguments.get("n") or arguments.get("top")))
            case "value":
                pieces.append(call.event_value or "")
            case "document":
                text = call.text or ""
                pieces.append(text if call.corpus == "places" else head(text))
    for binding in call.given:
        pieces += [binding.variable, binding.value]
    return pieces


def years_in(text: str) -> list[str]:
    """The years a text spells: 1985, '85, the middle of the 1950s, of the 50s or the fifties."""
    found: list[tuple[int, str]] = []
    for match in _YEAR.finditer(text):
        decade, year, short_decade, short = match.groups()
        if decade:
            spelled = f"{decade}5"
        elif short_decade:
            spelled = f"19{short_decade}5"
        else:
            spelled = year or f"19{short}"
        found.append((match.start(), spelled))
    for start, word in DECADE_WORDS.items():
        found += [(m.start(), str(start + 5)) for m in re.finditer(word, text.lower())]
    return [year for _, year in sorted(found)]


def decode_call(
    core: Core, known: tuple[Binding, ...], grammar: CallGrammar
) -> tuple[list[str], dict[str, float]]:
    """The most probable call, piece by piece, and the distribution over its first piece."""
    conditional = script.asked("call", known)
    pieces: list[str] = []
    probabilities: dict[str, float] = {}
    while True:
        go_on()
        options = grammar.options(pieces)
        scores = core.choose(conditional, pieces, options)
        if not pieces:
            p = np.exp(scores - scores.max())
            probabilities = {str(o): float(q) for o, q in zip(options, p / p.sum(), strict=True)}
        best = options[int(scores.argmax())]
        if best is None:
            return pieces, probabilities
        pieces.append(best)
        if pieces == [REPLY]:
            return pieces, probabilities


@dataclass(frozen=True, slots=True)
class CallGrammar:
    """The grammar over one dialogue: `texts` are the user's messages, the last one last.

    corpora: those that may be asked. results: what earlier calls of the turn have found. unlisted,
    years: whether a country may be asked about that there is none of, and a year that a corpus does
    not have, to be told so. sure: whether it may be asked how sure an answer is.
    """

    texts: tuple[str, ...]
    corpora: tuple[str, ...] = CORPORA
    results: tuple[str, ...] = ()
    unlisted: bool = True
    years: bool = True
    sure: bool = True

    @classmethod
    def of(cls, core: Core, texts: tuple[str, ...], results: tuple[str, ...] = ()) -> CallGrammar:
        """The grammar of what a core has learnt to ask."""
        return cls(
            texts, chat_corpora(core), results, unlisted=core.has_learnt(marker(UNLISTED)),
            years=core.has_learnt(marker(YEARS)), sure=core.has_learnt(marker(SURE)),
        )  # fmt: skip

    def options(self, pieces: Sequence[str]) -> list[str | None]:
        """The pieces that may follow; None is the end of the call. Never empty."""
        if not pieces:
            return [tool for tool in FORMS if tool != SURE or self.sure]
        form = FORMS[pieces[0]]
        place = len(pieces) - 1
        if place < len(form):
            found = self._required(form[place], pieces)
            # Where the dialogue offers nothing, the whole last message is what is meant.
            return list(found) or [head(self.texts[-1])]
        if "corpus" not in form:
            return [None]
        corpus = schema(pieces[1])
        given = pieces[1 + len(form) :]
        if len(given) % 2:
            return list(self._values(corpus, given[-1]))
        free = [name for name in self._conditions(corpus, pieces, form) if name not in given[::2]]
        # What was said as a number must be used before the call may end.
        due = [n for n in free if corpus.variable(n).numeric and self._numbers_due(corpus, n)]
        if due:
            return list(free)
        return [None, *free]

    def call(self, pieces: Sequence[str]) -> Call | None:
        """The call behind whole pieces, passages in full; None for a reply."""
        tool, *rest = pieces
        if tool == REPLY:
            return None
        form = FORMS[tool]
        by_place = dict(zip(form, rest, strict=False))
        given = rest[len(form) :]
        target = tuple(by_place[p] for p in ("variable", "other") if p in by_place)
        return Call(
            tool=tool,
            corpus=by_place.get("corpus", "safety"),
            target=target,
            event_value=by_place.get("value"),
            given=tuple(Binding(*pair) for pair in zip(given[::2], given[1::2], strict=True)),
            text=self._document(pieces) if "document" in by_place else None,
            n=int(by_place["count"]) if "count" in by_place else None,
        )

    def _required(self, place: str, pieces: Sequence[str]) -> Sequence[str]:
        if place == "corpus":
            needed = sum(part in FORMS[pieces[0]] for part in ("variable", "other"))
            return [c for c in self.corpora if len(self._targets(schema(c), pieces[0])) >= needed]
        if place == "count":
            return self._counts(MOST[pieces[0]])
        corpus = schema(pieces[1]) if len(pieces) > 1 and "corpus" in FORMS[pieces[0]] else None
        if place == "document":
            document = corpus.variable(corpus.document) if corpus is not None else None
            if document is not None and document.kind == "closed":
                assert corpus is not None
                return self._documents(corpus, document)
            if document is not None and document.kind == "enumerable":
                return self._names()
            return list(self._passages())
        assert corpus is not None
        if place == "value":
            return self._values(corpus, pieces[2])
        known = pieces[2:] if place == "other" else ()
        return [v for v in self._targets(corpus, pieces[0]) if v not in known]

    def _targets(self, corpus: Schema, tool: str) -> list[str]:
        """The variables a tool may ask about."""
        return [
            v.name
            for v in _in_chat(corpus)
            if {
                "infer": v.kind == "closed" and v.name != corpus.document,
                SURE: v.kind == "closed" and v.name != corpus.document,
                "probability": v.kind != "open",
                "distribution": v.kind != "open",
                "entropy": v.kind != "open",
                "mutual_information": v.kind != "open",
                "correlation": v.is_coded,
            }.get(tool, True)
        ]

    def _conditions(
        self, corpus: Schema, pieces: Sequence[str], form: tuple[str, ...]
    ) -> list[str]:
        """The variables that may be given: short ones that are not asked about."""
        asked = {pieces[1 + i] for i, place in enumerate(form) if place in ("variable", "other")}
        if "document" in form:
            asked.add(corpus.document)
        offered = [v for v in _in_chat(corpus) if v.kind != "open" and v.name not in asked]
        return [
            v.name
            for v in offered
            if (self._said(corpus, v.name) if v.numeric else self._values(corpus, v.name))
        ]

    def _values(self, corpus: Schema, name: str) -> Sequence[str]:
        variable = corpus.variable(name)
        if variable.numeric:
            return self._said(corpus, name) or variable.values
        if variable.kind != "closed":
            return self._names()
        if variable.mentioned is not None:
            return self._documents(corpus, variable)
        # What holds of countries has too many names for a word to tell them by.
        if corpus.variable(corpus.document).kind == "closed":
            return variable.values
        return self._spelled(variable.values) or variable.values

    def _spelled(self, values: Sequence[str]) -> list[str]:
        """Values whose last word the last message has, or a word that begins like it."""
        said = " ".join((self.texts[-1], *self.results))
        words = re.findall(r"[^\W\d_]+", said.casefold())
        found = []
        for value in values:
            long = re.findall(r"[^\W\d_]{3,}", value.casefold()) or [value.casefold()]
            if len(values) > FEW and any(word.startswith(long[-1][:6]) for word in words):
                found.append(value)
        return found

    def _said(self, corpus: Schema, name: str) -> list[str]:
        """Years that the dialogue spells, the last message's first, as far as they may be asked."""
        said = [year for text in self._latest() for year in years_in(text)]
        return [year for year in dict.fromkeys(said) if self._may_ask(corpus, name, year)]

    def _may_ask(self, corpus: Schema, name: str, year: str) -> bool:
        """Whether a corpus has a year, or may be asked about it to say that it has not."""
        return year in corpus.variable(name).values or (self.years and int(year) in ANY_YEAR)

    def _latest(self) -> list[str]:
        """What was said and found, the last message first and then what its calls have found."""
        return [self.texts[-1], *self.results, *reversed(self.texts[:-1])]

    def _numbers_due(self, corpus: Schema, name: str) -> bool:
        """Whether the last message, outside what it quotes, spells a year that may be asked."""
        if any(found.startswith(ERROR) for found in self.results):
            return False  # what met an error may be asked again with less
        text = _QUOTED.sub(" ", self.texts[-1])
        if len(text.split()) > LONG_MESSAGE:
            return False  # a pasted passage may hold any year
        return any(self._may_ask(corpus, name, year) for year in years_in(text))

    def _names(self) -> list[str]:
        """Words of the dialogue as names are written, the last message's first."""
        words = [w for text in self._latest() for w in _WORD.findall(text)]
        spelled = [w[0].upper() + (w[1:].lower() if w.isupper() else w[1:]) for w in words]
        possessive = [s.removesuffix("'s").removesuffix("’s") for s in spelled]
        plural = [s[:-1] for s in possessive if s.endswith("s") and len(s) > 3]
        return list(dict.fromkeys([*possessive, *plural]))

    def _documents(self, corpus: Schema, document: Variable) -> list[str]:
        """The listed documents that may be meant, and what is none.

        Where the dialogue may mean none that is listed, what it says is asked about all the same:
        the tool answers that there is no such document, and no other is told of in its place.
        """
        meant = self._meant(document)
        if meant and not self.unlisted:
            return meant
        return [*meant, *self._unlisted(corpus, document)] or list(document.values)

    def _meant(self, variable: Variable) -> list[str]:
        """The values of a closed variable that the dialogue may mean, the last message's first."""
        if variable.mentioned is None:
            return list(variable.values)
        said = [text for text in self._latest() if not text.startswith(ERROR)]
        return list(dict.fromkeys(value for text in said for value in variable.mentioned(text)))

    def _unlisted(self, corpus: Schema, document: Variable) -> list[str]:
        """What the last message may mean for a document, and is none there is.

        Words written as names are, side by side one name; any word where none is.
        """
        last = self.texts[-1]
        runs = [] if last.isupper() else [found[0] for found in _CAPITALISED.finditer(last)]
        if len(runs) > 1 and last.startswith(runs[0]):
            del runs[0]  # how every sentence begins
        parts = {word for value in document.values for word in value.casefold().split()}
        return [
            name
            for name in runs or replace(self, texts=self.texts[-1:], results=())._names()
            if len(name) >= SHORTEST_UNLISTED
            and all(word.isalpha() and word.casefold() not in parts for word in name.split())
            and not _is_listed(corpus, Binding(document.name, name))
        ]

    def _counts(self, most: int) -> list[str]:
        said = [n for text in self.texts for n in re.findall(r"(?<!\d)[0-9]{1,3}(?!\d)", text)]
        counts = [*COUNTS, *(str(int(n)) for n in said)]
        return [n for n in dict.fromkeys(counts) if 1 <= int(n) <= most]

    def _passages(self) -> dict[str, str]:
        """Passages of the dialogue by their first words, quoted ones before looser readings.

        A quotation that begins as one before it does is pointed at by more words.
        """
        found: dict[str, str] = {}
        for text in reversed(self.texts):
            quoted = [_bare("".join(groups)) for groups in _QUOTED.findall(text)]
            loose = [text.split(mark, 1)[1] for mark in (":", "\n") if mark in text]
            lines = [line for line in text.splitlines() if len(line.split()) > HEAD_WORDS]
            before = [text.rsplit(mark, 1)[0] for mark in (" - ", " – ", "\n") if mark in text]
            for clean in filter(None, quoted):
                heads = [head(clean, HEAD_WORDS + more) for more in range(MORE_WORDS + 1)]
                free = [key for key in heads if key not in found]
                if free and not any(_is_same(clean, found[key]) for key in heads if key in found):
                    found[free[0]] = clean
            for span in (*loose, *(lines if len(lines) > 1 else ()), *before, text):
                if clean := _bare(span):
                    found.setdefault(head(clean), clean)
        return found

    def _document(self, pieces: Sequence[str]) -> str:
        form = FORMS[pieces[0]]
        piece = pieces[1 + form.index("document")]
        if "corpus" in form:
            corpus = schema(pieces[1])
            if corpus.variable(corpus.document).kind != "open":
                return piece
        return self._passages().get(piece, piece)
