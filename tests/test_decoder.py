"""The decoder: packing, caching, merging and padding change no number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core_model.adapter import FILE, changed_by, read_adapter, save_adapter, upon, with_adapter
from core_model.decoder import Cache, Decoder, DecoderShape, LowRank, _filled, _product, fused
from core_model.errors import WeightsError
from core_model.likelihood import batches, row_losses
from core_model.prefix_tree import PackedRow, RowBuilder
from tests import tiny

SAME = 1e-4
RANK = 8


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def logits(decoder: Decoder, tokens: list[int]) -> Tensor:
    """(T, V) of a plain sequence."""
    row = torch.tensor([tokens])
    return decoder.logits(decoder(row, torch.arange(len(tokens))[None], None))[0]


def adapted(seed: int = 0, first_trained: int = 0) -> Decoder:
    """A decoder whose adapters do something."""
    decoder = tiny.decoder(RANK, seed, first_trained, head_rank=RANK)
    made = torch.Generator().manual_seed(seed + 1)
    for adapter in decoder.adapters.values():
        assert isinstance(adapter, LowRank)
        adapter.b.copy_(0.3 * torch.randn(adapter.b.shape, generator=made))
    return decoder


def branched(seed: int) -> PackedRow:
    """A prompt with three branches, one of which branches again."""
    rng = np.random.default_rng(seed)

    def some(n: int) -> list[int]:
        return [int(t) for t in rng.integers(0, tiny.SIZE, n)]

    builder = RowBuilder()
    prompt = builder.extend(some(6))
    first = builder.extend(some(4), prompt)
    builder.extend(some(3), prompt)
    builder.extend(some(2), first)
    builder.answer(some(5), first)
    builder.answer(some(3 + seed), prompt, weight=0.5)
    return builder.build()


def test_a_packed_row_gives_each_branch_what_it_has_alone() -> None:
    decoder, row = tiny.decoder(), branched(0)
    tokens = torch.from_numpy(row.tokens.astype(np.int64))[None]
    positions = torch.from_numpy(row.positions().astype(np.int64))[None]
    seen = row.ancestors()
    hidden = decoder(tokens, positions, torch.from_numpy(seen)[None, None])
    packed = decoder.logits(hidden)[0]
    for node in set(range(len(row.tokens))) - set(row.parents.tolist()):
        above = np.flatnonzero(seen[node])
        alone = logits(decoder, row.tokens[above].tolist())
        assert (packed[above] - alone).abs().max() < SAME


def test_rows_end_to_end_have_the_losses_they_have_alone() -> None:
    decoder, rows = adapted(), [branched(seed) for seed in range(4)]
    (together,) = batches(rows)
    alone = torch.stack([row_losses(decoder, batches([row])[0])[0] for row in rows])
    assert torch.allclose(row_losses(decoder, together), alone[list(together.rows)], atol=SAME)


def test_rows_are_split_into_batches_that_hold_each_once() -> None:
    rows = [branched(seed) for seed in range(5)]
    made = batches(rows, max_tokens=60)
    assert len(made) > 1
    assert sorted(number for batch in made for number in batch.rows) == list(range(5))
    assert all(batch.tokens.numel() <= 60 for batch in made)


@pytest.mark.parametrize("split", [1, 5, 11])
def test_a_cache_changes_no_number(split: int) -> None:
    decoder = tiny.decoder()
    tokens = [int(t) for t in np.random.default_rng(split).integers(0, tiny.SIZE, 12)]
    whole, cache = logits(decoder, tokens), Cache()
    row, places = torch.tensor([tokens]), torch.arange(12)[None]
    parts = [decoder(row[:, :split], places[:, :split], None, cache)]
    mask = torch.ones(12 - split, 12, dtype=torch.bool).tril(split)[None, None]
    parts.append(decoder(row[:, split:], places[:, split:], mask, cache))
    assert (decoder.logits(torch.cat(parts, dim=1))[0] - whole).abs().max() < SAME
    assert cache.length == 12


def test_token_by_token_in_several_rows_is_the_same() -> None:
    decoder, cache = tiny.decoder(), Cache()
    start, ends = [3, 40, 50], [[60, 61], [70, 71], [80, 81]]
    decoder(torch.tensor([start]), torch.arange(3)[None], None, cache)
    rows = cache.repeated(3)
    decoder(torch.tensor([[end[0]] for end in ends]), torch.full((3, 1), 3), None, rows)
    rows = rows.selected(torch.tensor([True, False, True]))
    kept = [ends[0], ends[2]]
    column = torch.tensor([[end[1]] for end in kept])
    hidden = decoder(column, torch.full((2, 1), 4), None, rows)
    for row, end in enumerate(kept):
        alone = logits(decoder, [*start, *end])[-1]
        assert (decoder.logits(hidden)[row, 0] - alone).abs().max() < SAME
    assert (cache.length, rows.length, rows.cut(2).length) == (3, 5, 2)


def test_only_the_distance_of_two_tokens_counts() -> None:
    """Rotary positions: shifting all of them leaves the hidden states as they are."""
    decoder, row = tiny.decoder(), torch.tensor([[5, 60, 61, 62]])
    one, other = (decoder(row, torch.arange(4)[None] + shift, None) for shift in (0, 100))
    assert (one - other).abs().max() < SAME


def test_merged_adapters_are_the_unmerged_ones() -> None:
    decoder, tokens = adapted(), list(range(20, 40))
    merged = Decoder(tiny.SHAPE, decoder.merged(), torch.float32)
    assert (logits(merged, tokens) - logits(decoder, tokens)).abs().max() < SAME
    assert (logits(tiny.decoder(), tokens) - logits(decoder, tokens)).abs().max() > 0.01


def test_fresh_adapters_change_nothing() -> None:
    tokens = list(range(20, 40))
    fresh = tiny.decoder(RANK, head_rank=RANK)
    assert torch.equal(logits(fresh, tokens), logits(tiny.decoder(), tokens))


def test_below_the_first_trained_layer_nothing_is_trained() -> None:
    assert {name[0] for name in tiny.decoder(4, first_trained=1).adapters} == {"1"}
    assert len(tiny.decoder(4).adapters) == 2 * 4
    assert len(tiny.decoder(4, head_rank=3).adapters) == 2 * 4 + 1


# --- adapters and shapes on disk ----------------------------------------------------------------


def test_an_adapter_comes_back_as_it_was(tmp_path: Path) -> None:
    decoder = adapted(first_trained=1)
    save_adapter(decoder, tmp_path, {"recipe": "tiny"})
    _, facts = read_adapter(tmp_path)
    assert facts["recipe"] == "tiny"
    back = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32)
    before, after = dict(decoder.named_parameters()), dict(back.named_parameters())
    assert set(before) == set(after)
    assert all(torch.equal(after[n], before[n].bfloat16().float()) for n in before)
    assert (logits(back, [1, 40, 50]) - logits(decoder, [1, 40, 50])).abs().max() < 0.1


def test_an_adapter_of_a_larger_rank_does_what_the_smaller_did(tmp_path: Path) -> None:
    decoder = adapted(first_trained=1)
    save_adapter(decoder, tmp_path, {})
    back = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32)
    ranks = RANK + 3, RANK + 5
    grown = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32, None, *ranks)
    for name, parameter in grown.named_parameters():
        assert RANK + (5 if "head" in name else 3) in parameter.shape, name
    tokens = [1, 40, 50, 60]
    assert torch.allclose(logits(grown, tokens), logits(back, tokens), atol=1e-5)


def test_of_an_adapter_of_a_smaller_rank_is_kept_what_does_most(tmp_path: Path) -> None:
    decoder = adapted()
    for adapter in decoder.adapters.values():
        assert isinstance(adapter, LowRank)
        adapter.b[:, RANK - 2 :] = 0  # two of its directions do nothing
    save_adapter(decoder, tmp_path, {})
    back = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32)
    tokens = [1, 40, 50, 60]
    for rank, fits in ((RANK - 2, True), (RANK - 3, False)):
        cut = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32, None, rank, rank)
        assert all(rank in parameter.shape for parameter in cut.parameters())
        assert torch.allclose(logits(cut, tokens), logits(back, tokens), atol=1e-4) is fits


def test_the_head_can_learn_what_no_hidden_state_says(tmp_path: Path) -> None:
    """A hidden state of D numbers fits no D + 20 log-probabilities; with the head's they do."""
    size = tiny.SHAPE.hidden + 20
    wanted = torch.randn(size, generator=torch.Generator().manual_seed(0)).mul(3).log_softmax(0)

    def distance(decoder: Decoder, hidden: Tensor, trained: list[Tensor]) -> float:
        optimizer = torch.optim.LBFGS(trained, max_iter=300, line_search_fn="strong_wolfe")

        def divergence() -> Tensor:
            found = decoder.logits(hidden[None])[0, :size].log_softmax(0)
            return (wanted.exp() * (wanted - found)).sum()

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = divergence()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # type: ignore[arg-type]
        return float(divergence().detach())

    state = torch.randn(tiny.SHAPE.hidden, generator=torch.Generator().manual_seed(1))
    with torch.enable_grad():
        free = state.clone().requires_grad_()
        assert distance(tiny.decoder(), free, [free]) > 0.05
        decoder = tiny.decoder(2, head_rank=2)
        head = decoder.adapters["head"]
        assert distance(decoder, state, list(head.parameters())) < 1e-3


