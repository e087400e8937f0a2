"""Train the rivals: `python -m persona.rivals.training [METHOD…]`.

The supervised agent, `sft`, is a run of the recipe `rival` on top of the release. For the others
TRL trains a LoRA of PEFT on top of `sft`, and it is written in Candor's own form, so that a rival
runs as the persona does. Those METHODs are

    dpo            the best liked of the replies to a situation against the least liked
    grpo           replies drawn to a situation, rewarded by approval
    grpo-truth     by approval and truth
    grpo-entropy   by approval, with the entropy held where the supervised agent has it

Prompts are situations of the training wordings in the wire format, up to where the reply stands.
Sources: Rafailov et al. 2023 (DPO), Shao et al. 2024 (GRPO), He et al. 2025 (adaptive entropy).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import core_model.train
from core_model.adapter import CORPORA, FILE, RELEASE, learnt, read_adapter, upon, write_adapter
from core_model.base import resolve_base
from core_model.base_files import sha256
from core_model.config import Settings
from core_model.errors import CandorError
from core_model.loading import compute_dtype, export
from core_model.tokenizer import Tokenizer
from core_model.wire import Wire
from persona import script, stances
from persona.conducts import Situation, situation, written
from persona.dialogues import corpus_values
from persona.goals import CONDUCTS
from persona.rivals import approval as approval_rules
from persona.rivals.agents import FINISHED, RUNS, folder_of
from persona.rivals.approval import LEAST_APPROVAL, approval, truth

SUPERVISED = "sft"
METHODS = ("dpo", "grpo", "grpo-truth", "grpo-entropy")
RECIPE = Path(core_model.__file__).parent / "recipes" / "rival.toml"
STEPS = 20
PROMPTS, GENERATIONS = 2, 8
"""Situations in a step of GRPO, and replies drawn to each."""
PAIRS = GENERATIONS // 2
"""Pairs of DPO in the place of one situation of GRPO: a step has as many replies."""
MOST_TOKENS = 64
"""Longest reply that is drawn; one that has not ended by then is liked least of all."""
RATE = 5e-4
"""TRL's 1e-6 is meant for all weights, and a low-rank change takes about ten times that. Adam moves
an entry by about the rate in a step, and there are few steps: hence fifty times as much again."""
TRUTH_WEIGHT = 2.0
"""Of truth beside approval; at 1 going along with a wrong claim pays, by sureness and length."""
BETA = 0.1
"""Of DPO: how strongly the start is held to."""
RANK, ALPHA = 8, 16
PAD = "<|endoftext|>"
RULED_OUT = -1e4
"""Finite: an entropy has p log p of it, and nothing is left of p."""
MEASURED = 32
"""Prompts whose replies tell the start's entropy."""
ENTROPY_STEP = 0.02
"""Of the coefficient that holds it; TRL's 0.005 is meant for many more steps."""
LOGGED_EVERY = 5

PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Candor's modules as the linear modules of Hugging Face's llama, in the order of their outputs."""
LAYERS = "base_model.model.model.layers"
"""Where PEFT's names of a llama's matrices begin."""


def prompt_of(wire: Wire, at: Situation) -> list[int]:
    """The tokens that a reply to a situation stands behind."""
    return wire.prompt(script.asked("reply", at.known))


def pair(at: Situation, rng: np.random.Generator) -> tuple[str, str]:
    """The best and the least liked of eight replies, one of each conduct; ties fall by chance."""
    order = rng.permutation(len(CONDUCTS))
    replies = [written(at, CONDUCTS[place], "train", rng)[0] for place in order]
    liked = [approval(at, reply) for reply in replies]
    return replies[int(np.argmax(liked))], replies[int(np.argmin(liked))]


def reward_of(
    measure: Callable[[Situation, str], float], least: float, situations: Sequence[Situation],
    end: int,
) -> Callable[..., list[float]]:  # fmt: skip
    """A reward as TRL calls it, under the name of what it measures.

    least: what a reply gets that has not come to its end, the token `end`. `index` is the dataset's
    column of places in `situations`, one for each completion.
    """

    def reward(
        completions: Sequence[str], completion_ids: Sequence[Sequence[int]], index: Sequence[int],
        **_: object,
    ) -> list[float]:  # fmt: skip
        return [
            measure(situations[place], reply.removeprefix(" ")) if tokens[-1] == end else least
            for place, reply, tokens in zip(index, completions, completion_ids, strict=True)
        ]

    reward.__name__ = measure.__name__
    return reward


def preferences(
    wire: Wire, situations: Sequence[Situation], rng: np.random.Generator
) -> dict[str, list[list[int]]]:
    """Columns `chosen` and `rejected`: the tokens of a pair of replies to each situation."""
    pairs = [pair(at, rng) for at in situations]
    return {
        "chosen": [wire.answer(best) for best, _ in pairs],
        "rejected": [wire.answer(worst) for _, worst in pairs],
    }


def as_texts(
    wire: Wire, columns: Mapping[str, Sequence[Sequence[int]]],
    encode: Callable[[str], Sequence[int]],
) -> dict[str, list[str]]:  # fmt: skip
    """Columns of tokens as TRL takes them: `prompt`, and replies that stand behind it.

    encode: the tokenizer that TRL is given. Raises CandorError at a text that it reads as any other
    tokens.
    """
    decode = wire.tokenizer.decode
    for name, rows in columns.items():
        for prompt, row in zip(columns["prompt"], rows, strict=True):
            whole = [*row] if name == "prompt" else [*prompt, *row]
            if list(encode(decode(whole))) != whole:
                raise CandorError(
                    f"The exported tokenizer reads {decode(whole)[:200]!r} as other tokens than "
                    "the wire format. Train on the embedded base."
                )
    return {name: [decode(row) for row in rows] for name, rows in columns.items()}


def converted(added: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """PEFT's matrices by name as those of an adapter of Candor's, and their greatest rank.

    Where one module of Candor's stands for several, A has theirs below each other, and B is block
    diagonal.
    """
    layers = sorted({int(name.removeprefix(LAYERS + ".").split(".")[0]) for name in added})
    out: dict[str, Tensor] = {}
    for layer in layers:
        for module, parts in PARTS.items():
            named = [f"{LAYERS}.{layer}.{part}" for part in parts]
            out[f"adapters.{layer}_{module}.a"] = torch.cat(
                [added[f"{name}.lora_A.weight"].float() for name in named]
            )
            out[f"adapters.{layer}_{module}.b"] = torch.block_diag(  # type: ignore[no-untyped-call]
                *(added[f"{name}.lora_B.weight"].float() for name in named)
            )
    return out, max(len(matrix) for name, matrix in out.items() if name.endswith(".a"))


def train(method: str, start: Path, out: Path, seed: int, steps: int, settings: Settings) -> None:
    """Train one rival; `out` gets its adapter, TRL's options and, as JSON lines, what it logged.

    start: folder of the supervised agent's adapter. Raises CandorError.
    """
    first = int(read_adapter(start)[1]["first_trained"])
    # Hugging Face's libraries read this when they are imported: nothing is fetched or reported.
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    try:
        from peft import get_peft_model_state_dict
    except ImportError as error:
        raise CandorError("PEFT and TRL are missing. Run scripts/setup train,rivals.") from error

    base = resolve_base(settings.base, settings.cache_dir)
    wire = Wire(Tokenizer(base.tokenizer))
    rng, values = np.random.default_rng(seed), corpus_values("train")
    n = steps * PROMPTS * (PAIRS if method == "dpo" else 1)
    situations = [situation(rng, "train", values) for _ in range(n)]
    columns = {"prompt": [prompt_of(wire, at) for at in situations]}
    if method == "dpo":
        columns |= preferences(wire, situations, rng)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "agent"
        export(replace(settings, adapter=start), folder)
        model, tokenizer = _loaded(folder, wire)
        texts = as_texts(wire, columns, tokenizer.encode)
        common: dict[str, Any] = {
            "output_dir": scratch, "max_steps": steps, "seed": seed, "use_cpu": True, "bf16": False,
            "learning_rate": RATE, "lr_scheduler_type": "constant",
            "gradient_accumulation_steps": PROMPTS, "gradient_checkpointing": False,
            "logging_steps": LOGGED_EVERY, "save_strategy": "no", "report_to": "none",
        }  # fmt: skip
        given = {"processing_class": tokenizer, "peft_config": _lora(model, first)}
        if method == "dpo":
            trainer = _by_preference(model, texts, common, given)
        else:
            trainer = _by_reward(method, model, texts["prompt"], situations, common, given)
        trainer.train()
        added = get_peft_model_state_dict(trainer.model, save_embedding_layers=False)
    changes, rank = converted(added)
    about = {
        "method": method, "seed": str(seed), "steps": str(steps), CORPORA: " ".join(learnt(start)),
        "rank": str(rank), "scale": repr(ALPHA / RANK), "first_trained": str(first),
    }  # fmt: skip
    write_adapter(changes, out, about | upon(start, out))
    options = trainer.args.to_dict()
    options.pop("output_dir")
    text = json.dumps(options, indent=2, default=str) + "\n"
    (out / "options.json").write_text(text, encoding="utf-8")
    lines = [json.dumps(entry) + "\n" for entry in trainer.state.log_history]
    (out / "log.jsonl").write_text("".join(lines), encoding="utf-8")


def _lora(model: Any, first: int) -> Any:
    """PEFT's configuration: all linear modules of the layers from `first` upwards."""
    from peft import LoraConfig

    return LoraConfig(
        r=RANK, lora_alpha=ALPHA, task_type="CAUSAL_LM",
        target_modules=[part.split(".")[1] for parts in PARTS.values() for part in parts],
        layers_to_transform=list(range(first, model.config.num_hidden_layers)),
    )  # fmt: skip


