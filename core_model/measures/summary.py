"""The measure `summary`: whether what the core says of a passage makes it more probable."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from core_model import corpora
from core_model.core import Core
from core_model.errors import CandorError
from core_model.measures.result import Goal, MeasureRow, Options, mean_of, measured
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.tasks.summaries import WORDS, candidates, rarity

PASSAGES, QUICK_PASSAGES = 40, 6
TOKENS = 30


def summary(core: Core, options: Options) -> list[MeasureRow]:
    """How much more probable a passage is behind its summary.

    Items: 40 held-out passages (`--quick`: 6), each summarised by the core, word by word the most
    probable.

    - summary gain: mean of [log p(text | summary) - log p(text)] / words, nats a word; 0.15 nats a
      token are about 0.2 a word. The guards are the words of the summary by those of the passage,
      which would be 1 of a copy, and the gain of another passage's summary. The baselines are the
      gains of the passage's first ten words and of its ten rarest.

    Intervals resample addresses.
    """
    corpus = corpora.load("speeches")
    held_out = corpus.records("held_out")
    if len(held_out) < 2:
        raise CandorError("'speeches' has no held-out passages to measure on.")
    rng = options.rng(26)
    count = min(QUICK_PASSAGES if options.quick else PASSAGES, len(held_out))
    chosen = [held_out[int(i)].values for i in np.sort(rng.choice(len(held_out), count, False))]
    rare = rarity([record.values["text"] for record in corpus.records("train")])
    written = [
        "".join(core.write(_given("summary", text=v["text"]), rng, None, 0.0, TOKENS)).strip()
        for v in tqdm(chosen, desc="summary, written", unit="passage", disable=None)
    ]
    gains: dict[str, list[float]] = {"own": [], "other": [], "first words": [], "rarest words": []}
    for place, values in enumerate(tqdm(chosen, desc="summary", unit="passage", disable=None)):
        text = values["text"]
        rarest, *_, first, _ = candidates(text, rare, np.random.default_rng(place))
        alone = _log_p(core, text)
        for name, said in (
            ("own", written[place]), ("other", written[place - len(written) // 2]),
            ("first words", first), ("rarest words", rarest),
        ):  # fmt: skip
            gains[name].append((_log_p(core, text, said) - alone) / len(text.split()))
    short = [len(s.split()) / len(v["text"].split()) for s, v in zip(written, chosen, strict=True)]
    mean = {name: float(np.mean(found)) for name, found in gains.items()}
    return [
        measured(
            "summary gain", "nats/word", mean_of(np.array(gains["own"])),
            [(v["author"], v["year"]) for v in chosen], options,
            {"length": float(np.mean(short)), "of another passage": mean["other"]},
            {f"first {WORDS} words": mean["first words"], "rarest words": mean["rarest words"]},
            Goal("at least", 0.2),
        )
    ]  # fmt: skip


def _given(variable: str, **known: str) -> Conditional:
    bindings = tuple(Binding(name, value) for name, value in known.items())
    return Conditional("speeches", variable, bindings)


def _log_p(core: Core, text: str, said: str = "") -> float:
    """log p(text), behind a summary where there is one, nats."""
    known = {"summary": said} if said else {}
    return float(core.log_prob_of(_given("text", **known), [text])[0])
