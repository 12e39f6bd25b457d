"""How a model is trained, as far as its FLOP depend on it.

Owns: recomputation, attention kernel and adapters of a training, with their checks.
May touch: nothing; pure definitions.
Called by architecture.count and the importers of training logs.
"""

from __future__ import annotations

import enum

from flopmeter_core.architecture.shape import SIZE_MAXIMUM
from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class


class Recompute(enum.StrEnum):
    """Which forward work is done a second time so that activations need not be kept."""

    NONE = "none"
    SELECTIVE = "selective"
    """Scores and weighted values of attention only (Korthikanti et al. 2022, arXiv 2205.05198)."""
    FULL = "full"
    """Every layer, not the head (Chen et al. 2016, arXiv 1604.06174, one checkpoint a layer)."""


class Kernel(enum.StrEnum):
    """What computes attention."""

    SQUARE = "square"
    """Scores are kept, and masked ones computed like the others: every kernel before 2022."""
    FUSED = "fused"
    """FlashAttention and its kin: masked tiles are skipped, and scores, which are not kept, are
    computed once more in the backward pass (Dao 2023, arXiv 2307.08691, section 3.1)."""
    UNKNOWN = "unknown"


ADAPTABLE = ("query", "key", "value", "output", "gate", "up", "down")
"""Matrices of a layer that adapters may be attached to."""


@value_class(frozen=True, slots=True)
class Adapters:
    """Low-rank adapters beside frozen matrices (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: inner width of each pair, 1 or more.
        targets: which matrices of every layer have one, out of `ADAPTABLE`.
    """

    rank: int
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse impossible adapters.

        Raises:
            DataError: a rank below 1, or no, unknown or doubled targets.
        """
        if not 1 <= self.rank < SIZE_MAXIMUM:
            raise DataError(f"lora_rank = {self.rank} is impossible; it is 1 or more")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise DataError("lora_targets names each adapted matrix once, and at least one")
        for target in self.targets:
            if target not in ADAPTABLE:
                raise DataError(
                    f"lora_targets has {target!r}, which is none of {', '.join(ADAPTABLE)}"
                )


@value_class(frozen=True, slots=True)
class Training:
    """How a model is trained.

    Attributes:
        sequence: tokens of one sequence (context length), 1 or more.
        recompute: which activations are recomputed.
        kernel: what computes attention.
        adapters: with them the base is frozen; None trains every parameter.
    """

    sequence: int
    recompute: Recompute = Recompute.NONE
    kernel: Kernel = Kernel.UNKNOWN
    adapters: Adapters | None = None

    def __post_init__(self) -> None:
        """Refuse a sequence without tokens.

        Raises:
            DataError: as said.
        """
        if not 1 <= self.sequence < SIZE_MAXIMUM:
            raise DataError(f"sequence = {self.sequence} is impossible; it is 1 or more tokens")
