"""Work beside the matrix engine: element-wise, memory only, and nothing at all.

Owns: their steps and their FLOP.
May touch: the device through the torch it is handed.
Called by workloads.table.
"""

from __future__ import annotations

from flopmeter.lab.workloads.base import Prepared, Torch


def elementwise(torch: Torch, device: str, *, count: int) -> Prepared:
    """One addition of FP32 for each element, bound by memory."""
    left, right = (torch.randn(count, device=device, dtype=torch.float32) for _ in range(2))
    out = torch.empty_like(left)
    return Prepared(
        step=lambda: torch.add(left, right, out=out),
        flop_model=count,
        flop_issued=count,
        source="one addition an element",
    )


def copy(torch: Torch, device: str, *, count: int) -> Prepared:
    """Bytes moved within the device's memory: no FLOP."""
    source = torch.zeros(count, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return Prepared(
        step=lambda: target.copy_(source),
        flop_model=0,
        flop_issued=0,
        source="a copy computes nothing",
    )


def idle(torch: Torch, device: str) -> Prepared:
    """Nothing: the device is left alone."""
    return Prepared(step=None, flop_model=0, flop_issued=0, source="no kernel is started")
