"""Admission: what cannot be true is refused on its own content, everything else passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.admit import (
    BOOT_SLACK_NS,
    GREATEST_POWER_W,
    GREATEST_SM_COUNT,
    LONGEST_GAP_NS,
    check_kind,
    greatest_rates,
    refusal,
)
from flopmeter_core.errors import NotPermittedError
from flopmeter_core.increments import JITTER_PPM
from flopmeter_core.registers import SM_CYCLE_COMPONENTS, Component
from flopmeter_core.units import NS_PER_S, PPM
from support.ingest import RECORD, vector

HOUR_S = 3600
FULL_MEGACYCLES = 132 * 1980 * HOUR_S
"""All SM cycles of the test's device in an hour at its maximum clock."""


@pytest.mark.parametrize("component", SM_CYCLE_COMPONENTS)
def test_cycles_at_the_maximum_clock(component: Component) -> None:
    """5 % above the device's own maximum is jitter; more than that is impossible."""
    jitter = FULL_MEGACYCLES * 105 // 100
    possible = vector(HOUR_S, **{component.name: jitter})
    impossible = vector(HOUR_S, **{component.name: jitter + 2})
    assert refusal(possible, RECORD, boot_ns=None) == ""
    assert component.name.lower() in refusal(impossible, RECORD, boot_ns=None)


