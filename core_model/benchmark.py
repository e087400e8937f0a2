"""How fast the engine is beside others: `scripts/benchmark [--json FILE] [--only NAMES]`.

Prints Markdown: `scripts/benchmark --json docs/benchmark.json > docs/benchmark.md`.

Each workload runs on every engine that can do it, one after the other in one run on one machine,
so that the ratios mean something; the absolute figures are that machine's. All engines have
weights of the same sizes: Candor's the released core, the others its base. Where `CANDOR_ENGINE`
is the address of a server, that is timed too.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from core_model import corpora
from core_model.base import resolve_base
from core_model.base_files import BaseFiles
from core_model.config import Settings
from core_model.corpora import schema
from core_model.corpora.names import FIRST_YEAR, Names
from core_model.decoder import Decoder
from core_model.errors import CandorError
from core_model.export import write_tokenizer
from core_model.gguf_export import spelled
from core_model.loading import compute_dtype, load_embedded, merged_weights, sampler_folder
from core_model.measure import chosen
from core_model.notation import Binding
from core_model.openvino_sampler import MODEL, OpenVinoSampler
from core_model.planning import Conditional
from core_model.prefix_tree import PrefixTree
from core_model.remote_core import RemoteCore
from core_model.sampler import Sampler, TorchSampler
from core_model.torch_core import TorchCore

PROMPT_TOKENS, DECODED, SAMPLES = 200, 32, 64
CANDIDATES, CANDIDATE_TOKENS, PADDED_ROWS = 1000, 3, 32
PASSAGES, PADDED_PASSAGES = 24, 8
CONVERSATION_TOKENS, QUESTION_TOKENS = 1500, 30
TURNS, TURN_TOKENS = 10, 150
FIDELITY_PASSAGES = 12
TRIES = 5
REFERENCE = "transformers"


Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; ratio: how many times better than the reference engine's, where it has one."""

    workload: str
    engine: str
    figure: float
    unit: str
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What is timed: a figure by engine, and which way is better."""

    run: Callable[[Bench], dict[str, float]]
    unit: str
    better: Literal["more", "less"]
    reference: str = REFERENCE


class Bench:
    """The engines, each made when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rng = np.random.default_rng(0)

    @cached_property
    def core(self) -> TorchCore:
        """The released core as users have it."""
        return load_embedded(self.settings)

    @cached_property
    def server(self) -> RemoteCore | None:
        """The core on the server that is configured, if one is."""
        if self.settings.server is None:
            return None
        return RemoteCore.connect(self.settings.server, self.settings.key, self.core._wire)

    @cached_property
    def base(self) -> BaseFiles:
        """Files of the base."""
        return resolve_base(self.settings.base, self.settings.cache_dir)

    @cached_property
    def transformers(self) -> Any:
        """The base in transformers, in the type that this machine computes fastest in."""
        from transformers import LlamaForCausalLM

        model: Any = LlamaForCausalLM.from_pretrained(
            self.base.weights.parent, dtype=compute_dtype()
        )
        return model.eval()

    @cached_property
    def ctranslate2(self) -> Any:
        """The base in CTranslate2, int8."""
        import ctranslate2

        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.mkdir()
            for path in (self.base.weights, self.base.config):
                (source / path.name).symlink_to(path)
            write_tokenizer(self.base.tokenizer, source)
            converted = Path(folder) / "converted"
            converter = ctranslate2.converters.TransformersConverter(str(source))
            converter.convert(str(converted), quantization="int8")
            return ctranslate2.Generator(str(converted), device="cpu", compute_type="int8")

    @cached_property
    def token_names(self) -> list[str]:
        """Tokens as CTranslate2 spells them."""
        content = json.loads(self.base.tokenizer.read_text(encoding="utf-8"))
        return spelled(content)[0]

    def prompt(self, length: int) -> list[int]:
        """A prompt that no engine has seen."""
        return [int(token) for token in self.rng.integers(1000, 40_000, length)]

    def candidates(self, n: int) -> PrefixTree:
        """Answers that share nothing."""
        tokens = self.rng.integers(1000, 40_000, (n, CANDIDATE_TOKENS)).tolist()
        return PrefixTree.build([[*answer, self.core._wire.end] for answer in tokens])

    def sampler(self, engine: str) -> Sampler:
        """Candor's sampler on an engine; its texts never end before their limit."""
        never = 2**31 - 1  # no token has this number
        if engine == "torch":
            return TorchSampler(self.core._reader, never)
        return OpenVinoSampler(sampler_folder(self.settings.cache_dir, self.core.name), never)


