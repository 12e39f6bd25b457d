"""`flopmeter device enroll`, `retire`, `down` and `enrolled` on a ledger."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from flopmeter.lab.enrolment import declare_device, enrolled_devices
from flopmeter_collector import backends
from flopmeter_core.errors import DataError
from support.manual_clock import ManualClock
from support.totals import table

FROM = "2026-01-01T00:00:00Z"


def test_a_device_from_its_enrolment_to_its_end(tmp_path: Path) -> None:
    """What is declared is listed, charged and audited, and ends when the device is retired."""
    url = str(tmp_path / "ledger.db")
    backends.collect(url, simulated=False).close()

    def declare(subject: str = "GPU-9", **body: str) -> None:
        declare_device(url, subject, body, author="ann", clock=ManualClock())

    retired = {"state": "retired", "at": "2026-01-01T10:00:00Z", "reason": "sold"}
    enrolled = {"state": "enrolled", "from": FROM, "node": "n1"}
    with pytest.raises(DataError, match="ever reported"):
        declare(**retired)
    with pytest.raises(DataError, match="no part"):
        declare(**enrolled, part="h1000")
    with pytest.raises(DataError, match="reason is missing"):
        declare(state="retired", at=FROM)
    declare(**enrolled, part=table().parts[0].id)
    declare(**retired)
    declare("n1", state="down", to="2026-01-01T04:00:00Z", reason="works", **{"from": FROM})
    devices = enrolled_devices(url, ManualClock())["devices"]
    assert isinstance(devices, list)
    (device,) = devices
    assert (device["node"], device["retired"]) == ("n1", True)
    assert device["residual_seconds"] == 6 * 3_600
    assert device["declared_down_seconds"] == 4 * 3_600
    with contextlib.closing(backends.read(url)) as ledger:
        acts = [(row.action, row.author, row.reason) for row in ledger.audit()]
    assert acts == [
        ("device enrolled", "ann", ""),
        ("device retired", "ann", "sold"),
        ("device down", "ann", "works"),
    ]