def test_cycles_need_time() -> None:
    """Cycles in time that was suspended, or in none at all, are impossible."""
    suspended = vector(0, SM_ACTIVE_MEGACYCLES=FULL_MEGACYCLES // 2, SUSPENDED_NS=HOUR_S * NS_PER_S)
    assert "sm_active_megacycles" in refusal(suspended, RECORD, boot_ns=None)
    assert "sm_active_megacycles" in refusal(
        vector(0, SM_ACTIVE_MEGACYCLES=9), RECORD, boot_ns=None
    )


def test_work_of_a_silence_is_taken_in() -> None:
    """A counter that ran on gives the work of a gap whose time was registered as unobserved."""
    gap = vector(0, SM_ACTIVE_MEGACYCLES=FULL_MEGACYCLES, UNOBSERVED_NS=HOUR_S * NS_PER_S)
    assert refusal(gap, RECORD, boot_ns=None) == ""
    # Under a boundary the time may lie in the key of the user before.
    timeless = vector(0, SM_ACTIVE_MEGACYCLES=FULL_MEGACYCLES)
    assert refusal(timeless, RECORD, boot_ns=None, boundary=True) == ""
    flipped = vector(0, SM_ACTIVE_MEGACYCLES=FULL_MEGACYCLES | 1 << 55)
    assert "sm_active" in refusal(flipped, RECORD, boot_ns=None, boundary=True)


def test_cycles_of_suspect_time() -> None:
    """A doubted period may keep its cycles: its time is read time, and no more cycles fit in."""
    doubted = {"SUSPECT_NS": HOUR_S * NS_PER_S}
    kept = vector(0, SM_ELAPSED_MEGACYCLES=FULL_MEGACYCLES, **doubted)
    above = vector(0, SM_ELAPSED_MEGACYCLES=2 * FULL_MEGACYCLES, **doubted)
    assert refusal(kept, RECORD, boot_ns=None) == ""
    assert "sm_elapsed_megacycles" in refusal(above, RECORD, boot_ns=None)


def test_device_that_does_not_say_its_clock() -> None:
    """Where the device says neither SMs nor clock, only what no part can do is refused."""
    silent = replace(RECORD, sm_count=0, max_sm_clock_mhz=0)
    assert refusal(vector(HOUR_S), silent, boot_ns=None) == ""
    broken = vector(HOUR_S, TENSOR_MEGACYCLES=2**61)
    assert "tensor_megacycles" in refusal(broken, silent, boot_ns=None)


def test_node_scope() -> None:
    """A record of a whole node may hold the cycles and the energy of all its devices."""
    node = replace(RECORD, device_count=8)
    whole = vector(
        HOUR_S, SM_ACTIVE_MEGACYCLES=8 * FULL_MEGACYCLES, ENERGY_MJ=8 * 1_000_000 * HOUR_S
    )
    assert refusal(whole, node, boot_ns=None) == ""
    assert refusal(whole, RECORD, boot_ns=None) != ""


def test_instance_of_a_device() -> None:
    """A MIG instance counts as no accelerator, has cycles all the same, and never any energy."""
    instance = replace(RECORD, device="GPU-1/gi1@MIG-1", device_count=0)
    work = vector(HOUR_S, SM_ACTIVE_MEGACYCLES=FULL_MEGACYCLES, ENERGY_MJ=0)
    assert refusal(work, instance, boot_ns=None) == ""
    double = vector(HOUR_S, SM_ACTIVE_MEGACYCLES=2 * FULL_MEGACYCLES, ENERGY_MJ=0)
    assert "sm_active_megacycles" in refusal(double, instance, boot_ns=None)
    assert "energy_mj" in refusal(vector(HOUR_S, ENERGY_MJ=1), instance, boot_ns=None)


def test_busy_cycles() -> None:
    """Busy cycles may pass the stated maximum clock, but not what any clock can do."""
    boosted = vector(HOUR_S, BUSY_MEGACYCLES=4_000 * HOUR_S)
    broken = vector(HOUR_S, BUSY_MEGACYCLES=6_000 * HOUR_S)
    assert refusal(boosted, RECORD, boot_ns=None) == ""
    assert "busy_megacycles" in refusal(broken, RECORD, boot_ns=None)


def test_energy() -> None:
    """Energy above what any accelerator's share of a node draws is a broken counter."""
    limit_mj = GREATEST_POWER_W * 1_000 * HOUR_S + GREATEST_POWER_W * BOOT_SLACK_NS // 10**6
    assert refusal(vector(HOUR_S, ENERGY_MJ=limit_mj), RECORD, boot_ns=None) == ""
    above = vector(HOUR_S, ENERGY_MJ=limit_mj + 1)
    assert "energy_mj" in refusal(above, RECORD, boot_ns=None)


def test_boot_time() -> None:
    """A vector covers at most the boot time beside it and one second of slack."""
    boot_ns = (HOUR_S - 1) * NS_PER_S
    assert refusal(vector(HOUR_S), RECORD, boot_ns=boot_ns) == ""
    assert "booted only" in refusal(vector(HOUR_S), RECORD, boot_ns=boot_ns - 1)
    assert refusal(vector(HOUR_S), RECORD, boot_ns=None) == ""


@given(st.integers(Component.BUSY_NS, Component.SUSPECT_NS))
def test_every_class_of_time_counts(component: int) -> None:
    """Time of every class has to fit into the boot time."""
    covers = vector(0, **{Component(component).name: 10 * NS_PER_S})
    assert refusal(covers, RECORD, boot_ns=10 * NS_PER_S) == ""
    assert refusal(covers, RECORD, boot_ns=8 * NS_PER_S) != ""


def test_flipped_bit() -> None:
    """One flipped high bit in any component of a true vector is refused."""
    true = vector(HOUR_S)
    for place in range(len(true)):
        flipped = (*true[:place], true[place] | 1 << 61, *true[place + 1 :])
        assert refusal(flipped, RECORD, boot_ns=2 * HOUR_S * NS_PER_S), Component(place)


@pytest.mark.parametrize(
    ("simulated", "sent", "kept", "hint"),
    [(True, "simulated", "real", "with"), (False, "real", "simulated", "without")],
)
def test_kind(simulated: bool, sent: str, kept: str, hint: str) -> None:
    """A ledger takes its own kind only, and the sentence says where to send the other."""
    check_kind(simulated=simulated, ledger_simulated=simulated, sender="node n")
    with pytest.raises(NotPermittedError) as refused:
        check_kind(simulated=simulated, ledger_simulated=not simulated, sender="node n")
    assert str(refused.value) == (
        f"node n sends {sent} readings, but this collector's ledger keeps {kept} ones and never "
        f"mixes them: send to a collector started {hint} --simulated"
    )


def test_to_the_unit() -> None:
    """The greatest possible value passes and one more does not, in integers of any size."""
    years_s = 3 * 365 * 24 * HOUR_S + 1
    covered_ns = years_s * NS_PER_S
    cycles = 1980 * covered_ns * (PPM + JITTER_PPM) // (PPM * 1_000)
    limits = {
        Component.TENSOR_MEGACYCLES: cycles * 132 // 10**6 + 1,
        Component.BUSY_MEGACYCLES: 5_000 * cycles // 1980 // 10**6 + 1,
        Component.ENERGY_MJ: GREATEST_POWER_W * (covered_ns + BOOT_SLACK_NS) // 10**6,
    }
    sentences = {
        Component.TENSOR_MEGACYCLES: "that 132 SMs at 1980 MHz can make in the observed {} s; "
        "check the device with its vendor's tool",
        Component.BUSY_MEGACYCLES: "of any clock in the observed {} s; check the device's clock",
        Component.ENERGY_MJ: "of 20000 W an accelerator over {} s; check the energy counter of the "
        "device",
    }
    for component, limit in limits.items():
        assert refusal(vector(years_s, **{component.name: limit}), RECORD, boot_ns=None) == ""
        above = refusal(vector(years_s, **{component.name: limit + 1}), RECORD, boot_ns=None)
        assert above == (
            f"{component.name.lower()} is {limit + 1}, above the {limit} "
            + sentences[component].format(years_s)
        )
    assert refusal(vector(HOUR_S), RECORD, boot_ns=NS_PER_S) == (
        "the vector covers 3600 s but its node booted only 1 s ago; check the node's clock and "
        "restart its agent"
    )


def test_a_boundary_adds_to_its_own_time() -> None:
    """The longest silence comes on top of what the key itself covers."""
    longest_s = LONGEST_GAP_NS // NS_PER_S
    work = {"SM_ACTIVE_MEGACYCLES": 132 * 1980 * 105 * (longest_s + HOUR_S) // 100}
    assert refusal(vector(HOUR_S, **work), RECORD, boot_ns=None, boundary=True) == ""
    drawn = {"ENERGY_MJ": GREATEST_POWER_W * 1_000 * (longest_s + HOUR_S)}
    assert refusal(vector(HOUR_S, **drawn), RECORD, boot_ns=None, boundary=True) == ""
    above = {"SM_ACTIVE_MEGACYCLES": 132 * 1980 * 106 * (longest_s + HOUR_S) // 100}
    assert refusal(vector(HOUR_S, **above), RECORD, boot_ns=None, boundary=True) != ""


def test_greatest_rates() -> None:
    """What a device can do at most in a second, with its jitter; of eight of them eight times."""
    assert greatest_rates(RECORD) == (132 * 1980 * 105 // 100, 5_250, GREATEST_POWER_W)
    eight = replace(RECORD, device_count=8)
    assert greatest_rates(eight) == (132 * 1980 * 840 // 100, 42_000, 8 * GREATEST_POWER_W)
    fast = replace(RECORD, max_sm_clock_mhz=6_000)
    assert greatest_rates(fast) == (132 * 6_000 * 105 // 100, 6_300, GREATEST_POWER_W)
    # What a record does not say may be the greatest there is; an instance has no device.
    unsaid = replace(RECORD, sm_count=0, max_sm_clock_mhz=0, device_count=0)
    assert greatest_rates(unsaid) == (GREATEST_SM_COUNT * 5_250, 5_250, 0)


@pytest.mark.parametrize(("sm_count", "known"), [(PPM, True), (PPM + 1, False)])
def test_rates_of_no_device(sm_count: int, known: bool) -> None:
    """Whoever is said to have more than a million SMs asks each time."""
    assert any(greatest_rates(replace(RECORD, sm_count=sm_count))) == known
