"""Units that appear in more than one module, and the conversions between them.

Owns: the conversion constants; physical definitions only, so none needs a source.
May touch: nothing; pure definitions.
Called by: every module that converts; no module writes 1_000_000_000 by itself.
"""

from __future__ import annotations

from typing import NewType

Nanoseconds = NewType("Nanoseconds", int)
"""A span or a reading of a clock, in ns."""

Flop = NewType("Flop", int)
"""A count of floating-point operations; an unbounded Python integer (10^26 needs 87 bits)."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_HOUR = 3_600 * NS_PER_S
PPM = 1_000_000
"""Parts per million: how a ratio from 0 to 1 is held as an integer."""
CYCLES_PER_MEGACYCLE = 1_000_000
MJ_PER_J = 1_000
J_PER_KWH = 3_600_000
MJ_PER_KWH = J_PER_KWH * MJ_PER_J

REGISTER_LIMIT = 1 << 62
"""A register component is below this (int64 with one bit to spare for sums in kernels)."""
