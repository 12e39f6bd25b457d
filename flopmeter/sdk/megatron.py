"""Claims from the log lines that Megatron-LM and its relatives print.

Owns: what such a line says, and the steps it stands for.
May touch: nothing but the meter it is given.
Called by training scripts and by whoever follows a log file; docs/sdk.md.
The FLOP are Megatron's own model formula: throughput per GPU x GPUs x time, over the iterations
since the line before.
"""

from __future__ import annotations

import re

from flopmeter.sdk.meter import Meter

FLOP_PER_TERAFLOP = 10**12
MS_PER_S = 1_000

_NUMBER = r"\s*:?\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)"
_ITERATION = re.compile(r"\biteration\s+(\d+)\s*/")
_PERIOD_MS = re.compile(r"elapsed time per iteration \(ms\)" + _NUMBER)
_RATE = re.compile(r"(?:throughput per GPU \(TFLOP/s/GPU\)|TFLOPs)" + _NUMBER)
_SAMPLES = re.compile(r"global batch size" + _NUMBER)


class MegatronLog:
    """Reads log lines and claims what they say."""

    def __init__(self, meter: Meter, *, device_count: int, sequence_length: int = 0) -> None:
        """Prepare.

        Args:
            meter: what claims.
            device_count: GPUs of the run, Megatron's world size.
            sequence_length: tokens of one sample; 0 claims no tokens.
        """
        self._meter = meter
        self._device_count = device_count
        self._sequence_length = sequence_length
        self._before: int | None = None
        self._waiting: tuple[int, float, int] | None = None

    def line(self, text: str) -> bool:
        """Take one line; returns whether it was an iteration's.

        The first line waits for the second, which tells how many iterations a line stands for.
        """
        found = [pattern.search(text) for pattern in (_ITERATION, _PERIOD_MS, _RATE)]
        if None in found:
            return False
        try:
            iteration, period_ms, rate = (float(match[1]) for match in found if match)
        except ValueError:  # 1.2.3
            return False
        samples = _SAMPLES.search(text)
        tokens = int(float(samples[1])) * self._sequence_length if samples else 0
        flop = rate * FLOP_PER_TERAFLOP * self._device_count * period_ms / MS_PER_S
        self._take(int(iteration), flop, tokens)
        return True

    def close(self) -> None:
        """Claim a single line too, as one iteration, and send."""
        if self._waiting is not None:
            self._claim(self._waiting, 1)
            self._waiting = None
        self._meter.flush()

    def _take(self, iteration: int, flop: float, tokens: int) -> None:
        before, self._before = self._before, iteration
        if before is None:
            self._waiting = (iteration, flop, tokens)
            return
        count = iteration - before
        if self._waiting is not None:
            self._claim(self._waiting, max(1, min(count, before)))
            self._waiting = None
        # After a rollback the next line's distance is unknown: one iteration at least was done.
        self._claim((iteration, flop, tokens), count if count > 0 else 1)

    def _claim(self, said: tuple[int, float, int], count: int) -> None:
        iteration, flop, tokens = said
        self._meter.step(iteration, flop=flop * count, tokens=tokens * count, steps=count)