def test_an_adapter_can_change_what_another_has_changed(tmp_path: Path) -> None:
    first, second = adapted(0), adapted(1, first_trained=1)
    first.rows = {7: torch.ones(32)}
    save_adapter(first, tmp_path / "first", {})
    save_adapter(second, tmp_path / "second", upon(tmp_path / "first", tmp_path / "second"))
    save_adapter(second, tmp_path / "third", upon(tmp_path / "second", tmp_path / "third"))
    assert changed_by(tmp_path / "third") == [tmp_path / "second", tmp_path / "first"]
    rows = {7: torch.zeros(32), 9: torch.zeros(32)}  # those of the first adapter stay
    found = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path / "third", torch.float32, rows)

    save_adapter(second, tmp_path / "alone", {})
    apart = tiny.weights()
    for name in ("first", "alone", "alone"):
        apart = with_adapter(tiny.SHAPE, apart, tmp_path / name, torch.float32).merged()
    for name, weight in found.merged().items():
        torch.testing.assert_close(weight, apart[name], rtol=1e-5, atol=1e-5, msg=name)
    assert torch.equal(found.merged()["embed"][7], torch.ones(32))

    with pytest.raises(WeightsError, match="neither the release nor beside"):
        upon(tmp_path / "first", tmp_path / "elsewhere" / "second")
    save_adapter(second, tmp_path / "first", {})
    with pytest.raises(WeightsError, match="is another since it was trained"):
        with_adapter(tiny.SHAPE, tiny.weights(), tmp_path / "third", torch.float32)
    (tmp_path / "first" / FILE).unlink()
    with pytest.raises(WeightsError, match="can't be read"):
        changed_by(tmp_path / "third")


