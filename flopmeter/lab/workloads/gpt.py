"""A training step of a small GPT, counted by formula, in BF16 or with a part in FP8.

Owns: the model, its step and its FLOP.
May touch: the device through the torch it is handed.
Called by workloads.table.

Formula, for b sequences of s tokens, L layers of width h and a vocabulary of V (Narayanan et al.,
arXiv 2104.04473, appendix): forward, a layer's matrices take 24 b s h^2 and its attention
4 b s^2 h, the output head 2 b s h V; backward is twice forward. Nothing is recomputed but what a
fused attention recomputes (workloads.attention). Norms, GELU, loss and the optimizer are outside
the matrix engine and not counted: less than 1 % at this width.
With FP8, the forward products of the feed-forward part (16 b s h^2 of a layer) run in FP8.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from flopmeter.lab.workloads.attention import forward_flop
from flopmeter.lab.workloads.base import CannotRunError, Prepared, Torch


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model and its batch."""

    batch: int
    length: int
    layers: int
    width: int
    heads: int
    vocabulary: int

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch * self.length

    @property
    def dense_flop(self) -> int:
        """Forward FLOP of all matrices with weights."""
        layers = 24 * self.tokens * self.width**2 * self.layers
        return layers + 2 * self.tokens * self.width * self.vocabulary

    @property
    def attention_flop(self) -> int:
        """Forward FLOP of the attention products."""
        head = self.width // self.heads
        return self.layers * forward_flop(self.batch, self.heads, self.length, head)

    @property
    def model_flop(self) -> int:
        """FLOP of a training step by the model's formula."""
        return 3 * (self.dense_flop + self.attention_flop)

    @property
    def issued_flop(self) -> int:
        """FLOP of a training step with what the fused attention recomputes."""
        return self.model_flop + self.attention_flop // 2

    @property
    def fp8_share(self) -> Fraction:
        """Share of the issued FLOP that the FP8 variant runs in FP8."""
        return Fraction(16 * self.tokens * self.width**2 * self.layers, self.issued_flop)


SMALL = Shape(batch=8, length=2048, layers=8, width=2048, heads=16, vocabulary=32_768)


def declared_mix(shape: Shape) -> str:
    """The format mix of the FP8 variant, within a thousandth."""
    per_mille = round(shape.fp8_share * 1_000)
    return f"fp8=0.{per_mille:03d},bf16=rest"


def gpt_step(torch: Torch, device: str, *, shape: Shape = SMALL, fp8: bool = False) -> Prepared:
    """One optimizer step on random tokens."""
    if fp8 and not hasattr(torch, "_scaled_mm"):
        raise CannotRunError("this torch has no _scaled_mm (2.2 and newer have)")
    weights = _weights(torch, device, shape)
    optimizer = torch.optim.SGD(list(weights.values()), lr=1e-6)
    draw = functools.partial(torch.randint, 0, shape.vocabulary, device=device)
    tokens, targets = draw((shape.batch, shape.length)), draw((shape.tokens,))
    linear = _fp8_linear(torch, device) if fp8 else torch.nn.functional.linear

    def step() -> object:
        loss = torch.nn.functional.cross_entropy(
            _forward(torch, weights, tokens, shape, linear), targets
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    return Prepared(
        step=step,
        flop_model=shape.model_flop,
        flop_issued=shape.issued_flop,
        source="72 b s L h^2 (1 + s/6h + V/12Lh) (arXiv 2104.04473) and half a forward attention "
        "recomputed",
    )


def _weights(torch: Torch, device: str, shape: Shape) -> dict[str, Any]:
    width = shape.width
    sizes = {"embedding": (shape.vocabulary, width), "head": (shape.vocabulary, width)}
    for layer in range(shape.layers):
        sizes |= {
            f"{layer}.qkv": (3 * width, width),
            f"{layer}.out": (width, width),
            f"{layer}.up": (4 * width, width),
            f"{layer}.down": (width, 4 * width),
        }
    return {
        name: (torch.randn(size, device=device) * 0.02).to(torch.bfloat16).requires_grad_()
        for name, size in sizes.items()
    }


def _forward(torch: Torch, weights: dict[str, Any], tokens: Any, shape: Shape, linear: Any) -> Any:
    ops = torch.nn.functional
    hidden = ops.embedding(tokens, weights["embedding"])
    heads = (shape.batch, shape.length, 3, shape.heads, shape.width // shape.heads)
    for layer in range(shape.layers):
        normed = ops.layer_norm(hidden, (shape.width,))
        qkv = ops.linear(normed, weights[f"{layer}.qkv"]).view(heads).permute(2, 0, 3, 1, 4)
        mixed = ops.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        mixed = mixed.transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + ops.linear(mixed, weights[f"{layer}.out"])
        normed = ops.layer_norm(hidden, (shape.width,))
        wide = ops.gelu(linear(normed, weights[f"{layer}.up"]))
        hidden = hidden + linear(wide, weights[f"{layer}.down"])
    flat = ops.layer_norm(hidden, (shape.width,)).view(shape.tokens, shape.width)
    return ops.linear(flat, weights["head"]).float()


def _fp8_linear(torch: Torch, device: str) -> Any:
    """A linear layer whose forward product is in FP8 and whose gradients are in BF16."""
    one = torch.ones((), device=device, dtype=torch.float32)
    kind = torch.float8_e4m3fn

    class Fp8Linear(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, entered: Any, weight: Any) -> Any:
            context.save_for_backward(entered, weight)
            flat = entered.reshape(-1, entered.shape[-1])
            out = torch._scaled_mm(
                flat.to(kind), weight.to(kind).t(), scale_a=one, scale_b=one,
                out_dtype=torch.bfloat16,
            )  # fmt: skip
            return out.view(*entered.shape[:-1], -1)

        @staticmethod
        def backward(context: Any, upstream: Any) -> Any:
            entered, weight = context.saved_tensors
            flat = upstream.reshape(-1, upstream.shape[-1])
            of_weight = flat.t() @ entered.reshape(-1, entered.shape[-1])
            return (flat @ weight).view(entered.shape), of_weight

    return Fp8Linear.apply
