"""How well a statement about a law was checked.

Owns: the three grades, their order, and the weakest of several.
May touch: nothing; pure definitions.
Called by counting (entries of a profile) and by the threshold rows; docs/thresholds.md.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verification(enum.StrEnum):
    """How a number, an operator, a date or a counting rule is known; from well to badly."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    UNVERIFIED = "unverified"


def weakest(grades: Iterable[Verification]) -> Verification:
    """The worst of several grades: a chain of statements is as good as its weakest."""
    return max(grades, key=list(Verification).index)
