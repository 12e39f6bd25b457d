"""A ledger in a file that was reported to, without a collector: for quick tests of commands.

Owns: what is in it, and how a command is said in this process and its lines are taken.
May touch: a folder of the test.
Called by the unit tests of the command line.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, StoredVector
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.reports import HourlyVector
from support.ingest import RECORD, hourly, key, vector

HOUR_SECONDS = 3_000
"""Busy seconds in each hour."""


def small_ledger(
    folder: Path,
    work: Mapping[str, int],
    *,
    others: Iterable[StoredVector] = (),
    record: DeviceRecord = RECORD,
    **more: Any,
) -> str:
    """Create a ledger; gives its URL.

    Args:
        folder: where the file `ledger.db` is created.
        work: full hours of work by allocation, each from Unix time 0 on.
        others: vectors beside them.
        record: the device that did it; a simulated one makes the ledger simulated.
        more: what else is committed with them, as `Batch` has it.
    """
    vectors: list[StoredVector] = []
    hours: list[HourlyVector] = []
    for allocation, count in work.items():
        of = key(record, allocation=allocation)
        for hour in range(count):
            values = vector((hour + 1) * HOUR_SECONDS)
            hours.append(hourly(hour, hour + 1, values, first_hour=0, key=of))
        vectors.append(StoredVector(of, 0, count, vector(count * HOUR_SECONDS)))
    url = str(folder / "ledger.db")
    with contextlib.closing(backends.collect(url, simulated=record.simulated)) as ledger:
        ledger.commit(
            Batch(
                records={record.record_id: record},
                vectors=(*vectors, *others),
                hours=tuple(hours),
                **more,
            )
        )
    return url


class Spoken:
    """Commands said in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *last: str) -> None:
        """Take what they print; `last` stands at the end of each."""
        self._capsys, self._last = capsys, last

    def both(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What a command prints and what it says on standard error, once it ended as it has to."""
        self._capsys.readouterr()
        found = main([*words, *self._last])
        out, err = self._capsys.readouterr()
        assert found == code, (words, found, out, err)
        return out, err

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command prints that has nothing to warn of."""
        out, err = self.both(*words, code=code)
        assert not err, err
        return out

    def document(self, *words: str, code: int = 0) -> Any:
        """The JSON it prints."""
        return json.loads(self(*words, "--json", code=code))

    def refused(self, *words: str, code: int = 64) -> str:
        """The one sentence of a command that does nothing."""
        out, err = self.both(*words, code=code)
        assert (out, err.count("\n")) == ("", 1), (out, err)
        return err
