"""Running sums of many keys, and the immutable account made of them.

Owns: the mutable sums of one run (or of the remainder), and the account everybody else reads.
May touch: nothing; exact integers in memory.
Called by totals, which decides what enters which sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from flopmeter_collector.declarations import FormatSpan
from flopmeter_collector.residual import NO_CHARGE, Charge
from flopmeter_core.activities import UNLABELLED, WorkLabel
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.estimate import figures_of
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence, Key

FLOP_COLUMNS = 6
"""floor, lower, best, upper, ceiling, and what unobserved time could hold."""

NO_BOUNDARY = (0, 0, 0)
"""No doubtful period at an end of a run: upper, ceiling, unobserved ceiling, in FLOP."""

LEVELS = tuple(dict.fromkeys(evidence.level for evidence in Evidence))
"""The names of the evidence levels, best first."""

STRADDLE = "straddle"
"""Name of the part of a run that may lie on either side of a cut between two spans."""

Part = FormatSpan | str | None
"""Which part of a split run: a declared span, STRADDLE, or None for all the rest."""

_BUSY_PLACE = TIME_COMPONENTS.index(Component.BUSY_NS)
_IDLE_PLACE = TIME_COMPONENTS.index(Component.IDLE_NS)


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """Device time of one kind of accelerator.

    Attributes:
        product: what the devices call themselves.
        device_count: distinct devices.
        busy_ns, observed_ns: device time in ns with work, and with any measurement.
    """

    product: str
    device_count: int
    busy_ns: int
    observed_ns: int


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
        uses: device time by kind of accelerator, in the order of their names.
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
    uses: tuple[DeviceUse, ...] = ()

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


@dataclass(frozen=True, slots=True)
class Slot:
    """Which sums a piece of a key's work enters, and which column of them.

    Attributes:
        run: whose sums; None for the unattributed remainder.
        ends: runs that unattributed work may belong to; widens their upper side.
        label: what the work was; work that may be of two labels counts as unlabelled.
        part: the declared part of the run's time it belongs to.
    """

    run: str | None = None
    ends: frozenset[str] = frozenset()
    label: WorkLabel = UNLABELLED
    part: Part = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a piece of a key's work adds: products in FLOP, device time in ns, energy in mJ.

    `set_aside` is a sentence on a declaration that does not fit its part; empty for none.
    """

    flop: tuple[int, ...] = (0,) * FLOP_COLUMNS
    times_ns: tuple[int, ...] = (0,) * len(TIME_COMPONENTS)
    energy_mj: int = 0
    set_aside: str = ""


NOTHING = Amounts()


@dataclass(slots=True)
class _Column:
    """The sums of one evidence level, label and part."""

    flop: list[int] = field(default_factory=lambda: [0] * FLOP_COLUMNS)
    busy_ns: int = 0
    piece_count: int = 0


