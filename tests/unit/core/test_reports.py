"""Reports: plain values that say the least until told."""

from __future__ import annotations

import dataclasses

from flopmeter_core.registers import Evidence, Key
from flopmeter_core.reports import (
    PROTOCOL_VERSION,
    Durability,
)

KEY = Key("GPU-1", "ab" * 16, "run:a", 0, Evidence.GPM, "0123456789abcdef")


def test_wire_names() -> None:
    """The words of the protocol are stable."""
    assert PROTOCOL_VERSION == 1
    assert [durability.value for durability in Durability] == [
        "durable_here",
        "durable_at_root",
        "refused",
        "quarantined",
        "contested",
    ]


def test_keys_differ_in_every_part() -> None:
    """Two keys are one only when every part is the same: nothing of two users is ever merged."""
    others = {
        dataclasses.replace(KEY, **{name: change})  # type: ignore[arg-type]
        for name, change in {
            "device": "GPU-2",
            "incarnation": "cd" * 16,
            "allocation": "run:b",
            "phase": 1,
            "evidence": Evidence.CYCLES,
            "record": "fedcba9876543210",
        }.items()
    }
    assert len(others | {KEY}) == 7
