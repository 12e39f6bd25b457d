"""What is known of one device's enrolled time, and what a division of it is made of.

Owns: a device's rows, writers and declarations; when it is enrolled by them, and what each agent
classified of it as an interval on the collector's clock.
May touch: memory only; no clock.
Called by residual, which keeps one of these for each device.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_collector.boots import Boots
from flopmeter_collector.classified import NO_ACCOUNT, Classified
from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.places import Sight, without
from flopmeter_collector.placing import boot_in
from flopmeter_collector.timeline import ENROLMENT_NS, Division, Period, Stretch


@dataclass(slots=True)
class DeviceTime:
    """One physical device, or one node of a sensor that sees a whole node."""

    name: str
    node: str = ""
    device_count: int = 1
    ceiling_flop_per_ns: int = 0
    declared_ceiling_flop_per_ns: int = 0
    simulated: bool = False
    writers: dict[str, Classified] = field(default_factory=dict)
    rows: dict[str, Coverage] = field(default_factory=dict)
    home: Coverage | None = None
    """Of the incarnations that are placed the one that began last: where it is the device is."""
    declared: list[DeviceDeclaration] = field(default_factory=list)
    division: Division | None = None
    newest: str = ""
    divided_ns: int = 0
    """What the newest incarnation had classified when the division last heard of it."""
    doubled_ns: Mapping[str, int] = field(default_factory=dict)
    named: tuple[Period, ...] = ()
    """Of a place on the bus: for what time its board has a name."""

    def catch_up(self) -> None:
        """Let the division hear of what nobody was told."""
        if self.division is not None and (more_ns := self.unheard_ns()):
            self.division.go_on(more_ns)

    def put(self, row: Coverage) -> None:
        """Take a row in the place of an older one."""
        self.rows[row.incarnation] = row
        home = self.home
        if row.anchor_ns is not None and home is not None and home.incarnation == row.incarnation:
            self.home = max(
                (each for each in self.rows.values() if each.anchor_ns is not None), key=_began
            )
        elif row.anchor_ns is not None and (home is None or _began(row) > _began(home)):
            self.home = row

    def unheard_ns(self) -> int:
        """What its newest incarnation classified since the division last heard of it."""
        writer = self.writers.get(self.newest)
        covered_ns = self.divided_ns if writer is None else writer.covered_ns
        more_ns, self.divided_ns = covered_ns - self.divided_ns, covered_ns
        return more_ns

    @property
    def first_seen_ns(self) -> int | None:
        """Unix time in ns of its first accepted report; None for one that never reported."""
        return min((row.first_seen_ns for row in self.rows.values()), default=None)

    def periods(self) -> tuple[Period, ...]:
        """When it is enrolled; a place on the bus only until its board has a name."""
        return without(self.declared_periods(), map(self._unless_declared, self.named))

    def declared_periods(self) -> tuple[Period, ...]:
        """From its first report on, as declarations correct it."""
        periods: list[Period] = []
        first_ns = self.first_seen_ns
        if first_ns is not None:
            periods.append(Period(first_ns))
        for declared in self.declared:
            going_on = bool(periods) and periods[-1].until_ns is None
            if declared.state is DeviceState.RETIRED:
                if periods:
                    last = periods[-1]
                    periods[-1] = Period(last.from_ns, max(last.from_ns, declared.from_ns))
            elif going_on:
                before_ns = (periods[-2].until_ns or 0) if len(periods) > 1 else 0
                periods[-1] = Period(max(before_ns, declared.from_ns))
            else:
                before_ns = (periods[-1].until_ns or 0) if periods else 0
                periods.append(Period(max(before_ns, declared.from_ns)))
        return tuple(periods)

    def _unless_declared(self, span: Period) -> Period:
        """The time for which a place has a name, until a person says that it is one more device."""
        said = [
            each.from_ns
            for each in self.declared
            if each.state is DeviceState.ENROLLED and each.from_ns >= span.from_ns
        ]
        if span.until_ns is not None:
            said.append(span.until_ns)
        return Period(span.from_ns, min(said, default=None))

    def stretches(self, boots: Boots) -> Sequence[Stretch]:
        """What each of its writers classified."""
        first_ns = self.first_seen_ns or 0
        stretches = []
        for incarnation, writer in self.writers.items():
            row = self.rows.get(incarnation)
            boot, start_ns, before_ns = incarnation, None, writer.covered_ns
            if row is not None:
                boot = "\n".join(boot_in(row))
                enrolling = row.first_seen_ns - first_ns < ENROLMENT_NS
                before_ns = row.first_covered_ns if enrolling else 0
                if row.since_ns is not None:
                    start_ns = boots.began_ns(row) + row.since_ns
            stretches.append(
                Stretch(
                    writer=incarnation,
                    boot=boot,
                    node=row.node if row is not None else self.node,
                    user=None if writer.mixed else writer.user,
                    covered_ns=writer.covered_ns,
                    start_ns=start_ns,
                    before_ns=before_ns,
                    rank=writer.lower_flop,
                )
            )
        return stretches

    def sights(self, node: str, boots: Boots) -> list[Sight]:
        """What its writers classified of it in one node."""
        found = []
        for incarnation, row in self.rows.items():
            writer = self.writers.get(incarnation)
            if writer is None or row.node != node:
                continue
            covered_ns = writer.covered_ns
            if row.since_ns is not None:
                boot, start_ns, told = row.boot_id, boots.began_ns(row) + row.since_ns, True
            else:
                # Nobody heard it live: it grew as its reports came, if it did.
                boot, start_ns = "", row.first_seen_ns - row.first_covered_ns
                told = covered_ns > row.first_covered_ns
            found.append(Sight(boot, start_ns, start_ns + covered_ns, row.first_seen_ns, told))
        return found


@dataclass(frozen=True, slots=True)
class Growing:
    """Where the time of a key goes that is known; its `record` said nothing new."""

    device: DeviceTime
    writer: Classified
    incarnation: str
    node: str

    @property
    def account(self) -> int:
        """The number of the row that a kernel may add to; `NO_ACCOUNT` where none may."""
        return self.writer.number if self.node == self.writer.node else NO_ACCOUNT


def _began(row: Coverage) -> tuple[int, str]:
    """When an incarnation that is placed began, in Unix time in ns; of two at once one is later."""
    return (row.anchor_ns or 0) + (row.since_ns or 0), row.incarnation