def test_a_damaged_or_foreign_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="can't be read"):
        read_adapter(tmp_path)
    save_adapter(adapted(), tmp_path, {})
    other = DecoderShape(16, 64, 2, 2, 1, 16, tiny.SIZE, 1e4, 1e-5)
    with pytest.raises(WeightsError, match="does not fit"):
        with_adapter(other, tiny.weights(0, other), tmp_path, torch.float32)
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="can't be read"):
        read_adapter(tmp_path)


def test_weights_that_lack_something_are_refused() -> None:
    weights = tiny.weights()
    missing = {n: w for n, w in weights.items() if n != "model.layers.1.mlp.up_proj.weight"}
    with pytest.raises(WeightsError, match=r"lack .*up_proj"):
        fused(tiny.SHAPE, missing)
    wrong = weights | {"model.layers.0.mlp.down_proj.weight": torch.zeros(3, 3)}
    with pytest.raises(WeightsError, match="layer 0"):
        fused(tiny.SHAPE, wrong)


def test_the_shape_is_read_from_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    content = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "head_dim": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "vocab_size": tiny.SIZE, "rope_theta": 10_000, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    assert DecoderShape.read(path) == tiny.SHAPE
    for bad in ("{", json.dumps(content | {"model_type": "mamba"}), '{"model_type": "llama"}'):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(WeightsError):
            DecoderShape.read(path)


def test_rows_of_the_marks_stand_in_the_embedding_and_travel_with_the_adapter(
    tmp_path: Path,
) -> None:
    wire = tiny.wire()
    base = tiny.weights()
    rows = wire.mark_rows(base["model.embed_tokens.weight"])
    decoder = Decoder(tiny.SHAPE, base, torch.float32, tiny.RANK, float(tiny.RANK), rows=rows)
    save_adapter(decoder, tmp_path, {})
    back = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path, torch.float32).merged()
    plain = Decoder(tiny.SHAPE, tiny.weights(), torch.float32).merged()
    for token in range(tiny.SIZE):
        for name in ("embed", "head"):
            wanted = rows[token].bfloat16().float() if token in rows else plain[name][token]
            torch.testing.assert_close(back[name][token], wanted)
    assert set(rows) == {wire.marks[mark] for mark in wire.marks if mark != "end"}


def test_a_bfloat16_decoder_meets_few_sizes_and_the_same_numbers() -> None:
    """Each size costs a compiled kernel that is kept; rows of zeros change no other row."""
    sizes = {n: _filled(torch.ones(n, 3, dtype=torch.bfloat16)) for n in range(1, 2049)}
    assert len({len(x) for x in sizes.values()}) <= 48
    assert all(len(x) < 1.9 * n and x.sum() == 3 * n for n, x in sizes.items() if n < 200)
    assert _filled(torch.ones(19, 3)).shape == (19, 3)
    exact, rounded = tiny.decoder(), Decoder(tiny.SHAPE, tiny.weights(), torch.bfloat16)
    tokens = torch.arange(20, 39)[None]
    places = torch.arange(19)[None]
    with torch.no_grad():
        one, other = (d.logits(d(tokens, places, None)) for d in (exact, rounded))
    assert one.shape == other.shape
    assert torch.allclose(one, other, atol=0.05 * float(one.abs().max()))


@pytest.mark.parametrize("rows", [1, 4, 11, 64, 65])
def test_the_way_round_that_rows_are_multiplied_changes_no_number(rows: int) -> None:
    made = torch.Generator().manual_seed(rows)
    x, weights = torch.randn(rows, 48, generator=made), torch.randn(96, 48, generator=made)
    product = _product(x, weights)
    assert product.shape == (rows, 96) and product.is_contiguous()
    torch.testing.assert_close(product, x @ weights.T, rtol=SAME, atol=SAME)
    with torch.enable_grad():  # training is left as it is
        again = _product(x.requires_grad_(), weights)
    torch.testing.assert_close(again, product, rtol=SAME, atol=SAME)
    assert again.grad_fn is not None
