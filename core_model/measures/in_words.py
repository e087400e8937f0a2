"""The base model asked in words, as a baseline: the same conditionals, put to it as it was taught.

A chat of one turn says what is known and what is asked, by the names and descriptions that the
corpus gives its variables, and lists the answers where there are few. Answers are scored as the
assistant's reply, so every measure runs on it unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core_model import corpora, priors, wordings
from core_model.config import Settings
from core_model.corpora import schema
from core_model.graph import Schema
from core_model.notation import Draw, Step, parse
from core_model.planning import Conditional, learnt_chains
from core_model.wire import Wire

if TYPE_CHECKING:
    from core_model.torch_core import TorchCore

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""What the base's own chat template says where nothing else is said."""
ROLES = ("user", "assistant")
MOST_LISTED = 50


class InWordsWire(Wire):
    """Writes a conditional as a chat: prompts in words, answers as bare replies."""

    def prompt(self, conditional: Conditional) -> list[int]:
        return self.chat(in_words(conditional))

    def chat(self, question: str, before: Sequence[tuple[str, str]] = ()) -> list[int]:
        """The tokens of a conversation up to a reply; `before` are its questions and replies."""
        start, end = self.tokenizer.special["<|im_start|>"], self.tokenizer.special["<|im_end|>"]
        tokens: list[int] = []
        turns = [(role, text) for pair in before for role, text in zip(ROLES, pair, strict=True)]
        for role, text in (("system", SYSTEM), *turns, ("user", question)):
            tokens += [start, *self.tokenizer.encode(f"{role}\n{text}"), end]
            tokens += self.tokenizer.encode("\n")
        return [*tokens, start, *self.tokenizer.encode("assistant\n")]

    def answer(self, value: str) -> list[int]:
        return [*self.tokenizer.encode(value), self.end]


def in_words(conditional: Conditional) -> str:
    """The question of a conditional in plain words.

    >>> print(in_words(Conditional("names", "sex")))
    This is about US births by given name, sex and year, 1880 to 2017 (Social Security counts).
    What is the sex (sex registered at birth)?
    Answer with one of: female, male.
    """
    corpus = schema(conditional.corpus)
    lines = [f"This is about {corpus.doc or conditional.corpus}."]
    lines += [
        f"The {_named(corpus, b.variable)} is: {b.value}"
        if b.variable in corpus.names
        else f"The {b.variable} is: {b.value}"
        for b in conditional.given
    ]
    values = corpus.asked(conditional.variable).values
    if wordings.relation_of(conditional.corpus, conditional.variable):
        lines.append(conditional.variable)
    else:
        lines.append(f"What is the {_asked(corpus, conditional.variable)}?")
    listed = 0 < len(values) <= MOST_LISTED
    lines.append(f"Answer with one of: {', '.join(values)}." if listed else "Answer with it alone.")
    return "\n".join(lines)


def _asked(corpus: Schema, steps: str) -> str:
    """What steps ask for: `father; sibling` is the sibling of the father."""
    if steps in corpus.names:
        return _named(corpus, steps)
    query = parse(steps)
    assert isinstance(query, Draw)
    words = ""
    for step in query.steps:
        one = " and the ".join(_step(corpus, part) for part in step.parts)
        words = f"{one} of the {words}" if words else one
    return words


def _step(corpus: Schema, step: Step) -> str:
    name = step.relation.replace("_", " ")
    if step.inverse:
        return f"{corpus.document} whose {name} it is"
    return _named(corpus, step.relation)


def _named(corpus: Schema, name: str) -> str:
    doc = corpus.variable(name).doc
    return name.replace("_", " ") + (f" ({doc})" if doc else "")


def base_in_words(settings: Settings) -> tuple[TorchCore, InWordsWire]:
    """The base without an adapter, asked in words, and its wire; raises WeightsError."""
    from safetensors.torch import load_file

    from core_model.base import resolve_base
    from core_model.decoder import Decoder, DecoderShape, fused
    from core_model.loading import compute_dtype, identity, sampler_of
    from core_model.tokenizer import Tokenizer
    from core_model.torch_core import TorchCore

    base = resolve_base(settings.base, settings.cache_dir)
    shape = DecoderShape.read(base.config)
    weights = fused(shape, load_file(base.weights))
    decoder = Decoder(shape, weights, compute_dtype())
    wire = InWordsWire(Tokenizer(base.tokenizer))
    if weights["head"] is weights["embed"]:
        weights.pop("head")
    name = identity(base, None)
    sampler = sampler_of(settings, shape, weights, base.tokenizer, wire, name, lambda *_: None)
    return TorchCore(decoder.eval(), wire, "base in words", sampler, asked_in_words()), wire


def asked_in_words() -> tuple[str, ...]:
    """All that an adapter may have learnt of the corpora: whatever has a name can be said."""
    names = corpora.known()
    variables = [variable for name in names for variable in corpora.schema(name).variables]
    later = dict.fromkeys(v.learnt_as for v in variables if v.learnt_as is not None)
    ways = [
        marker(name) for name in names for marker in (learnt_chains, priors.learnt, wordings.learnt)
    ]
    return (*names, *later, *dict.fromkeys(ways))
