"""The measure `chance`: sources of random answers against their exact distributions."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from core_model.core import Core
from core_model.corpora.chance import FAMILIES, HELD_OUT_FAMILIES, STRUCTURED, Source, draw
from core_model.measures.result import (
    Floats,
    Goal,
    MeasureRow,
    Options,
    kl_nats,
    mean_of,
    measured,
    total_variation,
)
from core_model.notation import Binding
from core_model.planning import Conditional

SOURCES, QUICK_SOURCES = 60, 6
DRAWS = 500
NUMBERS = tuple(name for name in FAMILIES if name not in (*HELD_OUT_FAMILIES, *STRUCTURED))


def chance(core: Core, options: Options) -> list[MeasureRow]:
    """What a core says comes out of a source, against what does.

    Items: 60 held-out sources a row (`--quick`: 6). p is the exact distribution, q the core's over
    the same answers, and q's mass on anything else is one more outcome.

    - chance TV: total variation of q and p, for families that training saw with other parameters,
      and for three families that it never saw. The guard is the mass outside.
    - chance excess TV: the total variation from p of 500 draws of q, less that of 500 draws of p.
    - grammar, phonology and program KL: KL(p ‖ q) in nats, a grammar's per word and its end, with
      the share of valid answers, Σ q over the support, as the guard; q counts as 1e-9 at least.

    The baseline is the even distribution over the answers that are possible. Intervals resample
    sources.
    """
    rng = options.rng(15)
    rows = []
    for kind, families in (("unseen parameters", NUMBERS), ("unseen families", HELD_OUT_FAMILIES)):
        sources = [draw(rng, "held_out", families) for _ in range(_count(options))]
        exact, found = _tables(core, sources, kind)
        tv = np.array([total_variation(p, q) for p, q in zip(exact, found, strict=True)])
        outside = float(np.mean([q[-1] for q in found]))
        even = float(np.mean([total_variation(p, _even(p)) for p in exact]))
        rows.append(
            measured(
                f"chance TV, {kind}", "TV", mean_of(tv), _groups(sources), options,
                {"mass outside": outside}, {"even": even},
            )
        )  # fmt: skip
        excess = [
            total_variation(p, rng.multinomial(DRAWS, q) / DRAWS)
            - total_variation(p, rng.multinomial(DRAWS, p) / DRAWS)
            for p, q in zip(exact, found, strict=True)
        ]
        floor, aim = (0.08, 0.05) if kind == "unseen parameters" else (0.35, 0.20)
        rows.append(
            measured(
                f"chance excess TV, {kind}", "TV", mean_of(np.array(excess)), _groups(sources),
                options, {"mass outside": outside}, {}, Goal("at most", floor),
                Goal("at most", aim),
            )
        )  # fmt: skip
    for family in STRUCTURED:
        sources = [draw(rng, "held_out", [family]) for _ in range(_count(options))]
        exact, found = _tables(core, sources, family)
        per = [_words(source) if family == "grammar" else 1.0 for source in sources]
        kl = np.array([kl_nats(p, q) / n for p, q, n in zip(exact, found, per, strict=True)])
        even = float(np.mean([kl_nats(p, _even(p)) / n for p, n in zip(exact, per, strict=True)]))
        is_grammar = family == "grammar"
        valid = np.array([1 - q[-1] for q in found])
        rows.append(
            measured(
                f"{family} KL", "nats/word" if is_grammar else "nats", mean_of(kl),
                _groups(sources), options, {"valid": float(valid.mean())},
                {"even": even}, Goal("at most", 0.05) if is_grammar else None,
            )
        )  # fmt: skip
        if is_grammar:
            rows.append(
                measured(
                    "grammar valid", "share", mean_of(valid), _groups(sources), options,
                    floor=Goal("at least", 0.98),
                )
            )  # fmt: skip
    return rows


def _count(options: Options) -> int:
    return QUICK_SOURCES if options.quick else SOURCES


def _groups(sources: list[Source]) -> list[str]:
    return [source.text for source in sources]


def _tables(core: Core, sources: list[Source], kind: str) -> tuple[list[Floats], list[Floats]]:
    """p and q of each source, (n_answers + 1,), the last for all other answers."""
    exact, found = [], []
    for source in tqdm(sources, desc=f"chance, {kind}", unit="source", disable=None):
        conditional = Conditional("chance", "value", (Binding("source", source.text),))
        q = np.exp(core.log_prob_of(conditional, list(source.p)))
        exact.append(np.array([*source.p.values(), 0.0]))
        found.append(np.append(q, max(0.0, 1 - q.sum())) / max(1.0, q.sum()))
    return exact, found


def _even(p: Floats) -> Floats:
    return np.asarray((p > 0) / np.count_nonzero(p), np.float64)


def _words(source: Source) -> float:
    """Words of a source's answers and their end, on average."""
    return sum(p * (len(answer.split()) + 1) for answer, p in source.p.items())