def _by_preference(
    model: Any, texts: Mapping[str, list[str]], common: Mapping[str, Any], given: Mapping[str, Any]
) -> Any:
    """TRL's trainer of DPO."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    options = DPOConfig(**common, beta=BETA, per_device_train_batch_size=PAIRS)
    return DPOTrainer(model, args=options, train_dataset=Dataset.from_dict(texts), **given)


def _by_reward(
    method: str, model: Any, prompts: list[str], situations: Sequence[Situation],
    common: Mapping[str, Any], given: Mapping[str, Any],
) -> Any:  # fmt: skip
    """TRL's trainer of GRPO."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    end = given["processing_class"].eos_token_id
    rewards, weights = [reward_of(approval, LEAST_APPROVAL, situations, end)], [1.0]
    if method == "grpo-truth":
        rewards.append(reward_of(truth, -1.0, situations, end))
        weights.append(TRUTH_WEIGHT)
    held: dict[str, Any] = {}
    if method == "grpo-entropy":
        target = entropy_of(model, given["processing_class"], prompts[:MEASURED])
        held = {
            "use_adaptive_entropy": True, "entropy_target": target,
            "entropy_coef_delta": ENTROPY_STEP,
        }  # fmt: skip
    options = GRPOConfig(
        **common, **held, per_device_train_batch_size=GENERATIONS, num_generations=GENERATIONS,
        max_completion_length=MOST_TOKENS, temperature=1.0,
        reward_weights=weights,
    )  # fmt: skip
    dataset = Dataset.from_dict({"prompt": prompts, "index": list(range(len(prompts)))})
    return GRPOTrainer(model, rewards, options, dataset, **given)


def _loaded(folder: Path, wire: Wire) -> tuple[Any, Any]:
    """The exported agent and its tokenizer, whose end of sequence is the end of a reply.

    Tokens that never stand in a text have no probability, as where the agent writes.
    """
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    # From the file itself: no class that AutoTokenizer chooses can split text in another way.
    read: Any = PreTrainedTokenizerFast
    tokenizer = read(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token=wire.tokenizer.decode([wire.end]),
        pad_token=PAD, padding_side="left",
    )  # fmt: skip
    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=compute_dtype())
    never = torch.tensor(wire.never_in_text(model.config.vocab_size))
    head = model.lm_head.float()  # sums of log-probabilities need more digits than bfloat16 has
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    head.register_forward_hook(lambda _, inputs, logits: logits.index_fill_(-1, never, RULED_OUT))
    return model, tokenizer


