"""MIG profiles of the device table: recognised by profile, and the device's own count wins."""

from __future__ import annotations

import dataclasses

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, parse_device_table
from flopmeter_core.errors import DataError
from flopmeter_core.methods.base import Conditions
from flopmeter_core.mig import profile_of
from flopmeter_core.standing import Standing

TEXT = builtin_table("devices.toml")
TABLE = parse_device_table(TEXT)


def instance(part: str, profile: str, *, sm_count: int = 0) -> DeviceRecord:
    """An instance of a part as its driver names it."""
    pci = TABLE.by_id[part].pci_device_ids[0]
    return DeviceRecord(
        node="n1",
        device="GPU-0/gi3@MIG-1",
        vendor="nvidia",
        product_name=f"{TABLE.by_id[part].name} MIG {profile}",
        pci_device_id=pci << 16 | 0x10DE,
        sm_count=sm_count,
        device_count=0,
    )


@pytest.mark.parametrize(
    ("part", "profile", "sm_count"),
    [
        ("a100-sxm4-80gb", "1g.10gb", 14),
        ("a100-sxm4-40gb", "1g.10gb", 14),
        ("a100-sxm4-40gb", "3g.20gb", 42),
        ("h100-sxm5-80gb", "3g.40gb", 60),
        ("h100-sxm5-80gb", "1g.10gb+me", 16),
        ("h100-pcie-80gb", "3g.40gb", 46),
        ("h200-sxm-141gb", "1g.35gb", 26),
        ("b200-sxm-180gb", "2g.45gb", 36),
        ("gb200-186gb", "2g.47gb", 38),
    ],
)
def test_profile(part: str, profile: str, sm_count: int) -> None:
    """An instance that does not say its SM count has its profile's, on its own board."""
    record = instance(part, profile)
    recognised = TABLE.recognise(record)
    assert recognised.id == part
    assert recognised.sm_count == sm_count
    assert recognised.standing_of("sm_count") is not Standing.VERIFIED
    assert Conditions(recognised, record).sm_count == sm_count


def test_the_devices_own_count_wins() -> None:
    """What the device says is what counts; that it differs is said."""
    record = instance("h100-sxm5-80gb", "3g.40gb", sm_count=48)
    assert Conditions(TABLE.recognise(record), record).sm_count == 48
    assert TABLE.contradiction(record) == (
        "the device says 48 SMs, the device table 60 for profile 3g.40gb of h100-sxm5-80gb; "
        "the device's own count is used"
    )
    assert TABLE.contradiction(instance("h100-sxm5-80gb", "3g.40gb", sm_count=60)) == ""


def test_nothing_to_compare() -> None:
    """No count, no such profile, no profile in the name, an unknown part: nothing is said."""
    assert TABLE.contradiction(instance("h100-sxm5-80gb", "3g.40gb")) == ""
    assert TABLE.contradiction(instance("b200-sxm-180gb", "7g.180gb", sm_count=9)) == ""
    bare = instance("h100-sxm5-80gb", "3g.40gb", sm_count=9)
    assert TABLE.contradiction(dataclasses.replace(bare, product_name="NVIDIA H100")) == ""
    assert TABLE.contradiction(dataclasses.replace(bare, pci_device_id=0)) == ""


def test_whole_gpu() -> None:
    """A whole GPU is compared with its row; a profile in its name is none of it."""
    record = dataclasses.replace(
        instance("h100-pcie-80gb", "1g.10gb", sm_count=132), device="GPU-0", device_count=1
    )
    assert TABLE.recognise(record).sm_count == 114
    assert "the device says 132 SMs, the device table 114" in TABLE.contradiction(record)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("NVIDIA H200 MIG 1g.18gb", "1g.18gb"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "1c.3g.20gb"),
        ("NVIDIA H100 80GB HBM3", ""),
        ("", ""),
        ("SMIGGLE 1g.5gb", ""),
    ],
)
def test_profile_of(name: str, profile: str) -> None:
    """The profile stands after the word MIG; a part of a word is none."""
    assert profile_of(name) == profile


def test_every_row_has_a_source_and_fits() -> None:
    """Each profile is no larger than its GPU, and two halves fit beside each other."""
    for row in TABLE.mig:
        assert len(row.source) > 20
        for part in row.parts:
            whole = TABLE.by_id[part].sm_count
            assert all(count <= whole for count in row.profiles.values())
            for profile, count in row.profiles.items():
                instances = {"1g": 7, "2g": 3, "3g": 2}.get(profile[:2], 1)
                at_most = 4 if profile[:2] == "1g" and count > 20 else instances
                assert count * at_most <= whole, (part, profile)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('parts = ["h200-sxm-141gb"]', 'parts = ["h200"]'),
        ('parts = ["h200-sxm-141gb"]', 'parts = ["h100-sxm5-80gb"]'),
        ('"1g.18gb" = 16', '"1g.18gb" = 133'),
        ('"1g.18gb" = 16', '"1g.18gb" = 0'),
        ('"1g.18gb" = 16', '"1g.18gb" = 16.5'),
    ],
)
def test_refused_rows(before: str, after: str) -> None:
    """A row of no part, of a part that has one, or of more SMs than the GPU has."""
    assert before in TEXT
    with pytest.raises(DataError):
        parse_device_table(TEXT.replace(before, after))
