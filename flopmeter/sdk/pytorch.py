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


NEGLIGIBLE = 0.05
"""A share of the FLOP the formula may leave out or add, as in core's architecture.six_pd."""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""What the configurations of Hugging Face models call the number of experts of a layer."""


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


def dense_flop_per_token(model: Any, *, sequence_length: int = 0) -> int:
    """6 x trainable parameters: model FLOP of a dense transformer per token, attention left out.

    Args:
        model: a torch module, of Hugging Face for some of the checks.
        sequence_length: tokens of a sequence, for the check of the context; 0 leaves it out.

    Returns:
        FLOP a token; 0, with a warning that says which assumption fails, where it does not hold.
    """
    try:
        sizes = [(_numel(p), bool(p.requires_grad)) for p in model.parameters()]
        total = sum(size for size, _ in sizes)
        trained = sum(size for size, trains in sizes if trains)
        said = _objections(model, total, trained, sequence_length)
    except Exception as error:  # whatever the model is, training goes on
        said, trained = [f"its parameters cannot be read ({error})"], 0
    if said:
        logger.warning(
            "flopmeter claims no FLOP of this model, because 6 x parameters x tokens does not "
            "hold for it (%s); pass flop_per_token",
            "; ".join(said),
        )
        return 0
    return FLOP_PER_PARAMETER_AND_TOKEN * trained


def _objections(model: Any, total: int, trained: int, sequence_length: int) -> list[str]:
    """Which of the formula's assumptions fail; what core's architecture.six_pd says of a shape."""
    said = []
    config = getattr(model, "config", None)
    if not trained:
        said.append("no parameter of it is trained")
    elif _above(total - trained, total):
        said.append(
            f"{(total - trained) / total:.0%} of its parameters are frozen, as with adapters, and "
            "take 4 and not 6 FLOP a token"
        )
    experts = max(_size(config, name) for name in _EXPERTS)
    if experts > 1:
        said.append(f"a token meets only some of its {experts} experts")
    if getattr(config, "is_encoder_decoder", False) is True:
        said.append("a token meets one of its two stacks")
    lookup = 0 if getattr(config, "tie_word_embeddings", True) else _embedding(model)
    if _above(lookup, total):
        said.append(f"{lookup / total:.0%} of its parameters are only looked up")
    # Forward, a causal token: 2 FLOP for each of two products, width and half the sequence,
    # a layer; beside 2 a parameter.
    attention = 2 * _size(config, "num_hidden_layers") * _size(config, "hidden_size")
    if _above(attention * sequence_length, attention * sequence_length + 2 * total):
        said.append(f"attention over {sequence_length} tokens is over {NEGLIGIBLE:.0%} of the FLOP")
    return said


def _embedding(model: Any) -> int:
    found = getattr(model, "get_input_embeddings", lambda: None)()
    weight = getattr(found, "weight", None)
    return 0 if weight is None else _numel(weight)


def _numel(parameter: Any) -> int:
    # DeepSpeed's ZeRO-3 leaves an empty tensor behind, and its size beside it.
    return int(getattr(parameter, "ds_numel", None) or parameter.numel())


def _size(config: Any, name: str) -> int:
    found = getattr(config, name, 0)
    return found if isinstance(found, int) else 0


def _above(part: int, whole: int) -> bool:
    return part > NEGLIGIBLE * whole