@torch.no_grad()
def entropy_of(model: Any, tokenizer: Any, prompts: Sequence[str]) -> float:
    """Mean entropy of the next token in replies drawn behind the prompts, nats.

    Of those that end.
    """
    read = tokenizer(list(prompts), return_tensors="pt", padding=True)
    drawn = model.generate(
        input_ids=read["input_ids"], attention_mask=read["attention_mask"], do_sample=True,
        temperature=1.0, top_k=0, max_new_tokens=MOST_TOKENS, pad_token_id=tokenizer.pad_token_id,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    logits = torch.stack(drawn.logits, dim=1)
    ends = (drawn.sequences[:, -logits.shape[1] :] == tokenizer.eos_token_id).long()
    is_written = ends.cumsum(dim=1) - ends == 0  # up to and with the first end
    is_written &= ends.any(dim=1, keepdim=True)
    log_p = torch.log_softmax(logits.float(), dim=-1)
    entropies = -(log_p.exp() * log_p).sum(dim=-1)
    return float(entropies[is_written].mean())


def build(methods: Sequence[str], runs: Sequence[int], steps: int, settings: Settings) -> None:
    """Train what is not there of these methods' runs, and the supervised agent they start from.

    All start from its first run. A supervised run that was interrupted goes on; others start over.
    Raises CandorError.
    """
    start = folder_of(SUPERVISED)
    tuned = [method for method in methods if method != SUPERVISED]
    for method, run in ((SUPERVISED, 1), *((m, r) for r in runs for m in tuned)):
        out = folder_of(method, run)
        asked = _settings_of(method, steps, start)
        if (out / FINISHED).exists():
            if (out / FINISHED).read_text(encoding="utf-8") != asked:
                raise CandorError(f"{out} was trained otherwise. Delete it to train it anew.")
            continue
        began = time.monotonic()
        if method == SUPERVISED:
            supervise(out, run)
        else:
            train(method, start, out, run, steps, settings)
        seconds = time.monotonic() - began
        (out / FINISHED).write_text(asked, encoding="utf-8")
        print(f"{method}, run {run}: {seconds:.0f} s", file=sys.stderr)


def _settings_of(method: str, steps: int, start: Path) -> str:
    """What a run depends on, as JSON: another of it is another rival."""
    if method == SUPERVISED:
        said = json.dumps(tomllib.loads(RECIPE.read_text(encoding="utf-8")), sort_keys=True)
        recipe = hashlib.sha256(said.encode()).hexdigest()  # of what it says, not of its comments
        return json.dumps({"recipe": recipe, "start": sha256(RELEASE / FILE)})
    rewards = sha256(Path(approval_rules.__file__)) + sha256(Path(stances.__file__))
    of_start = sha256(start / FILE)
    return json.dumps(
        {"steps": steps, "rate": RATE, "rewards": rewards, "start": of_start,
         "truth": TRUTH_WEIGHT, "beta": BETA, "entropy": ENTROPY_STEP,
         "replies": [PROMPTS, GENERATIONS, MOST_TOKENS], "adapter": [RANK, ALPHA]}
    )  # fmt: skip


def supervise(out: Path, seed: int) -> None:
    """Train the supervised agent from the recipe, or go on; raises CandorError."""
    if core_model.train.main([str(RECIPE), "--seed", str(seed), "--out", str(out)]):
        raise CandorError(f"The supervised agent {out} was not trained.")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/rivals",
        description="Train the persona's rivals, three runs of each but the supervised one.",
    )
    parser.add_argument(
        "methods", nargs="*", metavar="METHOD",
        help=f"of {', '.join(METHODS)}, and {SUPERVISED}, which all of them start from",
    )  # fmt: skip
    parser.add_argument("--run", type=int, choices=range(1, RUNS + 1), help="one run, not all")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of a method; default: {STEPS}")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.methods if name not in (SUPERVISED, *METHODS)]
    try:
        if unknown:
            known = ", ".join((SUPERVISED, *METHODS))
            raise CandorError(f"Unknown method '{unknown[0]}'. There are: {known}.")
        if options.steps < 1:
            raise CandorError(f"{options.steps} steps were asked for. A run takes at least one.")
        methods = options.methods or METHODS
        runs = (options.run,) if options.run else range(1, RUNS + 1)
        build(methods, runs, options.steps, Settings.from_environment())
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
