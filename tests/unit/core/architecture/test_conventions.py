"""Frameworks' formulas give what frameworks print."""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter_core.architecture.conventions import Convention, differences, printed_flop
from flopmeter_core.architecture.count import train_flop
from flopmeter_core.architecture.shape import ModelShape
from flopmeter_core.architecture.training import Kernel, Recompute, Training

BLOOM = ModelShape(70, 14336, 112, 112, 128, 57344, False, 250880, biases=True)
MPT_7B = ModelShape(
    32, 4096, 32, 32, 128, 4 * 4096, False, 50368, learned_positions=2048, biases=True
)
GPT_52B = ModelShape(
    64, 8192, 32, 32, 256, 32768, False, 50688, learned_positions=1024, biases=True
)


def test_megatron() -> None:
    """BLOOM's log: 149.02 TFLOP/s a device at 105.22 s, 2048 sequences and 384 devices."""
    training = Training(2048, Recompute.FULL, Kernel.SQUARE)
    flop = printed_flop(Convention.MEGATRON, BLOOM, training, tokens=2048 * 2048)
    rate = flop / Fraction("105.22") / 384 / 10**12
    assert round(rate, 2) == Fraction("149.02")
    # What it prints is executed FLOP, to the last one.
    assert flop == train_flop(BLOOM, training).executed.best * 2048


@pytest.mark.parametrize(("seconds", "printed"), [("129", "52.8"), ("125", "54.5")])
def test_bigscience(seconds: str, printed: str) -> None:
    """Its own table: a 52B model on 64 devices, 1024 sequences of 1024."""
    training = Training(1024, Recompute.FULL)
    flop = printed_flop(Convention.BIGSCIENCE, GPT_52B, training, tokens=1024 * 1024)
    rate = flop / Fraction(seconds) / 64 / 10**12
    assert abs(rate / Fraction(printed) - 1) < Fraction(1, 500)
    without = printed_flop(Convention.BIGSCIENCE, GPT_52B, Training(1024), tokens=1)
    assert without == 6 * 52 * 10**9


def test_llm_foundry() -> None:
    """Its table: 7b at 10475 tokens a second and device is 452 TFLOP/s, 45.71 % of 989.4."""
    flop = printed_flop(Convention.LLM_FOUNDRY_MODEL, MPT_7B, Training(2048), tokens=1340830)
    assert round(flop / 128 / Fraction("989.43e12"), 4) == Fraction("0.4571")
    again = Training(2048, Recompute.FULL)
    hardware = printed_flop(Convention.LLM_FOUNDRY_HARDWARE, MPT_7B, again, tokens=1340830)
    assert hardware == flop * Fraction(4, 3)
    idle = printed_flop(Convention.LLM_FOUNDRY_HARDWARE, MPT_7B, Training(2048), tokens=1340830)
    assert idle == flop


def test_palm() -> None:
    """6N + 12LHQT a token, without what is only looked up."""
    flop = printed_flop(Convention.PALM, MPT_7B, Training(2048), tokens=1)
    n = MPT_7B.parameters() - 2048 * 4096
    assert flop == 6 * n + 12 * 32 * 32 * 128 * 2048


def test_what_is_wrong_is_said() -> None:
    """The causal mask, the head, attention and fused scores are each named where they matter."""
    full, none = Training(2048, Recompute.FULL), Training(2048)
    assert any("3/4 of it" in said for said in differences(Convention.MEGATRON, BLOOM, full))
    assert any("3/4 of the head" in said for said in differences(Convention.MEGATRON, BLOOM, none))
    assert any("leaves attention out" in s for s in differences(Convention.BIGSCIENCE, BLOOM, full))
    hardware = " ".join(differences(Convention.LLM_FOUNDRY_HARDWARE, MPT_7B, full))
    for words in ("causal mask", "head's forward pass", "looked-up", "fused"):
        assert words in hardware
    encoder = ModelShape(2, 8, 2, 2, 4, 32, False, 10, causal=False)
    assert differences(Convention.PALM, encoder, none) == ()
