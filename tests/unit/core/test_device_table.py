"""The device table against what vendors print, and against the known traps of such tables."""

from __future__ import annotations

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, Part, parse_device_table
from flopmeter_core.errors import DataError
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.methods.base import Conditions
from flopmeter_core.standing import Standing

TEXT = builtin_table("devices.toml")
TABLE = parse_device_table(TEXT)

# (part, format) -> dense TFLOP/s as printed, where clock, units and rate come from other pages than
# the figure: three numbers that could each be wrong give the fourth.
INDEPENDENT = {
    ("v100-sxm2-32gb", "fp16"): 125,
    ("v100-pcie-16gb", "fp16"): 112,
    ("t4", "fp16"): 65,
    ("t4", "int8"): 130,
    ("a100-sxm4-40gb", "bf16"): 312,
    ("a100-sxm4-80gb", "bf16"): 312,
    ("a100-sxm4-80gb", "tf32"): 156,
    ("a100-sxm4-80gb", "fp64"): 19.5,
    ("a100-sxm4-80gb", "int8"): 624,
    ("a100-sxm4-80gb", "fp32"): 19.5,
    ("a10", "bf16"): 125,
    ("a10", "fp32"): 31.2,
    ("l4", "bf16"): 121,
    ("l4", "fp8"): 242.5,
    ("l40s", "bf16"): 362,
    ("rtx-4090", "bf16"): 165.2,
    ("rtx-4090", "fp8"): 330.3,
    ("rtx-4090", "int8"): 660.6,
    ("h100-sxm5-80gb", "bf16"): 989.4,
    ("h100-sxm5-80gb", "fp8"): 1_978.9,
    ("h100-sxm5-80gb", "tf32"): 494.7,
    ("h100-pcie-80gb", "bf16"): 756,
    ("rtx-5090", "bf16"): 209.5,
    ("rtx-5090", "fp4"): 1_676,
    ("mi250x", "bf16"): 383,
    ("mi250x", "fp64"): 95.7,
    ("mi300x", "bf16"): 1_307.4,
    ("mi300x", "fp8"): 2_614.9,
    ("mi355x", "bf16"): 2_516.6,
    ("gaudi2", "bf16"): 432,
    ("gaudi3", "bf16"): 1_835,
    ("gaudi3", "fp32"): 229,
    ("tpu-v2", "bf16"): 46,
    ("tpu-v3", "bf16"): 123,
    ("tpu-v4", "bf16"): 275,
}

# Here a clock or a rate was derived from the figure: these only hold the table to its own words.
CIRCULAR = {
    ("h100-nvl-94gb", "bf16"): 835.5,
    ("h200-sxm-141gb", "bf16"): 989.4,
    ("h200-nvl-141gb", "fp8"): 1_670.5,
    ("gh200-96gb", "bf16"): 989.4,
    ("h800-sxm5-80gb", "bf16"): 989.4,
    ("h20-96gb", "bf16"): 148,
    ("b200-sxm-180gb", "bf16"): 2_250,
    ("b200-sxm-180gb", "fp4"): 9_000,
    ("gb200-186gb", "bf16"): 2_500,
    ("gb200-186gb", "fp8"): 5_000,
    ("b300-sxm-288gb", "fp4"): 13_500,
    ("gb300-288gb", "fp4"): 15_000,
    ("rtx-pro-6000-blackwell", "bf16"): 503.8,
    ("rubin-288gb", "fp8"): 17_500,
    ("tpu-v5e", "bf16"): 197,
    ("tpu-v5p", "bf16"): 459,
    ("tpu-v6e", "bf16"): 918,
    ("tpu7x", "fp8"): 4_614,
    ("trainium1", "bf16"): 190,
    ("trainium2", "fp8"): 1_299,
    ("trainium3", "bf16"): 671,
    ("mi325x", "bf16"): 1_307.4,
    ("a100-pcie-80gb", "bf16"): 312,
    ("a800-sxm4-80gb", "bf16"): 312,
}


@pytest.mark.parametrize(("place", "tflop_per_s"), [*INDEPENDENT.items(), *CIRCULAR.items()])
def test_peaks_are_the_printed_ones(place: tuple[str, str], tflop_per_s: float) -> None:
    """Units x dense clock x rate is the printed dense figure within 1.3 % (L40S: 1.2 %)."""
    part, number_format = place
    peak = TABLE.by_id[part].peak_flop_per_s(number_format)
    assert peak / 1e12 == pytest.approx(tflop_per_s, rel=0.013)


def test_every_part_has_a_printed_peak() -> None:
    """No row of the table goes unchecked."""
    assert {part for part, _ in INDEPENDENT | CIRCULAR} == set(TABLE.by_id)


@pytest.mark.parametrize(
    ("part", "number_format", "sparse_tflop_per_s"),
    [
        ("h100-sxm5-80gb", "bf16", 1_979),
        ("h100-sxm5-80gb", "fp8", 3_958),
        ("h200-sxm-141gb", "bf16", 1_979),
        ("l4", "bf16", 242),
        ("l40s", "fp8", 1_466),
        ("b200-sxm-180gb", "bf16", 4_500),
        ("trainium2", "fp8", 2_563),
        ("rtx-5090", "fp4", 3_352),
    ],
)
def test_no_sparse_figure(part: str, number_format: str, sparse_tflop_per_s: float) -> None:
    """Web pages print sparse rates, twice the dense ones; no row may hold one."""
    peak = TABLE.by_id[part].peak_flop_per_s(number_format)
    assert peak / 1e12 == pytest.approx(sparse_tflop_per_s / 2, rel=0.02)


