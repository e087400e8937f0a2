"""The measure `paraphrase`: one question in other words, and other questions in the same words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from core_model import corpora, wordings
from core_model.core import Core
from core_model.corpora import kin, stories
from core_model.corpora.names import Names
from core_model.measures.result import (
    Floats,
    Goal,
    Ints,
    MeasureRow,
    Options,
    jsd_bits,
    mean_of,
    measured,
)
from core_model.notation import Binding
from core_model.planning import Conditional

ITEMS, QUICK_ITEMS = 12, 3
STORIES, QUICK_STORIES = 40, 5
TELLINGS = 4
LONGEST = 2000
"""Characters of a text that is known; longer ones may be too long to be read."""
CORPORA = (*wordings.FIRST_CORPORA, "stories", "chance", "safety")
Given = tuple[Binding, ...]


def paraphrase(core: Core, options: Options) -> list[MeasureRow]:
    """A question in eight wordings that training never saw.

    Items: of each relation with a closed list of answers in `names`, `speeches`, `places`, `kin`,
    `stories`, `chance` and `safety` 12 documents (`--quick`: 3), held out where the corpus has
    held-out ones; corpora that the core has not learnt to be asked about in words are left out.
    Each is asked in the relation's eight held-out wordings and under its own name. Of `safety`
    texts of up to 2000 characters are taken.

    - paraphrase JSD: mean over items of the mean pairwise JSD of the eight answers, bits. The guard
      is the mean JSD of different items' answers to the same question, by how many times it is
      larger; a core that always says the same has 0 of both.
    - paraphrase ratio: that JSD between questions over the paraphrase JSD; the guards are both.
    - paraphrase flips: share of wordings whose most probable answer is not that of the name; its
      guard leaves out those whose answer the name gives nearly as much, 0.8 of its most.

    Of `stories`, 40 are told in four ways each (`--quick`: 5), in tellings that are held out.

    - retelling JSD: mean over stories of the mean pairwise JSD of the four answers to who left
      first and to whether one left before another, bits; the guard is the share of true answers.
    - reading order: share of tellings of which it is told truly whether the reader learns of one
      before the other, which the retelling does change; the guard is the share of a core that says
      of the reading what it says of the leaving, were that always true.

    Intervals resample relations, all items of which are asked in the same wordings, and stories.
    """
    rows: list[MeasureRow] = []
    names = [n for n in CORPORA if core.knows(n) and core.has_learnt(wordings.learnt(n))]
    if names:
        rows += _worded(core, options, names)
    return rows + (_retold(core, options) if core.knows("stories") else [])


def _worded(core: Core, options: Options, names: Sequence[str]) -> list[MeasureRow]:
    """The rows of relations of these corpora that are asked in several wordings."""
    rng = options.rng(20)
    within, flips, clear, groups = [], [], [], []
    between: list[Floats] = []
    for name in names:
        asked = wordings.held_out(name)
        variables = [corpora.schema(name).variable(relation) for relation in asked]
        closed = [v.name for v in variables if v.kind == "closed" and core.knows_variable(v)]
        for relation in tqdm(closed, desc=f"paraphrase, {name}", unit="relation", disable=None):
            answers = []
            for _ in range(QUICK_ITEMS if options.quick else ITEMS):
                given = _given(name, relation, rng)
                named = _table(core, name, relation, given)
                worded = [_table(core, name, text, given) for text in asked[relation]]
                within.append(_pairwise(worded))
                flips.append(float(np.mean([w.argmax() != named.argmax() for w in worded])))
                likely = 0.8 * named.max()
                clear.append(float(np.mean([named[w.argmax()] < likely for w in worded])))
                groups.append((name, relation))
                answers.append(np.asarray(np.mean(worded, axis=0), np.float64))
            between.append(np.array([[jsd_bits(p, q) for q in answers] for p in answers]))
    same, every = np.array(within), np.arange(len(within))
    apart = _apart(between, every)
    return [
        measured(
            "paraphrase JSD", "bits", mean_of(same), groups, options,
            {"between questions": apart, "ratio": _ratio(same, between, every)}, {},
            Goal("at most", 0.02), Goal("at most", 0.005),
        ),
        measured(
            "paraphrase ratio", "times", lambda items: _ratio(same, between, items), groups,
            options, {"between questions": apart, "JSD": float(same.mean())}, {},
            Goal("at least", 10),
        ),
        measured(
            "paraphrase flips", "share", mean_of(np.array(flips)), groups, options,
            {"beyond near ties": float(np.mean(clear))}, {}, Goal("at most", 0.04),
        ),
    ]  # fmt: skip


def _ratio(within: Floats, between: Sequence[Floats], items: Ints) -> float:
    """By how many times other questions' answers lie farther apart than other words' ones."""
    return _apart(between, items) / max(float(within[items].mean()), 1e-9)


def _apart(between: Sequence[Floats], items: Ints) -> float:
    """Mean over relations of the mean JSD of two different items of a relation, bits.

    between: of each relation the (n, n) JSD of its n items. items: places among all, in that order.
    """
    found, first = [], 0
    for table in between:
        inside = items[(items >= first) & (items < first + len(table))] - first
        drawn = np.bincount(inside, minlength=len(table)).astype(float)
        pairs = np.outer(drawn, drawn)
        np.fill_diagonal(pairs, 0)
        if pairs.any():
            found.append(float((pairs * table).sum() / pairs.sum()))
        first += len(table)
    return float(np.mean(found)) if found else float("nan")


def _retold(core: Core, options: Options) -> list[MeasureRow]:
    """The rows of stories that are told in several ways."""
    rng = options.rng(21)
    apart, right, order, same = [], [], [], []
    count = QUICK_STORIES if options.quick else STORIES
    for _ in tqdm(range(count), desc="paraphrase, stories", unit="story", disable=None):
        story, tellings = stories.draw(rng, "held_out", TELLINGS)
        one, other = (str(p) for p in rng.choice(story.people, 2, replace=False))
        pair = (Binding("one", one), Binding("other", other))
        tables: dict[str, list[Floats]] = {"first": [], "before": [], "read_before": []}
        for text in tellings:
            true = stories.answers(story, text, one, other)
            for variable, found in tables.items():
                known = (Binding("story", text), *(pair if variable != "first" else ()))
                found.append(_table(core, "stories", variable, known))
            hits = {v: _is_right(v, found[-1], true[v]) for v, found in tables.items()}
            right.append((hits["first"] + hits["before"]) / 2)
            order.append(hits["read_before"])
            same.append(float(true["before"] == true["read_before"]))
        apart.append(np.mean([_pairwise(tables[v]) for v in ("first", "before")]))
    return [
        measured(
            "retelling JSD", "bits", mean_of(np.array(apart)), list(range(count)), options,
            {"true": float(np.mean(right))}, {}, Goal("at most", 0.02),
        ),
        measured(
            "reading order", "share", mean_of(np.array(order)),
            [story for story in range(count) for _ in range(TELLINGS)], options,
            {"as the leaving": float(np.mean(same))},
        ),
    ]  # fmt: skip


def _is_right(variable: str, table: Floats, true: str) -> float:
    values = corpora.schema("stories").variable(variable).values
    return float(values[int(table.argmax())] == true)


def _given(name: str, relation: str, rng: np.random.Generator) -> Given:
    """What is known of one item: its document, what a country's facts are asked by, or needed."""
    corpus = corpora.load(name)
    if isinstance(corpus, Names):
        drawn = corpus.draw(rng, "held_out")
        return tuple(Binding(v, drawn[v]) for v in ("name", "year") if v != relation)
    if name == "kin":
        family, text = kin.draw(rng, "held_out")
        return Binding("family", text), Binding("person", str(rng.choice(family.people)))
    records = corpus.records("held_out") or corpus.records("train")
    needed = wordings.known(name, relation)
    if needed:
        records = [
            record
            for record in records
            if {relation, *needed} <= set(record.values)
            and all(len(record.values[v]) <= LONGEST for v in needed)
        ]
    values = records[int(rng.integers(len(records)))].values
    if needed:
        return tuple(Binding(v, values[v]) for v in needed)
    known = corpus.schema.document
    if known == relation:
        known = str(rng.choice([v for v in values if v not in (relation, "continent", "currency")]))
    return (Binding(known, values[known]),)


def _table(core: Core, corpus: str, asked: str, given: Given) -> Floats:
    p = core.shares_of(Conditional(corpus, asked, given))
    return np.asarray(p / p.sum(), np.float64)


def _pairwise(tables: Sequence[Floats]) -> float:
    """Mean JSD of all pairs, bits."""
    return float(np.mean([jsd_bits(p, q) for p, q in itertools.combinations(tables, 2)]))
