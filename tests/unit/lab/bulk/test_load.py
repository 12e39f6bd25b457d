"""Which series are imported, and what is noted of one that a collector did not take whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flopmeter.lab.bulk.load import _Source, series_at
from flopmeter.lab.bulk.metering import meter_file
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.reports import Acknowledgement, Answer, Durability, LedgerPosition
from support.telemetry import DEVICE, pack_rows, rows_of

POSITION = LedgerPosition("here", 1, 5)


def test_folders_and_files(tmp_path: Path) -> None:
    """A folder stands for the series in it, in the order of their names."""
    both = {DEVICE: rows_of(1, 20), f"{DEVICE}-b": rows_of(2, 20)}
    files = sorted(pack_rows(tmp_path / "in", both).files.values())
    assert [each.path for each in series_at([tmp_path / "in"])] == files
    assert [each.path for each in series_at(files[1:])] == files[1:]


def test_nothing_there(tmp_path: Path) -> None:
    """An empty folder says what makes series, a missing file that it is missing."""
    with pytest.raises(DataError, match="holds no series; flopmeter pack makes them"):
        series_at([tmp_path])
    with pytest.raises(UsageError, match="cannot be read"):
        series_at([tmp_path / "none.fmseries"])


def test_two_kinds_side_by_side(tmp_path: Path) -> None:
    """Made-up and measured readings never go into one ledger."""
    real = pack_rows(tmp_path / "real", {DEVICE: rows_of(1, 20)}, simulated=False)
    made_up = pack_rows(tmp_path / "made-up", {DEVICE: rows_of(1, 20)}, simulated=True)
    with pytest.raises(DataError, match="import each kind into a ledger of its own"):
        series_at([*real.files.values(), *made_up.files.values()])


def test_what_was_refused_is_noted_once(tmp_path: Path) -> None:
    """The first reason of a series stays; the next series begins without one."""
    (path,) = pack_rows(tmp_path, {DEVICE: rows_of(1, 20)}).files.values()
    metered, source = meter_file(path), _Source()
    source.offer(metered)
    keys = [each.key for each in metered.vectors]

    def answer(durability: Durability, reason: str = "") -> None:
        acks = tuple(Acknowledgement(each, 1, durability, reason) for each in keys)
        asyncio.run(source.acknowledge(Answer(acks, POSITION)))

    answer(Durability.AT_ROOT)
    assert (source.refused, source.position) == ("", POSITION)
    answer(Durability.QUARANTINED, "it cannot be true")
    answer(Durability.REFUSED, "too many")
    assert source.refused == "it cannot be true"
    source.offer(metered)
    assert source.refused == ""
