"""Energy-based estimate: what the energy is worth in seconds at full load, x a fraction of peak.

Owns: reading the basis of an energy figure (metered or computed, scope, PUE) and the formula.
May touch: nothing; constants of methods.energy, which has their sources.
Called by desk.reconcile.

Formula: that of methods.energy, on the whole run: FLOP = phi x peak x (E - P_idle T) /
(P_load - P_idle), upper without idle and at the best matrix product. T is the device-hours; where
they are not known, the mean draw is taken as a stated share of full load.
Assumptions: a scope that is not said may be the boards alone or the nodes: both are inside.
Facility energy is divided by the PUE named beside it. An energy that was itself computed from
hours (TDP x time, an estimate) says nothing the hours do not: shown, never used to reconcile.
Error budget: a factor of 5 to 12 (methods.energy); docs/estimate.md.
"""

from __future__ import annotations

import re
from fractions import Fraction

from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import Written
from flopmeter_core.desk.hardware import SECONDS_PER_HOUR, device_hours, peak_flop_per_s
from flopmeter_core.desk.row import Row
from flopmeter_core.devices import EnergyScope, Part
from flopmeter_core.errors import DataError
from flopmeter_core.methods import energy as method

J_PER_MWH = 3_600_000_000
_COMPUTED = re.compile(r"tdp|estimat|not metered|computed", re.IGNORECASE)
_NODE = re.compile(r"node|server|host|\bIT\b")
_PUE = re.compile(r"PUE\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


def energy_flop(row: Row, constants: Written) -> tuple[Span | None, bool, list[str]]:
    """The energy-based interval.

    Returns:
        The interval in FLOP or None, whether the energy is independent of the hours, and what
        has to be said of it.

    Raises:
        DataError: contradictory hours, or a PUE below 1.
    """
    hours, _ = device_hours(row)
    basis = row.texts["energy_basis"]
    stated = row.get("energy_mwh")
    independent = stated is not None and _COMPUTED.search(basis) is None
    said: list[str] = []
    if stated is not None:
        energy_j = stated * (J_PER_MWH / _pue(row, basis))
        if not independent:
            said.append(f"the energy is computed, not metered ({basis}): it confirms nothing")
    else:
        power_w = row.get("power_w_per_gpu")
        if power_w is None or hours is None:
            return None, False, ["no energy-based figure: energy_mwh not stated"]
        energy_j = power_w * hours * SECONDS_PER_HOUR
        said.append("the energy is power_w_per_gpu x device-hours: it rests on the hours too")
    if row.part is None or not row.part.power_w:
        why = "accelerator not stated" if row.part is None else "its rated power is not published"
        return None, False, [*said, f"no energy-based figure: {why}"]
    scopes = [EnergyScope.NODE] if _NODE.search(basis) else [EnergyScope.GPU, EnergyScope.NODE]
    peak, format_name, _ = peak_flop_per_s(row, row.part)
    seconds = hours * SECONDS_PER_HOUR if hours is not None else None
    found = [
        _of_scope(row.part, format_name, peak, energy_j, seconds, scope, constants)
        for scope in scopes
    ]
    if any(span.lower == 0 for span in found):
        said.append("the energy is no more than these devices draw at rest over these hours")
    lower = min(span.lower for span in found)
    upper = max(span.upper for span in found)
    best = sum((span.best for span in found), Fraction(0)) / len(found)
    return Span(lower, best, upper), independent, said


def _pue(row: Row, basis: str) -> Fraction:
    """What a facility's energy is divided by; 1 where the basis names no PUE."""
    match = _PUE.search(basis)
    pue = Fraction(match[1]) if match else Fraction(1)
    if pue < 1:
        raise DataError(f"{row.place} names a PUE of {float(pue)}; it is never below 1")
    return pue


def _of_scope(
    part: Part,
    format_name: str,
    peak: Span,
    energy_j: Span,
    seconds: Span | None,
    scope: EnergyScope,
    written: Written,
) -> Span:
    """The interval if the energy covers exactly this scope."""
    constants = method.builtin_constants()
    load_ratio, idle_ratio = constants.power[scope]
    load_w, idle_w = load_ratio * part.power_w, idle_ratio * part.power_w
    phi_lower, phi_best = constants.fraction[method.UNDECLARED]
    phi_upper = constants.ceiling.get((part.id, format_name), constants.ceiling_default)
    if seconds is None:
        at_rest = Span.exactly(idle_w / (written.mean_draw * load_w)) * energy_j
        idle_best = idle_w / load_w * energy_j.best
    else:
        at_rest = seconds * idle_w
        idle_best = at_rest.best
    swing_w = load_w - idle_w
    lower = max(Fraction(0), energy_j.lower - at_rest.upper) / swing_w
    best = max(Fraction(0), energy_j.best - idle_best) / swing_w
    upper = energy_j.upper / load_w * phi_upper * peak.upper
    low = min(phi_lower * peak.lower * lower, upper)
    return Span(low, min(max(phi_best * peak.best * best, low), upper), upper)
