"""The energy method: its formula by hand, its table, and what the table may not say."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.errors import DataError
from flopmeter_core.estimate import estimate
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.methods import allocation, energy
from flopmeter_core.methods.base import Coefficients, Conditions, Workload
from flopmeter_core.registers import COMPONENT_COUNT, Component

TABLE = parse_device_table(builtin_table("devices.toml"))
TEXT = builtin_table("energy.toml")
J, NS = Component.ENERGY_MJ, Component.BUSY_NS


def conditions(
    part: str = "h100-sxm5-80gb",
    *,
    scope: EnergyScope = EnergyScope.NODE,
    count: int = 8,
    formats: str | None = None,
    workload: Workload | None = None,
) -> Conditions:
    """Conditions of one device or node."""
    record = DeviceRecord(
        node="n",
        device="d",
        vendor="nvidia",
        product_name="p",
        part=part,
        device_count=count,
        energy_scope=scope,
    )
    mix = parse_format_mix(formats) if formats else None
    return Conditions(TABLE.recognise(record), record, formats=mix, workload=workload)


def weights(
    formats: str | None = None, workload: Workload | None = None, part: str = "h100-sxm5-80gb"
) -> Coefficients:
    """Coefficients of a node of eight."""
    return energy.coefficients_of(conditions(part, formats=formats, workload=workload))


def test_by_hand() -> None:
    """Phi x peak / (P_load - P_idle) per energy, less the idle power per time."""
    peak = Fraction(132 * 1_830 * 10**6 * 4_096)
    load_w, idle_w = Fraction(1_384, 1_000) * 700, Fraction(35, 100) * 700
    per_mj = Fraction(40, 100) * peak / ((load_w - idle_w) * 1_000)
    found = weights("bf16=1", Workload.DENSE_TRANSFORMER)
    assert found.best[J] == round(per_mj)
    assert found.best[NS] == round(-per_mj * idle_w * 8 / 10**6)
    assert found.lower[J] == math.floor(per_mj / 2)
    assert found.upper[J] == math.ceil(Fraction(803, 1_000) * peak / (load_w * 1_000))
    assert found.upper[NS] == 0
    assert found.ceiling[NS] == math.ceil(Fraction(132 * 1_980 * 8_192 * 8, 1_000))
    assert found.floor == (0,) * COMPONENT_COUNT


def test_full_load_hour() -> None:
    """An hour at full-load power is an hour at the fraction; an hour at idle power is nothing."""
    found = weights("bf16=1", Workload.DENSE_TRANSFORMER)
    hour_ns = 3_600 * 10**9
    vector = [0] * COMPONENT_COUNT
    vector[NS] = hour_ns
    vector[J] = round(1.384 * 700 * 8 * 3_600 * 1_000)
    peak_hour = 8 * 132 * 1_830 * 10**6 * 4_096 * 3_600
    assert estimate(vector, found).observed.best / peak_hour == pytest.approx(0.40, rel=1e-5)
    vector[J] = round(0.34 * 700 * 8 * 3_600 * 1_000)
    interval = estimate(vector, found).observed
    assert interval.lower == interval.best == 0 < interval.upper


def test_undeclared_takes_bf16_below_and_the_fastest_above() -> None:
    """Undeclared, lower and best run in bf16; upper in the format that sustains most."""
    assert weights().lower[J] < weights("bf16=1").best[J]
    assert weights().best == weights("bf16=1").best
    assert weights().upper == weights("fp8=1").upper
    # fp8: 0.709 of 8192 FLOP, more than bf16's 0.803 of 4096.
    assert weights().upper[J] > weights("bf16=1").upper[J]


def test_h200_is_not_h100() -> None:
    """The matrix-product ceiling is looked up by part and format, with a default."""
    assert weights("fp8=1", part="h200-sxm-141gb").upper[J] * 709 == pytest.approx(
        weights("fp8=1").upper[J] * 734, rel=1e-8
    )
    # Nobody measured bf16 on H200: the default, wider than H100's.
    assert weights("bf16=1", part="h200-sxm-141gb").upper[J] * 803 == pytest.approx(
        weights("bf16=1").upper[J] * 900, rel=1e-8
    )


def test_scope() -> None:
    """The same joule of a board is more work than that of a node; of no scope, it says nothing."""
    node = energy.coefficients_of(conditions(count=1))
    board = energy.coefficients_of(conditions(count=1, scope=EnergyScope.GPU))
    assert board.best[J] > node.best[J] > 0
    unstated = conditions(count=1, scope=EnergyScope.NONE)
    assert energy.coefficients_of(unstated) == allocation.coefficients_of(unstated)


def test_format_the_part_lacks() -> None:
    """A declared format the part does not have is refused, not guessed."""
    with pytest.raises(DataError, match="this part has no fp8 tensor format"):
        weights("fp8", part="a100-sxm4-80gb")


@given(
    part=st.sampled_from(sorted(TABLE.by_id)),
    scope=st.sampled_from([EnergyScope.GPU, EnergyScope.MODULE, EnergyScope.NODE]),
    workload=st.sampled_from([None, *Workload]),
    count=st.integers(1, 16),
    hours=st.integers(1, 10_000),
    load_ppm=st.integers(0, 3_000_000),
)
def test_ordered_without_clipping(
    part: str,
    scope: EnergyScope,
    workload: Workload | None,
    count: int,
    hours: int,
    load_ppm: int,
) -> None:
    """For every part, scope and workload the bounds come out ordered wherever power is possible."""
    at = conditions(part, scope=scope, workload=workload, count=count)
    found = energy.coefficients_of(at)
    vector = [0] * COMPONENT_COUNT
    vector[NS] = hours * 3_600 * 10**9
    vector[J] = at.part.power_w * count * hours * 3_600 * load_ppm // 1_000
    dots = [
        sum(w * v for w, v in zip(bound, vector, strict=True))
        for bound in (found.lower, found.best, found.upper)
    ]
    lower, best, upper = (max(0, dot) for dot in dots)
    assert lower <= best <= upper


def test_ceilings_are_of_known_parts() -> None:
    """A ceiling of a part or format the device table lacks would never be used: a misspelling."""
    constants = energy.builtin_constants()
    assert constants.ceiling
    for part, number_format in constants.ceiling:
        assert number_format in TABLE.by_id[part].architecture.tensor


def test_no_float() -> None:
    """The constants are exact: 1.384 is 173/125, not the nearest double."""
    constants = energy.builtin_constants()
    assert constants.power[EnergyScope.NODE] == (Fraction(173, 125), Fraction(7, 20))


CHANGES = [
    ("load]\nratio = 1.384", "load]\nratio = 0.2", "more power at rest than at full load"),
    ("ratio = 1.384", "ratio = -1.384", "does not lie above 0"),
    ("ratio = 1.384", 'ratio = "much"', "does not lie above 0"),
    ("ratio = 1.384", "ratio = true", "does not lie above 0"),
    ("ratio = 1.384", "ratio = inf", "lacks or misstates a field"),
    ("ratio = 0.803", "ratio = 1.01", "does not lie above 0, up to 1"),
    ("lower = 0.13", "lower = 0.36", "a lower fraction above its best one"),
    ("[fraction.moe]", "[fraction.mow]", "lacks or misstates a field"),
    ("[power.module.load]", "[power.modul.load]", "lacks or misstates a field"),
    ('standing = "extrapolated"', 'standing = "certain"', "lacks or misstates a field"),
    ('standing = "extrapolated"', "", "lacks or misstates a field"),
    ('source = "stas00', 'because = "stas00', "lacks or misstates a field"),
    ('source = "assumption: b', 'source = " "\nwas = "', "an empty source"),
    ('parts = ["h200-sxm-141gb"]', 'parts = ["h100-sxm5-80gb"]', "twice"),
    ("[power.node.load]", "[power.node.load", "not valid TOML"),
]


@pytest.mark.parametrize(("good", "bad", "sentence"), CHANGES)
def test_bad_table(good: str, bad: str, sentence: str) -> None:
    """Each thing a row may not say is refused."""
    assert good in TEXT
    with pytest.raises(DataError, match=sentence):
        energy.parse_constants(TEXT.replace(good, bad, 1))