@dataclass(slots=True)
class _Members:
    """How many pieces of work are of each device record, and what follows from the records."""

    counts: dict[str, int] = field(default_factory=dict)
    records: dict[str, tuple[DeviceRecord, bool]] = field(default_factory=dict)
    times_ns: dict[str, list[int]] = field(default_factory=dict)
    told: tuple[int, int, tuple[str, ...], bool] | None = None

    def enter(self, identity: str, record: DeviceRecord, known: bool) -> None:
        """One more piece of work of a record."""
        self.counts[identity] = self.counts.get(identity, 0) + 1
        if self.counts[identity] == 1:
            self.records[identity] = (record, known)
            self.times_ns[identity] = [0] * len(TIME_COMPONENTS)
            self.told = None

    def leave(self, identity: str) -> None:
        """One piece of work less."""
        self.counts[identity] -= 1
        if not self.counts[identity]:
            del self.counts[identity], self.records[identity], self.times_ns[identity]
            self.told = None

    def tell(self) -> tuple[int, int, tuple[str, ...], bool]:
        """Nodes, devices, names of unknown parts, and whether any record is simulated."""
        if self.told is None:
            nodes, unknown, simulated = set(), set(), False
            devices: dict[str, int] = {}
            for record, known in self.records.values():
                nodes.add(record.node)
                devices[record.device] = max(devices.get(record.device, 0), record.device_count)
                simulated = simulated or record.simulated
                if not known:
                    unknown.add(record.product_name or "unnamed device")
            self.told = (len(nodes), sum(devices.values()), tuple(sorted(unknown)), simulated)
        return self.told

    def uses(self) -> tuple[DeviceUse, ...]:
        """Device time by what the devices call themselves."""
        found: dict[str, tuple[dict[str, int], list[int]]] = {}
        for identity, (record, _) in self.records.items():
            product = record.product_name or record.part or "unnamed device"
            devices, times_ns = found.setdefault(product, ({}, [0] * len(TIME_COMPONENTS)))
            devices[record.device] = max(devices.get(record.device, 0), record.device_count)
            for place, ns in enumerate(self.times_ns[identity]):
                times_ns[place] += ns
        return tuple(
            DeviceUse(
                product=product,
                device_count=sum(devices.values()),
                busy_ns=times_ns[_BUSY_PLACE],
                observed_ns=times_ns[_BUSY_PLACE] + times_ns[_IDLE_PLACE],
            )
            for product, (devices, times_ns) in sorted(found.items())
        )


@dataclass(slots=True)
class Sums:
    """The mutable sums behind an account; changed by differences only."""

    columns: dict[tuple[str, WorkLabel, Part], _Column] = field(default_factory=dict)
    times_ns: list[int] = field(default_factory=lambda: [0] * len(TIME_COMPONENTS))
    energy_mj: dict[EnergyScope, int] = field(default_factory=dict)
    members: _Members = field(default_factory=_Members)
    fork_count: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)

    def enter(self, key: Key, record: DeviceRecord, slot: Slot, *, known: bool) -> None:
        """Make room for one more piece of work.

        Args:
            key: whose register.
            record: what the device said of itself.
            slot: which column.
            known: whether the device table has a row for the record.
        """
        self.members.enter(key.record, record, known)
        place = (key.evidence.level, slot.label, slot.part)
        column = self.columns.get(place)
        if column is None:
            column = self.columns[place] = _Column()
        column.piece_count += 1

    def leave(self, key: Key, slot: Slot) -> None:
        """Forget a piece of work whose amounts were taken out before."""
        self.members.leave(key.record)
        place = (key.evidence.level, slot.label, slot.part)
        self.columns[place].piece_count -= 1
        if not self.columns[place].piece_count:
            del self.columns[place]

    def replace(self, key: Key, scope: EnergyScope, slot: Slot, new: Amounts, old: Amounts) -> None:
        """Add the difference between what a piece says now and what it said before.

        Args:
            key: whose register.
            scope: what the key's energy covers.
            slot: which column.
            new: its amounts now.
            old: its amounts before.
        """
        column = self.columns[key.evidence.level, slot.label, slot.part]
        flop = column.flop
        for place, (now, before) in enumerate(zip(new.flop, old.flop, strict=True)):
            flop[place] += now - before
        of_record = self.members.times_ns[key.record]
        for place, (now, before) in enumerate(zip(new.times_ns, old.times_ns, strict=True)):
            self.times_ns[place] += now - before
            of_record[place] += now - before
        self.energy_mj[scope] = self.energy_mj.get(scope, 0) + new.energy_mj - old.energy_mj
        column.busy_ns += new.times_ns[_BUSY_PLACE] - old.times_ns[_BUSY_PLACE]
        if new.set_aside != old.set_aside:
            self.set_aside[new.set_aside] += 1
            self.set_aside[old.set_aside] -= 1

    def by_label(self) -> dict[tuple[str, WorkLabel], Figures]:
        """Figures by evidence level and label, each clipped and ordered by itself."""
        columns: dict[tuple[str, WorkLabel], Sequence[int]] = {}
        for (level, label, _), column in self.columns.items():
            held = columns.get((level, label))
            flop = column.flop
            columns[level, label] = (
                flop if held is None else [a + b for a, b in zip(held, flop, strict=True)]
            )
        return {place: figures_of(flop) for place, flop in columns.items()}

    @property
    def warnings(self) -> list[str]:
        """What was set aside of declarations, one sentence a part and format."""
        return sorted(text for text, count in self.set_aside.items() if text and count > 0)

    def by_part(self) -> dict[Part, list[int]]:
        """Plain products by declared part."""
        parts: dict[Part, list[int]] = {}
        for (_, _, part), column in self.columns.items():
            held = parts.setdefault(part, [0] * FLOP_COLUMNS)
            for place, amount in enumerate(column.flop):
                held[place] += amount
        return parts


