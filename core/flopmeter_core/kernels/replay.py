"""How samples become increments and increments registers: the inner loop of agent and replay.

Owns: the exact products of a period and the growth of a register with its carry.
May touch: nothing; plain integers, no imports, so that it can be compiled as it stands.
Called by increments (a period of one device) and by registers (each increment).
Explained in docs/adr/0002-registers-and-number-type.md.
"""


def trapezoid(before_mw: int, after_mw: int, elapsed_ns: int) -> int:
    """Energy between two power readings, in 0.5 nJ (sub-units of a mJ): exact, nothing rounded.

    Args:
        before_mw: power at the begin of the period in mW.
        after_mw: power at its end in mW.
        elapsed_ns: the period in ns.
    """
    return (before_mw + after_mw) * elapsed_ns


def active_cycles(share_ppm: int, units: int, clock_khz: int, elapsed_ns: int) -> int:
    """Active cycles of all units of a device, in 10^-18 megacycles: exact, nothing rounded.

    Args:
        share_ppm: share of the elapsed cycles that were active, in ppm.
        units: units that were active that long (SMs; 1 for the clock of the device itself).
        clock_khz: mean clock of the period in kHz.
        elapsed_ns: the period in ns.
    """
    return share_ppm * units * clock_khz * elapsed_ns


def grow(
    units: list[int], carry: list[int], subunits: tuple[int, ...], amounts: tuple[int, ...]
) -> int:
    """Add one increment to a register in place, carrying what is below a unit.

    Args:
        units: cumulative values in whole units.
        carry: what is below one unit of each, in sub-units.
        subunits: sub-units that make one unit of each.
        amounts: the increment in sub-units; none negative.

    Returns:
        The largest value the register then holds.

    Raises:
        IndexError: the lists are not equally long.
    """
    largest = 0
    for place in range(len(amounts)):
        amount = amounts[place]
        if amount:
            total = carry[place] + amount
            whole = total // subunits[place]
            carry[place] = total - whole * subunits[place]
            units[place] += whole
        if units[place] > largest:
            largest = units[place]
    return largest
