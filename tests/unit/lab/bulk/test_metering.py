"""A packed series gives the registers an agent would have grown, to the unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flopmeter.lab.bulk import packing
from flopmeter.lab.bulk.metering import Metered, meter_file
from flopmeter.lab.bulk.series_file import SeriesReader, SeriesWriter
from flopmeter_collector.branches import Outcome, merge
from flopmeter_collector.held_rows import Branches
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.telemetry import (
    DEVICE,
    EPOCH_NS,
    HEADER,
    Row,
    by_readings,
    origin,
    pack_rows,
    rows_of,
)


def metered(folder: Path, rows: list[Row]) -> Metered:
    """Pack and meter one device."""
    return meter_file(pack_rows(folder, {DEVICE: rows}).files[DEVICE])


@pytest.mark.parametrize("seed", range(6))
def test_registers_are_those_of_an_agent(tmp_path: Path, seed: int) -> None:
    """Every key and component is the same to the unit, whatever the rows hold."""
    rows = rows_of(seed, 600, odd=(0.0, 0.02, 0.3)[seed % 3], hours_ahead=30)
    got = metered(tmp_path, rows)
    expected = by_readings(rows, got.head.identity)
    assert {each.key: each.vector for each in got.vectors} == {
        key: register.vector for key, register in expected.registers.items()
    }
    assert {each.key: each.boot_ns for each in got.vectors} == {
        key: register.boot_ns for key, register in expected.registers.items()
    }
    assert got.rows == len(rows)


def test_where_blocks_end_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's rows in one block or in many are the same registers."""
    rows = rows_of(2, 300, odd=0.02)
    whole = metered(tmp_path / "whole", rows)
    monkeypatch.setattr(packing, "ROWS_MAXIMUM", 7)
    parts = metered(tmp_path / "parts", rows)
    assert {each.key: each.vector for each in parts.vectors} == {
        each.key: each.vector for each in whole.vectors
    }


def test_each_day_has_a_vector_of_each_key_that_grew(tmp_path: Path) -> None:
    """Days follow each other without a hole, and the last one is the newest vector."""
    rows = rows_of(3, 200, odd=0.0)
    second = [row.at(row.time_ns + 24 * NS_PER_HOUR) for row in rows]
    third = [row.at(row.time_ns + 96 * NS_PER_HOUR) for row in rows]
    got = metered(tmp_path, rows + second + third)
    ours = {each.key for each in got.vectors if each.key.allocation == "run:one"}
    (key,) = ours
    days = [each for each in got.hours if each.key == key]
    assert [each.hour // 24 for each in days] == [0, 1, 4]
    # What came after a silence may have been done in it: the day reaches back to its begin.
    assert [each.first_hour for each in days] == [0, 0, 24]
    newest = next(each for each in got.vectors if each.key == key)
    assert days[-1].vector == newest.vector
    assert all(each.wall_ns == EPOCH_NS + each.boot_ns for each in days)


def test_what_is_read_twice_is_the_same(tmp_path: Path) -> None:
    """Packed again, under whatever name, a series has the same keys, sequences and vectors."""
    rows = rows_of(4, 300)
    one, other = metered(tmp_path / "a", rows), metered(tmp_path / "b", rows)
    assert one.vectors == other.vectors
    assert one.hours == other.hours


@pytest.mark.parametrize("rows_in_block", [7, 65_536])
@pytest.mark.parametrize("energy", [False, True])
def test_a_longer_series_goes_on_where_the_shorter_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_in_block: int, *, energy: bool
) -> None:
    """Packed again with more rows, what it says follows what it said: nothing twice, no fork."""
    monkeypatch.setattr(packing, "ROWS_MAXIMUM", rows_in_block)
    rows = rows_of(5, 300, odd=0.02)
    if energy:
        rows = with_energy(rows)
    lines = [HEADER + ",energy_mj" * energy, *(row.line(DEVICE, "n1") for row in rows)]
    held: dict[Key, Branches] = {}
    for number, count in enumerate((200, 201, 203, 300, 250, 300)):
        folder = tmp_path / str(number)
        files = packing.pack(lines[: count + 1], folder, origin(), name="rows.csv").files
        got = meter_file(files[DEVICE])
        for keyed in got.vectors:
            outcome, held[keyed.key] = merge(held.get(keyed.key, ()), keyed)
            assert outcome is not Outcome.FORK
        newest = {keyed.key: keyed.sequence for keyed in got.vectors}
        assert all(hour.sequence <= newest[hour.key] for hour in got.hours)
    whole = {keyed.key: keyed.vector for keyed in got.vectors}
    assert {key: stored.vector for key, (stored,) in held.items()} == whole


@dataclass(frozen=True, slots=True)
class EnergyRow(Row):
    """A line with the device's counter of energy as well."""

    energy_mj: int = 0

    def line(self, device: str, node: str) -> str:
        """The line as text."""
        return f"{Row.line(self, device, node)},{self.energy_mj}"

    def reading(self, device: str) -> Reading:
        """The reading it says."""
        return replace(Row.reading(self, device), energy_mj=self.energy_mj)


def with_energy(rows: list[Row]) -> list[Row]:
    """The same rows beside a counter that grows with their power."""
    found: list[Row] = []
    energy_mj, before_ns = 10**9, rows[0].time_ns
    for row in rows:
        energy_mj += row.power_mw * (row.time_ns - before_ns) // NS_PER_S
        before_ns = row.time_ns
        words = (row.time_ns, row.run, row.clock_khz, row.power_mw, row.active_ppm, row.tensor_ppm)
        found.append(EnergyRow(*words, energy_mj=energy_mj))
    return found


@pytest.mark.parametrize("energy", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_over_midnight(tmp_path: Path, seed: int, energy: bool) -> None:
    """With and without a running counter: the agent's registers, and each day's own vector.

    A user of one reading alone has a block of one row.
    """
    first_row, *others = rows_of(seed, 300, odd=0.02 * seed)
    ahead_ns = 24 * NS_PER_HOUR - 150 * NS_PER_S
    rows = [first_row, *(row.at(row.time_ns + ahead_ns) for row in others)]
    rows[40] = replace(rows[40], run="guest")
    if energy:
        rows = with_energy(rows)
    lines = [HEADER + ",energy_mj" * energy, *(row.line(DEVICE, "n1") for row in rows)]
    got = meter_file(packing.pack(lines, tmp_path, origin(), name="rows.csv").files[DEVICE])
    expected = by_readings(rows, got.head.identity)
    assert {each.key: each.vector for each in got.vectors} == {
        key: register.vector for key, register in expected.registers.items()
    }
    (key,) = {each.key for each in got.vectors if each.key.allocation == "run:one"}
    first, *_, last = (each for each in got.hours if each.key == key)
    assert first.hour // 24 == 0
    if seed == 0:
        assert (last.first_hour, last.hour) == (24, 24)
        until = [row for row in rows if row.time_ns < EPOCH_NS + 24 * NS_PER_HOUR]
        at_midnight = by_readings(until, got.head.identity).registers[key]
        assert first.vector == at_midnight.vector


def test_a_series_without_a_block(tmp_path: Path) -> None:
    """A device that was never read has no vector and no hour: missing is not zero."""
    whole = pack_rows(tmp_path, {DEVICE: rows_of(1, 3)}).files[DEVICE]
    with whole.open("rb") as stream:
        head = SeriesReader(stream, "whole").head
    with (tmp_path / "empty").open("wb") as stream:
        SeriesWriter(stream, head).end()
    got = meter_file(tmp_path / "empty")
    assert (got.vectors, got.hours, got.rows) == ([], [], 0)
