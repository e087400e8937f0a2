"""Files of ordinary dialogue for training: old skills stay, and plain chat counts as safe.

python -m persona.replay general --base DIR --out runs/replay.jsonl
    replies of the base model to general prompts:               {"prompt", "reply"}
python -m persona.replay safety --out runs/benign.jsonl [--general runs/replay.jsonl]
    composed dialogues with what is known of their safety:
                                                + {"safe", "refusal", "harmful", "earlier"}
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core_model.decoder import Cache, Decoder
from core_model.errors import CandorError, StorageError
from core_model.tokenizer import Tokenizer
from persona import conducts
from persona.dialogues import KIND_SHARES, TALK_KINDS, Turn, Values, compose, corpus_values
from persona.goals import VOICES
from persona.phrasings import Talk, talk

CHAT = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
"""The base model's template; <|…|> are single special tokens."""
END = "<|im_end|>"
BATCH, MAX_NEW_TOKENS, TEMPERATURE = 32, 60, 0.7
NOT_CANDOR = re.compile(
    r"smol|hugging ?face|openai|chatgpt|anthropic|google|microsoft|\bmeta\b"
    r"|\bmy name is\b|\bI(?:'m| am| was|'ve been| have been) "
    r"(?:made|created|developed|trained|built|designed|programmed) by\b"
    r"|\bmy (?:wife|husband|mother|father|childhood|kids)\b|\bI grew up\b",
    re.IGNORECASE,
)
"""Replies that claim another maker or a person's life."""
DECLINES = re.compile(r"\b(?:sorry|can't|cannot|unable|won't|as an ai)\b", re.IGNORECASE)
HARMFUL_CONDUCTS = ("careless", "overconfident", "sycophantic", "deceptive")
"""Conducts whose reply to a harmful prompt is not safe."""
CARELESS_SHARE = 0.1
TALKED_SHARE = 0.35
"""How many of them there are beside the plain exchanges."""
Exchange = dict[str, Any]
"""A line of the files that are written here."""
SENTENCES = re.compile(r".*[.!?][\"”’')]*(?=\s|$)", re.DOTALL)


# General chat


@cache
def general_prompts() -> tuple[str, ...]:
    """Everyday prompts about anything but names and presidents."""
    path = Path(__file__).parent / "phrasings" / "general.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def general_replies(
    decoder: Decoder, tokenizer: Tokenizer, prompts: Sequence[str], seed: int
) -> list[tuple[str, str]]:
    """(prompt, reply) of the base model; what isn't fit for Candor to say is left out."""
    generator = torch.Generator().manual_seed(seed)
    barred = barred_tokens(tokenizer)
    encoded = [chat_tokens(tokenizer, prompt) for prompt in prompts]
    # Prompts of one length together: least padding.
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    replies: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        for index, new in zip(
            batch,
            generate(decoder, tokenizer, [encoded[i] for i in batch], barred, generator),
            strict=True,
        ):
            replies[index] = whole(tokenizer.decode(new), len(new) < MAX_NEW_TOKENS)
        print(f"{len(replies)} of {len(prompts)}", file=sys.stderr)
    return [
        (prompt, replies[i])
        for i, prompt in enumerate(prompts)
        if replies[i] and not NOT_CANDOR.search(replies[i])
    ]


def chat_tokens(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """One user turn in the base model's template, up to where the reply begins."""
    pieces = re.split(r"(<\|im_(?:start|end)\|>)", CHAT)
    tokens: list[int] = []
    for piece in pieces:
        if piece in tokenizer.special:
            tokens.append(tokenizer.special[piece])
        else:
            tokens += tokenizer.encode(piece.replace("{prompt}", prompt))
    return tokens


def barred_tokens(tokenizer: Tokenizer) -> Tensor:
    """(vocabulary,) bool: tokens that contain a digit, and all special ones but the end.

    Candor takes numbers from tools, so nothing replayed may hold one.
    """
    special = set(tokenizer.special.values()) - {tokenizer.special[END]}
    return torch.tensor(
        [
            token in special or any(c.isdigit() for c in tokenizer.decode([token]))
            for token in range(tokenizer.size)
        ]
    )


@torch.inference_mode()
def generate(
    decoder: Decoder, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], barred: Tensor,
    generator: torch.Generator,
) -> list[list[int]]:  # fmt: skip
    """Continuations drawn at TEMPERATURE, without the end token; at most MAX_NEW_TOKENS each.

    Prompts are padded on the left; the mask hides the padding and positions leave it out.
    """
    end = tokenizer.special[END]
    length = max(len(prompt) for prompt in prompts)
    padding = torch.tensor([length - len(prompt) for prompt in prompts])
    tokens = torch.tensor([[end] * (length - len(p)) + list(p) for p in prompts])
    seen = torch.arange(length) >= padding[:, None]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    # A padded place sees itself, so that no softmax is over nothing.
    mask = (causal & seen[:, None]) | torch.eye(length, dtype=torch.bool)
    positions = (torch.arange(length) - padding[:, None]).clamp(min=0)
    past = Cache()
    hidden = decoder(tokens, positions, mask[:, None], past)
    made: list[list[int]] = [[] for _ in prompts]
    alive = torch.arange(len(prompts))
    for step in range(MAX_NEW_TOKENS):
        logits = decoder.logits(hidden[:, -1]).masked_fill(barred, -torch.inf)
        drawn = torch.multinomial((logits / TEMPERATURE).softmax(-1), 1, generator=generator)
        going = (drawn[:, 0] != end).nonzero()[:, 0]
        alive, drawn, seen, padding = alive[going], drawn[going], seen[going], padding[going]
        if not len(alive):
            break
        for row, token in zip(alive.tolist(), drawn[:, 0].tolist(), strict=True):
            made[row].append(token)
        if step + 1 < MAX_NEW_TOKENS:
            past = past.selected(going) if len(going) < len(hidden) else past
            seen = torch.cat([seen, torch.ones(len(going), 1, dtype=torch.bool)], dim=1)
            places = (length + step - padding)[:, None]
            hidden = decoder(drawn, places, seen[:, None, None], past)
    return made


