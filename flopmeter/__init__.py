"""flopmeter: the electricity meter of AI training.

Owns: the names a training script may use, loaded when they are first asked for.
May touch: nothing before that; importing this package has to cost nothing.
Called by training scripts (`import flopmeter`); docs/sdk.md.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself costs 10 ms
if TYPE_CHECKING:
    from flopmeter.sdk.huggingface import trainer_callback as trainer_callback
    from flopmeter.sdk.lightning import lightning_callback as lightning_callback
    from flopmeter.sdk.megatron import MegatronLog as MegatronLog
    from flopmeter.sdk.meter import Meter as Meter
    from flopmeter.sdk.meter import meter as meter
    from flopmeter.sdk.pytorch import count_flop as count_flop

_PLACES = {
    "Meter": "flopmeter.sdk.meter",
    "MegatronLog": "flopmeter.sdk.megatron",
    "count_flop": "flopmeter.sdk.pytorch",
    "lightning_callback": "flopmeter.sdk.lightning",
    "meter": "flopmeter.sdk.meter",
    "trainer_callback": "flopmeter.sdk.huggingface",
}

__all__ = [
    "MegatronLog",
    "Meter",
    "count_flop",
    "lightning_callback",
    "meter",
    "trainer_callback",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'flopmeter' has no attribute {name!r}")
    return getattr(importlib.import_module(place), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
