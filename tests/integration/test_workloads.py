"""The workloads on a CPU: they run, and PyTorch counts the same FLOP.

Needs PyTorch, which the project's own environment lacks: pytest -m needs_torch.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from flopmeter.lab.runner import load_torch
from flopmeter.lab.workloads import mma, plain
from flopmeter.lab.workloads.attention import attention
from flopmeter.lab.workloads.base import CannotRunError, Prepared
from flopmeter.lab.workloads.gpt import Shape, gpt_step
from flopmeter.lab.workloads.matmul import matmul, matmul_fp8, matmul_int8
from flopmeter_core.errors import UnreachableError

pytestmark = pytest.mark.needs_torch

TINY = Shape(batch=2, length=128, layers=2, width=128, heads=2, vocabulary=512)


@pytest.fixture
def torch() -> Any:
    """PyTorch."""
    return importlib.import_module("torch")


def counted(torch: Any, prepared: Prepared) -> int:
    """FLOP of a step by PyTorch's own counter, attention as plain products."""
    counter = importlib.import_module("torch.utils.flop_counter").FlopCounterMode(display=False)
    kernels = importlib.import_module("torch.nn.attention")
    assert prepared.step is not None
    with counter, kernels.sdpa_kernel(kernels.SDPBackend.MATH):
        prepared.step()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("size", [64, 65])
def test_matmul(torch: Any, dtype: str, size: int) -> None:
    """A product in each format is 2 n^3."""
    prepared = matmul(torch, "cpu", size=size, dtype=dtype)
    assert counted(torch, prepared) == prepared.flop_model


def test_fp8_and_int8(torch: Any) -> None:
    """FP8 products are FLOP; INT8 ones are as many operations and no FLOP, for PyTorch too."""
    fp8, int8 = matmul_fp8(torch, "cpu", size=64), matmul_int8(torch, "cpu", size=64)
    assert counted(torch, fp8) == fp8.flop_model
    assert counted(torch, int8) == int8.flop_issued == int8.flop_model == 0
    assert int8.integer_operations == fp8.flop_model


@pytest.mark.parametrize("backward", [False, True])
def test_attention(torch: Any, backward: bool) -> None:
    """Attention is 4 b h s^2 d forward and twice that backward."""
    prepared = attention(torch, "cpu", batch=2, heads=3, length=64, width=32, backward=backward)
    assert counted(torch, prepared) == prepared.flop_model


@pytest.mark.parametrize("fp8", [False, True])
def test_gpt(torch: Any, fp8: bool) -> None:
    """A training step is the published formula, whichever format its products run in."""
    prepared = gpt_step(torch, "cpu", shape=TINY, fp8=fp8)
    assert counted(torch, prepared) == prepared.flop_model


def test_plain(torch: Any) -> None:
    """Element-wise work, a copy and idleness run."""
    for prepared in (plain.elementwise(torch, "cpu", count=64), plain.copy(torch, "cpu", count=64)):
        assert prepared.step is not None
        prepared.step()
    assert plain.idle(torch, "cpu").step is None


def test_without_cuda(torch: Any) -> None:
    """Without CUDA the suite is refused in one sentence, and mma.sync gives its reason."""
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UnreachableError, match="finds no CUDA device"):
        load_torch()
    with pytest.raises(CannotRunError, match="not compiled"):
        mma.mma_sync(torch, "cpu")
