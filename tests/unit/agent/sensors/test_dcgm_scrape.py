"""What an exposition says: real pages, both generations of names, blanks, and no exposition."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.sensors.dcgm.exposition import parse
from flopmeter_agent.sensors.dcgm.fields import BUSY, CLOCK, ENERGY, ENGINE, MAX_CLOCK, POWER
from flopmeter_agent.sensors.dcgm.scrape import GREATEST_DEVICES, devices_in
from flopmeter_core.errors import DataError
from flopmeter_core.registers import Component
from support.fake_exporter import NEW, OLD, page, uuid_of
from support.requirements import ROOT

SAMPLES = ROOT / "tests" / "data" / "dcgm-exporter-samples"
TENSOR = Component.TENSOR_MEGACYCLES

# File -> UUID -> what it says: ppm, kHz, mW, mJ.
EXPECTED = {
    "t4-busy-ericsson-ccd.prom": {
        "GPU-6d5c0ac5-74d7-3130-46f1-e93ed57f469a": {
            TENSOR: 5_822, ENGINE: 156_205, BUSY: 910_000, CLOCK: 660_000,
            POWER: 68_244, ENERGY: 15_152_422_938,
        },
    },
    "l4x2-idle-kops.prom": {
        "GPU-c2f76b33-7953-256e-8f33-1343419b1a1c": {
            TENSOR: 0, ENGINE: 0, BUSY: 0, CLOCK: 210_000, POWER: 16_365, ENERGY: 4_742_776,
        },
    },
    "a100-40c-vgpu-vks.prom": {
        "GPU-0946f70c-659b-4c39-8b78-7e7600000000": {BUSY: 0, CLOCK: 1_410_000},
    },
    "h100x8-vllm-aicr.prom": {
        "GPU-04d228d3-3b5a-3534-f5cf-969706647d56": {BUSY: 0, POWER: 66_997},
        "GPU-39e28159-8c62-ee71-64db-b748edd61e15": {BUSY: 0, POWER: 65_742},
        "GPU-82e45d1b-1618-559f-144c-eab51545030b": {BUSY: 0, POWER: 68_717},
        "GPU-a65a773d-52bb-bcc1-a8ee-f78c3faa2e2d": {BUSY: 0, POWER: 67_316},
        "GPU-bc5610b9-79c8-fedd-8899-07539c7f868a": {BUSY: 0, POWER: 68_347},
        "GPU-c4529c8d-69c4-b61d-e0bc-7b2460096005": {BUSY: 0, POWER: 113_611},
        "GPU-e64d69ca-b4b3-59b2-e78c-94f26c4db365": {BUSY: 0, POWER: 67_328},
        "GPU-fbc2c554-4d37-8938-0032-f923bad0f716": {BUSY: 0, POWER: 65_709},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.prom")))
def test_real_pages(name: str) -> None:
    """Each real page says exactly this, in our units."""
    seen = devices_in((SAMPLES / name).read_text())
    assert {device: dict(found.quantities) for device, found in seen.items()} == EXPECTED[name]
    assert all(not found.blanks and not found.contradictions for found in seen.values())


def test_both_generations_say_the_same() -> None:
    """Names and units of DCGM 4.6 and newer are the same quantities as the older ones."""
    shown: dict[str, object] = {
        "tensor": 0.375, "hmma": 0.25, "imma": 0.125, "sm": 0.875, "engine": 0.9375, "busy": 0.99,
        "clock_mhz": 1_755, "max_clock_mhz": 1_980, "power_w": 612.5, "energy_j": 123_456.789,
    }  # fmt: skip
    expected = {
        TENSOR: 375_000,
        Component.HMMA_MEGACYCLES: 250_000,
        Component.IMMA_MEGACYCLES: 125_000,
        Component.SM_ACTIVE_MEGACYCLES: 875_000,
        ENGINE: 937_500,
        BUSY: 990_000,
        CLOCK: 1_755_000,
        MAX_CLOCK: 1_980_000,
        POWER: 612_500,
        ENERGY: 123_456_789,
    }
    for names in (OLD, NEW):
        assert devices_in(page([shown], names))[uuid_of(0)].quantities == expected


def test_unit_is_of_name_and_help() -> None:
    """A name that says no unit has that of its help text; one that says its unit keeps it."""

    def clock(name: str, told: str, stated: str) -> int:
        text = f'# HELP {name} {told}\n{name}{{UUID="GPU-1"}} {stated}\n'
        return devices_in(text)["GPU-1"].quantities[CLOCK]

    assert clock("DCGM_FI_DEV_SM_CLOCK", "SM clock", "1980") == 1_980_000
    assert clock("DCGM_FI_DEV_SM_CLOCK", "SM clock (in Hz).", "1980000000") == 1_980_000
    assert clock("DCGM_FI_DEV_SM_CLOCK", "SM clock (in parsecs).", "1980") == 1_980_000
    assert clock("DCGM_FI_DEV_SM_CLOCK_HERTZ", "SM clock (in MHz).", "1980000000") == 1_980_000


@pytest.mark.parametrize(
    "blank",
    ["9223372036854775792", "9223372036854775794", "9.223372036854776e+18", "140737488355328",
     "1.40737488355328e+14", "1.4073748835532800e+16", "NaN", "+Inf", "-Inf", "1e999"],
)  # fmt: skip
def test_blanks_are_absent(blank: str) -> None:
    """DCGM's blanks, NaN and infinity are no numbers, and are told apart from absence."""
    shown: dict[str, object] = {"tensor": blank, "energy_j": blank, "power_w": 70}
    seen = devices_in(page([shown]))[uuid_of(0)]
    assert seen.quantities == {POWER: 70_000}
    assert len(seen.blanks) == 2
    assert {TENSOR, ENERGY} <= seen.offered