def test_h100_figure_holds_below_the_highest_clock() -> None:
    """989 TFLOP/s hold at 1830 MHz; the same SMs at 1980 MHz do 1070, so 989 caps nothing."""
    part = TABLE.by_id["h100-sxm5-80gb"]
    assert (part.dense_clock_mhz, part.max_sm_clock_mhz) == (1_830, 1_980)
    record = DeviceRecord(
        node="n", device="GPU-1", vendor="nvidia", product_name="H100", part=part.id, sm_count=132
    )
    at_ceiling = Conditions(part, record).ceiling_flop_per_ns
    assert at_ceiling > part.peak_flop_per_s("fp8") / 10**9
    assert part.sm_count * part.max_sm_clock_mhz * 4096 / 1e6 == pytest.approx(1_070.5, rel=1e-3)


@pytest.mark.parametrize("part", ["h20-96gb", "h800-sxm5-80gb"])
def test_fp64_of_capped_parts(part: str) -> None:
    """It is the 1 TFLOP/s that secondary sources state, to within the width of such a row."""
    assert TABLE.by_id[part].peak_flop_per_s("fp64") == pytest.approx(10**12, rel=0.1)


def test_h20_is_capped() -> None:
    """An H20 is a Hopper at about a quarter of the Hopper rate, and not well known."""
    h20, h200 = TABLE.by_id["h20-96gb"], TABLE.by_id["h200-sxm-141gb"]
    assert h20.architecture.tensor["bf16"] * 4 == h200.architecture.tensor["bf16"]
    assert h200.peak_flop_per_s("bf16") > 6 * h20.peak_flop_per_s("bf16")
    assert h20.architecture.standing is Standing.UNVERIFIED


@pytest.mark.parametrize("part", ["rtx-4090", "rtx-5090"])
def test_geforce_accumulates_at_half_rate(part: str) -> None:
    """Best takes FP32 accumulation; upper still covers FP16 accumulation at twice the rate."""
    row = TABLE.by_id[part]
    record = DeviceRecord(
        node="n", device="GPU-1", vendor="nvidia", product_name=part, part=part, sm_count=1
    )
    conditions = Conditions(row, record, formats=parse_format_mix("fp16=1"))
    _, likely, greatest = conditions.tensor_rates
    assert [likely, greatest] == [512, 1_024]
    assert row.architecture.best_float_rate >= 2 * row.architecture.tensor["fp8"]


def test_data_centre_boards_accumulate_at_full_rate() -> None:
    """The same die without the cap: an L40S has twice the rate of an RTX 4090 a cycle."""
    l40s, geforce = TABLE.by_id["l40s"], TABLE.by_id["rtx-4090"]
    assert l40s.architecture.tensor["bf16"] == 2 * geforce.architecture.tensor["bf16"]
    assert l40s.architecture.issue_ceiling_ppm == 1_000_000


def test_a_format_the_part_lacks() -> None:
    """There is no rate to fall back on: an A100 has no FP8, a V100 no BF16."""
    for part, number_format in (("a100-sxm4-80gb", "fp8"), ("v100-sxm2-32gb", "bf16")):
        with pytest.raises(DataError, match=f"has no {number_format} format; it has "):
            TABLE.by_id[part].peak_flop_per_s(number_format)


@pytest.mark.parametrize("part", TABLE.parts, ids=lambda part: part.id)
def test_every_constant_has_a_source_and_a_standing(part: Part) -> None:
    """A row says where it comes from; single constants may be worse known, never unnamed."""
    assert len(part.source) > 5
    assert len(part.architecture.source) > 5
    assert part.standing_of("sm_count") in Standing
    assert 0 <= part.standing_of("dense_clock_mhz").width <= 1
    assert part.memory_gb and part.memory_bandwidth_gb_per_s
    assert part.architecture.vendor in ("nvidia", "amd", "intel", "google", "aws")


def test_names_are_of_one_part() -> None:
    """No name means two parts, and no loose name hides an exact one."""
    owners: dict[str, set[str]] = {}
    for part in TABLE.parts:
        for name in (part.id, part.name, *part.aliases, *part.loose_aliases):
            key = name.casefold().replace(" ", "").replace("-", "")
            owners.setdefault(key, set()).add(part.id)
    assert {name: ids for name, ids in owners.items() if len(ids) > 1} == {}


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ('pci_note = "announced only; pci.ids lists no Rubin GPU"\n', "", "no pci_note"),
        ('standings = { power_w = "unverified" }', 'standings = { mass = "unverified" }', "mass"),
        ("issue_floor_ppm = 620_000", "issue_floor_ppm = 620_001", "slowest instruction family"),
        ('vendor = "nvidia"\n', "", "lacks or misstates a field: 'vendor'"),
        ("dense_clock_mhz = 1590", "dense_clock_mhz = 0", "0 is no whole number above 0"),
        ("memory_gb = 32\n", "", "lacks or misstates a field: 'memory_gb'"),
    ],
)
def test_bad_rows(good: str, bad: str, sentence: str) -> None:
    """A row that leaves a reason, a field or its own consistency out is refused."""
    assert good in TEXT
    with pytest.raises(DataError, match=sentence):
        parse_device_table(TEXT.replace(good, bad, 1))