def with_addends(
    observed: Figures,
    boundary: tuple[int, int, int] = NO_BOUNDARY,
    residual_flop: int = 0,
) -> Figures:
    """Add to figures what only their upper side takes.

    Args:
        observed: the sum of clipped figures.
        boundary: upper, ceiling and unobserved ceiling of doubtful periods at the ends, in FLOP.
        residual_flop: what the residual time charged to them could hold, in FLOP.
    """
    boundary_upper, boundary_ceiling, boundary_unobserved = boundary
    return Figures(
        observed=observed.observed,
        unobserved_ceiling=observed.unobserved_ceiling + boundary_unobserved + residual_flop,
        boundary_upper=boundary_upper,
        boundary_ceiling=boundary_ceiling,
    )


def account_of(
    sums: Sums,
    *,
    simulated: bool,
    boundary: tuple[int, int, int] = NO_BOUNDARY,
    charge: Charge = NO_CHARGE,
    labelled: Mapping[tuple[str, WorkLabel], Figures] | None = None,
) -> Account:
    """Copy sums into an account that no later update changes.

    Args:
        sums: the sums to copy.
        simulated: whether everything in the ledger is simulated.
        boundary: as in `with_addends`.
        charge: the residual time charged to them.
        labelled: their `by_label`, where the caller has it.
    """
    times_ns = dict(zip(TIME_COMPONENTS, sums.times_ns, strict=True))
    by_label = sums.by_label() if labelled is None else labelled
    best: dict[str, int] = {}
    for (level, _), figures in by_label.items():
        best[level] = best.get(level, 0) + figures.observed.best
    busy_ns: dict[str, int] = {}
    for (level, _, _), column in sums.columns.items():
        busy_ns[level] = busy_ns.get(level, 0) + column.busy_ns
    node_count, device_count, unknown_parts, made_up = sums.members.tell()
    return Account(
        figures=with_addends(sum_figures(by_label.values()), boundary, charge.flop),
        energy_mj=MappingProxyType({scope: mj for scope, mj in sums.energy_mj.items() if mj}),
        busy_ns=times_ns[Component.BUSY_NS],
        idle_ns=times_ns[Component.IDLE_NS],
        suspended_ns=times_ns[Component.SUSPENDED_NS],
        unobserved_ns=times_ns[Component.UNOBSERVED_NS],
        suspect_ns=times_ns[Component.SUSPECT_NS],
        node_count=node_count,
        device_count=device_count,
        best_flop_by_level=_in_order(best),
        busy_ns_by_level=_in_order(busy_ns),
        fork_count=sums.fork_count,
        unknown_parts=unknown_parts,
        simulated=simulated or made_up or charge.simulated,
        residual_ns=charge.residual_ns,
        residual_flop=charge.flop,
        uses=sums.members.uses(),
    )


def _in_order(amounts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({level: amounts[level] for level in LEVELS if level in amounts})
