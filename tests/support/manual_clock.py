"""A clock that a test moves by hand.

Owns: the three clocks of one made-up node.
May touch: nothing.
Called by tests of whatever takes a clock.
"""

from __future__ import annotations

from flopmeter_core.units import NS_PER_S


class ManualClock:
    """Stands still until it is moved."""

    boot_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self, *, monotonic_s: int = 1_000, suspended_s: int = 0) -> None:
        """Begin `monotonic_s` after boot, of which `suspended_s` more were slept."""
        self._monotonic_ns = monotonic_s * NS_PER_S
        self._suspended_ns = suspended_s * NS_PER_S

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self._monotonic_ns += round(seconds * NS_PER_S)

    def monotonic_ns(self) -> int:
        """Time without suspend, in ns."""
        return self._monotonic_ns

    def boottime_ns(self) -> int:
        """Time since boot, in ns."""
        return self._monotonic_ns + self._suspended_ns

    def wall_ns(self) -> int:
        """Some Unix time, in ns."""
        return 1_790_000_000 * NS_PER_S + self._monotonic_ns


class StandingClock:
    """All clocks stand where the test puts them, one by one if it likes.

    Attributes:
        boot_id: the boot they belong to.
        at_ns: monotonic time.
        suspended_ns: what boot time is ahead of it.
        wall_step_ns: what Unix time is ahead of it.
    """

    def __init__(self, boot_id: str = "boot") -> None:
        """Stand at 0."""
        self.boot_id = boot_id
        self.at_ns = 0
        self.suspended_ns = 0
        self.wall_step_ns = 0

    def monotonic_ns(self) -> int:
        """Where it stands."""
        return self.at_ns

    def boottime_ns(self) -> int:
        """Where it stands, suspend included."""
        return self.at_ns + self.suspended_ns

    def wall_ns(self) -> int:
        """Where it stands."""
        return self.at_ns + self.wall_step_ns
