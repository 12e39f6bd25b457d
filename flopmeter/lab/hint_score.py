"""How often a hint that runs may be one is wrong, on made-up runs whose truth is known.

Owns: the made-up fleets, and the two rates of error.
May touch: standard output, when run as ``python -m flopmeter.lab.hint_score``.
Called by hand and by its test; its last figures stand in docs/hints.md.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace

from flopmeter.lab.simulation.randomness import Randomness
from flopmeter_collector.hints import RunTraits, likenesses
from flopmeter_core.units import NS_PER_HOUR

PAIRS = 10_000

_DEVICE_COUNTS = (8, 8, 8, 16, 16, 32, 64, 64, 128, 256, 512)
"""Small jobs are the most common ones; a power of two is the rule."""

_PARTS = ("h100-sxm5-80gb", "h100-sxm5-80gb", "h100-sxm5-80gb", "a100-sxm4-80gb", "h200-sxm-141gb")


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of pairs that were judged wrongly.

    Attributes:
        false_hints: of unrelated runs that are near in time, those hinted at.
        missed: of runs that are one training cut in two, those not hinted at.
    """

    false_hints: float
    missed: float


def measure(seed: int, *, pairs: int = PAIRS) -> Rates:
    """Judge pairs whose truth is known.

    Args:
        seed: decides every made-up run.
        pairs: of each kind.
    """
    random = Randomness(seed, "hints")
    unrelated = [(_run(random, "a"), _run(random, "b")) for _ in range(pairs)]
    halves = [_cut(random, _run(random, "a")) for _ in range(pairs)]
    return Rates(
        false_hints=sum(bool(likenesses(*pair)) for pair in unrelated) / pairs,
        missed=sum(not likenesses(*pair) for pair in halves) / pairs,
    )


def _run(random: Randomness, name: str) -> RunTraits:
    """An unrelated run that starts within six hours of the others."""
    start = random.between(0, 6 * NS_PER_HOUR)
    hours = random.between(2, 300)
    return RunTraits(
        run=name,
        model=name,
        first_ns=start,
        last_ns=start + hours * NS_PER_HOUR,
        parts=frozenset({random.choose(_PARTS)}),
        device_count=random.choose(_DEVICE_COUNTS),
        busy_share=0.8 + 0.2 * random.share(),
        # Utilisation of dense training runs lies between about 0.2 and 0.55 of peak.
        flop_per_busy_s=1e15 * (0.2 + 0.35 * random.share()),
    )


def _cut(random: Randomness, whole: RunTraits) -> tuple[RunTraits, RunTraits]:
    """One training as two runs side by side, each metered for itself."""
    return _metered(random, replace(whole, run="a1", model="a1")), _metered(
        random, replace(whole, run="a2", model="a2")
    )


def _metered(random: Randomness, run: RunTraits) -> RunTraits:
    """With the spread that hours of one training have: 1 % of rate, half a point of busy time."""
    spread = math.sqrt(-2 * math.log(1 - random.share())) * math.cos(2 * math.pi * random.share())
    return replace(
        run,
        first_ns=run.first_ns + random.between(0, NS_PER_HOUR),
        flop_per_busy_s=run.flop_per_busy_s * (1 + 0.01 * spread),
        busy_share=min(1.0, run.busy_share + 0.005 * spread),
    )


def main() -> int:
    """Print the rates of a fixed seed."""
    rates = measure(2026)
    told = {"pairs": PAIRS, "false_hints": rates.false_hints, "missed": rates.missed}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
