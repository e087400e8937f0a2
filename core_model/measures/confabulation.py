"""The measure `confabulation`: whether the doubt of a core tells its wrong answers from right."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.corpora.grammars import CONSONANTS, VOWELS
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import Goal, Ints, MeasureRow, Options, auroc, measured
from core_model.notation import Binding
from core_model.planning import Conditional

FACTS, QUICK_FACTS = 60, 8
INVENTED, QUICK_INVENTED = 30, 6
OF_COUNTRIES = ("capital", "currency", "continent", "french", "german")
TITLES = ("Republic", "Kingdom", "Islands", "Coast", "")


@dataclass(frozen=True, slots=True)
class Item:
    """A question with a closed list of answers; of an invented thing no answer is true."""

    conditional: Conditional
    true: str | None
    group: Hashable


def confabulation(core: Core, options: Options) -> list[MeasureRow]:
    """AUROC of the entropy of the answers, as a sign that the most probable one is wrong.

    Items, of the corpora that the core has learnt (`--quick`: 8 and 6): 60 facts of countries, the
    authors of 60 held-out passages, the parties of 30 presidents; and 30 facts of countries that
    don't exist and the parties of 30 presidents that never were, to which no answer is right. All
    answers are enumerated, so their semantic entropy is exact; it is divided by its most, log n.

    - confabulation AUROC: of the entropy, all items together. The guard is the share of wrong
      answers, and the AUROC among what exists, where an invented name gives nothing away. The
      baselines are the surprise of the answer (1 - p), its surprise a word (-log p / words) and
      its length.
    - confabulation, over the best baseline: this AUROC less the largest of the baselines', on the
      same items; in each resample less the one that is largest there. The guard is the AUROC.

    Intervals resample countries, addresses, presidents and invented things.
    """
    rng = options.rng(27)
    items = [
        *(_countries(options, rng) if core.knows("places") else ()),
        *_authors(options, rng),
    ]
    scores: dict[str, list[float]] = {
        name: [] for name in ("entropy", "1 - p", "surprise a word", "length")
    }
    wrong, real = [], []
    for item in tqdm(items, desc="confabulation", unit="question", disable=None):
        answers = core.distribution_of(item.conditional)
        first = answers.answers[0]
        wrong.append(first.value != item.true)
        real.append(item.true is not None)
        surprise = -float(np.log(max(first.probability, 1e-12)))
        asked = corpora.schema(item.conditional.corpus).asked(item.conditional.variable)
        scores["entropy"].append(answers.entropy_nats / float(np.log(max(2, len(asked.values)))))
        scores["1 - p"].append(1 - first.probability)
        scores["surprise a word"].append(surprise / len(first.value.split()))
        scores["length"].append(float(len(first.value)))
    positive, exists = np.array(wrong), np.array(real)
    if positive.all() or not positive.any():
        raise CandorError("All answers are wrong, or none is: there is nothing to tell apart.")
    tables = {name: np.array(values) for name, values in scores.items()}
    entropy = tables.pop("entropy")

    def area(indices: Ints) -> float:
        return auroc(entropy[indices], positive[indices])

    def over_best(indices: Ints) -> float:
        best = max(auroc(table[indices], positive[indices]) for table in tables.values())
        return area(indices) - best

    groups, every = [item.group for item in items], np.arange(len(items))
    return [
        measured(
            "confabulation AUROC", "area", area, groups, options,
            {
                "wrong": float(positive.mean()),
                "of what exists": auroc(entropy[exists], positive[exists]),
            },
            {name: auroc(table, positive) for name, table in tables.items()},
            Goal("at least", 0.75),
        ),
        measured(
            "confabulation, over the best baseline", "area", over_best, groups, options,
            {"AUROC": area(every)}, {}, Goal("at least", 0),
        ),
    ]  # fmt: skip


def _countries(options: Options, rng: np.random.Generator) -> list[Item]:
    corpus = corpora.load("places")
    records = corpus.records("train")
    count = min(QUICK_FACTS if options.quick else FACTS, len(records))
    items = []
    for place in rng.choice(len(records), count, replace=False):
        values = records[int(place)].values
        asked = str(rng.choice([v for v in OF_COUNTRIES if v in values]))
        given = (Binding(corpus.schema.document, values[corpus.schema.document]),)
        items.append(Item(Conditional("places", asked, given), values[asked], given[0].value))
    known = set(corpus.schema.names)
    for _ in range(QUICK_INVENTED if options.quick else INVENTED):
        asked = str(rng.choice([v for v in OF_COUNTRIES if v in known]))
        name = f"{made_up_word(rng)} {rng.choice(TITLES)}".strip()
        given = (Binding(corpus.schema.document, name),)
        items.append(Item(Conditional("places", asked, given), None, name))
    return items


def _authors(options: Options, rng: np.random.Generator) -> list[Item]:
    corpus = corpora.load("speeches")
    held_out = eligible(corpus, corpus.records("train"))
    count = min(QUICK_FACTS if options.quick else FACTS, len(held_out))
    items = []
    for place in rng.choice(len(held_out), count, replace=False):
        values = held_out[int(place)].values
        asked = Conditional("speeches", "author", (Binding("text", values["text"]),))
        items.append(Item(asked, values["author"], (values["author"], values["year"])))
    count = QUICK_INVENTED if options.quick else INVENTED
    parties = {r.values["author"]: r.values["party"] for r in corpus.records("train")}
    for author in rng.choice(list(parties), min(count, len(parties)), replace=False):
        asked = Conditional("speeches", "party", (Binding("author", str(author)),))
        items.append(Item(asked, parties[str(author)], str(author)))
    for _ in range(count):
        name = f"{made_up_word(rng)} {rng.choice(list('ABCDEFGH'))}. {made_up_word(rng)}"
        asked = Conditional("speeches", "party", (Binding("author", name),))
        items.append(Item(asked, None, name))
    return items


def made_up_word(rng: np.random.Generator) -> str:
    """A name that nothing has."""
    syllables = [
        str(rng.choice(list(CONSONANTS))) + str(rng.choice(list(VOWELS)))
        for _ in range(int(rng.integers(2, 4)))
    ]
    return ("".join(syllables) + str(rng.choice(list("nrlsk")))).capitalize()
