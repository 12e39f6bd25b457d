"""Method of rung 4: energy.

Owns: the coefficients for registers that know energy and time only, and its constants' types.
May touch: its own table, data/energy.toml, through `flopmeter_core.data`; nothing else.
Called by estimate through methods.table, for ENERGY and POWER_SAMPLED registers.

Formula: FLOP = phi x peak x (energy - P_idle x busy time) / (P_load - P_idle), that is: fraction
of peak x seconds at full load that the energy is worth x dense peak of the running format.
P_load and P_idle are shares of the part's rated power by what the energy covers (gpu, module,
node), phi is by declared workload; upper's phi is the best matrix product ever measured on the
part in that format, and upper subtracts no idle energy (a node that idles lower than assumed
must not be under-counted).
Assumptions: the work was matrix products in the declared format, where none is declared bf16 for
lower and best and the fastest format for upper; the constants hold for the part (each row of the
table says how well it is known). Ceiling trusts none of them: busy time at the highest rate.
Error budget: power alone says little. H100 nodes drew 842 W a device both at 801 TFLOP/s (GPT-3,
1.05 J/TFLOP) and at 172 TFLOP/s (ResNet-50, 4.9 J/TFLOP). Upper over lower is therefore about 12
undeclared and 5 with workload and format declared; verified on 15 recorded MLPerf runs of H100
nodes only (docs/estimation.md has the table and the sources). On a part whose peak or rated power
is unverified the width of those comes on top (methods.base).
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import EnergyScope, Part
from flopmeter_core.errors import DataError
from flopmeter_core.formats import KNOWN_FORMATS, widest_rates
from flopmeter_core.methods import allocation
from flopmeter_core.methods.base import (
    Coefficients,
    Conditions,
    Weights,
    Workload,
    busy_ceiling,
    certainty_of,
    coefficients,
)
from flopmeter_core.registers import Component
from flopmeter_core.standing import Standing
from flopmeter_core.units import MJ_PER_J
from flopmeter_core.values import value_class

UNDECLARED = "undeclared"
"""The row of a run whose workload nobody declared."""

# W x ns = 10^-9 J = 10^-6 mJ.
_MJ_PER_W_NS = Fraction(1, 10**6)


@value_class(frozen=True, slots=True)
class Constants:
    """The constants of the method, all dimensionless.

    Attributes:
        version: of the table.
        power: scope -> (full load, idle), power of a device over the part's `power_w`.
        fraction: workload or `UNDECLARED` -> (lower, best) fraction of the dense peak, 0..1.
        ceiling: (part id, format) -> best measured matrix product over the data sheet, 0..1.
        ceiling_default: the same for parts and formats nobody measured.
    """

    version: str
    power: Mapping[EnergyScope, tuple[Fraction, Fraction]]
    fraction: Mapping[str, tuple[Fraction, Fraction]]
    ceiling: Mapping[tuple[str, str], Fraction]
    ceiling_default: Fraction


@functools.cache
def builtin_constants() -> Constants:
    """The constants flopmeter ships."""
    return parse_constants(builtin_table("energy.toml"))


def coefficients_of(conditions: Conditions) -> Coefficients:
    """Weights of energy and busy time, with the built-in constants.

    A record that does not say what its energy covers, or of a part whose power nobody
    publishes, is estimated by its time alone.

    Raises:
        DataError: a declared number format the part does not have.
    """
    if conditions.record.energy_scope is EnergyScope.NONE or not conditions.part.power_w:
        return allocation.coefficients_of(conditions)
    return weigh(conditions, builtin_constants())


def weigh(conditions: Conditions, constants: Constants) -> Coefficients:
    """The formula under given constants.

    Raises:
        DataError: a declared number format the part does not have.
    """
    load, idle = constants.power[conditions.record.energy_scope]
    load_w, idle_w = load * conditions.part.power_w, idle * conditions.part.power_w
    declared = conditions.workload.value if conditions.workload else UNDECLARED
    phi_lower, phi_best = constants.fraction[declared]
    rate_lower, rate_best = _running_rates(conditions)
    return coefficients(
        conditions,
        certainty=_certainty(conditions.part),
        floor={},
        lower=_weights(conditions, phi_lower * rate_lower, load_w, idle_w),
        best=_weights(conditions, phi_best * rate_best, load_w, idle_w),
        upper=_weights(conditions, _ceiling_rate(conditions, constants), load_w, Fraction(0)),
        ceiling=busy_ceiling(conditions),
    )


def _certainty(part: Part) -> Fraction:
    """`certainty_of` the part's peak and rated power.

    Peak enters as a product, and phi and the measured ceilings are themselves fractions of the
    printed peak: what rate, units and clock are off by cancels where their product is the printed
    one. So a peak counts only where a part of it is unverified, once, and power likewise.
    """
    peak = (
        part.architecture.standing,
        part.standing_of("sm_count"),
        part.standing_of("dense_clock_mhz"),
    )
    unverified = Standing.UNVERIFIED
    return certainty_of(
        *([unverified] if unverified in peak else []),
        *([unverified] if part.standing_of("power_w") is unverified else []),
    )


def _weights(conditions: Conditions, rate: Fraction, load_w: Fraction, idle_w: Fraction) -> Weights:
    """FLOP per mJ, and what the idle energy takes off again per ns of busy time.

    Args:
        conditions: of the key; energy and time are of all its devices together.
        rate: FLOP per SM and cycle at full load.
        load_w: power of one device at full load.
        idle_w: power of one device at rest; below `load_w`.
    """
    # The dense clock, not the maximum one: what a data sheet's peak holds at.
    cycles_per_s = conditions.part.sm_count * conditions.part.dense_clock_mhz * 10**6
    per_mj = rate * cycles_per_s / ((load_w - idle_w) * MJ_PER_J)
    idle_mj_per_ns = idle_w * conditions.record.device_count * _MJ_PER_W_NS
    return {Component.ENERGY_MJ: per_mj, Component.BUSY_NS: -per_mj * idle_mj_per_ns}


def _running_rates(conditions: Conditions) -> tuple[Fraction, Fraction]:
    """FLOP per SM and cycle at peak for lower and best.

    Undeclared, both take bf16: the lowest format at the lowest fraction lies outside 95 %.
    """
    tensor = conditions.part.architecture.tensor
    if conditions.formats:
        least, likely, _ = conditions.formats.rates(tensor)
        return least, likely
    _, likely, _ = widest_rates(tensor)
    return likely, likely


def _ceiling_rate(conditions: Conditions, constants: Constants) -> Fraction:
    """FLOP per SM and cycle of the best matrix product in the fastest format allowed."""
    part = conditions.part
    sustained = {
        name: rate * constants.ceiling.get((part.id, name), constants.ceiling_default)
        for name, rate in part.architecture.tensor.items()
        if name in KNOWN_FORMATS
    }
    if conditions.formats:
        _, _, greatest = conditions.formats.rates(sustained)
        return greatest
    return max(sustained.values())


def parse_constants(text: str) -> Constants:
    """Read the table of the method.

    Args:
        text: the content of ``energy.toml``.

    Raises:
        DataError: not TOML; a row without source, standing or number; a number out of range;
            a workload or scope without row; a part and format stated twice.
    """
    try:
        table = tomllib.loads(text, parse_float=Fraction)
        power: dict[EnergyScope, tuple[Fraction, Fraction]] = {
            scope: _power(table["power"][scope.value])
            for scope in EnergyScope
            if scope is not EnergyScope.NONE
        }
        fraction = {
            name: _fractions(table["fraction"][name]) for name in [UNDECLARED, *map(str, Workload)]
        }
        ceiling: dict[tuple[str, str], Fraction] = {}
        for row in table["ceiling"]:
            for place in [(part, name) for part in row["parts"] for name in row["formats"]]:
                if place in ceiling:
                    raise DataError(f"the energy table states the ceiling of {place} twice")
                ceiling[place] = _ratio(row, "ratio", most=1)
        return Constants(
            version=str(table["version"]),
            power=power,
            fraction=fraction,
            ceiling=ceiling,
            ceiling_default=_ratio(table["ceiling_default"], "ratio", most=1),
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the energy table is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a row of the energy table lacks or misstates a field: {error}") from error


def _power(rows: Mapping[str, Mapping[str, object]]) -> tuple[Fraction, Fraction]:
    """Full load and idle; a node's draw may pass the sum of its boards' ratings."""
    load, idle = _ratio(rows["load"], "ratio", most=4), _ratio(rows["idle"], "ratio", most=4)
    if idle >= load:
        raise DataError("a row of the energy table states more power at rest than at full load")
    return load, idle


def _fractions(row: Mapping[str, object]) -> tuple[Fraction, Fraction]:
    lower, best = _ratio(row, "lower", most=1), _ratio(row, "best", most=1)
    if lower > best:
        raise DataError("a row of the energy table states a lower fraction above its best one")
    return lower, best


def _ratio(row: Mapping[str, object], field: str, *, most: int) -> Fraction:
    """A number of a row that says where it comes from and how well it is known."""
    if not str(row["source"]).strip():
        raise DataError("a row of the energy table has an empty source; say where it comes from")
    Standing(str(row["standing"]))
    stated = row[field]
    if not isinstance(stated, int | Fraction) or isinstance(stated, bool) or not 0 < stated <= most:
        raise DataError(
            f"{field} = {stated} in the energy table does not lie above 0, up to {most}"
        )
    return Fraction(stated)
