"""A place on the bus is enrolled until its board has a name: never for longer, never for less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.classified import NO_ACCOUNT
from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.timeline import Period
from flopmeter_core.kernels.count_rows import ACCOUNT_WIDTH, COVERED, READ
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.units import NS_PER_S
from support.totals import h100

MINUTE_NS = 60 * NS_PER_S
EPOCH_NS = 1_790_000_000 * NS_PER_S
"""Where the tests' minutes are counted from, on the collector's clock."""
NODE = "n0"
BOARDS = 3


def at(minute: int) -> int:
    """Unix time in ns."""
    return EPOCH_NS + minute * MINUTE_NS


def place(board: int) -> str:
    """What a board is called without a driver."""
    return f"PCI-{NODE}-0000:{board:02x}:00.0"


def gpu(board: int) -> str:
    """What the driver calls a board."""
    return f"GPU-{board}"


PLACES = [place(board) for board in range(BOARDS)]
GPUS = [gpu(board) for board in range(BOARDS)]


class Fleet:
    """One node's accounts, spoken to as the collector does."""

    def __init__(self, *, relayed: bool = False) -> None:
        """Begin without any report.

        Args:
            relayed: whether nobody hears its agents live.
        """
        self.accounts = ResidualAccounts(300 * NS_PER_S)
        self.relayed = relayed
        self.covered: dict[Key, int] = {}

    def report(
        self,
        writer: int,
        minutes: Mapping[str, tuple[int, int]],
        *,
        now: int,
        booted: int = 0,
        live: bool = True,
    ) -> None:
        """Take an agent's newest vectors.

        Args:
            writer: which incarnation.
            minutes: by device: how many it classified, and the last one it classified.
            now: the minute in which it comes.
            booted: the minute in which its boot began.
            live: whether the incarnation runs and is heard itself.
        """
        sightings = Sightings()
        for device, (covered, read) in minutes.items():
            named = Key(device, f"{writer:032x}", "none", 0, Evidence.ALLOCATION, h100().record_id)
            before_ns = self.covered.get(named, 0)
            self._grow(named, covered * MINUTE_NS - before_ns, (read - booted) * MINUTE_NS)
            self.covered[named] = covered * MINUTE_NS
            sightings.note(named, (read - booted) * MINUTE_NS)
        if live and not self.relayed:
            boot_ns = (now - booted) * MINUTE_NS
            sighting = Sighting(NODE, f"b{booted}", boot_ns, at(now))
            sightings.note_live(f"{writer:032x}", sighting)
        self.accounts.sighted(sightings, at(now), steady_ns=at(now))

    def _grow(self, named: Key, covered_ns: int, read_ns: int = 0) -> None:
        """Tell what a key grew by, as the round does: a quiet row hears of it by itself."""
        record = replace(h100(), node=NODE, device=named.device)
        known = named in self.covered
        growing = self.accounts.growing(named, record) if known else None
        if growing is not None and growing.writer.quiet and growing.account != NO_ACCOUNT:
            block, first = self.accounts.classified.block, growing.account * ACCOUNT_WIDTH
            block[first + COVERED] += covered_ns
            block[first + READ] = max(read_ns, block[first + READ])
            return
        if growing is not None:
            self.accounts.go_on(growing, covered_ns, 0, 0)
            return
        self.accounts.grow(
            named, record, covered_ns=covered_ns, lower_flop=0, ceiling_flop_per_ns=1
        )
        self.accounts.enrol_key(named)

    def again(self, order: Sequence[Key]) -> Fleet:
        """A collector that starts from what this one stored, read in some order."""
        fresh = Fleet(relayed=self.relayed)
        fresh.accounts.restore(self.accounts.rows())
        for named in order:
            fresh._grow(named, self.covered[named])
            fresh.covered[named] = self.covered[named]
        return fresh

    def periods(self) -> dict[str, list[tuple[int, int | None]]]:
        """When each device is enrolled, in minutes."""
        self.accounts.take_doubled()
        return {
            each.device: [(_minute(p.from_ns), _minute_or_none(p)) for p in each.periods]
            for each in self.accounts.enrolled(at(10**6))
        }

    def open(self) -> set[str]:
        """The devices that are enrolled to this day."""
        return {name for name, periods in self.periods().items() if periods[-1][1] is None}

    def residual(self, now: int) -> float:
        """Device minutes that nobody classified."""
        self.accounts.take_doubled()
        charges = self.accounts.at(at(now)).charges.values()
        return sum(charge.residual_ns for charge in charges) / MINUTE_NS

    def told(self, now: int) -> object:
        """Everything that is said of its time."""
        self.accounts.take_doubled()
        return self.accounts.at(at(now)), self.accounts.enrolled(at(now))