# Workloads


def single_stream(bench: Bench) -> dict[str, float]:
    """One text of DECODED tokens behind a prompt of PROMPT_TOKENS, tokens a second.

    The median of TRIES runs, in which the engines take turns.
    """
    return _decoding(bench, 1)


def many_samples(bench: Bench) -> dict[str, float]:
    """SAMPLES texts of DECODED tokens behind one prompt, tokens a second of all together."""
    return _decoding(bench, SAMPLES)


def _decoding(bench: Bench, n: int) -> dict[str, float]:
    def ours(engine: str) -> Callable[[], int]:
        sampler = bench.sampler(engine)

        def run() -> int:
            rows = sampler.draw(bench.prompt(PROMPT_TOKENS), n, bench.rng, limit=DECODED)
            return sum(map(len, rows))

        return run

    def transformers() -> int:
        made = bench.transformers.generate(
            torch.tensor([bench.prompt(PROMPT_TOKENS)]), do_sample=True, top_k=0, top_p=1.0,
            num_return_sequences=n, min_new_tokens=DECODED, max_new_tokens=DECODED,
            pad_token_id=0,
        )  # fmt: skip
        return int(made[:, PROMPT_TOKENS:].numel())

    def ctranslate2() -> int:
        names = [bench.token_names[token] for token in bench.prompt(PROMPT_TOKENS)]
        made = bench.ctranslate2.generate_batch(
            [names] * n, min_length=DECODED, max_length=DECODED, sampling_topk=0,
            sampling_temperature=1.0, include_prompt_in_result=False, end_token=[],
        )  # fmt: skip
        return sum(len(result.sequences_ids[0]) for result in made)

    runs = {
        "candor": ours("openvino"), "candor, torch": ours("torch"),
        REFERENCE: transformers, "ctranslate2 int8": ctranslate2,
    }  # fmt: skip
    if (server := bench.server) is not None:
        runs["server"] = lambda: sum(
            map(len, server.draw(bench.prompt(PROMPT_TOKENS), n, bench.rng, limit=DECODED))
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
    """Seconds to score CANDIDATES answers of CANDIDATE_TOKENS behind a prompt of PROMPT_TOKENS.

    transformers scores PADDED_ROWS of them as rows, scaled up.
    """
    tree = bench.candidates(CANDIDATES)
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
    names = corpora.load("names")
    assert isinstance(names, Names)
    born = names.counts[0, 1985 - FIRST_YEAR]
    listed = [name for name, births in zip(names.listed, born, strict=True) if births]

    def run(sex: str) -> int:
        known = (Binding("year", "1985"), Binding("sex", sex))
        return len(bench.core.log_prob_of(Conditional("names", "name", known), listed))

    run("male")
    return {"candor": timed(lambda: run("female"))[0]}


def attribution(bench: Bench) -> dict[str, float]:
    """Passages a second whose posterior over all authors is computed.

    transformers scores a row for each author, on PADDED_PASSAGES passages.
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
    """Seconds to read a new question behind CONVERSATION_TOKENS, from the cache and anew."""
    reader = bench.core._reader
    with torch.inference_mode():
        reader.prompt(bench.prompt(CONVERSATION_TOKENS + QUESTION_TOKENS))
        said = bench.prompt(CONVERSATION_TOKENS)
        reader.prompt(said)
        cached, _ = timed(lambda: len(reader.prompt(said + bench.prompt(QUESTION_TOKENS)).tokens))
        new = bench.prompt(CONVERSATION_TOKENS + QUESTION_TOKENS)
        anew, _ = timed(lambda: len(reader.prompt(new).tokens))
    return {"candor": cached, "candor, nothing kept": anew}


START = """
import time
begun = time.monotonic()
import numpy as np
from core_model.config import Settings
from core_model.planning import Conditional
from core_model.loading import load_embedded
core = load_embedded(Settings.from_environment())
core.log_prob_of(Conditional("names", "sex"), ["male"])
ready = time.monotonic() - begun
core.sample_of(Conditional("speeches", "text"), 1, np.random.default_rng(0))
# Not getrusage: its peak is inherited from the process that started this one.
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(ready, int(peak.split()[1]) * 1024 / 1e9)
"""


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


@torch.inference_mode()
def fidelity(bench: Bench) -> dict[str, float]:
    """KL of the next token from the float32 decoder's, mean over tokens of held-out passages."""
    records = corpora.load("speeches").records("held_out")
    wire, shape = bench.core._wire, bench.core._reader._decoder.shape
    exact = Decoder(shape, merged_weights(bench.settings), torch.float32)
    ruled_out = wire.never_in_text(shape.vocabulary)
    graph = compiled(sampler_folder(bench.settings.cache_dir, bench.core.name))
    total, tokens = np.zeros(2), 0
    for record in records[:: len(records) // FIDELITY_PASSAGES]:
        given = (Binding("author", record.values["author"]),)
        prompt = wire.prompt(Conditional("speeches", "text", given))
        row = prompt + wire.answer(record.values["text"])
        asked, positions = torch.tensor([row]), torch.arange(len(row))[None]
        read = slice(len(prompt) - 1, len(row) - 1)
        found = [
            decoder.logits(decoder(asked, positions, None))[0, read]
            for decoder in (exact, bench.core._reader._decoder)
        ]
        found.append(torch.from_numpy(graph(row))[read])
        for logits in found:
            logits[:, ruled_out] = -1e9
        true, *others = (torch.log_softmax(logits.double(), dim=-1) for logits in found)
        total += [float((true.exp() * (true - other)).sum()) for other in others]
        tokens += read.stop - read.start
    torch_kl, openvino_kl = total / tokens
    return {"candor, scores": torch_kl, "candor, samples": openvino_kl}


def compiled(folder: Path) -> Callable[[Sequence[int]], NDArray[np.float32]]:
    """What gives the logits (T, V) of a row by the sampler's form of the core."""
    import openvino as ov

    request = ov.Core().compile_model(folder / MODEL, "CPU").create_infer_request()

    def logits(row: Sequence[int]) -> NDArray[np.float32]:
        request.reset_state()
        given = {
            "input_ids": np.array([row], np.int64),
            "attention_mask": np.ones((1, len(row)), np.int64),
            "position_ids": np.arange(len(row), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        return np.array(request.infer(given)[0][0], np.float32)

    return logits


def growth_with_samples(bench: Bench) -> dict[str, float]:
    """Milliseconds of DECODED tokens behind a prompt of PROMPT_TOKENS, by the number of samples."""
    sampler = bench.sampler("openvino")

    def run(n: int) -> object:
        return sampler.draw(bench.prompt(PROMPT_TOKENS), n, bench.rng, limit=DECODED)

    return _growth(run, (1, 16, 32, 64))


def growth_with_candidates(bench: Bench) -> dict[str, float]:
    """Milliseconds to score answers of CANDIDATE_TOKENS, by the number of candidates."""

    def run(n: int) -> object:
        return bench.core.score(bench.prompt(PROMPT_TOKENS), bench.candidates(n))

    return _growth(run, (100, 300, 600, 1000))


def growth_with_context(bench: Bench) -> dict[str, float]:
    """Milliseconds to read a prompt, by its tokens."""

    def run(n: int) -> object:
        with torch.inference_mode():
            return bench.core._reader.prompt(bench.prompt(n))

    return _growth(run, (128, 512, 1024, 2048))


def _growth(run: Callable[[int], object], sizes: Sequence[int]) -> dict[str, float]:
    """Least squares of the quickest of TRIES runs at each size: what is fixed, and each."""
    for n in sizes:
        run(n)
    seconds = [min(timed(partial(run, n))[0] for _ in range(TRIES)) for n in sizes]
    each, fixed = np.polyfit(sizes, seconds, 1)
    return {"candor, fixed": 1000 * float(fixed), "candor, each more": 1000 * float(each)}


def start(bench: Bench) -> dict[str, float]:
    """Seconds from a new process to the first answer, all files being prepared."""
    return {"candor": _fresh()[0]}


def memory(bench: Bench) -> dict[str, float]:
    """Peak memory in GB of a process that has answered and drawn a text (on Linux)."""
    return {"candor": _fresh()[1]}


def _fresh() -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    ready, gigabytes = map(float, done.stdout.split())
    return ready, gigabytes


WORKLOADS: dict[str, Workload] = {
    "single": Workload(single_stream, "tokens/s", "more"),
    "samples": Workload(many_samples, "tokens/s", "more"),
    "candidates": Workload(candidates, "s", "less"),
    "names": Workload(names_of_a_year, "s", "less"),
    "attribution": Workload(attribution, "passages/s", "more"),
    "second-turn": Workload(second_turn, "s", "less", "candor, nothing kept"),
    "conversation": Workload(conversation, "s", "less"),
    "hit-rate": Workload(hit_rate, "share", "more"),
    "fidelity": Workload(fidelity, "nats/token", "less"),
    "growth-samples": Workload(growth_with_samples, "ms", "less"),
    "growth-candidates": Workload(growth_with_candidates, "ms", "less"),
    "growth-context": Workload(growth_with_context, "ms", "less"),
    "start": Workload(start, "s", "less"),
    "memory": Workload(memory, "GB", "less"),
}


def timed(run: Callable[[], Made]) -> tuple[float, Made]:
    """(seconds, what it returns)."""
    begun = time.perf_counter()
    made = run()
    return time.perf_counter() - begun, made


def rows_of(name: str, workload: Workload, figures: dict[str, float]) -> list[Row]:
    """The figures of a workload with their ratios."""
    reference = figures.get(workload.reference)
    rows = []
    for engine, figure in figures.items():
        ratio = None
        if reference is not None:
            ratio = figure / reference if workload.better == "more" else reference / figure
        rows.append(Row(name, engine, figure, workload.unit, ratio))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| workload | engine | figure | unit | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
        lines.append(f"| {row.workload} | {row.engine} | {row.figure:.3g} | {row.unit} | {ratio} |")
    return "\n".join(lines)


def document(rows: Sequence[Row]) -> str:
    """The table with what it says and where it was measured, as Markdown."""
    said = inspect.cleandoc(__doc__).split("\n\n", 2)[2]
    machine = f"{processor()}, {torch.get_num_threads()} threads, {platform.system()}"
    lines = ["# How fast the engine is", "", f"Written by `scripts/benchmark`. {said}", ""]
    lines += [
        "A ratio says how many times better a figure is than the reference's, transformers or what"
        " has ratio 1.", "", f"- machine: {machine}", f"- date: {date.today()}", "",
        table(rows), "", "## Workloads", "",
    ]  # fmt: skip
    for name in dict.fromkeys(row.workload for row in rows):
        told = " ".join(inspect.getdoc(WORKLOADS[name].run).split())  # type: ignore[union-attr]
        lines.append(f"- **{name}**: {told}")
    constants = ("PROMPT_TOKENS", "DECODED", "SAMPLES", "CANDIDATES", "CANDIDATE_TOKENS",
                 "PADDED_ROWS", "PADDED_PASSAGES", "CONVERSATION_TOKENS", "TURNS", "TURN_TOKENS",
                 "TRIES")  # fmt: skip
    lines += ["", "; ".join(f"{name} = {globals()[name]:,}" for name in constants) + "."]
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description="Time the engine beside others."
    )
    parser.add_argument("--only", metavar="NAMES", help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--json", type=Path, help="file of the rows")
    options = parser.parse_args(arguments)
    try:
        bench, rows = Bench(Settings.from_environment()), []
        for name in chosen(options.only, WORKLOADS, "workload"):
            workload = WORKLOADS[name]
            rows += rows_of(name, workload, workload.run(bench))
            print(f"{name} done", file=sys.stderr)
            if options.json is not None:  # each time, so that a later failure loses nothing
                options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    print(document(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
