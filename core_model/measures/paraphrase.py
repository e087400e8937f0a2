"""The measure `paraphrase`: one question in other words, and other questions in the same words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from core_model import corpora, wordings
from core_model.core import Core
from core_model.corpora import kin
from core_model.corpora.names import Names
from core_model.measures.result import (
    Floats,
    Goal,
    MeasureRow,
    Options,
    jsd_bits,
    mean_of,
    measured,
)
from core_model.notation import Binding
from core_model.planning import Conditional

ITEMS, QUICK_ITEMS = 12, 3
CORPORA = ("names", "speeches", "places", "kin")
Given = tuple[Binding, ...]


def paraphrase(core: Core, options: Options) -> list[MeasureRow]:
    """A question in eight wordings that training never saw.

    Items: of each relation with a closed list of answers in `names`, `speeches`, `places` and `kin`
    12 documents (`--quick`: 3), held out where the corpus has held-out ones. Each is asked in the
    relation's eight held-out wordings and under its own name.

    - paraphrase JSD: mean over items of the mean pairwise JSD of the eight answers, bits. The guard
      is the mean JSD of different items' answers to the same question, by how many times it is
      larger; a core that always says the same has 0 of both.
    - paraphrase flips: share of wordings whose most probable answer is not that of the name.

    Intervals resample items.
    """
    rng = options.rng(20)
    within, between, flips, groups = [], [], [], []
    for name in CORPORA:
        asked = wordings.held_out(name)
        closed = [r for r in asked if corpora.schema(name).variable(r).kind == "closed"]
        for relation in tqdm(closed, desc=f"paraphrase, {name}", unit="relation", disable=None):
            answers = []
            for item in range(QUICK_ITEMS if options.quick else ITEMS):
                given = _given(name, relation, rng)
                named = _table(core, name, relation, given)
                worded = [_table(core, name, text, given) for text in asked[relation]]
                within.append(_pairwise(worded))
                flips.append(float(np.mean([w.argmax() != named.argmax() for w in worded])))
                groups.append((name, relation, item))
                answers.append(np.mean(worded, axis=0))
            between.append(_pairwise(answers))
    apart = float(np.mean(between))
    ratio = apart / max(float(np.mean(within)), 1e-9)
    return [
        measured(
            "paraphrase JSD", "bits", mean_of(np.array(within)), groups, options,
            {"between questions": apart, "ratio": ratio}, {}, Goal("at most", 0.02),
            Goal("at most", 0.005),
        ),
        measured(
            "paraphrase flips", "share", mean_of(np.array(flips)), groups, options,
            {"between questions": apart}, {}, Goal("at most", 0.04),
        ),
    ]  # fmt: skip


def _given(name: str, relation: str, rng: np.random.Generator) -> Given:
    """What is known of one item: its document, or what a country's facts are asked by."""
    corpus = corpora.load(name)
    if isinstance(corpus, Names):
        return (Binding("name", corpus.draw(rng, "held_out")["name"]),)
    if name == "kin":
        family, text = kin.draw(rng, "held_out")
        return Binding("family", text), Binding("person", str(rng.choice(family.people)))
    records = corpus.records("held_out") or corpus.records("train")
    values = records[int(rng.integers(len(records)))].values
    known = corpus.schema.document
    if known == relation:
        known = str(rng.choice([v for v in values if v not in (relation, "continent", "currency")]))
    return (Binding(known, values[known]),)


def _table(core: Core, corpus: str, asked: str, given: Given) -> Floats:
    values = corpora.schema(corpus).asked(asked).values
    p = np.exp(core.log_prob_of(Conditional(corpus, asked, given), values))
    return np.asarray(p / p.sum(), np.float64)


def _pairwise(tables: Sequence[Floats]) -> float:
    """Mean JSD of all pairs, bits."""
    return float(np.mean([jsd_bits(p, q) for p, q in itertools.combinations(tables, 2)]))
