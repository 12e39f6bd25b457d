"""The clocks a process reads: the only module that asks the operating system for the time.

Owns: the Clock protocol and the system's clock.
May touch: clock_gettime and /proc/sys/kernel/random/boot_id.
Called by: apps, which pass the clock down; everything below takes it as an argument.
Monotonic time integrates, boot time says what was covered, wall time is only a label
(docs/adr/0005-delivery-and-durability.md).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Three clocks of one node."""

    @property
    def boot_id(self) -> str:
        """Identity of this boot; boot times of different boots cannot be compared."""

    def monotonic_ns(self) -> int:
        """Time that never steps and stops in suspend, in ns."""

    def boottime_ns(self) -> int:
        """Time since boot, suspend included, in ns."""

    def wall_ns(self) -> int:
        """Unix time in ns; may step; a label."""


class SystemClock:
    """The operating system's clocks."""

    def __init__(self) -> None:
        """Read the boot identity once."""
        self._boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"

    @property
    def boot_id(self) -> str:
        """Identity of this boot."""
        return self._boot_id

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC in ns."""
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME in ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        """CLOCK_REALTIME in ns."""
        return time.time_ns()


def processor_ns() -> int:
    """Processor time this process has used, in ns: what other processes do does not move it."""
    return time.process_time_ns()
