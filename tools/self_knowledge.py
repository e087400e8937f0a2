"""Self-knowledge: the core states numbers about itself, learns to, and is measured against itself.

The target is the core's own number, worked out exactly every few hundred steps (E-step) and not
trained by it; so a wrong belief that is stated as it is held counts as right. Own numbers are dear
and so are few: other rows are anchored in the data, whose numbers the core's come near to, and
which cost next to nothing. A row asks for many numbers with the same known: they cost one reading
of the prompt, and those of one variable one run over its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from core_model import corpora, stated
from core_model.core import Core, Estimate, Remembering, entropy_of
from core_model.corpora.base import Split, drawn_out
from core_model.corpora.network_plans import HELD_OUT, TRAINING
from core_model.errors import CandorError, EmptySupport
from core_model.graph import Variable
from core_model.measures.result import (
    Floats,
    Goal,
    Ints,
    MeasureRow,
    Options,
    Statistic,
    mean_of,
    measured,
)
from core_model.notation import (
    Binding,
    Correlation,
    Entropy,
    Measure,
    MutualInformation,
    Probability,
)
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, RowBuilder
from core_model.tasks.closed import ClosedAnswers
from core_model.wire import Wire
from tools import measures
from tools.joint import NoSuchMethod

ANCHORED = ("names", *TRAINING)
"""Corpora whose records have numbers to teach: all of those that training has are open to it."""
CORPORA = ("names", "speeches", "places", *TRAINING)
TAUGHT = (*CORPORA, *HELD_OUT)
"""What a core says of itself needs no probability of a network that is held out."""
POOL = 160
"""Prompts whose questions are worked out at a time."""
ASKED, VALUES = 2, 4
"""Variables of one prompt that are asked about at most, and values of each whose probability is."""
ONE_SHARE = 0.5
"""Prompts that ask about one: of names both others can be known then."""
PAIR_SHARE = 0.3
"""Prompts that are also asked for a mutual information; as many are for a correlation."""
NAMES_SHARE = 0.35
"""Prompts about names: P of them is what the core is asked most."""
ENOUGH = 100
"""Records that a number of the data is of, at least, where it is taught in place of the own."""
MOST_KNOWN = 3
FEW, MANY = 10, 300
"""Values of one variable of a pair at most, and of the other; of what an entropy is asked."""
HELD_OUT_SHARE = 0.2
ITEMS, QUICK_ITEMS = 60, 6
NAMES: Mapping[str, type[Measure]] = {
    "P": Probability, "H": Entropy, "I": MutualInformation, "corr": Correlation,
}  # fmt: skip
KINDS: tuple[type[Measure], ...] = tuple(NAMES.values())
ROUNDING = 1e-9


class Questions:
    """Random measures of the variables of corpora, about values that occur together."""

    def __init__(self, names: Sequence[str] = CORPORA, split: Split = "train") -> None:
        self._split = split
        self._draw = {name: corpora.load(name).drawer(split) for name in names}

    def draw(
        self, rng: np.random.Generator, kind: type[Measure] | None = None, name: str | None = None
    ) -> Measure:
        """A measure of a kind and a corpus, or of any; pairs and entropies keep to their split."""
        while True:
            corpus = name or str(rng.choice(list(self._draw)))
            of = kind or KINDS[int(rng.choice(len(KINDS), p=(0.5, 0.2, 0.15, 0.15)))]
            query = self._measure(corpus, of, rng)
            # In training what can't be held out is asked too; in a measure it is not.
            if query is not None and bool(held_out(query)) == (self._split == "held_out"):
                return query

    def together(self, rng: np.random.Generator) -> list[Measure]:
        """Measures of the split about one corpus with the same known, one at least.

        Of up to two variables the probabilities of some values and the entropy, now and then one
        of a pair.
        """
        while True:
            corpus = self._corpus(rng)
            values = self._draw[corpus](rng)
            short = _short(corpus, values, rng)
            asked, found = short[: 1 if rng.random() < ONE_SHARE else ASKED], list[Measure]()
            given = _given(corpus, values, short, asked, rng)
            for one in asked:
                for value in self._some(corpus, one, values[one.name], rng):
                    found.append(Probability(corpus, (Binding(one.name, value),), given))
                if _asked([one], Entropy):
                    found.append(Entropy(corpus, (one.name,), given))
            free = [v for v in short if v.name not in {binding.variable for binding in given}]
            for kind in (MutualInformation, Correlation):
                pair = _asked(free, kind) if rng.random() < PAIR_SHARE else None
                if pair is not None:
                    found.append(_of_pair(corpus, kind, pair, given))
            kept = [q for q in found if bool(held_out(q)) == (self._split == "held_out")]
            if kept:
                return kept

    def _corpus(self, rng: np.random.Generator) -> str:
        if "names" in self._draw and rng.random() < NAMES_SHARE:
            return "names"
        return str(rng.choice(list(self._draw)))

    def _some(
        self, corpus: str, variable: Variable, true: str, rng: np.random.Generator
    ) -> list[str]:
        """Values of a variable, the true one first; where they are not listed, other records'."""
        others: list[str] = [str(v) for v in rng.permutation(variable.values)]
        if variable.kind != "closed":
            drawn = [self._draw[corpus](rng) for _ in range(VALUES - 1)]
            others = [record[variable.name] for record in drawn if variable.name in record]
        return list(dict.fromkeys([true, *others]))[:VALUES]

    def _measure(self, name: str, kind: type[Measure], rng: np.random.Generator) -> Measure | None:
        values = self._draw[name](rng)
        short = _short(name, values, rng)
        asked = _asked(short, kind)
        if asked is None:
            return None
        given = _given(name, values, short, asked, rng)
        one = asked[0]
        if kind is Probability:
            value = values[one.name]
            if one.kind == "closed" and rng.random() < 0.4:
                value = str(rng.choice(one.values))
            return Probability(name, (Binding(one.name, value),), given)
        if kind is Entropy:
            return Entropy(name, (one.name,), given)
        return _of_pair(name, kind, asked, given)