def _minute(ns: int) -> int:
    return (ns - EPOCH_NS) // MINUTE_NS


def _minute_or_none(period: Period) -> int | None:
    return None if period.until_ns is None else _minute(period.until_ns)


def same(devices: Sequence[str], covered: int, read: int) -> dict[str, tuple[int, int]]:
    """Devices of which the same was classified."""
    return dict.fromkeys(devices, (covered, read))


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_place_ends_as_its_board_has_a_name(rebooted: bool, relayed: bool) -> None:
    """Whether the driver came while the agent ran, or with the next boot; the time before stays."""
    fleet = Fleet(relayed=relayed)
    fleet.report(1, same(PLACES, 1, 1), now=1)
    fleet.report(1, same(PLACES, 60, 60), now=60)
    assert fleet.open() == set(PLACES)
    writer, booted = (2, 100) if rebooted else (1, 0)
    begins = 100 if rebooted else 60
    for minute in range(begins + 1, begins + 40):
        fleet.report(writer, same(GPUS, minute - begins, minute), now=minute, booted=booted)
    assert fleet.open() == set(GPUS)
    assert fleet.periods()[place(0)] == [(1, begins)]
    between = BOARDS * (begins - 60)
    assert fleet.residual(begins + 39) == pytest.approx(between, abs=BOARDS)
    assert fleet.residual(begins + 100) == pytest.approx(between + BOARDS * 61, abs=BOARDS)


@pytest.mark.parametrize("on_bus", [True, False])
def test_a_board_that_no_driver_names_is_charged(on_bus: bool) -> None:
    """The driver names two of three: the third one's place goes on, on the bus or fallen off it."""
    fleet = Fleet()
    fleet.report(1, same(PLACES, 60, 60), now=60)
    for minute in range(61, 100):
        more = same(PLACES[2:], minute, minute) if on_bus else {}
        fleet.report(1, same(GPUS[:2], minute - 60, minute) | more, now=minute)
    assert len(fleet.open()) == BOARDS
    assert fleet.residual(99) == (0 if on_bus else 39)


def test_a_board_beside_the_others_falls_off_the_bus() -> None:
    """No name that was there beside a place can be its board's, whenever an agent starts again."""
    fleet = Fleet()
    both = GPUS[:2] + PLACES[2:]
    for minute in range(1, 61):
        fleet.report(1, same(both, minute, minute), now=minute)
    for writer in (2, 3):
        begins = 60 * (writer - 1)
        for minute in range(begins + 1, begins + 61):
            fleet.report(writer, same(GPUS[:2], minute - begins, minute), now=minute)
    assert fleet.open() == set(both)
    assert fleet.residual(180) == 120
    # A third name is one that its board may have got.
    fleet.report(4, same(GPUS, 10, 190), now=190)
    assert fleet.open() == set(GPUS)


def test_a_place_that_comes_back_is_enrolled_again() -> None:
    """From then on, and what the board did under its name in between is not charged twice."""
    fleet = Fleet()
    fleet.report(1, same(PLACES[:1], 60, 60), now=60)
    fleet.report(1, same(PLACES[:1], 60, 60) | same(GPUS[:1], 60, 120), now=120)
    assert fleet.open() == {gpu(0)}
    fleet.report(2, same(PLACES[:1], 30, 180), now=180, booted=150)
    assert fleet.periods()[place(0)] == [(60, 60), (150, None)]
    fleet.report(3, same(GPUS[:1], 30, 240), now=240, booted=210)
    assert fleet.periods()[place(0)] == [(60, 60), (150, 210)]


@pytest.mark.parametrize("stated", [False, True])
def test_a_person_may_say_that_it_is_one_more_device(stated: bool) -> None:
    """What is declared later goes before what is derived; what was declared before does not."""
    fleet = Fleet()
    fleet.report(1, same(PLACES[:1], 60, 60), now=60)
    from_ns = at(90 if stated else 30)
    fleet.accounts.declare(DeviceDeclaration(place(0), DeviceState.ENROLLED, from_ns))
    fleet.report(1, same(GPUS[:1], 60, 120), now=120)
    assert (place(0) in fleet.open()) == stated
    fleet.accounts.declare(DeviceDeclaration(place(0), DeviceState.RETIRED, at(100)))
    assert fleet.open() == {gpu(0)}
    assert fleet.periods()[place(0)][-1] == ((90, 100) if stated else (30, 60))


def test_what_was_over_before_anybody_heard_of_it() -> None:
    """A place that an agent closed before the first contact waits for nobody."""
    fleet = Fleet()
    fleet.report(2, same(GPUS, 60, 360), now=360, booted=300)
    fleet.report(1, same(PLACES, 300, 300), now=360, live=False)
    assert fleet.open() == set(GPUS)
    # What comes hours late does not begin its time anew.
    fleet.report(3, same(PLACES, 20, 20), now=1000, live=False)
    assert fleet.open() == set(GPUS)
    assert fleet.residual(360) == 0


