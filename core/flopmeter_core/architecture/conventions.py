"""The formulas by which training frameworks print their own rates.

Owns: each framework's formula as it is in its source, and which quantity it stands for.
May touch: nothing; exact rationals.
Called by the importers' report, to reproduce what a log prints before it is judged.
Explained in docs/architecture-flop.md. None of these is flopmeter's own figure.
"""

from __future__ import annotations

import enum
from fractions import Fraction

from flopmeter_core.architecture.shape import ModelShape
from flopmeter_core.architecture.training import Recompute, Training
from flopmeter_core.values import value_class

BILLION = 10**9


class Convention(enum.StrEnum):
    """Whose formula a printed rate follows, and for model or executed FLOP."""

    MEGATRON = "megatron"
    """Megatron-DeepSpeed, megatron/utils.py, and Narayanan et al. 2021, equation 3: executed,
    24 B s L h^2 x (4 with recomputation, else 3) x (1 + s / 6h + V / 16Lh)."""
    BIGSCIENCE = "bigscience-8nd"
    """bigscience experiments/gpt2.md: executed, 8 x parameters x tokens with recomputation, 6
    without, parameters rounded to whole 10^9."""
    LLM_FOUNDRY_MODEL = "llm-foundry-model"
    """llm-foundry scripts/train/benchmarking: model, 6 N + 12 L d s a token."""
    LLM_FOUNDRY_HARDWARE = "llm-foundry-hardware"
    """The same x 4/3 with activation checkpointing: executed."""
    PALM = "palm"
    """Chowdhery et al. 2022 (arXiv 2204.02311), appendix B: model, 6 N + 12 L H Q T a token, N
    without what is only looked up."""

    @property
    def is_executed(self) -> bool:
        """Whether the formula stands for executed FLOP (HFU), else for model FLOP (MFU)."""
        return self in (Convention.MEGATRON, Convention.BIGSCIENCE, Convention.LLM_FOUNDRY_HARDWARE)


class Quantity(enum.StrEnum):
    """What a printed rate is in."""

    TFLOP_PER_S = "tflop_per_s"
    """10^12 FLOP a second and device."""
    MFU = "mfu"
    """Model FLOP over peak, 0 to 1."""
    HFU = "hfu"
    """Executed FLOP over peak, 0 to 1."""


@value_class(frozen=True, slots=True)
class PrintedRate:
    """One rate as a log or its source prints it.

    Attributes:
        quantity: what it is in.
        figure: as printed; a percentage as a share.
        convention: the formula it follows.
        place: where it is printed.
    """

    quantity: Quantity
    figure: Fraction
    convention: Convention
    place: str


def printed_flop(
    convention: Convention, shape: ModelShape, training: Training, *, tokens: int
) -> Fraction:
    """FLOP that a framework says `tokens` tokens of training take."""
    s, layers, h = training.sequence, shape.layers, shape.width
    recomputed = training.recompute is Recompute.FULL
    if convention is Convention.MEGATRON:
        around = 1 + Fraction(s, 6 * h) + Fraction(shape.vocabulary, 16 * layers * h)
        return 24 * (4 if recomputed else 3) * tokens * layers * h * h * around
    if convention is Convention.BIGSCIENCE:
        rounded = round(Fraction(shape.parameters(), BILLION)) * BILLION
        return Fraction((8 if recomputed else 6) * rounded * tokens)
    attention = 12 * layers * shape.attention_width * s
    if convention is Convention.PALM:
        return Fraction((6 * (shape.parameters() - shape.lookup_parameters) + attention) * tokens)
    model = Fraction((6 * shape.parameters() + attention) * tokens)
    if convention is Convention.LLM_FOUNDRY_HARDWARE and recomputed:
        return model * Fraction(4, 3)
    return model


def differences(convention: Convention, shape: ModelShape, training: Training) -> tuple[str, ...]:
    """What the formula counts otherwise than the products that are computed."""
    said = []
    if shape.causal and convention is not Convention.BIGSCIENCE:
        said.append("counts the whole attention square; the causal mask leaves half of it")
    if convention is Convention.BIGSCIENCE:
        said.append("leaves attention out and rounds the parameters to whole 10^9")
    if training.recompute is Recompute.FULL:
        if convention is Convention.MEGATRON:
            said.append(
                "is executed FLOP; 3/4 of it is model FLOP for the layers, not for the head"
            )
        elif convention.is_executed:
            said.append("repeats the head's forward pass, which is not recomputed")
    elif convention is Convention.MEGATRON:
        said.append("takes 3/4 of the head (the term V / 16Lh holds with recomputation only)")
    foundry = (Convention.LLM_FOUNDRY_MODEL, Convention.LLM_FOUNDRY_HARDWARE)
    if convention in foundry and shape.lookup_parameters:
        said.append("counts looked-up parameters as if they multiplied")
    if convention is Convention.LLM_FOUNDRY_HARDWARE:
        said.append(
            "leaves out the scores that a fused kernel computes once more in the backward pass"
        )
    return tuple(said)
