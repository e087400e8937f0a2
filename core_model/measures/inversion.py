"""The measure `inversion`: a relation against Bayes' reversal of its inverse, under any prior."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from core_model import corpora, priors
from core_model.core import Core, Remembering
from core_model.errors import CandorError
from core_model.measures.attribution import eligible
from core_model.measures.result import Floats, Goal, MeasureRow, Options, mean_of, measured
from core_model.notation import Binding
from core_model.planning import Conditional

PASSAGES, QUICK_PASSAGES = 100, 15
COUNTRIES, QUICK_COUNTRIES = 60, 10
CANDIDATES = 8
PRIORS = 3
CLEAR = 0.5
"""Nats by which a stated prior must move the odds of a pair for its direction to count."""


@dataclass(frozen=True, slots=True)
class Item:
    """One document with its label among the candidates, the true one first."""

    corpus: str
    variable: str
    read: Binding
    candidates: tuple[str, ...]
    group: Hashable


def inversion(core: Core, options: Options) -> list[MeasureRow]:
    """How far p(label | document) lies from p(document | label) p(label), normalised.

    Items, of the corpora that the core has learnt: 100 held-out passages (`--quick`: 15), each with
    its author and seven others who have passages in training; 60 countries (`--quick`: 10), each
    with its capital and seven others. All posteriors are normalised over the eight.

    - inversion gap: mean KL(read ‖ reversed), nats. Its guards are
    - read NLL, reversed NLL: of the true label by either route, which a core that knows nothing
      has at log 8 = 2.08 nats, though its gap is 0; combined NLL: by their geometric mean.
    - prior gap, of a core that has learnt to read priors: the same passages under three priors each
      that training never saw, drawn from a flat Dirichlet: mean KL(q ‖ b), nats, of the posterior q
      that the core states when the prior stands in the query, and of what it reads without one,
      weighed by the prior, b. Its guards are the mean of -log q(author) with the author drawn from
      b, and what q gives to authors whom the prior leaves out, which b does not. The baseline is
      the gap of what is read without a prior, as a core has that ignores it.
    - wrong direction: of the pairs of candidates whose odds Bayes' law moves by more than half a
      nat from the even prior to the stated one, the share whose odds the core does not move that
      way.

    Intervals resample whole addresses, and countries.
    """
    core = Remembering(core)  # what is said of a label is asked again for other documents
    rows = []
    for name, items_of in (("speeches", _passages), ("places", _countries)):
        if not core.knows(name):
            continue
        items = items_of(options)
        n = len(items[0].candidates)
        read, reversed_ = np.zeros((len(items), n)), np.zeros((len(items), n))
        for row, item in enumerate(tqdm(items, desc=f"inversion, {name}", disable=None)):
            read[row] = _normalised(_labels(core, item, item.read))
            written = [
                _log_p(core, item.corpus, item.read.variable, [item.read.value],
                       Binding(item.variable, label))[0]
                for label in item.candidates
            ]  # fmt: skip
            reversed_[row] = _normalised(np.array(written) + _labels(core, item))
        gap = (np.exp(read) * (read - reversed_)).sum(axis=1)
        groups = [item.group for item in items]
        both = _normalised((read + reversed_) / 2)
        losses = {"read NLL": -read[:, 0], "reversed NLL": -reversed_[:, 0]}
        losses["combined NLL"] = -both[:, 0]
        rows.append(
            measured(
                f"inversion gap, {name}", "nats", mean_of(gap), groups, options,
                {what: float(loss.mean()) for what, loss in losses.items()}, {},
                Goal("at most", 0.10), Goal("at most", 0.02),
            )
        )  # fmt: skip
        rows += [
            measured(
                f"{what}, {name}", "nats", mean_of(loss), groups, options,
                {}, {"knowing nothing": float(np.log(n))},
            )
            for what, loss in losses.items()
        ]  # fmt: skip
    if core.knows("speeches") and core.has_learnt(priors.learnt("speeches")):
        rows += _under_priors(core, _passages(options), options)
    return rows


def _under_priors(core: Core, items: Sequence[Item], options: Options) -> list[MeasureRow]:
    """The rows of priors that stand in the query."""
    rng = options.rng(12)
    gaps, unmoved, losses, wrong, groups, pairs, elsewhere = [], [], [], [], [], [], []
    for item in tqdm(items, desc="inversion, priors", disable=None):
        of_text = _labels(core, item, item.read)
        read, own = _normalised(of_text - _labels(core, item)), _normalised(of_text)
        n = len(item.candidates)
        stated = []
        for prior in (np.ones(n), *rng.dirichlet(np.ones(n), PRIORS)):
            percent = np.maximum(1, np.round(100 * prior / prior.sum()))
            shares = {item.candidates[i]: percent[i] / percent.sum() for i in rng.permutation(n)}
            told = Binding(priors.NAME, priors.written(shares))
            stated.append((np.log(percent / percent.sum()), _labels(core, item, item.read, told)))
        (_, even), *others = [(prior, _normalised(found)) for prior, found in stated]
        elsewhere += [1 - float(np.exp(found).sum()) for _, found in stated[1:]]
        for prior, found in others:
            bayes = _normalised(read + prior)
            gaps.append(float((np.exp(found) * (found - bayes)).sum()))
            unmoved.append(float((np.exp(own) * (own - bayes)).sum()))
            losses.append(float(-(np.exp(bayes) * found).sum()))
            groups.append(item.group)
            for one in range(n):
                for other in range(one):
                    move = prior[one] - prior[other]
                    if abs(move) > CLEAR:
                        moved = (found - even)[one] - (found - even)[other]
                        wrong.append(float(moved * move <= 0))
                        pairs.append(item.group)
    return [
        measured(
            "prior gap", "nats", mean_of(np.array(gaps)), groups, options,
            {"NLL under the prior": float(np.mean(losses)), "elsewhere": float(np.mean(elsewhere))},
            {"ignoring the prior": float(np.mean(unmoved))}, Goal("at most", 0.10),
        ),
        measured(
            "wrong direction", "share", mean_of(np.array(wrong)), pairs, options,
            {}, {"by chance": 0.5}, Goal("at most", 0.05), Goal("at most", 0.02),
        ),
    ]  # fmt: skip


def _passages(options: Options) -> list[Item]:
    """Held-out passages with their authors; raises CandorError where there are none."""
    corpus = corpora.load("speeches")
    training = corpus.records("train")
    held_out = eligible(corpus, training)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    if not count:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    authors = tuple(dict.fromkeys(record.values["author"] for record in training))
    rng = options.rng(5)
    items = []
    for place in np.sort(rng.choice(len(held_out), count, replace=False)):
        values = held_out[int(place)].values
        items.append(
            Item(
                "speeches", "author", Binding("text", values["text"]),
                _candidates(values["author"], authors, rng), (values["author"], values["year"]),
            )
        )  # fmt: skip
    return items


def _countries(options: Options) -> list[Item]:
    corpus = corpora.load("places")
    document = corpus.schema.document
    records = [record.values for record in corpus.records("train")]
    capitals = tuple(values["capital"] for values in records)
    rng = options.rng(13)
    count = min(QUICK_COUNTRIES if options.quick else COUNTRIES, len(records))
    return [
        Item(
            "places", "capital", Binding(document, values[document]),
            _candidates(values["capital"], capitals, rng), values[document],
        )
        for values in (records[int(i)] for i in rng.choice(len(records), count, replace=False))
    ]  # fmt: skip


def _candidates(true: str, others: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The true label and seven others, all that there are where they are fewer."""
    rest = [other for other in others if other != true]
    return (true, *map(str, rng.choice(rest, min(CANDIDATES - 1, len(rest)), replace=False)))


def _labels(core: Core, item: Item, *known: Binding) -> Floats:
    """(CANDIDATES,) log p(label | known)."""
    return _log_p(core, item.corpus, item.variable, item.candidates, *known)


def _log_p(
    core: Core, corpus: str, variable: str, answers: Sequence[str], *known: Binding
) -> Floats:
    """(n,) log p(answer | known), from the table of all values where the variable is closed."""
    asked = Conditional(corpus, variable, known)
    values = corpora.schema(corpus).variable(variable).values
    if not values:
        return core.log_prob_of(asked, answers)
    found = dict(zip(values, core.log_prob_of(asked, values).tolist(), strict=True))
    return np.array([found.get(answer, -np.inf) for answer in answers])


def _normalised(scores: Floats) -> Floats:
    """(…, n) log-probabilities that sum to one; no answer is taken to be impossible."""
    floored = np.maximum(scores, scores.max(axis=-1, keepdims=True) - 700)
    total = np.logaddexp.reduce(floored, axis=-1, keepdims=True)
    return np.asarray(floored - total, np.float64)
