"""Coefficients are made once for a kind of device, and never shared between two kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from flopmeter_collector import weighing
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.estimate import coefficients_for
from flopmeter_core.registers import INSTANCE_MARK, Evidence

PARTS = parse_device_table(builtin_table("devices.toml"))
RECORD = DeviceRecord(
    node="n0",
    device="GPU-0",
    vendor="nvidia",
    product_name="NVIDIA H100 80GB HBM3",
    part="h100-sxm5-80gb",
    sm_count=132,
    max_sm_clock_mhz=1_980,
    driver_version="595.1",
    energy_scope=EnergyScope.GPU,
)


def _made_for(*records: DeviceRecord) -> int:
    """How often coefficients are made for records, asked for twice each."""
    weigher = weighing.Weigher(PARTS)
    with mock.patch.object(weighing, "coefficients_for", side_effect=coefficients_for) as made:
        for record in [*records, *records]:
            assert weigher.ceiling_flop_per_ns(Evidence.CYCLES, record) > 0
    return made.call_count


def test_once_for_a_kind() -> None:
    """Another device on another node with another driver is of the same kind."""
    others = [
        replace(RECORD, node=f"n{number}", device=f"GPU-{number}", driver_version=f"595.{number}")
        for number in range(50)
    ]
    assert _made_for(RECORD, *others) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"sm_count": 114},
        {"max_sm_clock_mhz": 1_755},
        {"part": "a100-sxm4-80gb"},
        {"tensor_classes": False},
        {"device_count": 2},
        {"energy_scope": EnergyScope.NODE},
        {"device": f"GPU-0{INSTANCE_MARK}1@MIG-1"},
    ],
)
def test_what_makes_another_kind(change: dict[str, Any]) -> None:
    """Everything that a method looks at makes another kind."""
    assert _made_for(RECORD, replace(RECORD, **change)) == 2
