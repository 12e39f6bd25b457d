"""Hours: what is told of an hour is never of another one, whatever is thinned, lost or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.hours import RETRY_NS, ROWS_PER_REPORT, Hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_core.errors import DataError, StorageError
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, Key, Register
from flopmeter_core.reports import Durability, HourlyAcknowledgement, HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S

OLD, NEW = "0" * 32, "1" * 32


def key(device: int = 0, incarnation: str = OLD) -> Key:
    """The key of a device."""
    return Key(f"GPU-{device}", incarnation, "run:a", 0, Evidence.GPM, "record")


class Agent:
    """Registers that grow by the hour, and their hours."""

    def __init__(self, hours: Hours, incarnation: str = OLD) -> None:
        """Start at boot."""
        self.hours = hours
        self.incarnation = incarnation
        self.registers: dict[Key, Register] = {}
        self.truth: dict[Key, dict[int, int]] = {}

    def sample(
        self,
        hour: int,
        devices: tuple[int, ...] = (0,),
        *,
        at_s: int = 1_800,
        since_ns: int | None = None,
    ) -> None:
        """One sample in an hour, in which some devices do one ns of work each.

        Args:
            hour: number of the hour.
            devices: those that work.
            at_s: seconds into the hour.
            since_ns: boot time of the reading before, where there was a gap.
        """
        boot_ns = hour * NS_PER_HOUR + at_s * NS_PER_S
        self.hours.turn(boot_ns, self.registers)
        if since_ns is not None:
            self.hours.reach_back(
                "GPU-0", since_ns=since_ns, until_ns=boot_ns, longest_ns=100 * NS_PER_S
            )
        for device in devices:
            of = key(device, self.incarnation)
            amount = [0] * COMPONENT_COUNT
            amount[Component.BUSY_NS] = 1
            self.registers.setdefault(of, Register()).add(amount)
            done = self.truth.setdefault(of, {})
            done[hour] = done.get(hour, 0) + 1
        self.hours.sampled(self.incarnation, boot_ns, boot_ns + 7)

    def rows(self) -> list[HourlyVector]:
        """Every row that waits."""
        return list(self.hours.unsent(10**18))


def acks(
    rows: list[HourlyVector], durability: Durability = Durability.AT_ROOT
) -> list[HourlyAcknowledgement]:
    """What a collector answers."""
    return [HourlyAcknowledgement(r.key, r.hour, r.sequence, durability) for r in rows]


def check_truth(rows: list[HourlyVector], truth: dict[Key, dict[int, int]]) -> None:
    """What was done outside the hours a row speaks of is in none of its increment."""
    for of, done in truth.items():
        before, ended = 0, -1
        for row in sorted((r for r in rows if r.key == of), key=lambda r: r.hour):
            increment = row.vector[Component.BUSY_NS] - before
            first = max(row.first_hour, ended + 1)
            assert increment == sum(done.get(hour, 0) for hour in range(first, row.hour + 1))
            before, ended = row.vector[Component.BUSY_NS], row.hour


def test_an_hour_is_closed_by_the_next_one() -> None:
    """The vector of the last sample in an hour, with its instant, once the hour is over."""
    agent = Agent(Hours())
    agent.sample(0)
    agent.sample(0, at_s=3_599)
    assert agent.rows() == []
    agent.sample(1)
    (row,) = agent.rows()
    assert (row.hour, row.first_hour, row.sequence) == (0, 0, 2)
    assert row.vector[Component.BUSY_NS] == 2
    assert row.boot_ns == 3_599 * NS_PER_S
    assert row.wall_ns == row.boot_ns + 7


def test_a_key_at_rest_has_no_row() -> None:
    """Only a key that changed in the hour has a row of it."""
    agent = Agent(Hours())
    for hour in range(4):
        agent.sample(hour, devices=(0,) if hour != 1 else ())
    assert [row.hour for row in agent.rows()] == [0, 2]
    check_truth(
        agent.rows(), {of: {h: n for h, n in d.items() if h < 3} for of, d in agent.truth.items()}
    )


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 40), st.sets(st.integers(0, 3))), min_size=1, max_size=60
    ),
    limit=st.integers(4, 12),
    refused=st.sets(st.integers(0, 200), max_size=5),
)
def test_no_row_speaks_of_the_wrong_hour(
    samples: list[tuple[int, set[int]]], limit: int, refused: set[int]
) -> None:
    """Thinned, refused or whole: the increment of a row was done in its hours, to the unit."""
    agent = Agent(Hours(maximum_rows=limit))
    hour = 0
    for number, (step, devices) in enumerate(samples):
        hour += step
        agent.sample(hour, tuple(devices))
        assert len(agent.hours) <= max(limit, 4)
        if number in refused and agent.rows():
            row = agent.rows()[number % len(agent.rows())]
            agent.hours.acknowledge([row], acks([row], Durability.REFUSED), 0)
    agent.hours.close(agent.registers)
    check_truth(agent.rows(), agent.truth)


def test_thinned_to_days_first(caplog: pytest.LogCaptureFixture) -> None:
    """Older hours become days, the last two days stay hourly, and it is said once."""
    agent = Agent(Hours(maximum_rows=100))
    for hour in range(400):
        agent.sample(hour)
    rows = agent.rows()
    newest = max(row.hour for row in rows)
    assert {row.hour for row in rows} >= set(range(newest - 47, newest + 1))
    assert all(row.hour - row.first_hour < 24 for row in rows)
    assert sum("thinned" in record.message for record in caplog.records) == 1
    check_truth(rows, {key(): dict.fromkeys(range(399), 1)})


def test_90_days_fit() -> None:
    """8 devices x 100 users over 90 days without a collector stay within the room."""
    agent = Agent(Hours())
    for hour in range(90 * 24):
        agent.sample(hour, devices=tuple(range((hour * 8) % 800, (hour * 8) % 800 + 8)))
    assert len(agent.hours) <= 4_096
    assert len(agent.hours._encode()) < 1 << 20


def test_acknowledged_goes_refused_is_owed() -> None:
    """What is durable, at a relay too, is let go; a refused hour is part of the next row."""
    agent = Agent(Hours())
    for hour in range(4):
        agent.sample(hour)
    first, second, third = agent.rows()
    agent.hours.acknowledge([first], acks([first], Durability.HERE), 0)
    assert [row.hour for row in agent.rows()] == [1, 2]
    agent.hours.acknowledge([first], acks([first]), 0)
    assert [row.hour for row in agent.rows()] == [1, 2]
    agent.hours.acknowledge([second], acks([second], Durability.REFUSED), 0)
    (row,) = agent.rows()
    assert (row.first_hour, row.hour) == (1, 2)
    agent.hours.acknowledge([row], acks([third], Durability.REFUSED), 0)
    agent.sample(4)
    assert [(row.first_hour, row.hour) for row in agent.rows()] == [(1, 3)]


@pytest.mark.parametrize("order", [1, -1])
def test_an_hour_behind_a_refused_one_is_told_again(order: int) -> None:
    """Taken in the same message it did not reach back yet: who holds it would think it exact."""
    agent = Agent(Hours())
    for hour in range(5):
        agent.sample(hour)
    offered = first, second, third, fourth = agent.rows()
    answered = [*acks([first, third, fourth]), *acks([second], Durability.REFUSED)]
    agent.hours.acknowledge(offered, answered[::order], 0)
    (again,) = agent.rows()
    assert (again.hour, again.first_hour, again.vector) == (2, 1, third.vector)
    agent.hours.acknowledge([again], acks([again]), 0)
    assert agent.rows() == []
    agent.sample(5)
    assert [(row.first_hour, row.hour) for row in agent.rows()] == [(4, 4)], "nothing is owed"


def test_who_is_taken_pays_for_none_that_was_refused_behind_it() -> None:
    """Of refused, taken, refused the taken one stands for the first, the next one for the last."""
    agent = Agent(Hours())
    for hour in range(4):
        agent.sample(hour)
    offered = first, second, third = agent.rows()
    refused = acks([first, third], Durability.REFUSED)
    agent.hours.acknowledge(offered, [*acks([second]), *refused], 0)
    (again,) = agent.rows()
    assert (again.hour, again.first_hour) == (1, 0)
    agent.hours.acknowledge([again], acks([again]), 0)
    agent.sample(4)
    assert [(row.first_hour, row.hour) for row in agent.rows()] == [(2, 3)]


def test_an_answer_that_says_of_a_loss_lets_nothing_go() -> None:
    """The rows it took said too little of the hours before them, which the ledger may lack."""
    agent = Agent(Hours())
    for hour in range(5):
        agent.sample(hour)
    before = agent.rows()[:2]
    agent.hours.acknowledge(before, acks(before), 0)
    offered = agent.rows()
    agent.hours.went_back(agent.registers)
    agent.hours.acknowledge(offered, acks(offered), 0)
    assert [(row.first_hour, row.hour) for row in agent.rows()] == [(0, 2)]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sets(st.integers(0, 1)),
            st.none() | st.sets(st.integers(0, 9), max_size=4),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_no_row_that_a_ledger_took_speaks_of_the_wrong_hour(
    steps: list[tuple[int, set[int], set[int] | None]],
) -> None:
    """Whichever of the rows of a message are refused, once all is answered what is held is true.

    What a ledger took it takes again.
    """
    agent, ledger, hour = Agent(Hours()), dict[tuple[Key, int], HourlyVector](), 0

    def answer(refused: set[int]) -> None:
        offered = agent.rows()
        taken = [
            row
            for place, row in enumerate(offered)
            if place not in refused or (row.key, row.hour) in ledger
        ]
        for row in taken:
            held = ledger.get((row.key, row.hour), row)
            ledger[row.key, row.hour] = min(row, held, key=lambda each: each.first_hour)
        others = [row for row in offered if row not in taken]
        agent.hours.acknowledge(
            offered, [*acks(taken), *acks(others, Durability.REFUSED)], hour * NS_PER_HOUR
        )

    for step, devices, refused in steps:
        hour += step
        agent.sample(hour, tuple(devices))
        if refused is not None:
            answer(refused)
    while agent.rows():
        answer(set())
    check_truth(list(ledger.values()), agent.truth)


def test_an_older_collector_is_not_asked_again_at_once() -> None:
    """Where an answer says nothing of the hours they wait; they are not lost."""
    agent = Agent(Hours())
    for hour in range(3):
        agent.sample(hour)
    now_ns = 3 * NS_PER_HOUR
    agent.hours.acknowledge(agent.hours.unsent(now_ns), [], now_ns)
    assert agent.hours.unsent(now_ns + 1) == ()
    assert len(agent.hours.unsent(now_ns + RETRY_NS)) == 2


def test_a_backlog_goes_out_in_parts() -> None:
    """One report holds a bounded number of hours, the oldest."""
    agent = Agent(Hours())
    for hour in range(ROWS_PER_REPORT + 10):
        agent.sample(hour)
    assert [row.hour for row in agent.rows()] == list(range(ROWS_PER_REPORT))


def test_a_ledger_that_went_back_is_told_nothing_too_exact() -> None:
    """After a restored ledger the next row of each key reaches back to the boot."""
    agent = Agent(Hours())
    for hour in range(5):
        agent.sample(hour, devices=(0, 1) if hour < 2 else (0,))
    rows = agent.rows()
    agent.hours.acknowledge(rows[:2], acks(rows[:2]), 0)
    agent.hours.went_back(agent.registers)
    for hour in (5, 6):
        agent.sample(hour, devices=(0, 1))
    told = {of: [r for r in agent.rows() if r.key == of] for of in agent.registers}
    assert all(min(r.hour for r in rows_) >= 0 for rows_ in told.values())
    for rows_ in told.values():
        assert rows_[0].first_hour == 0


def test_a_key_of_which_no_hour_was_told_has_lost_none() -> None:
    """A run that began in this hour begins in it for a ledger that went back, too."""
    agent = Agent(Hours())
    agent.sample(7)
    agent.hours.went_back(agent.registers)
    agent.sample(8)
    assert [(row.first_hour, row.hour) for row in agent.rows()] == [(7, 7)]


def test_what_is_owed_is_written_in_order(tmp_path: Path) -> None:
    """After a restored ledger the file is the same in every process: its rows stand in order."""
    path = tmp_path / "hours"
    agent = Agent(Hours(Journal(OsBlockFile(path))))
    devices = tuple(range(40))
    agent.sample(0, devices=devices)
    agent.sample(1, devices=devices)
    agent.hours.acknowledge(agent.rows(), acks(agent.rows()), 0)
    agent.hours.went_back(agent.registers)
    written = Journal(OsBlockFile(path)).payload or b""
    places = [written.index(f'"GPU-{device}"'.encode()) for device in devices]
    assert places == sorted(places)


def test_a_gap_reaches_back() -> None:
    """What is read after a gap may have been done in any hour of it; a short one is no gap."""
    agent = Agent(Hours())
    agent.sample(0)
    agent.sample(5, at_s=60, since_ns=5 * NS_PER_HOUR - 30 * NS_PER_S)
    agent.sample(6)
    agent.sample(7, since_ns=NS_PER_HOUR)
    agent.sample(8)
    agent.hours.close(agent.registers)
    assert [(r.first_hour, r.hour) for r in agent.rows()] == [
        (0, 0), (5, 5), (6, 6), (1, 7), (8, 8)
    ]  # fmt: skip


def journal(folder: Path) -> Journal:
    """The journal of hours as a new process opens it."""
    return Journal(OsBlockFile(folder / "hours"))


def test_a_kill_loses_no_hour(tmp_path: Path) -> None:
    """A successor has the rows, and closes the hour the killed agent left open."""
    agent = Agent(Hours(journal(tmp_path)))
    for hour in range(3):
        agent.sample(hour)
    later = Hours(journal(tmp_path))
    later.resume(OLD, agent.hours.instant, agent.registers)
    after = Agent(later, NEW)
    after.sample(9)
    after.hours.close(after.registers)
    rows = after.rows()
    assert [(r.key.incarnation, r.first_hour, r.hour) for r in rows] == [
        (OLD, 0, 0), (OLD, 1, 1), (OLD, 2, 2), (NEW, 9, 9)
    ]  # fmt: skip
    check_truth(rows, agent.truth | after.truth)


def test_lost_hours_are_not_made_up(tmp_path: Path) -> None:
    """Where the journal of hours is gone or older, the open hour reaches back to the boot."""
    agent = Agent(Hours(journal(tmp_path)))
    for hour in range(3):
        agent.sample(hour)
    (tmp_path / "hours").unlink()
    later = Hours(journal(tmp_path))
    later.resume(OLD, agent.hours.instant, agent.registers)
    assert [(r.first_hour, r.hour) for r in later.unsent(0)] == [(0, 2)]
    check_truth(list(later.unsent(0)), agent.truth)


def test_state_of_an_older_agent() -> None:
    """An older agent kept no instant: its registers have no hours, and nothing is made up."""
    hours = Hours()
    hours.resume(OLD, None, {key(): Register(sequence=5)})
    assert hours.unsent(0) == ()


def test_a_full_disk_costs_resolution_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hours that cannot be kept are said once; sampling goes on and reports still have them."""
    agent = Agent(Hours(journal(tmp_path)))

    def full(_self: Journal, _payload: bytes) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(Journal, "write", full)
    for hour in range(4):
        agent.sample(hour)
    assert [row.hour for row in agent.rows()] == [0, 1, 2]
    assert sum("cannot be kept" in record.message for record in caplog.records) == 1
    monkeypatch.undo()
    later = Hours(journal(tmp_path))
    later.resume(OLD, agent.hours.instant, agent.registers)
    check_truth(list(later.unsent(0)), agent.truth)


@pytest.mark.parametrize("payload", [b"x", b"{}", b'{"format":1,"rows":[[1]]}'])
def test_unreadable(tmp_path: Path, payload: bytes) -> None:
    """A journal of another form is refused in one sentence."""
    spoiled = journal(tmp_path)
    spoiled.write(payload)
    with pytest.raises(DataError, match="journal of hours") as caught:
        Hours(journal(tmp_path))
    assert "\n" not in str(caught.value)
