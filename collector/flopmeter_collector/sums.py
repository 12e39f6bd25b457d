"""Running sums of many keys, and the immutable account made of them.

Owns: the mutable sums of one run (or of the remainder), and the account everybody else reads.
May touch: nothing; exact integers in memory.
Called by totals, which decides what enters which sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import add, sub
from types import MappingProxyType

from flopmeter_collector.growth import Growth
from flopmeter_collector.presence import NO_CHARGE, Charge
from flopmeter_collector.weighed import FLOP_COLUMNS, Amounts, Part, Slot
from flopmeter_core.activities import WorkLabel
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.estimate import figures_of
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.methods.base import Coefficients
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence, Key
from flopmeter_core.values import value_class

NO_BOUNDARY = (0, 0, 0)
"""No doubtful period at an end of a run: upper, ceiling, unobserved ceiling, in FLOP."""

LEVELS = tuple(dict.fromkeys(evidence.level for evidence in Evidence))
"""The names of the evidence levels, best first."""

_BUSY_PLACE = TIME_COMPONENTS.index(Component.BUSY_NS)
_IDLE_PLACE = TIME_COMPONENTS.index(Component.IDLE_NS)


@value_class(frozen=True, slots=True)
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


@value_class(frozen=True, slots=True)
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


@dataclass(slots=True)
class _Column:
    """The sums of one evidence level, label and part."""

    flop: list[int] = field(default_factory=lambda: [0] * FLOP_COLUMNS)
    busy_ns: int = 0
    piece_count: int = 0


@value_class(frozen=True, slots=True)
class _Told:
    """What follows from the records of some pieces of work."""

    node_count: int
    device_count: int
    unknown_parts: tuple[str, ...]
    simulated: bool
    devices_by_product: Mapping[str, int]


@dataclass(slots=True)
class _Members:
    """How many pieces of work are of each device record, and what follows from the records."""

    counts: dict[str, int] = field(default_factory=dict)
    records: dict[str, tuple[DeviceRecord, bool]] = field(default_factory=dict)
    times_ns: dict[str, list[int]] = field(default_factory=dict)
    """By what the devices call themselves."""
    told: _Told | None = None

    def enter(self, identity: str, record: DeviceRecord, known: bool) -> None:
        """One more piece of work of a record."""
        self.counts[identity] = self.counts.get(identity, 0) + 1
        if self.counts[identity] == 1:
            self.records[identity] = (record, known)
            self.times_ns.setdefault(product_of(record), [0] * len(TIME_COMPONENTS))
            self.told = None

    def leave(self, identity: str) -> None:
        """One piece of work less; its time was taken out before."""
        self.counts[identity] -= 1
        if not self.counts[identity]:
            del self.counts[identity], self.records[identity]
            self.told = None

    def tell(self) -> _Told:
        """What follows from the records; made anew when one came or went."""
        if self.told is None:
            nodes, unknown, simulated = set(), set(), False
            products: dict[str, dict[str, int]] = {}
            devices: dict[str, int] = {}
            for record, known in self.records.values():
                nodes.add(record.node)
                devices[record.device] = max(devices.get(record.device, 0), record.device_count)
                of_product = products.setdefault(product_of(record), {})
                of_product[record.device] = max(
                    of_product.get(record.device, 0), record.device_count
                )
                simulated = simulated or record.simulated
                if not known:
                    unknown.add(record.product_name or "unnamed device")
            self.told = _Told(
                len(nodes),
                sum(devices.values()),
                tuple(sorted(unknown)),
                simulated,
                {product: sum(found.values()) for product, found in sorted(products.items())},
            )
        return self.told

    def uses(self) -> tuple[DeviceUse, ...]:
        """Device time by what the devices call themselves."""
        return tuple(
            DeviceUse(
                product=product,
                device_count=device_count,
                busy_ns=self.times_ns[product][_BUSY_PLACE],
                observed_ns=self.times_ns[product][_BUSY_PLACE]
                + self.times_ns[product][_IDLE_PLACE],
            )
            for product, device_count in self.tell().devices_by_product.items()
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
    growths: dict[tuple[Slot, str, int, int, EnergyScope, str], Growth] = field(
        default_factory=dict
    )
    change_count: int = 0
    """Grows with whatever changes what an account says, but for `fork_count`."""
    told: tuple[object, Account] | None = None
    """The newest account, and all that it was made of."""

    def enter(self, key: Key, record: DeviceRecord, slot: Slot, *, known: bool) -> None:
        """Make room for one more piece of work.

        Args:
            key: whose register.
            record: what the device said of itself.
            slot: which column.
            known: whether the device table has a row for the record.
        """
        self.change_count += 1
        self.members.enter(key.record, record, known)
        place = (key.evidence.level, slot.label, slot.part)
        column = self.columns.get(place)
        if column is None:
            column = self.columns[place] = _Column()
        column.piece_count += 1

    def leave(self, key: Key, slot: Slot) -> None:
        """Forget a piece of work whose amounts were taken out before."""
        self.settle()
        self.change_count += 1
        self.members.leave(key.record)
        place = (key.evidence.level, slot.label, slot.part)
        self.columns[place].piece_count -= 1
        if not self.columns[place].piece_count:
            del self.columns[place]

    def replace(
        self, key: Key, record: DeviceRecord, slot: Slot, new: Amounts, old: Amounts
    ) -> None:
        """Add the difference between what a piece says now and what it said before.

        Args:
            key: whose register.
            record: what the device said of itself.
            slot: which column.
            new: its amounts now.
            old: its amounts before.
        """
        self._add(
            (key.evidence.level, slot.label, slot.part),
            record.energy_scope,
            product_of(record),
            Amounts(
                tuple(map(sub, new.flop, old.flop)),
                tuple(map(sub, new.times_ns, old.times_ns)),
                new.energy_mj - old.energy_mj,
            ),
        )
        if new.set_aside != old.set_aside:
            self.set_aside[new.set_aside] += 1
            self.set_aside[old.set_aside] -= 1

    def growth(
        self, key: Key, record: DeviceRecord, slot: Slot, weights: Coefficients, set_aside: str
    ) -> Growth:
        """Where the growth of a key is put that only grows from here on.

        Args:
            key: whose register.
            record: what the device said of itself.
            slot: which column all of its work enters.
            weights: its coefficients, the very object that all keys weighed alike have.
            set_aside: what was set aside of declarations.
        """
        level, product = key.evidence.level, product_of(record)
        alike = (slot, level, id(weights), record.device_count, record.energy_scope, product)
        growth = self.growths.get(alike)
        if growth is None:
            growth = self.growths[alike] = Growth(
                slot, level, weights, record.device_count, record.energy_scope, product, set_aside
            )
        return growth

    def settle(self) -> None:
        """Weigh what grew since this was last asked; comes before anything is read."""
        for growth in self.growths.values():
            if growth.grown:
                place = (growth.level, growth.slot.label, growth.slot.part)
                self._add(place, growth.scope, growth.product, growth.take())

    def _add(
        self, place: tuple[str, WorkLabel, Part], scope: EnergyScope, product: str, more: Amounts
    ) -> None:
        self.change_count += 1
        column = self.columns[place]
        column.flop[:] = map(add, column.flop, more.flop)
        self.times_ns[:] = map(add, self.times_ns, more.times_ns)
        of_product = self.members.times_ns[product]
        of_product[:] = map(add, of_product, more.times_ns)
        self.energy_mj[scope] = self.energy_mj.get(scope, 0) + more.energy_mj
        column.busy_ns += more.times_ns[_BUSY_PLACE]

    def by_label(self) -> dict[tuple[str, WorkLabel], Figures]:
        """Figures by evidence level and label, each clipped and ordered by itself."""
        self.settle()
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
        self.settle()
        parts: dict[Part, list[int]] = {}
        for (_, _, part), column in self.columns.items():
            held = parts.setdefault(part, [0] * FLOP_COLUMNS)
            for place, amount in enumerate(column.flop):
                held[place] += amount
        return parts


def product_of(record: DeviceRecord) -> str:
    """What devices of a record call themselves."""
    return record.product_name or record.part or "unnamed device"


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
    """Copy sums into an account that no later update changes; the same one until one does.

    Args:
        sums: the sums to copy.
        simulated: whether everything in the ledger is simulated.
        boundary: as in `with_addends`.
        charge: the residual time charged to them.
        labelled: their `by_label`, where the caller has it.
    """
    sums.settle()
    made_of = (sums.change_count, sums.fork_count, simulated, boundary, charge)
    if sums.told is None or sums.told[0] != made_of:
        sums.told = (made_of, _account_of(sums, simulated, boundary, charge, labelled))
    return sums.told[1]


def _account_of(
    sums: Sums,
    simulated: bool,
    boundary: tuple[int, int, int],
    charge: Charge,
    labelled: Mapping[tuple[str, WorkLabel], Figures] | None,
) -> Account:
    """Add settled sums up."""
    times_ns = dict(zip(TIME_COMPONENTS, sums.times_ns, strict=True))
    by_label = sums.by_label() if labelled is None else labelled
    best: dict[str, int] = {}
    for (level, _), figures in by_label.items():
        best[level] = best.get(level, 0) + figures.observed.best
    busy_ns: dict[str, int] = {}
    for (level, _, _), column in sums.columns.items():
        busy_ns[level] = busy_ns.get(level, 0) + column.busy_ns
    told = sums.members.tell()
    return Account(
        figures=with_addends(sum_figures(by_label.values()), boundary, charge.flop),
        energy_mj=MappingProxyType({scope: mj for scope, mj in sums.energy_mj.items() if mj}),
        busy_ns=times_ns[Component.BUSY_NS],
        idle_ns=times_ns[Component.IDLE_NS],
        suspended_ns=times_ns[Component.SUSPENDED_NS],
        unobserved_ns=times_ns[Component.UNOBSERVED_NS],
        suspect_ns=times_ns[Component.SUSPECT_NS],
        node_count=told.node_count,
        device_count=told.device_count,
        best_flop_by_level=_in_order(best),
        busy_ns_by_level=_in_order(busy_ns),
        fork_count=sums.fork_count,
        unknown_parts=told.unknown_parts,
        simulated=simulated or told.simulated or charge.simulated,
        residual_ns=charge.residual_ns,
        residual_flop=charge.flop,
        uses=sums.members.uses(),
    )


def _in_order(amounts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({level: amounts[level] for level in LEVELS if level in amounts})
