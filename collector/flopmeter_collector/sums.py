"""Running sums of many keys, and the immutable account made of them.

Owns: the mutable sums of one run (or of the remainder), and the account everybody else reads.
May touch: nothing; exact integers in memory.
Called by totals, which decides what enters which sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from flopmeter_collector.residual import NO_CHARGE, Charge
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.estimate import figures_of
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence

FLOP_COLUMNS = 6
"""floor, lower, best, upper, ceiling, and what unobserved time could hold."""

NO_BOUNDARY = (0, 0, 0)
"""No doubtful period at an end of a run: upper, ceiling, unobserved ceiling, in FLOP."""

LEVELS = tuple(dict.fromkeys(evidence.level for evidence in Evidence))
"""The names of the evidence levels, best first."""

_BUSY_PLACE = TIME_COMPONENTS.index(Component.BUSY_NS)


@dataclass(frozen=True, slots=True)
class Account:
    """What a set of keys adds up to.

    Attributes:
        figures: FLOP with every addend.
        energy_mj: energy by what it covers, in mJ.
        busy_ns, idle_ns, suspended_ns, unobserved_ns, suspect_ns: device time in ns, which is
            register time x the devices behind the record.
        node_count, device_count: distinct nodes and devices seen.
        best_flop_by_level: best FLOP by evidence level, best level first.
        busy_ns_by_level: busy device time by evidence level, best level first.
        fork_count: keys of which two histories exist; a person has to look.
        unknown_parts: product names the device table does not know.
        simulated: whether any reading was made up.
        residual_ns: device time in ns that no agent classified.
        residual_flop: what that time could hold at most; in `figures` as unobserved.
    """

    figures: Figures
    energy_mj: Mapping[EnergyScope, int]
    busy_ns: int
    idle_ns: int
    suspended_ns: int
    unobserved_ns: int
    suspect_ns: int
    node_count: int
    device_count: int
    best_flop_by_level: Mapping[str, int]
    busy_ns_by_level: Mapping[str, int]
    fork_count: int
    unknown_parts: tuple[str, ...]
    simulated: bool
    residual_ns: int = 0
    residual_flop: int = 0

    @property
    def unmeasured_ns(self) -> int:
        """Device time without a usable measurement: unobserved, suspect and residual, in ns."""
        return self.unobserved_ns + self.suspect_ns + self.residual_ns

    @property
    def covered_ns(self) -> int:
        """Device time that registers and residual classify, in ns."""
        return self.busy_ns + self.idle_ns + self.suspended_ns + self.unmeasured_ns

    @property
    def evidence_shares(self) -> tuple[tuple[str, int, int], ...]:
        """Level, its amount and the total, best level first; levels with nothing are left out.

        The amount is best FLOP; where no level has any, busy device time in ns.
        """
        amounts = self.best_flop_by_level
        if not any(amounts.values()):
            amounts = self.busy_ns_by_level
        total = sum(amounts.values())
        return tuple((level, amount, total) for level, amount in amounts.items() if amount)


@dataclass(slots=True)
class Sums:
    """The mutable sums behind an account; changed by differences only."""

    flop_by_level: dict[str, list[int]] = field(default_factory=dict)
    times_ns: list[int] = field(default_factory=lambda: [0] * len(TIME_COMPONENTS))
    energy_mj: dict[EnergyScope, int] = field(default_factory=dict)
    busy_ns_by_level: dict[str, int] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    device_counts: dict[str, int] = field(default_factory=dict)
    unknown_parts: set[str] = field(default_factory=set)
    fork_count: int = 0
    simulated: bool = False

    def enrol(self, record: DeviceRecord, *, known: bool) -> None:
        """Count the node and the devices of a key seen for the first time.

        Args:
            record: what the device said of itself.
            known: whether the device table has a row for it.
        """
        self.nodes.add(record.node)
        devices = max(self.device_counts.get(record.device, 0), record.device_count)
        self.device_counts[record.device] = devices
        self.simulated = self.simulated or record.simulated
        if not known:
            self.unknown_parts.add(record.product_name or "unnamed device")

    def replace(
        self,
        *,
        level: str,
        scope: EnergyScope,
        flop: Sequence[int],
        times_ns: Sequence[int],
        energy_mj: int,
    ) -> None:
        """Add the difference between what a key says now and what it said before.

        Args:
            level: the key's evidence level.
            scope: what the key's energy covers.
            flop: differences of the FLOP_COLUMNS, in FLOP; may be negative.
            times_ns: differences of the TIME_COMPONENTS, in ns of device time.
            energy_mj: difference of the energy, in mJ.
        """
        columns = self.flop_by_level.setdefault(level, [0] * FLOP_COLUMNS)
        for place, difference in enumerate(flop):
            columns[place] += difference
        for place, difference in enumerate(times_ns):
            self.times_ns[place] += difference
        self.energy_mj[scope] = self.energy_mj.get(scope, 0) + energy_mj
        busy = self.busy_ns_by_level
        busy[level] = busy.get(level, 0) + times_ns[_BUSY_PLACE]


def total_figures(
    sums: Iterable[Sums],
    boundary: tuple[int, int, int] = NO_BOUNDARY,
    residual_flop: int = 0,
) -> Figures:
    """Make figures of sums: each evidence level of each is clipped and ordered, then added.

    Args:
        sums: the sums of one or more runs.
        boundary: upper, ceiling and unobserved ceiling of doubtful periods at the ends, in FLOP.
        residual_flop: what the residual time charged to them could hold, in FLOP.
    """
    total = sum_figures(
        figures_of(columns) for each in sums for columns in each.flop_by_level.values()
    )
    boundary_upper, boundary_ceiling, boundary_unobserved = boundary
    return Figures(
        observed=total.observed,
        unobserved_ceiling=total.unobserved_ceiling + boundary_unobserved + residual_flop,
        boundary_upper=boundary_upper,
        boundary_ceiling=boundary_ceiling,
    )


def account_of(
    sums: Sums,
    *,
    simulated: bool,
    boundary: tuple[int, int, int] = NO_BOUNDARY,
    charge: Charge = NO_CHARGE,
) -> Account:
    """Copy sums into an account that no later update changes.

    Args:
        sums: the sums to copy.
        simulated: whether everything in the ledger is simulated.
        boundary: as in `total_figures`.
        charge: the residual time charged to them.
    """
    times_ns = dict(zip(TIME_COMPONENTS, sums.times_ns, strict=True))
    return Account(
        figures=total_figures([sums], boundary, charge.flop),
        energy_mj=MappingProxyType({scope: mj for scope, mj in sums.energy_mj.items() if mj}),
        busy_ns=times_ns[Component.BUSY_NS],
        idle_ns=times_ns[Component.IDLE_NS],
        suspended_ns=times_ns[Component.SUSPENDED_NS],
        unobserved_ns=times_ns[Component.UNOBSERVED_NS],
        suspect_ns=times_ns[Component.SUSPECT_NS],
        node_count=len(sums.nodes),
        device_count=sum(sums.device_counts.values()),
        best_flop_by_level=_in_order(
            {
                level: figures_of(columns).observed.best
                for level, columns in sums.flop_by_level.items()
            }
        ),
        busy_ns_by_level=_in_order(sums.busy_ns_by_level),
        fork_count=sums.fork_count,
        unknown_parts=tuple(sorted(sums.unknown_parts)),
        simulated=simulated or sums.simulated or charge.simulated,
        residual_ns=charge.residual_ns,
        residual_flop=charge.flop,
    )


def _in_order(amounts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({level: amounts[level] for level in LEVELS if level in amounts})