def _short(corpus: str, values: Mapping[str, str], rng: np.random.Generator) -> list[Variable]:
    """A record's variables that are no free text, in random order."""
    schema = corpora.schema(corpus)
    short = [schema.variable(v) for v in values if schema.variable(v).kind != "open"]
    return [short[i] for i in rng.permutation(len(short))]


def _given(
    corpus: str, values: Mapping[str, str], short: Sequence[Variable], asked: Sequence[Variable],
    rng: np.random.Generator,
) -> tuple[Binding, ...]:  # fmt: skip
    """What is known of a record when some of it is asked: its document stands first."""
    schema = corpora.schema(corpus)
    document = schema.document if schema.document in values else ""
    others = [v.name for v in short if v not in asked]
    known = others[: int(rng.integers(MOST_KNOWN + 1))]
    is_free = document not in (*known, *(v.name for v in asked))
    if document and is_free and rng.random() < 0.4:
        known = [document, *known[:1]]
    known.sort(key=lambda variable: variable != document)
    return tuple(Binding(v, values[v]) for v in known)


def _of_pair(
    corpus: str, kind: type[Measure], pair: Sequence[Variable], given: tuple[Binding, ...]
) -> Measure:
    one, other = (variable.name for variable in pair)
    if kind is Correlation:
        return Correlation(corpus, one, other, given)
    return MutualInformation(corpus, (one,), (other,), given)


def _asked(variables: Sequence[Variable], kind: type[Measure]) -> list[Variable] | None:
    """The first variables that a measure can be worked out of; None where there are none."""
    if kind is Probability:
        return list(variables[:1])
    closed = [v for v in variables if v.kind == "closed" and 1 < len(v.values) <= MANY]
    if kind is Entropy:
        return closed[:1] or None
    if kind is Correlation:
        closed = [v for v in closed if v.is_coded]
    few = [v for v in closed if len(v.values) <= FEW]
    pairs = [[one, other] for one in few for other in closed if one is not other]
    return pairs[0] if pairs else None


