"""Matrix products in every number format, on and off the tile.

Owns: their steps and their FLOP.
May touch: the device through the torch it is handed.
Called by workloads.table.

Formula: C = A B with A of m x k and B of k x n takes 2 m n k FLOP, k multiplications and
k additions for each of m n outputs. On Hopper cuBLAS issues them as wgmma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flopmeter.lab.workloads.base import CannotRunError, Prepared, Torch

TILE = (128, 256, 64)
"""Rows, columns and depth of a tile in the padded count: a common CTA tile of cuBLAS on Hopper.
Which one cuBLAS takes is its own choice, so a padded count is an assumption and says so."""

_SOURCE = "2 m n k, a multiply-add as 2"


def flop_of(m: int, n: int, k: int) -> int:
    """FLOP of a product of m x k and k x n."""
    return 2 * m * n * k


def padded_flop_of(m: int, n: int, k: int) -> int:
    """FLOP with each side rounded up to whole tiles."""
    sides = [-(-side // tile) * tile for side, tile in zip((m, n, k), TILE, strict=True)]
    return flop_of(*sides)


def matmul(
    torch: Torch,
    device: str,
    *,
    size: int,
    dtype: str,
    tf32: bool = False,
    fp16_accumulate: bool = False,
) -> Prepared:
    """A square product through cuBLAS.

    Args:
        torch: the module.
        device: where it runs.
        size: rows, columns and depth.
        dtype: name of the torch type of both factors.
        tf32: whether FP32 factors go through the tensor cores.
        fp16_accumulate: whether FP16 products are added up in FP16.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    if fp16_accumulate and not hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation"):
        raise CannotRunError("this torch cannot accumulate in FP16 (2.7 and newer can)")
    if hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation"):
        torch.backends.cuda.matmul.allow_fp16_accumulation = fp16_accumulate
    kind = getattr(torch, dtype)
    left, right = (torch.randn(size, size, device=device, dtype=torch.float32) for _ in range(2))
    left, right = left.to(kind), right.to(kind)
    out = torch.empty(size, size, device=device, dtype=kind)
    tensor_cores = dtype != "float32" or tf32
    return _prepared(lambda: torch.mm(left, right, out=out), size, padded=tensor_cores)


def matmul_fp8(torch: Torch, device: str, *, size: int) -> Prepared:
    """A square product in FP8 E4M3 with one scale a factor and BF16 output."""
    if not hasattr(torch, "_scaled_mm"):
        raise CannotRunError("this torch has no _scaled_mm (2.2 and newer have)")
    left, right = fp8_factor(torch, device, size, size), fp8_factor(torch, device, size, size).t()
    one = torch.ones((), device=device, dtype=torch.float32)

    def step() -> object:
        return torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    return _prepared(step, size, padded=True)


def matmul_int8(torch: Torch, device: str, *, size: int) -> Prepared:
    """A square product of INT8: integer operations, no FLOP."""
    if not hasattr(torch, "_int_mm"):
        raise CannotRunError("this torch has no _int_mm (2.2 and newer have)")
    left, right = (
        torch.randint(-8, 8, (size, size), device=device, dtype=torch.int8) for _ in range(2)
    )
    return Prepared(
        step=lambda: torch._int_mm(left, right),
        flop_model=0,
        flop_issued=0,
        integer_operations=flop_of(size, size, size),
        source="2 n^3 integer operations; none is a floating-point operation",
    )


def fp8_factor(torch: Torch, device: str, rows: int, columns: int) -> Any:
    """A random matrix in FP8 E4M3, rows after one another in memory."""
    drawn = torch.randn(rows, columns, device=device, dtype=torch.float32)
    return drawn.to(torch.float8_e4m3fn)


def _prepared(step: Callable[[], object], size: int, *, padded: bool) -> Prepared:
    model = flop_of(size, size, size)
    issued = padded_flop_of(size, size, size) if padded else model
    pad = f"; issued in tiles of {TILE}, an assumption" if issued != model else ""
    return Prepared(step=step, flop_model=model, flop_issued=issued, source=_SOURCE + pad)