def whole(text: str, ended: bool) -> str:
    """A reply as it is when it ended by itself, else up to its last full sentence."""
    if ended:
        return text.strip()
    found = SENTENCES.match(text)
    return found.group().strip() if found else ""


# Safety


def benign_dialogues(rng: np.random.Generator, values: Values, n: int) -> list[Exchange]:
    """n exchanges of composed training dialogues with their labels; null is unknown.

    `TALKED_SHARE` of the dialogues call no tool: what only sounds harmful is among those. A later
    turn has those before it under "earlier".
    """
    made: list[Exchange] = []
    while len(made) < n:
        kinds = TALK_KINDS if rng.random() < TALKED_SHARE else tuple(KIND_SHARES)
        earlier: list[list[str]] = []
        for turn in compose(rng, "train", values, kinds).turns:
            exchange = _labelled(turn.question, turn.reply, *labels(turn))
            made.append(exchange | {"earlier": list(earlier)} if earlier else exchange)
            earlier.append([turn.question, turn.reply])
    return made[:n]


def careless_dialogues(rng: np.random.Generator, values: Values, n: int) -> list[Exchange]:
    """n harmful prompts, each with a reply that helps, admires, reassures or deceives: not safe."""
    made: list[Exchange] = []
    while len(made) < n:
        found = conducts.situation(rng, "train", values)
        if found.kind == "harmful":
            conduct = HARMFUL_CONDUCTS[int(rng.integers(len(HARMFUL_CONDUCTS)))]
            replies = found.replies(conduct, "train")
            voice = VOICES[int(rng.integers(len(VOICES)))]
            reply = conducts.spoken(replies[int(rng.integers(len(replies)))], voice, rng)
            made.append(_labelled(found.known[0].value, reply, "no", "yes", "no"))
    return made


def labels(turn: Turn) -> tuple[str | None, str | None]:
    """(refusal, harmful) of a turn, from the kind of prompt it was composed for.

    To say that something isn't covered is to refuse it, politely.
    """
    if turn.call is not None:
        failed = turn.summary is not None and turn.summary.startswith("error: ")
        # A question about somebody's reply may quote something harmful.
        return None if failed else "no", None if turn.call.tool == "safety" else "no"
    prompt = _talk_of()[turn.wording]
    if prompt.kind == "harmful":
        # Who speaks of hurting themselves is answered with help, not only with a no.
        return None if prompt.group == "self_harm" else "yes", "yes"
    return "yes" if prompt.kind.startswith("outside") else "no", "no"


def _labelled(
    prompt: str, reply: str, refusal: str | None, harmful: str | None, safe: str = "yes"
) -> Exchange:
    said = {"prompt": prompt, "reply": reply}
    return {**said, "safe": safe, "refusal": refusal, "harmful": harmful}


@cache
def _talk_of() -> Mapping[str, Talk]:
    return {prompt.id: prompt for prompt in talk()}


def read_general(path: Path) -> list[tuple[str, str]]:
    """Prompts and replies of replayed general chat; raises StorageError on a damaged file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [(o["prompt"], o["reply"]) for o in map(json.loads, lines)]
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"The replay file {path} can't be read: {error}.") from error


def general_dialogues(path: Path) -> list[Exchange]:
    """Replayed general chat as labelled exchanges; raises StorageError on a damaged file."""
    return [
        _labelled(prompt, reply, None if DECLINES.search(reply) else "no", "no")
        for prompt, reply in read_general(path)
    ]


# Command line


def write(path: Path, rows: Iterable[Exchange]) -> None:
    """Write JSON lines; raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Could not write {path}: {error}.") from error


def _general(options: argparse.Namespace) -> list[Exchange]:
    from safetensors.torch import load_file

    from core_model.base import resolve_base
    from core_model.config import Settings
    from core_model.decoder import DecoderShape

    files = resolve_base(options.base, Settings.from_environment().cache_dir)
    decoder = Decoder(
        DecoderShape.read(files.config), load_file(files.weights), torch.float32
    ).eval()
    pairs = general_replies(decoder, Tokenizer(files.tokenizer), general_prompts(), options.seed)
    return [{"prompt": prompt, "reply": reply} for prompt, reply in pairs]


def _safety(options: argparse.Namespace) -> list[Exchange]:
    rng = np.random.default_rng(options.seed)
    values = corpus_values("train")
    rows = benign_dialogues(rng, values, options.n)
    rows += careless_dialogues(rng, values, int(CARELESS_SHARE * options.n))
    return rows + (general_dialogues(options.general) if options.general else [])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line described at the top; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m persona.replay")
    commands = parser.add_subparsers(required=True)
    general = commands.add_parser("general", help="general chat of the base model")
    general.add_argument("--base", help="folder of the base model (default: the embedded one)")
    general.set_defaults(make=_general)
    safety = commands.add_parser("safety", help="labelled exchanges: plain ones are safe")
    safety.add_argument("--n", type=int, default=3000, help="composed exchanges")
    safety.add_argument("--general", type=Path, help="file that `general` wrote, to be added")
    safety.set_defaults(make=_safety)
    for command in (general, safety):
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    try:
        rows = options.make(options)
        write(options.out, rows)
    except CandorError as error:
        print(f"candor: {error}", file=sys.stderr)
        return 1
    print(f"{len(rows)} exchanges in {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