def held_out(query: Measure) -> bool | None:
    """Whether a question is held out: its variables, by checksum, or of a probability its year.

    None of a probability that has no year that could be.
    """
    match query:
        case Probability(corpus=corpus, event=event, given=given):
            years = {b.variable: b.value for b in (*event, *given) if b.variable == "year"}
            return corpora.load(corpus or "").is_held_out(years) if years else None
        case Entropy(variables=names):
            asked = ["H", *names]
        case MutualInformation(left=left, right=right):
            asked = ["I", *sorted([*left, *right])]
        case Correlation(left=one, right=other):
            asked = ["corr", *sorted([one, other])]
    return drawn_out(" ".join([query.corpus or "", *asked]), HELD_OUT_SHARE)


class SelfKnowledgeTask:
    """Rows of questions about the core's own numbers, which it works out now and then.

    pool: prompts whose numbers are worked out at a time. anchored: share of rows that have the
    data's numbers in place of the own, from 0 to 1, of other prompts each time.
    """

    corpora: tuple[str, ...] = (stated.STATED,)

    def __init__(
        self, wire: Wire, names: Sequence[str] = TAUGHT, pool: int = POOL, anchored: float = 0.0
    ) -> None:
        if not 0 <= anchored <= 1:
            raise CandorError(f"Anchored is a share of rows, from 0 to 1, not {anchored}.")
        self._wire = wire
        self._pool = pool
        self._anchored = anchored
        self._questions = Questions(names)
        anchors = [name for name in names if name in ANCHORED]
        if anchored and not anchors:
            raise CandorError(f"Of {', '.join(names)} none is anchored in data.")
        self._anchors = Questions(anchors) if anchored else None
        self._closed = {kind: ClosedAnswers(wire, stated.GRIDS[kind]) for kind in KINDS}
        self._seed: int | None = None
        self.expectations: dict[str, Tensor] = {}

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        """Own numbers of a new pool: `seed` (1,) it is drawn by, `values` (n,) of its questions."""
        seed = int(rng.integers(2**31))
        values = [number for asked in self._drawn(seed) for number in numbers_of(core, asked)]
        if not np.isfinite(values).any():
            raise CandorError(
                f"Of the questions of {self._pool} prompts none has a number. Ask a larger pool."
            )
        self.expectations = {"seed": torch.tensor([seed]), "values": torch.tensor(values)}

    def _drawn(self, seed: int) -> list[list[Measure]]:
        rng = np.random.default_rng(seed)
        return [self._questions.together(rng) for _ in range(self._pool)]

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        """Each row asks all questions of one prompt that have a number."""
        if not self.expectations:
            raise CandorError("Own numbers are worked out first: call expect.")
        seed = int(self.expectations["seed"])
        if seed != self._seed:
            self._seed, self._pooled = seed, self._answered(seed)
        return [self._row(self._numbered(rng), rng) for _ in range(count)]

    def _numbered(self, rng: np.random.Generator) -> list[tuple[Measure, float]]:
        """Questions of one prompt with their numbers, the core's own or the data's."""
        if self._anchors is not None and rng.random() < self._anchored:
            while True:
                asked = self._anchors.together(rng)
                found = [(query, anchor(query)) for query in asked]
                if kept := [pair for pair in found if np.isfinite(pair[1])]:
                    return kept
        return self._pooled[int(rng.integers(len(self._pooled)))]

    def _answered(self, seed: int) -> list[list[tuple[Measure, float]]]:
        """The pool's questions with their numbers, prompt by prompt."""
        numbers = iter(self.expectations["values"].tolist())
        pool = [[(query, next(numbers)) for query in asked] for asked in self._drawn(seed)]
        finite = [[pair for pair in asked if np.isfinite(pair[1])] for asked in pool]
        return [asked for asked in finite if asked]

    def _row(self, asked: Sequence[tuple[Measure, float]], rng: np.random.Generator) -> PackedRow:
        builder = RowBuilder()
        for query, number in asked:
            conditional = Conditional(query.corpus or "", stated.question(query), query.given)
            after = builder.prompt(self._wire.prompt(conditional))
            weights = np.array(stated.around(type(query), number))
            self._closed[type(query)].ask(builder, after, weights, rng, 2)
        return builder.build()