def test_what_an_agent_told_of_a_place_stays_enrolled() -> None:
    """Boots are placed to some minutes: a name that seems to begin before ends nothing before."""
    fleet = Fleet()
    fleet.report(1, same(PLACES[:1], 60, 60), now=60)
    fleet.accounts.declare(DeviceDeclaration(place(0), DeviceState.ENROLLED, at(0)))
    fleet.report(2, same(GPUS[:1], 65, 120), now=120, booted=55)
    assert fleet.periods()[place(0)] == [(0, 60)]


def test_names_of_another_node_end_nothing() -> None:
    """A node whose agent names no device has its places charged, whatever others name."""
    fleet = Fleet()
    elsewhere = [f"PCI-n1-0000:{board:02x}:00.0" for board in range(BOARDS)]
    fleet.report(1, same(PLACES, 60, 60), now=60)
    key = Key(elsewhere[0], f"{9:032x}", "none", 0, Evidence.ALLOCATION, h100().record_id)
    record = replace(h100(), node="n1", device=elsewhere[0])
    fleet.accounts.grow(key, record, covered_ns=1, lower_flop=0, ceiling_flop_per_ns=1)
    sightings = Sightings(reported={(key.incarnation, key.device): 0})
    fleet.accounts.sighted(sightings, at(60), steady_ns=0)
    fleet.report(1, same(GPUS, 60, 120), now=120)
    assert fleet.open() == {*GPUS, elsewhere[0]}


EVENTS = ("run", "run", "run", "restart", "reboot", "driver", "partly", "off", "outage", "look")


class History:
    """What happens to a node, and what its agents tell of it."""

    def __init__(self, *, relayed: bool, data: st.DataObject) -> None:
        """Begin without a driver.

        Args:
            relayed: whether nobody hears the agents live.
            data: in which order a report names devices, and what a boot finds.
        """
        self.fleet = Fleet(relayed=relayed)
        self.now = self.booted = 0
        self.writer, self.driver, self.online, self.off = 1, 0, True, False
        self.most = 0
        self._names: dict[str, tuple[int, int]] = {}
        self._data = data

    def happens(self, kind: str, length: int) -> None:
        """Let something happen, for some minutes where it takes any."""
        if kind == "outage":
            self.online = not self.online
        elif kind == "off":
            # What came through a relay once, and never grew, may have had any of its names.
            self.off = self.off or not self.fleet.relayed
        elif kind == "look":
            self.fleet.told(self.now)
        elif kind == "run":
            for _ in range(0, length, 10):
                self._ten_minutes()
        elif kind in ("restart", "reboot"):
            self.writer, self._names = self.writer + 1, {}
            if kind == "reboot":
                self.now += length
                found = self._data.draw(st.sampled_from([0, self.driver]), label="driver")
                self.booted, self.driver = self.now, found
        else:
            self.driver = max(self.driver, BOARDS if kind == "driver" else BOARDS - 1)

    def _ten_minutes(self) -> None:
        self.now += 10
        listed = GPUS[: self.driver] + PLACES[self.driver :]
        if self.off and (listed[-1] == PLACES[-1] or GPUS[-1] not in self._names):
            listed.pop()
        for device in listed:
            self._names[device] = (self._names.get(device, (0, 0))[0] + 10, self.now)
        if self.online:
            order = self._data.draw(st.permutations(sorted(self._names)), label="order")
            told = {name: self._names[name] for name in order}
            self.fleet.report(self.writer, told, now=self.now, booted=self.booted)
            self.most = max(self.most, len(listed))


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(1, 90)), min_size=2, max_size=16),
    st.booleans(),
    st.data(),
)
def test_every_board_is_enrolled_once(
    events: Sequence[tuple[str, int]], relayed: bool, data: st.DataObject
) -> None:
    """Drivers that come and go, restarts, reboots, outages: a start anew says the same.

    Devices of a report in any order, looked at after any report. At no time fewer devices are
    enrolled than boards were told at once; and no more once all of them are named.
    """
    history = History(relayed=relayed, data=data)
    for kind, length in [("run", 20), *events]:
        history.happens(kind, length)
    history.online = True
    if data.draw(st.booleans(), label="healed"):
        history.happens("driver", 0)
    history.happens("run", 30)
    fleet, later = history.fleet, history.now + 60
    order = data.draw(st.permutations(sorted(fleet.covered, key=str)), label="read in")
    assert fleet.told(later) == fleet.again(order).told(later)
    assert len(fleet.open()) >= history.most
    if history.driver == BOARDS and not history.off and not relayed:
        assert fleet.open() == set(GPUS)
