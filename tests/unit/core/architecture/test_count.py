"""FLOP of training are those of the matrix products, one by one."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.architecture.count import evaluation_flop, forward_flop, train_flop
from flopmeter_core.architecture.shape import Experts, ModelShape
from flopmeter_core.architecture.training import Adapters, Kernel, Recompute, Training
from flopmeter_core.errors import DataError

LLAMA_2_70B = ModelShape(80, 8192, 64, 8, 128, 28672, True, 32000, tied_embedding=False)
GPT_3 = ModelShape(96, 12288, 96, 96, 128, 4 * 12288, False, 51200)
MIXTRAL = ModelShape(
    32, 4096, 32, 8, 128, 0, True, 32000, tied_embedding=False, experts=Experts(8, 2, 14336)
)

SMALL = st.integers(1, 6)


@st.composite
def shapes(draw: st.DrawFn) -> ModelShape:
    """Small transformers of every kind known."""
    layers, kv_heads = draw(SMALL), draw(SMALL)
    experts = None
    if draw(st.booleans()):
        count = draw(SMALL)
        experts = Experts(
            count=count,
            active=draw(st.integers(1, count)),
            width=draw(SMALL),
            shared=draw(st.integers(0, 2)),
            dense_layers=draw(st.integers(0, layers - 1)),
        )
    return ModelShape(
        layers=layers,
        width=draw(SMALL),
        heads=kv_heads * draw(SMALL),
        kv_heads=kv_heads,
        head_width=draw(SMALL),
        mlp_width=draw(SMALL),
        gated_mlp=draw(st.booleans()),
        vocabulary=draw(st.integers(0, 9)),
        causal=draw(st.booleans()),
        experts=experts,
    )


def _product(rows: int, inner: int, columns: int) -> int:
    """Multiplications and additions of one matrix product, each one FLOP."""
    return sum(2 * inner for _ in range(rows) for _ in range(columns))


def _forward_by_hand(shape: ModelShape, tokens: int) -> int:
    """Walk through a forward pass, product by product, head by head, token by token."""
    h, d = shape.width, shape.head_width
    flop = 0
    for layer in range(shape.layers):
        flop += shape.heads * _product(tokens, h, d)
        flop += 2 * shape.kv_heads * _product(tokens, h, d)
        for _ in range(shape.heads):
            for row in range(tokens):
                seen = row + 1 if shape.causal else tokens
                flop += _product(1, d, seen) + _product(1, seen, d)
        flop += _product(tokens, shape.heads * d, h)
        experts = shape.experts
        inner = [shape.mlp_width]
        if experts is not None and layer >= experts.dense_layers:
            flop += _product(tokens, h, experts.count)
            inner = [experts.width] * (experts.active + experts.shared)
        for width in inner:
            flop += (2 if shape.gated_mlp else 1) * _product(tokens, h, width)
            flop += _product(tokens, width, h)
    return flop + _product(tokens, h, shape.vocabulary)


@given(shapes(), st.integers(1, 7))
def test_forward_is_the_sum_of_its_products(shape: ModelShape, sequence: int) -> None:
    """Dense, grouped, gated and expert layers, masked or not: as walked through by hand."""
    counted = forward_flop(shape, sequence)
    assert sum(counted.values()) == _forward_by_hand(shape, sequence)
    assert evaluation_flop(shape, sequence, sequences=3) == 3 * sum(counted.values())


@given(shapes(), st.integers(1, 400), st.sampled_from(Recompute), st.sampled_from(Kernel))
def test_training_is_three_forward_passes_and_never_executes_less(
    shape: ModelShape, sequence: int, recompute: Recompute, kernel: Kernel
) -> None:
    """Model FLOP are three forward passes whatever is recomputed; executed lie above, in order."""
    flop = train_flop(shape, Training(sequence, recompute, kernel))
    assert flop.model == 3 * sum(flop.forward.values())
    assert flop.model <= flop.model_square
    executed = flop.executed
    assert flop.model <= executed.lower <= executed.best <= executed.upper
    unsure = train_flop(shape, Training(sequence, recompute, Kernel.UNKNOWN)).executed
    assert unsure.lower <= executed.lower and executed.upper <= unsure.upper


@pytest.mark.parametrize("batch", [1, 2048])
def test_published_formula_with_recomputation(batch: int) -> None:
    """Equation 3 of Narayanan et al. 2021 is executed FLOP under full recomputation, exactly."""
    s, layers, h, v = 2048, 96, 12288, 51200
    flop = train_flop(GPT_3, Training(s, Recompute.FULL, Kernel.SQUARE))
    around = 1 + Fraction(s, 6 * h) + Fraction(v, 16 * layers * h)
    assert flop.executed.lower * batch == 96 * batch * s * layers * h * h * around
    assert flop.executed.lower == flop.executed.upper
    # Without the repeated forward pass of the layers, the head keeps its whole share: V / 12Lh.
    around = 1 + Fraction(s, 6 * h) + Fraction(v, 12 * layers * h)
    assert flop.model_square * batch == 72 * batch * s * layers * h * h * around
    assert Fraction(13, 10) < flop.recompute_ratio < Fraction(4, 3) * Fraction(103, 100)


def test_selective_recomputation_repeats_attention_alone() -> None:
    """Selective recomputation adds one forward pass of attention, and nothing else."""
    plain = train_flop(GPT_3, Training(2048, Recompute.NONE, Kernel.SQUARE))
    selective = train_flop(GPT_3, Training(2048, Recompute.SELECTIVE, Kernel.SQUARE))
    assert selective.executed.best - plain.executed.best == plain.forward_square
    assert selective.model == plain.model


def test_fused_attention_computes_scores_twice() -> None:
    """A fused kernel skips masked tiles and repeats the scores: 3.5 times the masked forward."""
    fused = train_flop(GPT_3, Training(2048, Recompute.NONE, Kernel.FUSED))
    attention = fused.forward["attention"]
    assert fused.executed.lower - fused.model == attention // 2
    # Diagonal tiles of 128 x 128 are computed whole: 136 of them in place of 128.06.
    per_pair = 4 * GPT_3.attention_width * GPT_3.layers
    tiles = 136 * 128 * 128
    assert (fused.executed.best - fused.model + 3 * attention) * 2 == 7 * per_pair * tiles


@pytest.mark.parametrize(
    ("shape", "total", "active"),
    [
        (LLAMA_2_70B, 68_976_648_192, 68_976_648_192),
        (
            # As a Megatron-LM of 2025 prints it for GPT-2 with 512 positions.
            ModelShape(12, 768, 12, 12, 64, 3072, False, 50304, True, 512, biases=True),
            124_082_688,
            124_082_688,
        ),
        (MIXTRAL, 46_702_792_704, 12_879_925_248),
        (
            ModelShape(70, 14336, 112, 112, 128, 57344, False, 250880, biases=True),
            # Less the norm above BLOOM's embedding, 2 x 14336, which no other model has.
            176_247_271_424 - 28_672,
            176_247_271_424 - 28_672,
        ),
    ],
)
def test_parameters_are_those_of_the_model_cards(
    shape: ModelShape, total: int, active: int
) -> None:
    """Llama 2 70B, GPT-2, Mixtral 8x7B and BLOOM have the parameters their weights have."""
    assert shape.parameters() == total
    assert shape.parameters(active=True) == active


def test_frozen_base_needs_four_not_six() -> None:
    """LoRA on Llama 2 70B: 4N + 6sLh a token as for MLPerf, and three times the adapters."""
    rank, s = 16, 8192
    adapters = Adapters(rank, ("query", "key", "value", "output"))
    flop = train_flop(LLAMA_2_70B, Training(s, adapters=adapters))
    h, kv = 8192, 1024
    per_token = 2 * rank * 80 * (4 * h + 2 * (h + kv))
    assert flop.forward["adapters"] == per_token * s
    n = LLAMA_2_70B.matrix_parameters(active=True)
    assert flop.model == (4 * n + 3 * per_token) * s + 6 * (s + 1) * 80 * h * s
    mlp = Adapters(rank, ("gate", "up", "down"))
    forward = train_flop(LLAMA_2_70B, Training(1, adapters=mlp)).forward["adapters"]
    assert forward == 2 * rank * 80 * 3 * (h + 28672)


def test_adapters_of_experts_count_for_those_a_token_meets() -> None:
    """Two of eight experts are met, so two adapter pairs a matrix."""
    adapters = Adapters(4, ("up",))
    flop = train_flop(MIXTRAL, Training(1, adapters=adapters))
    assert flop.forward["adapters"] == 2 * 4 * 32 * 2 * (4096 + 14336)


def test_experts_not_met_cost_nothing() -> None:
    """More experts of the same width change the router and nothing else."""
    more = dataclasses.replace(MIXTRAL, experts=Experts(64, 2, 14336))
    few, many = forward_flop(MIXTRAL, 10), forward_flop(more, 10)
    assert few["experts"] == many["experts"] > 0
    assert many["router"] == 8 * few["router"] > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layers": 0}, "layers = 0 is impossible"),
        ({"width": -8192}, "width = -8192 is impossible"),
        ({"vocabulary": 1 << 41}, "vocabulary"),
        ({"learned_positions": -1}, "learned_positions = -1"),
        ({"kv_heads": 7}, "64 heads cannot share 7 kv_heads"),
        ({"mlp_width": 0}, "mlp_width is 0"),
        ({"experts": Experts(8, 9, 10)}, "9 active_experts of 8"),
        ({"experts": Experts(8, 0, 10)}, "active_experts = 0"),
        ({"experts": Experts(8, 2, 10, dense_layers=80)}, "leaves none for the experts"),
        ({"experts": Experts(8, 2, 10, dense_layers=1), "mlp_width": 0}, "need an mlp_width"),
    ],
)
def test_impossible_shapes(changes: dict[str, Any], sentence: str) -> None:
    """What no model can be is refused in one sentence."""
    with pytest.raises(DataError, match=sentence):
        dataclasses.replace(LLAMA_2_70B, **changes)


def test_impossible_trainings() -> None:
    """So is a training that cannot be."""
    with pytest.raises(DataError, match="sequence = 0"):
        Training(0)
    with pytest.raises(DataError, match="lora_rank = 0"):
        Adapters(0, ("query",))
    with pytest.raises(DataError, match="names each adapted matrix once"):
        Adapters(8, ("query", "query"))
    with pytest.raises(DataError, match="none of query"):
        Adapters(8, ("head",))
    with pytest.raises(DataError, match="without gate"):
        train_flop(GPT_3, Training(8, adapters=Adapters(8, ("gate",))))
