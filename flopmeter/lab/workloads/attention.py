"""Scaled dot-product attention, forward and with its backward.

Owns: its steps and its FLOP.
May touch: the device through the torch it is handed.
Called by workloads.table and workloads.gpt.

Formula: forward Q K' and P V are 2 products of 2 s^2 d for each head: 4 b h s^2 d, not causal.
Backward by the model is twice that; a fused kernel computes Q K' again, five products in place
of four: 2.5 times forward is issued (FlashAttention-2, arXiv 2307.08691, section 3.1.2).
"""

from __future__ import annotations

from flopmeter.lab.workloads.base import Prepared, Torch


def forward_flop(batch: int, heads: int, length: int, width: int) -> int:
    """FLOP of one forward pass."""
    return 4 * batch * heads * length * length * width


def attention(
    torch: Torch,
    device: str,
    *,
    batch: int,
    heads: int,
    length: int,
    width: int,
    backward: bool,
) -> Prepared:
    """Attention in BF16.

    Args:
        torch: the module.
        device: where it runs.
        batch: sequences.
        heads: heads of a sequence.
        length: tokens of a sequence.
        width: of a head.
        backward: whether the gradients are computed too.
    """
    shape = (batch, heads, length, width)
    query, key, upstream = (
        torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3)
    )
    content = torch.randn(shape, device=device, dtype=torch.bfloat16)
    inputs = [tensor.requires_grad_(backward) for tensor in (query, key, content)]
    attend = torch.nn.functional.scaled_dot_product_attention

    def step() -> object:
        out = attend(*inputs)
        return torch.autograd.grad(out, inputs, upstream) if backward else out

    once = forward_flop(*shape)
    model = 3 * once if backward else once
    issued = once + once * 5 // 2 if backward else once
    return Prepared(
        step=step,
        flop_model=model,
        flop_issued=issued,
        source="4 b h s^2 d forward, twice that backward; a fused backward issues 2.5 times "
        "forward (arXiv 2307.08691)",
    )
