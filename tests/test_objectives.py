"""Laws of the objectives: nothing where relations agree, something where not, and less by training.

Log-probabilities come from the toy core's written-down tables, and from a small model trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from core_model import corpora
from core_model.core import Core
from core_model.corpora import kin
from core_model.corpora.places import held_out_compound
from core_model.decoder import Decoder
from core_model.errors import CandorError
from core_model.likelihood import batches, row_losses
from core_model.notation import Binding, Draw, Step
from core_model.objectives import ChainTask, InversionTask, OrderTask, PresenceTask
from core_model.objectives.conditioning import MOST_MOVED, consensus_gap, moved
from core_model.objectives.inversion import bayes_gap
from core_model.objectives.outcomes import split
from core_model.objectives.priors import prior_gap
from core_model.objectives.transitivity import chain_row, mixture_gap
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow, PrefixTree, RowBuilder
from tests import tiny, toy
from tests.test_tasks import questions


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as made:
        yield made


def log_p(core: Core, variable: str, answers: list[str], **known: str) -> Tensor:
    given = tuple(Binding(name, value) for name, value in known.items())
    found = core.log_prob_of(Conditional("weather", variable, given), answers)
    return torch.from_numpy(found).clamp(min=-60)


SKIES, WINDS = list(toy.SKY), ["0", "10", "20"]


def inversion(core: Core) -> tuple[Callable[..., Tensor], list[Tensor]]:
    text = "A day like any other; nobody looked up."
    written = torch.cat([log_p(core, "text", [text], sky=sky) for sky in SKIES])
    return bayes_gap, [log_p(core, "sky", SKIES, text=text), written, log_p(core, "sky", SKIES)]


def stated_prior(core: Core) -> tuple[Callable[..., Tensor], list[Tensor]]:
    read, own = log_p(core, "sky", SKIES, word="grey"), log_p(core, "sky", SKIES)
    prior = torch.log(torch.linspace(1, 3, len(SKIES), dtype=torch.float64))
    return prior_gap, [torch.log_softmax(read - own + prior, dim=0), read, own, prior]


def tower(core: Core) -> tuple[Callable[..., Tensor], list[Tensor]]:
    then = torch.stack([log_p(core, "wind", WINDS, sky=sky) for sky in SKIES])
    return mixture_gap, [log_p(core, "sky", SKIES), then, log_p(core, "wind", WINDS)]


def orders(core: Core) -> tuple[Callable[..., Tensor], list[Tensor]]:
    one = log_p(core, "wind", WINDS, sky="cloudy", word="grey")
    other = log_p(core, "wind", WINDS, word="grey", sky="cloudy")
    return consensus_gap, [torch.stack([one, other])]


LAWS = pytest.mark.parametrize("law", [inversion, stated_prior, tower, orders])


@LAWS
def test_a_core_that_agrees_has_no_gap(law: Callable[..., object], core: Core) -> None:
    gap, parts = law(core)  # type: ignore[misc]
    assert float(gap(*parts)) == pytest.approx(0.0, abs=1e-9)


@LAWS
def test_a_gap_is_positive_and_training_closes_it(law: Callable[..., object], core: Core) -> None:
    """Log-probabilities that were pushed apart come to agree again by descent on the gap."""
    gap, parts = law(core)  # type: ignore[misc]
    torch.manual_seed(0)
    pushed = [(part + torch.randn_like(part)).requires_grad_() for part in parts]
    before = float(gap(*pushed).detach())
    assert before > 0.02
    optimizer = torch.optim.Adam(pushed, lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        gap(*pushed).backward()
        optimizer.step()
    assert float(gap(*pushed).detach()) < 0.02 * before


def test_the_target_of_a_mixture_is_not_trained_by_it() -> None:
    between, then, once = torch.randn(3), torch.randn(3, 4), torch.randn(4)
    for part in (between, then, once):
        part.requires_grad_()
    mixture_gap(between, then, once).backward()
    assert between.grad is None
    assert then.grad is None
    assert once.grad is not None


def test_an_inversion_trains_writing_alone() -> None:
    parts = [torch.randn(4).requires_grad_() for _ in range(3)]
    bayes_gap(*parts).backward()
    assert parts[2].grad is None
    assert parts[0].grad is None and parts[1].grad is not None


def test_another_prior_moves_the_reversal_as_bayes_says() -> None:
    written, prior = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    posterior = torch.log_softmax(written + prior, dim=0)
    shift = torch.randn(4, dtype=torch.float64)
    assert float(bayes_gap(posterior + shift, written, prior + shift)) == pytest.approx(
        0.0, abs=1e-9
    )
    assert float(bayes_gap(posterior, written, prior + shift)) > 1e-3


def test_a_core_that_agrees_among_the_answers_has_a_gap_where_it_holds_other_ones_too() -> None:
    even = torch.log(torch.full((2,), 0.5))
    less = even + np.log(0.6)  # 0.4 are for answers that are not scored
    assert float(consensus_gap(torch.stack([even, less]))) == pytest.approx(0.0, abs=1e-6)
    assert split(less).exp().tolist() == pytest.approx([0.6, 0.4])
    assert float(consensus_gap(split(torch.stack([even, less])))) > 0.1
    assert torch.isfinite(split(even)).all()
    assert split(torch.stack([even, less])[None]).shape == (1, 2, 2)


# --- in packed rows -----------------------------------------------------------------------------


def test_scored_answers_have_the_log_probabilities_of_separate_rows(core: Core) -> None:
    """Prompts that share a beginning and answers that share theirs are read once, as if alone."""
    wire, decoder = tiny.wire(), tiny.decoder()
    answers = list(toy.WORDS)
    prompts = [wire.prompt(Conditional("weather", "word", (Binding("sky", sky),))) for sky in SKIES]
    builder = RowBuilder()
    tree = PrefixTree.build([wire.answer(answer) for answer in answers])
    places = [builder.score(tree, builder.prompt(prompt)) for prompt in prompts]
    seen: list[Tensor] = []

    def keep(found: Tensor) -> Tensor:
        seen.append(found.detach())
        return found.sum() * 0

    packed = builder.build(keep)
    assert len(packed.tokens) < sum(map(len, prompts)) + 2 * sum(map(len, wire_answers(answers)))
    (batch,) = batches([packed])
    row_losses(decoder, batch, wire.silent)
    for prompt, place in zip(prompts, places, strict=True):
        alone = [-one(decoder, prompt, wire.answer(answer)) for answer in answers]
        assert seen[0][place].tolist() == pytest.approx(alone, abs=1e-4)


def wire_answers(answers: list[str]) -> list[list[int]]:
    return [tiny.wire().answer(answer) for answer in answers]


def one(decoder: torch.nn.Module, prompt: list[int], answer: list[int]) -> float:
    """-log p(answer | prompt), nats, of a row of its own."""
    builder = RowBuilder()
    builder.answer(answer, builder.extend(prompt))
    (batch,) = batches([builder.build()])
    return float(row_losses(decoder, batch, tiny.wire().silent)[0])  # type: ignore[arg-type]


def test_rows_with_and_without_an_objective_share_a_batch(core: Core) -> None:
    decoder, wire = tiny.decoder(), tiny.wire()
    plain = tiny.WordTask(wire).row("clear", "10")
    related = OrderTask(wire, ["weather"]).rows(np.random.default_rng(0), 1)[0]
    together = [plain, related, plain]
    (batch,) = batches(together)
    losses = row_losses(decoder, batch, wire.silent)
    for row, loss in zip(together, losses.tolist(), strict=True):
        (alone,) = batches([row])
        assert float(row_losses(decoder, alone, wire.silent)[0]) == pytest.approx(loss, abs=1e-4)
    assert float(losses[1]) > 0


@pytest.mark.parametrize("task", [OrderTask, PresenceTask])
def test_training_a_model_closes_its_gap(task: type[OrderTask], core: Core) -> None:
    wire = tiny.wire()
    decoder = tiny.decoder(rank=8, seed=1)
    source = task(wire, ["weather"])

    def gap(rows: list[PackedRow]) -> Tensor:
        return torch.cat([row_losses(decoder, batch, wire.silent) for batch in batches(rows)])

    seen = source.rows(np.random.default_rng(0), 30)
    before = float(gap(seen).mean().detach())
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    for step in range(40):
        optimizer.zero_grad()
        gap(source.rows(np.random.default_rng(step + 1), 6)).mean().backward()
        optimizer.step()
    assert before > 1e-4
    assert float(gap(seen).mean().detach()) < 0.5 * before


@pytest.mark.parametrize("kin_share", [0.0, 1.0])
def test_a_chain_row_has_a_gap_that_its_model_can_close(kin_share: float) -> None:
    wire, decoder = tiny.wire(), tiny.decoder(rank=8)
    (row,) = ChainTask(wire, kin_share).rows(np.random.default_rng(2), 1)
    gap = closed_by_training(decoder, row)
    assert gap[0] > 1e-4
    assert gap[-1] < 0.5 * gap[0]


def test_a_chain_that_has_a_name_is_asked_by_it_too() -> None:
    wire, decoder = tiny.wire(), tiny.decoder(rank=8)
    torch.manual_seed(0)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    family, text = kin.draw(np.random.default_rng(0), "train")
    about = (Binding("person", family.people[-1]),)
    chain = Draw("kin", (Step("father"), Step("mother")), about)
    named = Draw("kin", (Step("paternal_grandmother"),), about)
    people = list(family.people[:4])

    def gap(query: Draw, *others: Draw) -> float:
        row = chain_row(wire, query, text, people, people, others)
        (batch,) = batches([row])
        return float(row_losses(decoder, batch, wire.silent)[0].detach())

    joined, both = gap(chain), gap(chain, named)
    assert joined != pytest.approx(both, rel=1e-4)
    assert 3 * gap(chain, named, named) == pytest.approx(4 * both - joined, rel=1e-3)


def test_countries_whose_chains_are_held_out_are_in_no_chain_row() -> None:
    known = set()
    for row in ChainTask(tiny.wire(), 0.0).rows(np.random.default_rng(1), 40):
        with np.errstate(invalid="ignore"):  # scored answers have no weights
            known |= {given["country"] for given, _, _ in questions(row) if "country" in given}
    assert len(known) > 60
    assert not any(map(held_out_compound, known))


def test_chains_of_families_end_in_somebody_and_are_of_two_or_three_relations() -> None:
    task, lengths = ChainTask(tiny.wire(), 1.0), set()
    for seed in range(40):
        family, text = kin.draw(np.random.default_rng(seed), "train")
        row = task._kin(np.random.default_rng(seed))
        with np.errstate(invalid="ignore"):
            asked = [(known, what) for known, what, _ in questions(row)]
        known, chain = max(asked, key=lambda one: one[1].count(";"))
        assert known["family"] == text
        assert family.along(chain.split("; "), known["person"]).get(kin.NOBODY, 0.0) < 1
        lengths.add(chain.count(";") + 1)
    assert lengths == {2, 3}


def test_presence_is_asked_behind_any_part_of_a_record() -> None:
    known = set()
    for row in PresenceTask(tiny.wire(), ["speeches"]).rows(np.random.default_rng(0), 60):
        with np.errstate(invalid="ignore"):
            found = [frozenset(given) for given, _, _ in questions(row)]
        known.add(min(found, key=len))
    parts = {part - {"topic", "party", "medium"} for part in known}
    assert parts >= {frozenset(), frozenset({"text"}), frozenset({"text", "author", "year"})}


def test_what_has_no_labels_of_few_values_says_nothing_of_presence() -> None:
    for name in ("names", "places"):
        with pytest.raises(CandorError, match="no two labels"):
            PresenceTask(tiny.wire(), [name])


def test_numbers_that_are_known_are_moved_to_near_ones() -> None:
    schema, rng = corpora.schema("speeches"), np.random.default_rng(0)
    values = {"year": "1901", "party": "Republican"}
    found = [moved(schema, values, rng) for _ in range(200)]
    years = {int(each["year"]) for each in found}
    assert {each["party"] for each in found} == {"Republican"}
    assert years == set(range(1901 - MOST_MOVED, 1901 + MOST_MOVED + 1))


@pytest.mark.parametrize("parts", [1, 3])
def test_an_inversion_row_has_a_gap_that_its_model_can_close(core: Core, parts: int) -> None:
    decoder = tiny.decoder(rank=8)
    task = InversionTask(tiny.wire(), "weather", "sky", parts=parts)
    (row,) = task.rows(np.random.default_rng(0), 1)
    gap = closed_by_training(decoder, row)
    assert gap[0] > 1e-4
    assert gap[-1] < 0.5 * gap[0]


def test_a_path_is_scored_at_every_length_as_a_whole_answer_is() -> None:
    wire = tiny.wire()
    tokens = wire.answer("sunny day")
    builder = RowBuilder()
    after = builder.prompt(wire.prompt(Conditional("weather", "text")))
    path = builder.score_path(tokens, after, [3, len(tokens)])
    shorter = [*tokens[:3], wire.end]
    tree = builder.score(PrefixTree.build([tokens, shorter]), after)
    found = []

    def keep(log_p: Tensor) -> Tensor:
        found.extend([log_p[path].tolist(), log_p[tree].tolist()])
        return log_p.sum() * 0

    (batch,) = batches([builder.build(keep)])
    row_losses(tiny.decoder(), batch, wire.silent)
    (begun, written), (whole, ended) = found
    assert written == pytest.approx(whole, abs=1e-5)
    # Where the shorter answer ends, one token more is paid for.
    assert begun > ended
    assert begun > written


def closed_by_training(decoder: Decoder, row: PackedRow) -> list[float]:
    """The loss of one row over some steps of training on it."""
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    (batch,) = batches([row], max_tokens=10_000)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = row_losses(decoder, batch, tiny.wire().silent).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_a_prior_that_is_stated_trains_the_answer_under_it_and_nothing_else() -> None:
    stated, read, own, prior = (
        torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in "srop"
    )
    prior_gap(stated, read, own, prior).backward()
    assert stated.grad is not None and stated.grad.abs().sum() > 0
    assert read.grad is None and own.grad is None and prior.grad is None


def test_what_a_stated_prior_leaves_out_costs_its_mass() -> None:
    even = torch.log(torch.full((2,), 0.5, dtype=torch.float64))
    whole = prior_gap(even, even, even, even)
    part = prior_gap(even + np.log(0.8), even, even, even)
    assert float(part - whole) == pytest.approx(-np.log(0.8))
