"""Train an adapter from a recipe: `python -m core_model.train RECIPE --out FOLDER`.

Each step draws its rows from (seed, step, task) alone, so a run that was killed continues from
its last checkpoint to the losses it would have had. The log is one JSON line a step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from core_model.adapter import CORPORA, folder_named, learnt, save_adapter, upon, with_adapter
from core_model.base_files import BaseFiles
from core_model.core import Core
from core_model.corpora.safety import WITHOUT
from core_model.decoder import HEAD, Decoder, DecoderShape
from core_model.errors import CandorError
from core_model.likelihood import batches, row_losses
from core_model.loading import compute_dtype
from core_model.prefix_tree import PackedRow
from core_model.recipe import Latent, Recipe, Task, read_recipe
from core_model.tokenizer import Tokenizer
from core_model.torch_core import TorchCore
from core_model.wire import Wire

HEAD_EPSILON = 1e-6
"""Of Adam, for the head's adapter; gradients are clipped to a norm of 1."""


def train(
    recipe: Recipe, decoder: Decoder, tasks: list[Task], out: Path, silent: Sequence[int] = (),
    core: Callable[[], Core] | None = None,
) -> None:  # fmt: skip
    """Run the recipe from the last checkpoint in `out`; each checkpoint saves the adapter.

    core: makes one on this decoder as it is now, for tasks with missing labels.
    """
    out.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        _groups(decoder), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    latent = {str(n): task for n, task in enumerate(tasks) if isinstance(task, Latent)}
    first = _resume(recipe, out, decoder, optimizer, latent)
    starts = [folder_named(name) for name in (recipe.start, recipe.upon) if name is not None]
    known = known_by({name for task in tasks for name in task.corpora}, map(learnt, starts))
    below = {} if recipe.upon is None else upon(folder_named(recipe.upon), out)
    if first == 0 and (out / "log.jsonl").exists():
        (out / "log.jsonl").unlink()
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        progress = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, unit="step")
        for step in progress:
            begun = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * recipe.factor(step)
            if core is not None and step % recipe.expect_every == 0:
                for number, task in latent.items():
                    task.expect(core(), np.random.default_rng([recipe.seed, step, int(number), 1]))
            row = _step(recipe, decoder, tasks, optimizer, step, silent)
            row |= {"seconds": round(time.monotonic() - begun, 3)}
            log.write(json.dumps({"step": step} | row) + "\n")
            log.flush()
            progress.set_postfix_str(
                " ".join(f"{k}={v['loss']:.3f}" for k, v in row["tasks"].items())
            )
            if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
                _checkpoint(recipe, out, decoder, optimizer, latent, step + 1)
                facts = {
                    "recipe": recipe.name, "seed": str(recipe.seed), "steps": str(step + 1),
                    CORPORA: " ".join(sorted(known)),
                }  # fmt: skip
                save_adapter(decoder, out, facts | below)


def _groups(decoder: Decoder) -> list[dict[str, Any]]:
    """The parameters for the optimizer, those of the head in a group of their own.

    Nearly all tokens are nearly impossible where an answer is due. Without the larger epsilon their
    rows would be moved as far as those of the answers, only to make them more impossible.
    """
    of_head = [p for name, p in decoder.named_parameters() if f".{HEAD}." in name]
    others = [p for name, p in decoder.named_parameters() if f".{HEAD}." not in name]
    return [{"params": others}, *([{"params": of_head, "eps": HEAD_EPSILON}] if of_head else [])]


def known_by(taught: Iterable[str], before: Iterable[Sequence[str]]) -> set[str]:
    """What an adapter has learnt from tasks, and from those that it starts from.

    What its tasks leave out is not unseen where one of these has seen it, and what these never saw
    is not unseen where its tasks show it.
    """
    parts = [set(taught), *map(set, before)]
    of_safety = [part for part in parts if "safety" in part]
    return {
        name
        for name in set().union(*parts)
        if not name.startswith(WITHOUT) or all(name in part for part in of_safety)
    }


