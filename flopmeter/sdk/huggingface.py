"""Claims from a Hugging Face Trainer.

Owns: the callback.
May touch: transformers, imported when it is asked for.
Called by training scripts: ``Trainer(..., callbacks=[flopmeter.trainer_callback(...)])``.
The trainer's own `total_flos` is not used: it is reported wrong on resumed and distributed runs
(huggingface/transformers#11383, #11844, #15006).
"""

from __future__ import annotations

import importlib
from typing import Any

from flopmeter.sdk.meter import Meter
from flopmeter.sdk.pytorch import dense_flop_per_token


def trainer_callback(
    meter: Meter, *, tokens_per_step: int, flop_per_token: int = 0, sequence_length: int = 0
) -> Any:
    """Make a callback that claims each optimizer step.

    Args:
        meter: what claims.
        tokens_per_step: tokens of one optimizer step over all ranks.
        flop_per_token: model FLOP of one token, forward and backward; 0 takes 6 x trainable
            parameters where that holds, and else claims steps and tokens alone.
        sequence_length: tokens of a sequence, to refuse that formula for long contexts.
    """
    base: Any = importlib.import_module("transformers").TrainerCallback

    class FlopmeterCallback(base):  # type: ignore[misc]
        rate = flop_per_token

        def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            if not self.rate and named.get("model") is not None:
                self.rate = dense_flop_per_token(named["model"], sequence_length=sequence_length)

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            if state.is_world_process_zero:
                flop = self.rate * tokens_per_step
                meter.step(state.global_step, flop=flop, tokens=tokens_per_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            meter.flush()

    return FlopmeterCallback()