def test_a_blank_cross_check_is_no_finding() -> None:
    """Utilisation is blank for ever on some devices, and no figure is made of it."""
    seen = devices_in(page([{"busy": "NaN", "engine": "NaN", "tensor": 0.5}]))[uuid_of(0)]
    assert (seen.blanks, seen.quantities) == ([], {TENSOR: 500_000})


def test_mig_instances() -> None:
    """Instances repeat the board: its energy counts once, their activity is each one's own."""
    lines: list[dict[str, object]] = [
        {"tensor": share, "energy_j": 5.0, "uuid": "GPU-1",
         "labels": f',GPU_I_PROFILE="1g.10gb",GPU_I_ID="{place}"'}
        for place, share in ((7, 0.5), (8, 0.75))
    ]  # fmt: skip
    seen = devices_in(page(lines))["GPU-1"]
    assert seen.quantities == {ENERGY: 5_000}
    assert {number: (each.profile, each.quantities) for number, each in seen.parts.items()} == {
        "7": ("1g.10gb", {TENSOR: 500_000}),
        "8": ("1g.10gb", {TENSOR: 750_000}),
    }
    # With a line of the whole board beside them that line is the truth, once.
    seen = devices_in(page([*lines, {"tensor": 0.25, "energy_j": 5.0, "uuid": "GPU-1"}]))["GPU-1"]
    assert seen.quantities == {TENSOR: 250_000, ENERGY: 5_000}


def test_shared_devices() -> None:
    """A device that pods share is shown once a pod: equal lines are one, others contradict."""
    pods: list[dict[str, object]] = [
        {"tensor": 0.5, "uuid": "GPU-1", "labels": f',pod="{pod}"'} for pod in "ab"
    ]
    assert devices_in(page(pods))["GPU-1"].quantities == {TENSOR: 500_000}
    pods[1]["tensor"] = 0.25
    seen = devices_in(page(pods))["GPU-1"]
    assert (seen.quantities, seen.contradictions) == ({}, ["DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"])


def test_other_lines_are_left_alone() -> None:
    """Lines of the exporter itself, of switches and of MIG UUIDs are no device."""
    text = (
        'go_threads 12\nDCGM_FI_DEV_NVSWITCH_TEMP{nvswitch="0"} 40\n'
        'DCGM_FI_DEV_SM_CLOCK{UUID="MIG-1"} 5\nweird{a="}\\"{"} 1\n'
    )
    assert devices_in(text) == {}
    assert len(parse(text).samples) == 2


GARBLED = {
    "cut within a line": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1"} 19',
    "cut within labels": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1\n',
    "a web page": "<html><body>404</body></html>\n",
    "no number": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1"} fast\n',
    "no value": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1"}\n',
    "broken labels": 'DCGM_FI_DEV_SM_CLOCK{UUID=GPU-1} 5\n',
    "a label twice": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1",UUID="GPU-2"} 5\n',
    "zeros and ones": "\x00\x01\x02\n",
    "an endless number": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1"} ' + "9" * 5_000 + "\n",
    "an endless line": "DCGM_FI_DEV_SM_CLOCK{a=\"" + "x" * 70_000 + "\"} 5\n",
    "python's numbers": 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1"} 1_980\n',
}  # fmt: skip


@pytest.mark.parametrize("case", GARBLED)
def test_garbled_texts(case: str) -> None:
    """What is no whole exposition is refused in one sentence, never read in part."""
    with pytest.raises(DataError) as refused:
        devices_in(page([{"tensor": 0.5}]) + GARBLED[case])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_too_many_devices() -> None:
    """A page that gathers a whole cluster is not one node's."""
    devices: list[dict[str, object]] = [{"clock_mhz": 1} for _ in range(GREATEST_DEVICES + 1)]
    with pytest.raises(DataError, match="one node's exporter"):
        devices_in(page(devices))


def test_every_sample_is_expected() -> None:
    """The folder holds its licence and these pages."""
    names = {path.name for path in Path(SAMPLES).iterdir()}
    assert names == {*EXPECTED, "README.md", "SOURCE_LICENSE"}