def _step(
    recipe: Recipe, decoder: Decoder, tasks: list[Task], optimizer: torch.optim.Optimizer,
    step: int, silent: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """One optimizer step; returns its log entry: tokens, and per task loss and excess (nats)."""
    rows: list[PackedRow] = []
    task_of: list[int] = []
    for number, (entry, task) in enumerate(zip(recipe.tasks, tasks, strict=True)):
        rng = np.random.default_rng([recipe.seed, step, number])
        made = task.rows(rng, entry.rows)
        rows += made
        task_of += [number] * len(made)
    scale = torch.tensor([recipe.tasks[t].weight / recipe.tasks[t].rows for t in task_of])
    optimizer.zero_grad()
    losses = torch.zeros(len(rows))
    for batch in batches(rows):
        index = list(batch.rows)
        each = row_losses(decoder, batch, silent)
        (each * scale[index]).sum().backward()  # type: ignore[no-untyped-call]
        losses[index] = each.detach()
    norm = torch.nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip)
    optimizer.step()
    floors = torch.tensor([row.floor for row in rows])
    numbers = torch.tensor(task_of)
    return {
        "tokens": sum(len(row.tokens) for row in rows),
        "gradient_norm": round(float(norm), 4),
        "tasks": {
            entry.name: {
                "loss": round(float(losses[numbers == t].mean()), 5),
                "excess": round(float((losses - floors)[numbers == t].mean()), 5),
            }
            for t, entry in enumerate(recipe.tasks)
        },
    }


def _checkpoint(
    recipe: Recipe, out: Path, decoder: Decoder, optimizer: torch.optim.Optimizer,
    latent: Mapping[str, Latent], step: int,
) -> None:  # fmt: skip
    temporary = out / "checkpoint.new"
    state = {
        "recipe": recipe.model_dump_json(),
        "step": step,
        "parameters": decoder.state_dict(),
        "optimizer": optimizer.state_dict(),
        "expectations": {number: task.expectations for number, task in latent.items()},
    }
    torch.save(state, temporary)
    temporary.replace(out / "checkpoint.pt")


def _resume(
    recipe: Recipe, out: Path, decoder: Decoder, optimizer: torch.optim.Optimizer,
    latent: Mapping[str, Latent],
) -> int:  # fmt: skip
    """Restore the last checkpoint and cut the log back to it; returns the next step.

    Raises CandorError where the checkpoint is damaged or of another recipe.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    remedy = "Delete the folder to start over, or give another with --out."
    try:
        state = torch.load(path, weights_only=True)
        other = state["recipe"] != recipe.model_dump_json()
        if not other:
            decoder.load_state_dict(state["parameters"])
            optimizer.load_state_dict(state["optimizer"])
            for number, task in latent.items():
                task.expectations = state["expectations"][number]
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError) as error:
        raise CandorError(f"{path} is damaged ({type(error).__name__}). {remedy}") from error
    if other:
        raise CandorError(f"{out} holds a run of another recipe '{recipe.name}'. {remedy}")
    step = int(state["step"])
    log = out / "log.jsonl"
    lines: Iterable[str] = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = []
    for line in lines:
        with contextlib.suppress(ValueError):  # a kill may have cut the last line short
            if json.loads(line)["step"] < step:
                kept.append(line + "\n")
    log.write_text("".join(kept), encoding="utf-8")
    return step


def start_decoder(recipe: Recipe, base: BaseFiles, wire: Wire) -> Decoder:
    """The decoder a recipe starts from: fresh adapters on the base, or those of another run.

    Fresh ones on what another adapter has changed have no rows of the embedding: it stays.
    """
    torch.manual_seed(recipe.seed)
    shape = DecoderShape.read(base.config)
    weights: dict[str, Tensor] = load_file(base.weights)
    rows = wire.mark_rows(weights["model.embed_tokens.weight"])
    if recipe.start is not None:
        start = folder_named(recipe.start)
        ranks = recipe.rank, recipe.head_rank or None  # none of its own: what the start has
        return with_adapter(shape, weights, start, compute_dtype(), rows, *ranks)
    if recipe.upon is not None:
        weights = with_adapter(shape, weights, folder_named(recipe.upon), torch.float32).merged()
        rows = {}
    return Decoder(
        shape, weights, compute_dtype(), recipe.rank, recipe.alpha, recipe.first_trained, rows,
        head_rank=recipe.head_rank,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/train", description="Train an adapter.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME)")
    parser.add_argument("--base", type=Path, help="folder of the base weights")
    parser.add_argument(
        "--without", metavar="TASKS", help="tasks left out, as in A,B: an ablation of the recipe"
    )
    parser.add_argument("--steps", type=int, help="steps in place of the recipe's")
    parser.add_argument("--seed", type=int, help="seed in place of the recipe's")
    options = parser.parse_args(arguments)
    try:
        from core_model.base import resolve_base
        from core_model.config import Settings

        recipe = read_recipe(options.recipe)
        recipe = recipe.changed(options.without, options.steps, options.seed)
        settings = Settings.from_environment()
        base = resolve_base(options.base or settings.base, settings.cache_dir)
        wire = Wire(Tokenizer(base.tokenizer))
        tasks = [entry.make(wire) for entry in recipe.tasks]
        out = options.out or Path("runs") / recipe.name
        decoder = start_decoder(recipe, base, wire)
        train(recipe, decoder, tasks, out, wire.silent, lambda: TorchCore(decoder, wire))
    except CandorError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
