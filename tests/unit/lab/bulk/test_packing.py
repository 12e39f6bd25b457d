"""Text becomes series, and text that makes no sense is told in one sentence that names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter.lab.bulk.metering import meter_file
from flopmeter.lab.bulk.packing import pack
from flopmeter_core.errors import DataError, StorageError
from support.telemetry import DEVICE, HEADER, origin, pack_rows, rows_of, text_of

LINE = "1767225600000000000,GPU-1,n1,one,1980000,400000,900000,500000"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "needs the columns"),
        (["time_ns,device"], "needs the columns"),
        (["time_ns,device,clock_mhz"], "clock_mhz; known are"),
        (["time_ns,device,clock_khz,clock_khz"], "at most once"),
        ([HEADER], "no row"),
        ([HEADER, "1,GPU-1"], "line 2 has 2 cells"),
        ([HEADER, LINE.replace("400000", "4e5")], "line 2 holds something"),
        ([HEADER, LINE.replace("400000", "-1")], "line 2: power_mw is -1"),
        ([HEADER, LINE.replace("400000", str(1 << 32))], "line 2: power_mw"),
        ([HEADER, LINE.replace("GPU-1", "")], "line 2 names no device"),
        ([HEADER, LINE, LINE.replace("17672256", "17672255")], "line 3 goes back in time"),
        ([HEADER, LINE, LINE.replace("n1", "n2")], "line 3 moves device"),
    ],
)
def test_bad_text_is_told(tmp_path: Path, lines: list[str], said: str) -> None:
    """One sentence, and no file that looks whole."""
    with pytest.raises(DataError, match=said):
        pack(lines, tmp_path / "out", origin(), name="rows.csv")
    assert not list(tmp_path.rglob("*.fmseries"))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_row_without_a_number_is_left_out(tmp_path: Path) -> None:
    """It is a reading that failed: counted, and never a zero."""
    later = LINE.replace("1767225600", "1767225601")
    packed = pack([HEADER, LINE, later.replace("400000", "")], tmp_path, origin(), name="rows.csv")
    assert (packed.rows, packed.incomplete) == (1, 1)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A series that exists stays what it is."""
    rows = {DEVICE: rows_of(1, 5)}
    pack_rows(tmp_path, rows)
    with pytest.raises(StorageError, match="exists"):
        pack_rows(tmp_path, rows)


def test_devices_that_take_turns_are_told_apart(tmp_path: Path) -> None:
    """Each device of a text has its own rows, whatever its name looks like."""
    devices = {f"GPU/{number}": rows_of(number, 40) for number in range(5)}
    packed = pack(text_of(devices), tmp_path, origin(), name="rows.csv")
    assert packed.files.keys() == devices.keys()
    assert {meter_file(file).rows for file in packed.files.values()} == {40}


def test_an_energy_counter_may_begin_anew(tmp_path: Path) -> None:
    """A counter that goes back begins a block, and its period is unobserved as with an agent."""
    start = 1_767_225_600
    counts = [10**12, 10**12 + 500_000, 10**12 + 1_000_000, 200, 500_200]
    lines = ["time_ns,device,energy_mj"] + [
        f"{(start + second) * 10**9},GPU-1,{count}" for second, count in enumerate(counts)
    ]
    packed = pack(lines, tmp_path, origin(rung="ENERGY"), name="rows.csv")
    (vector,) = meter_file(packed.files["GPU-1"]).vectors
    assert vector.vector[12] == 1_500_000
    assert vector.vector[16] == 10**9
