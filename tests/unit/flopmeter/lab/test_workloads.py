"""The FLOP of every workload, by arithmetic of another kind than the code's."""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter.cli.calibrate import DEFAULT_SECONDS
from flopmeter.lab import calibrate
from flopmeter.lab.workloads import mma
from flopmeter.lab.workloads.attention import forward_flop
from flopmeter.lab.workloads.gpt import SMALL, Shape, declared_mix
from flopmeter.lab.workloads.matmul import flop_of, padded_flop_of
from flopmeter.lab.workloads.table import SUITE, suite
from flopmeter_core.formats import parse_format_mix


def test_matmul() -> None:
    """A product counted by its inner loop; padding changes nothing on the tile."""
    loop = sum(2 for _ in range(3) for _ in range(5) for _ in range(7))
    assert flop_of(3, 5, 7) == loop
    assert padded_flop_of(8192, 8192, 8192) == flop_of(8192, 8192, 8192) == 1_099_511_627_776
    assert padded_flop_of(8193, 8193, 8193) == flop_of(8320, 8448, 8256)


def test_gpt_published_formula() -> None:
    """The step is 72 b s L h^2 (1 + s/6h + V/12Lh), as published."""
    for shape in (SMALL, Shape(2, 128, 3, 256, 4, 1000)):
        b, s, layers, h = shape.batch, shape.length, shape.layers, shape.width
        published = (
            72 * b * s * layers * h * h
            * (1 + Fraction(s, 6 * h) + Fraction(shape.vocabulary, 12 * layers * h))
        )  # fmt: skip
        assert shape.model_flop == published
        assert (
            shape.issued_flop
            == published + layers * forward_flop(b, shape.heads, s, h // shape.heads) // 2
        )


def test_gpt_fp8_share() -> None:
    """Two of a layer's matrices of 4 h^2, forward only, and the declaration says that share."""
    fp8 = 2 * 2 * SMALL.tokens * 4 * SMALL.width**2 * SMALL.layers
    assert SMALL.fp8_share == Fraction(fp8, SMALL.issued_flop)
    low, high = parse_format_mix(declared_mix(SMALL)).shares["fp8"]
    assert abs(low - SMALL.fp8_share) <= Fraction(1, 1000)
    assert low == high


@pytest.mark.parametrize("fp16_accumulate", [False, True])
def test_mma_kernel(fp16_accumulate: bool) -> None:
    """One instruction in an unrolled loop of four chains; registers match the instruction."""
    text = mma.kernel_source(fp16_accumulate=fp16_accumulate)
    assert text.count("mma.sync.aligned.m16n8k16") == 1
    kind = "f16.f16.f16.f16" if fp16_accumulate else "f32.f16.f16.f32"
    assert kind in text
    assert text.count('"+') == (2 if fp16_accumulate else 4)
    assert text.count('"r"(') == 6
    assert mma.flop_of_launch(264) == 264 * 8 * 4096 * 4 * 4096


def test_suite_is_short() -> None:
    """The whole suite, its idle time and the paired timing take less than eight minutes."""
    paired_s = 2 * calibrate.PAIRS * calibrate.PAIR_S
    planned_s = paired_s + len(SUITE) * (DEFAULT_SECONDS + 2 * calibrate.GAP_S)
    assert planned_s < 300  # what is left is for compiling, allocating and starting recorders


def test_suite() -> None:
    """Every family that has to be there is, names are unique, declarations are valid."""
    names = [spec.name for spec in SUITE]
    assert len(set(names)) == len(names)
    for part in ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "mma-sync", "8193", "512"):
        assert any(part in name for name in names), part
    assert {"attention", "training", "vector", "memory", "idle"} <= {s.family for s in SUITE}
    assert any("accumulate" in name for name in names)
    for spec in SUITE:
        if "format" in spec.declared:
            parse_format_mix(spec.declared["format"])
    assert {spec.name for spec in suite("quick")} < set(names)
    assert suite("all") == SUITE
