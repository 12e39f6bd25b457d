"""One row, three independent ways side by side, and one reconciled interval.

Owns: the order of the methods, what may count as evidence, and the rule of reconciliation.
May touch: nothing; pure function of a row and constants.
Called by the `estimate` command and lab.desk_score.

Rule: of the methods that do not rest on each other's inputs, the narrowest interval is taken whole
(so it keeps the coverage it claims) if it overlaps every other. If it does not, at least one input
is wrong: the interval then holds them all, best stays the narrowest one's, and that is said.
Nothing is averaged. A published figure is shown beside it, never used, and one that came from
hardware time (circular) is not even compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from flopmeter_core.desk.architecture import architecture_flop
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import (
    Utilization,
    Written,
    builtin_utilization,
    builtin_written,
)
from flopmeter_core.desk.energy import energy_flop
from flopmeter_core.desk.hardware import hardware_flop
from flopmeter_core.desk.row import Row
from flopmeter_core.values import value_class

DISAGREEMENT = "disagreement"
"""The method's name when the methods do not overlap."""


@value_class(frozen=True, slots=True)
class DeskEstimate:
    """What a row comes to, in model FLOP (recomputation not counted).

    Attributes:
        hardware, architecture, energy: each method's interval, or None.
        reconciled: the one interval, or None where no method had its inputs.
        method: the method reconciled rests on, `DISAGREEMENT`, or ``none``.
        basis: what the hardware-based figure rests on.
        warnings: sentences a reader has to know.
    """

    model: str
    hardware: Span | None
    architecture: Span | None
    energy: Span | None
    reconciled: Span | None
    method: str
    basis: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def estimate_row(
    row: Row, *, utilization: Utilization | None = None, written: Written | None = None
) -> DeskEstimate:
    """Estimate one row; constants are the built-in ones unless handed in.

    Raises:
        DataError: cells that contradict each other.
    """
    written = written or builtin_written()
    hardware, basis, about_hardware = hardware_flop(row, utilization or builtin_utilization())
    architecture, about_architecture = architecture_flop(row, written)
    energy, energy_counts, about_energy = energy_flop(row, written)
    evidence = {
        "architecture": architecture,
        "hardware": hardware,
        "energy": energy if energy_counts else None,
    }
    if architecture is None and hardware is None:
        # Better than nothing, and said: an energy computed from hours is all there is.
        evidence["energy"] = energy
    reconciled, method, about = reconcile(
        {name: span for name, span in evidence.items() if span is not None}
    )
    return DeskEstimate(
        model=row.model,
        hardware=hardware,
        architecture=architecture,
        energy=energy,
        reconciled=reconciled,
        method=method,
        basis=basis,
        warnings=(
            *about,
            *about_hardware,
            *about_architecture,
            *about_energy,
            *_about_published(row, reconciled),
        ),
    )


def reconcile(evidence: Mapping[str, Span]) -> tuple[Span | None, str, list[str]]:
    """One interval from independent ones: the narrowest, or all if it contradicts another."""
    if not evidence:
        return None, "none", ["nothing to estimate from: no method has its inputs"]
    method = min(evidence, key=lambda name: _width(evidence[name]))
    narrowest = evidence[method]
    apart = [name for name, span in evidence.items() if not span.overlaps(narrowest)]
    if not apart:
        return narrowest, method, []
    joined = narrowest
    for span in evidence.values():
        joined = joined.hull(span)
    return (
        joined,
        DISAGREEMENT,
        [
            f"the {method} and {' and '.join(apart)} figures do not overlap: an input is wrong, "
            "or the hours hold other work"
        ],
    )


def _width(span: Span) -> float:
    """Upper over lower, for comparing; a lower of 0 is the widest there is."""
    return float(span.upper / span.lower) if span.lower else float("inf")


def _about_published(row: Row, reconciled: Span | None) -> list[str]:
    """What a published FLOP figure adds: a comparison where it is independent, never evidence."""
    published = row.get("flop_published")
    if published is None:
        return []
    basis = row.texts["flop_basis"] or "no basis stated"
    if row.circular:
        return [f"the published {float(published.best):.3g} FLOP is not compared: {basis}"]
    if reconciled is not None and not published.overlaps(reconciled):
        return [f"the published {float(published.best):.3g} FLOP ({basis}) lies outside"]
    return []
