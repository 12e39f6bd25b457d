"""The steps of the workloads: what they ask the device for is the FLOP they state.

On a stand-in that counts by shapes; tests/integration/test_workloads.py asks PyTorch itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter.lab.workloads import mma, plain
from flopmeter.lab.workloads.attention import attention
from flopmeter.lab.workloads.base import CannotRunError
from flopmeter.lab.workloads.gpt import Shape, gpt_step
from flopmeter.lab.workloads.matmul import matmul, matmul_fp8, matmul_int8
from support.fake_torch import FakeTorch

TINY = Shape(batch=2, length=128, layers=2, width=128, heads=2, vocabulary=512)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("tf32", [False, True])
def test_matmul(dtype: str, size: int, tf32: bool) -> None:
    """A product is what it states, in the arithmetic that was asked for."""
    torch = FakeTorch()
    prepared = matmul(torch, "cpu", size=size, dtype=dtype, tf32=tf32)
    assert prepared.step is not None
    prepared.step()
    assert torch.flop == prepared.flop_model == 2 * size**3
    assert torch.backends.cuda.matmul.allow_tf32 is tf32
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is False
    # Off the tensor cores nothing is padded to their tiles.
    padded = dtype != "float32" or tf32
    assert (prepared.flop_issued > prepared.flop_model) == padded


def test_fp16_accumulation() -> None:
    """It is set where torch can, and said where it cannot; without it nothing is asked for."""
    torch = FakeTorch()
    matmul(torch, "cpu", size=64, dtype="float16", fp16_accumulate=True)
    assert torch.backends.cuda.matmul.allow_fp16_accumulation is True
    older = FakeTorch(without=("allow_fp16_accumulation",))
    matmul(older, "cpu", size=64, dtype="float16")
    with pytest.raises(CannotRunError, match="cannot accumulate in FP16"):
        matmul(older, "cpu", size=64, dtype="float16", fp16_accumulate=True)


def test_fp8_and_int8() -> None:
    """FP8 products are FLOP; INT8 ones are as many operations and no FLOP."""
    torch = FakeTorch()
    fp8, int8 = matmul_fp8(torch, "cpu", size=64), matmul_int8(torch, "cpu", size=64)
    assert fp8.step is not None and int8.step is not None
    fp8.step()
    assert torch.flop == fp8.flop_model
    int8.step()
    assert torch.flop == fp8.flop_model and int8.flop_issued == int8.flop_model == 0
    assert torch.integer_operations == int8.integer_operations == fp8.flop_model


@pytest.mark.parametrize(
    ("missing", "prepare"),
    [
        ("_scaled_mm", lambda torch: matmul_fp8(torch, "cpu", size=64)),
        ("_scaled_mm", lambda torch: gpt_step(torch, "cpu", shape=TINY, fp8=True)),
        ("_int_mm", lambda torch: matmul_int8(torch, "cpu", size=64)),
        ("_compile_kernel", lambda torch: mma.mma_sync(torch, "cuda")),
    ],
)
def test_an_older_torch(missing: str, prepare: Any) -> None:
    """What it lacks is said, so that the suite goes on without that workload."""
    with pytest.raises(CannotRunError, match="this torch"):
        prepare(FakeTorch(without=(missing,)))


@pytest.mark.parametrize("backward", [False, True])
def test_attention(backward: bool) -> None:
    """Attention is 4 b h s^2 d forward and twice that backward; a fused one issues more."""
    torch = FakeTorch()
    prepared = attention(torch, "cpu", batch=2, heads=3, length=64, width=16, backward=backward)
    assert prepared.step is not None
    prepared.step()
    assert torch.flop == prepared.flop_model == (3 if backward else 1) * 4 * 2 * 3 * 64**2 * 16
    assert prepared.flop_issued == prepared.flop_model * (7 if backward else 6) // 6


@pytest.mark.parametrize("fp8", [False, True])
def test_gpt(fp8: bool) -> None:
    """A training step asks for what the published formula says, in FP8 as well, time and again."""
    torch = FakeTorch()
    prepared = gpt_step(torch, "cpu", shape=TINY, fp8=fp8)
    assert prepared.step is not None
    for steps in (1, 2):
        prepared.step()
        assert torch.flop == steps * prepared.flop_model


def test_beside_the_matrix_engine() -> None:
    """One addition an element; a copy and nothing at all are no FLOP."""
    torch = FakeTorch()
    added = plain.elementwise(torch, "cpu", count=1_000)
    assert added.step is not None
    added.step()
    assert torch.additions == added.flop_model == added.flop_issued == 1_000
    copied = plain.copy(torch, "cpu", count=1_000)
    assert copied.step is not None
    copied.step()
    assert (torch.flop, copied.flop_model) == (0, 0)
    assert plain.idle(torch, "cpu").step is None


@pytest.mark.parametrize("fp16_accumulate", [False, True])
def test_mma_sync(fp16_accumulate: bool) -> None:
    """Blocks for every SM run the kernel that was compiled, and their instructions are the FLOP."""
    torch = FakeTorch(sm_count=7)
    prepared = mma.mma_sync(torch, "cuda", fp16_accumulate=fp16_accumulate)
    assert prepared.step is not None
    launched: Any = prepared.step()
    grid, block, arguments = launched
    assert torch.compiled == [mma.kernel_source(fp16_accumulate=fp16_accumulate)]
    assert grid == (14, 1, 1) and block == (256, 1, 1) and arguments[1] == mma.LOOPS
    warps = grid[0] * block[0] // 32
    assert prepared.flop_model == warps * mma.LOOPS * mma.CHAINS * 4096


def test_a_kernel_that_is_not_compiled() -> None:
    """Whatever the compiler says is the reason."""
    torch = FakeTorch()

    def refuse(source: str, name: str) -> None:
        raise RuntimeError("no such instruction")

    torch.cuda._compile_kernel = refuse
    with pytest.raises(CannotRunError, match="not compiled: no such instruction"):
        mma.mma_sync(torch, "cuda")
