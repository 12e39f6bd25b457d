"""FLOP of a PyTorch step, counted once or by formula.

Owns: the call of PyTorch's own counter, and the formula for a dense transformer.
May touch: torch, imported when it is asked for.
Called by training scripts; docs/sdk.md shows the ten lines.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("flopmeter")

FLOP_PER_PARAMETER_AND_TOKEN = 6
"""Forward 2, backward 4: the Commission Guidelines' C = 6 P D (C(2025) 7719, Annex A.2), for
dense transformers whose width is far above a twelfth of the context length."""


def count_flop(step: Callable[..., object], *arguments: object, **named: object) -> int:
    """Run one eager training step under PyTorch's FlopCounterMode.

    The counter takes attention as full, not causal, and sees no custom kernel that did not
    register a formula. It slows the step down: call it once, and use the number for all steps of
    the same shape.

    Args:
        step: does forward and backward of one batch on this rank; not a compiled module.
        *arguments: handed to `step`.
        **named: handed to `step`.

    Returns:
        FLOP of this rank's step; 0, with a warning in the log, where it cannot be counted.
    """
    try:
        module = importlib.import_module("torch.utils.flop_counter")
        with module.FlopCounterMode(display=False) as counter:
            step(*arguments, **named)
        return int(counter.get_total_flops())
    except Exception as error:  # a counter must not end a training script
        logger.warning("flopmeter cannot count this step: %s", error)
        return 0


def dense_flop_per_token(model: Any) -> int:
    """6 x trainable parameters: model FLOP of a dense transformer per token, attention left out.

    Wrong for mixtures of experts, adapters on a frozen model and long contexts: pass the figure
    of your architecture instead.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return FLOP_PER_PARAMETER_AND_TOKEN * int(trained)
