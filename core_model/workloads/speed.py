"""How fast it decodes, scores and reads, beside other programs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch

from core_model import corpora
from core_model.corpora import schema
from core_model.corpora.names import FIRST_YEAR, Names
from core_model.notation import Binding
from core_model.planning import Conditional
from core_model.workloads.engines import (
    CANDIDATE_TOKENS,
    DECODED,
    PROMPT_TOKENS,
    TRIES,
    Bench,
    timed,
)
from core_model.workloads.report import REFERENCE

SHORT_PROMPT, SAMPLES = 16, 64
CANDIDATES, PADDED_ROWS = 1000, 32
PASSAGES, PADDED_PASSAGES = 24, 8
CONVERSATION_TOKENS, QUESTION_TOKENS = 1500, 30
TURNS, TURN_TOKENS = 10, 150


def single_stream(bench: Bench) -> dict[str, float]:
    """One text of DECODED tokens behind a prompt of PROMPT_TOKENS, tokens a second.

    The median of TRIES runs, in which the engines take turns. llama.cpp where it is installed.
    """
    return _decoding(bench, 1, PROMPT_TOKENS)


def many_samples(bench: Bench) -> dict[str, float]:
    """SAMPLES texts of DECODED tokens behind PROMPT_TOKENS, tokens a second of all together."""
    return _decoding(bench, SAMPLES, PROMPT_TOKENS)


def many_samples_of_a_short_prompt(bench: Bench) -> dict[str, float]:
    """As `samples` behind a prompt of SHORT_PROMPT, whose reading takes hardly any of the time."""
    return _decoding(bench, SAMPLES, SHORT_PROMPT)


def _decoding(bench: Bench, n: int, length: int) -> dict[str, float]:
    def ours(engine: str) -> Callable[[], int]:
        sampler = bench.sampler(engine)

        def run() -> int:
            rows = sampler.draw(bench.prompt(length), n, bench.rng, limit=DECODED)
            return sum(map(len, rows))

        return run

    def transformers() -> int:
        made = bench.transformers.generate(
            torch.tensor([bench.prompt(length)]), do_sample=True, top_k=0, top_p=1.0,
            num_return_sequences=n, min_new_tokens=DECODED, max_new_tokens=DECODED,
            pad_token_id=0,
        )  # fmt: skip
        return int(made[:, length:].numel())

    def ctranslate2() -> int:
        names = [bench.token_names[token] for token in bench.prompt(length)]
        made = bench.ctranslate2.generate_batch(
            [names] * n, min_length=DECODED, max_length=DECODED, sampling_topk=0,
            sampling_temperature=1.0, include_prompt_in_result=False, end_token=[],
        )  # fmt: skip
        return sum(len(result.sequences_ids[0]) for result in made)

    runs = {
        "candor": ours("openvino"), "candor, torch": ours("torch"),
        REFERENCE: transformers, "ctranslate2 int8": ctranslate2,
    }  # fmt: skip
    if n == 1 and (llama := bench.llama_cpp) is not None:

        def llama_cpp() -> int:
            made = llama.generate(bench.prompt(length), temp=1.0, top_k=0, top_p=1.0, min_p=0.0)
            return len(list(islice(made, DECODED)))

        runs["llama.cpp"] = llama_cpp
    if (server := bench.server) is not None:
        runs["server"] = lambda: sum(
            map(len, server.draw(bench.prompt(length), n, bench.rng, limit=DECODED))
        )
    for run in runs.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in runs}
    # In turns, since one short run says little on a machine that others share.
    for _ in range(TRIES if n == 1 else 1):
        for name, run in runs.items():
            seconds, tokens = timed(run)
            rates[name].append(tokens / seconds)
    return {name: float(np.median(each)) for name, each in rates.items()}


def candidates(bench: Bench) -> dict[str, float]:
    """Seconds to score CANDIDATES answers of CANDIDATE_TOKENS tokens behind PROMPT_TOKENS.

    transformers scores PADDED_ROWS of them as rows, scaled up.
    """
    tree = bench.candidates(CANDIDATES, CANDIDATE_TOKENS)
    bench.core.score(bench.prompt(PROMPT_TOKENS), tree)
    seconds, _ = timed(lambda: bench.core.score(bench.prompt(PROMPT_TOKENS), tree))
    prompt = bench.prompt(PROMPT_TOKENS)
    rows = [[*prompt, *answer] for answer in tree.sequences()[:PADDED_ROWS]]
    padded, _ = timed(lambda: _padded(bench, rows))
    figures = {"candor": seconds, REFERENCE: padded * CANDIDATES / PADDED_ROWS}
    if (server := bench.server) is not None:
        figures["server"] = timed(lambda: server.score(prompt, tree))[0]
    return figures


def _padded(bench: Bench, rows: Sequence[Sequence[int]]) -> int:
    with torch.inference_mode():
        longest = max(map(len, rows))
        filled = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        logits = bench.transformers(filled, attention_mask=mask).logits
        torch.log_softmax(logits[:, :-1].float(), -1).gather(-1, filled[:, 1:, None])
    return len(rows)


def names_of_a_year(bench: Bench) -> dict[str, float]:
    """Seconds for the probability of every name on record of girls in 1985."""
    bench.core.log_prob_of(*names_of("male"))
    return {"candor": timed(lambda: bench.core.log_prob_of(*names_of("female")))[0]}


def names_of(sex: str) -> tuple[Conditional, list[str]]:
    """What asks for the name of a child of 1985, and every name on record of girls in that year."""
    names = corpora.load("names")
    assert isinstance(names, Names)
    born = names.counts[0, 1985 - FIRST_YEAR]
    listed = [name for name, births in zip(names.listed, born, strict=True) if births]
    return Conditional("names", "name", (Binding("year", "1985"), Binding("sex", sex))), listed


def attribution(bench: Bench) -> dict[str, float]:
    """Passages a second whose posterior over all authors is computed.

    transformers scores a row for each author, with the whole name, on PADDED_PASSAGES passages;
    candor reads names as far as it takes to tell them apart.
    """
    records = corpora.load("speeches").records("held_out")[: PASSAGES + 1]
    asked = [
        Conditional("speeches", "author", (Binding("text", record.values["text"]),))
        for record in records
    ]
    bench.core.distribution_of(asked.pop())
    seconds, _ = timed(lambda: len([bench.core.distribution_of(one) for one in asked]))
    wire, authors = bench.core._wire, schema("speeches").variable("author").values

    def rows(one: Conditional) -> int:
        prompt = wire.prompt(one)
        return _padded(bench, [[*prompt, *wire.answer(author)] for author in authors])

    padded, _ = timed(lambda: sum(rows(one) for one in asked[:PADDED_PASSAGES]))
    return {"candor": len(asked) / seconds, REFERENCE: PADDED_PASSAGES / padded}


def second_turn(bench: Bench) -> dict[str, float]:
    """Seconds to read QUESTION_TOKENS behind CONVERSATION_TOKENS, from the cache and anew."""
    reader = bench.core._reader
    with torch.inference_mode():
        reader.prompt(bench.prompt(CONVERSATION_TOKENS + QUESTION_TOKENS))
        said = bench.prompt(CONVERSATION_TOKENS)
        reader.prompt(said)
        cached, _ = timed(lambda: len(reader.prompt(said + bench.prompt(QUESTION_TOKENS)).tokens))
        new = bench.prompt(CONVERSATION_TOKENS + QUESTION_TOKENS)
        anew, _ = timed(lambda: len(reader.prompt(new).tokens))
    return {"candor": cached, "candor, nothing kept": anew}


def conversation(bench: Bench) -> dict[str, float]:
    """Seconds to the first token of a turn, the mean of TURNS turns of TURN_TOKENS tokens each.

    Ours is read twice, as in the chat: by what scores calls and by what writes the reply.
    """
    core = bench.core
    core.warm_up()
    said, kept, anew = [], 0.0, 0.0

    def begin(said: Sequence[int]) -> Generator[int]:
        core._reader.prompt(said)
        written = core.stream(said, bench.rng, 1.0, None)
        next(written, None)
        return written

    with torch.inference_mode():
        begin(bench.prompt(TURN_TOKENS)).close()
        bench.transformers(torch.tensor([bench.prompt(TURN_TOKENS)]))
        for _ in range(TURNS):
            said += bench.prompt(TURN_TOKENS)
            seconds, written = timed(partial(begin, said))
            written.close()
            kept += seconds
            row = torch.tensor([said])
            anew += timed(partial(bench.transformers, row, logits_to_keep=1))[0]
    return {"candor": kept / TURNS, REFERENCE: anew / TURNS}


def hit_rate(bench: Bench) -> dict[str, float]:
    """Share of a conversation's prompt tokens that the cache spared, over turns as above."""
    use, said = bench.core.prompt_use, []
    asked, reused = use.asked, use.reused
    with torch.inference_mode():
        for _ in range(TURNS):
            said += bench.prompt(TURN_TOKENS)
            bench.core._reader.prompt(said)
    return {"candor": (use.reused - reused) / (use.asked - asked)}