def anchor(query: Measure) -> float:
    """The data's number of a measure, of 100 records at least; nan where there is none.

    Of names only what is asked where a year is known has one, which must be one of training: other
    counts have held-out years among theirs.
    """
    known = {binding.variable: binding.value for binding in query.given}
    corpus = corpora.load(query.corpus or "")
    if query.corpus == "names" and ("year" not in known or corpus.is_held_out(known)):
        return float("nan")
    found = _counted(query)
    return found.value if found is not None and found.n >= ENOUGH else float("nan")


def numbers_of(core: Core, asked: Sequence[Measure]) -> list[float]:
    """The core's own numbers of measures with the same corpus and known, as `measure_of` has them.

    All that is asked of one variable alone is worked out of one run over its answers.
    """
    tables: dict[str, dict[str, float]] = {}
    found = []
    for query in asked:
        match query:
            case Probability(event=(Binding(variable=name),)) | Entropy(variables=(name,)):
                if name not in tables:
                    tables[name] = _table(core, query, name, asked)
                p = tables[name]
                if isinstance(query, Probability):
                    found.append(p.get(query.event[0].value, float("nan")))
                else:
                    found.append(entropy_of(np.array(list(p.values()))) if p else float("nan"))
            case _:
                found.append(measure_of(core, query))
    return found


def _table(core: Core, query: Measure, name: str, asked: Sequence[Measure]) -> dict[str, float]:
    """p(value) of a variable: of all its values, or of those asked about; empty where none is."""
    corpus = query.corpus or ""
    values = list(corpora.schema(corpus).variable(name).values)
    if not values:
        events = [q.event[0] for q in asked if isinstance(q, Probability)]
        values = [event.value for event in events if event.variable == name]
    try:
        p = np.exp(core.log_prob_of(Conditional(corpus, name, query.given), values))
    except EmptySupport:
        return {}
    return dict(zip(values, p.tolist(), strict=True))


def measure_of(core: Core, query: Measure) -> float:
    """The core's own number, worked out exactly; nan where it has none."""
    try:
        return measures.estimates(core, query, "exact", np.random.default_rng(0))[0].value
    except EmptySupport:
        return float("nan")


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions of one kind: what is stated, with what deviation, and what is so, (n,) each.

    data: the data's own number, undefined where they have none. groups: resampled together.
    """

    stated: Floats
    deviation: Floats
    own: Floats
    data: Floats
    groups: tuple[tuple[str, ...], ...]

    @property
    def error(self) -> Floats:
        """|stated - own|."""
        return np.abs(self.stated - self.own)

    def partial(self, items: Ints | None = None) -> float:
        """Partial correlation of what is stated and what is so, given the data's number."""
        items = np.arange(len(self.own)) if items is None else items
        return partial_correlation(self.stated[items], self.own[items], self.data[items])


