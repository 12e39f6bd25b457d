"""Incarnations of devices that a ledger meets for the first time."""

from __future__ import annotations

from dataclasses import replace

from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.newcomers import Newcomers
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.units import NS_PER_S
from support.totals import busy_vector, h100

MIG = replace(h100(), device_count=0)


def key(writer: str = "w1", device: str = "GPU-0", allocation: str = "run:alpha") -> Key:
    """A key of one incarnation of a device."""
    return Key(device, writer, allocation, 0, Evidence.GPM, h100().record_id)


def row(at_ns: int, covered_s: int, writer: str = "w1", device: str = "GPU-0") -> Coverage:
    """What is put down of it."""
    return Coverage(writer, device, "n0", "", None, None, at_ns, covered_s * NS_PER_S)


def test_all_users_of_one_meeting_are_in_its_row() -> None:
    """The row says when the first vector came, and what all of the commit's had classified."""
    newcomers = Newcomers()
    alpha, beta = key(), key(allocation="run:beta")
    newcomers.meet(alpha, h100(), 7)
    newcomers.meet(beta, h100(), 9)
    newcomers.meet(key("w2"), h100(), 11)
    held = [(alpha, busy_vector(60)), (beta, busy_vector(5)), (key("w3"), busy_vector(1))]
    assert newcomers.take(held) == (row(7, 65), row(11, 0, "w2"))
    assert newcomers.take(held) == ()


def test_who_is_known_is_met_once() -> None:
    """A further user of an incarnation, or one that the ledger had, leaves no row."""
    newcomers = Newcomers()
    newcomers.know(key())
    newcomers.meet(key(allocation="run:beta"), h100(), 7)
    newcomers.meet(key(device="GPU-1"), h100(), 8)
    assert newcomers.take(()) == (row(8, 0, device="GPU-1"),)
    newcomers.meet(key(device="GPU-1", allocation="run:beta"), h100(), 9)
    assert newcomers.take(()) == ()


def test_the_time_of_an_instance_is_its_devices() -> None:
    """A MIG instance is enrolled with its GPU, not beside it."""
    newcomers = Newcomers()
    newcomers.meet(key(), MIG, 7)
    assert newcomers.take(()) == ()
