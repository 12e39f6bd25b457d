"""Claims from a Lightning Trainer.

Owns: the callback.
May touch: lightning (or pytorch_lightning), imported when it is asked for.
Called by training scripts: ``Trainer(callbacks=[flopmeter.lightning_callback(...)])``.
"""

from __future__ import annotations

import importlib
from typing import Any

from flopmeter.sdk.meter import Meter
from flopmeter.sdk.pytorch import dense_flop_per_token


def lightning_callback(
    meter: Meter, *, tokens_per_batch: int, flop_per_token: int = 0, sequence_length: int = 0
) -> Any:
    """Make a callback that claims each batch of this rank.

    Args:
        meter: what claims.
        tokens_per_batch: tokens of one batch on this rank.
        flop_per_token: model FLOP of one token, forward and backward; 0 takes 6 x trainable
            parameters where that holds, and else claims steps and tokens alone.
        sequence_length: tokens of a sequence, to refuse that formula for long contexts.
    """

    class FlopmeterCallback(_callback_base()):  # type: ignore[misc]
        rate = flop_per_token
        step = 1

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if not self.rate:
                self.rate = dense_flop_per_token(pl_module, sequence_length=sequence_length)

        def on_train_batch_start(self, trainer: Any, *rest: Any, **named: Any) -> None:
            self.step = trainer.global_step + 1  # the optimizer step this batch works for

        def on_train_batch_end(self, trainer: Any, *rest: Any, **named: Any) -> None:
            flop, rank = self.rate * tokens_per_batch, trainer.global_rank
            meter.step(self.step, flop=flop, tokens=tokens_per_batch, scope="rank", rank=rank)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            meter.flush()

    return FlopmeterCallback()


def _callback_base() -> Any:
    """Lightning's class, under the newer or the older name of the package."""
    try:
        return importlib.import_module("lightning.pytorch").Callback
    except ModuleNotFoundError:
        return importlib.import_module("pytorch_lightning").Callback