def self_knowledge(core: Core, options: Options) -> list[MeasureRow]:
    """What a core states of itself against what is worked out of it.

    Items: 60 questions of each kind (`--quick`: 6) that training never asked: probabilities of
    names in held-out years, entropies and pairs of held-out variables, of corpora it was trained
    on, nearly all of them the networks': of the others, places alone have a variable and a pair
    that are held out. Each is asked as one question and worked out exactly.

    - asked P: mean |asked - own|. asked H: mean |asked - own| / mean own. asked I, asked corr: mean
      |asked - own|. The guards are the correlation of asked and own, which a constant answer has
      not, and their partial correlation given the data's number, where there is one for four items
      or more: it is 0 for a core that reports the world and not itself. The baseline is one
      constant answer, the median of the own numbers.
    - asked P, partial correlation: that of P; the guard is the error.
    - asked error within 2 sd: share of all items whose |asked - own| is within two of the standard
      deviations that are stated with the number; the guards are the mean of these for each kind,
      in its own unit.

    Intervals resample years of probabilities, and else the variables that are asked.
    """
    core = Remembering(core)  # questions of a few variables come more than once
    found = {
        name: _asked_of(core, kind, options, options.rng(16 + stream))
        for stream, (name, kind) in enumerate(NAMES.items())
    }
    rows = []
    for (name, items), floor in zip(found.items(), (0.05, 0.10, 0.10, 0.10), strict=True):
        scale = items.own if name == "H" else np.ones(len(items.own))
        constant = np.abs(items.own - np.median(items.own)).mean() / scale.mean()
        guard = {
            "correlation": partial_correlation(items.stated, items.own),
            "partial correlation": items.partial(),
        }
        rows.append(
            measured(
                f"asked {name}", {"H": "relative", "I": "nats"}.get(name, ""),
                _ratio_of(items.error, scale), items.groups, options, guard,
                {"constant": float(constant)}, Goal("at most", floor),
            )
        )  # fmt: skip
        if name == "P":
            rows.append(
                measured(
                    "asked P, partial correlation", "r", items.partial, items.groups, options,
                    {"error": float(items.error.mean())}, {}, Goal("at least", 0.4),
                )
            )  # fmt: skip
    within = np.concatenate([i.error <= 2 * i.deviation + ROUNDING for i in found.values()])
    rows.append(
        measured(
            "asked error within 2 sd", "share", mean_of(within.astype(float)),
            [group for items in found.values() for group in items.groups], options,
            {f"sd of {name}": float(items.deviation.mean()) for name, items in found.items()},
        )
    )  # fmt: skip
    return rows


def _asked_of(core: Core, kind: type[Measure], options: Options, rng: np.random.Generator) -> Asked:
    """Questions of one kind that have a number, asked and worked out."""
    corpora_of = ["names"] if kind is Probability else [n for n in CORPORA if core.knows(n)]
    questions = Questions(corpora_of, "held_out")
    table, groups = [], []
    count = QUICK_ITEMS if options.quick else ITEMS
    for _ in tqdm(range(count), desc=f"self-knowledge, {kind.__name__}", disable=None):
        number = float("nan")
        while np.isnan(number):
            query = questions.draw(rng, kind)
            number = measure_of(core, query)
        answer = core.stated(query)
        data = _counted(query)
        counted = float("nan") if data is None else data.value
        table.append((answer.value, answer.stderr, number, counted))
        groups.append(_group(query))
    said, deviation, own, data = np.array(table).T
    return Asked(said, deviation, own, data, tuple(groups))


def _ratio_of(values: Floats, scale: Floats) -> Statistic:
    return lambda items: float(values[items].mean() / scale[items].mean())


def _counted(query: Measure) -> Estimate | None:
    """The data's own number; None where no record matches, or a free text is known."""
    try:
        return measures.counted(query)
    except (EmptySupport, NoSuchMethod):
        return None


def _group(query: Measure) -> tuple[str, ...]:
    """Items that are resampled together."""
    if isinstance(query, Probability):
        return tuple(b.value for b in (*query.event, *query.given) if b.variable == "year")
    return (query.corpus or "", stated.question(query))


def partial_correlation(one: Floats, other: Floats, given: Floats | None = None) -> float:
    """Pearson's r of what a straight line through `given` leaves of both, (n,) each.

    Items whose `given` is undefined are left out; undefined where fewer than four are left. With
    nothing given it is the plain correlation.
    """
    given = np.zeros(len(one)) if given is None else given
    known = np.isfinite(given)
    one, other, given = one[known], other[known], given[known]
    if len(given) < 4:
        return float("nan")
    design = np.column_stack([np.ones_like(given), given])
    x, y = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (one, other))
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")
