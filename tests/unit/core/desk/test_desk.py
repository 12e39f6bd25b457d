"""Desk estimates: three ways by hand, one reconciled interval, and bad rows refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import Utilization, builtin_utilization, parse_utilization
from flopmeter_core.desk.names import find_part
from flopmeter_core.desk.reconcile import DISAGREEMENT, DeskEstimate, estimate_row, reconcile
from flopmeter_core.desk.row import Row, read_row
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import DataError

TABLE = parse_device_table(builtin_table("devices.toml"))
A100_PEAK = 108 * 1410 * 10**6 * 2048
CONSTANTS = Utilization(
    unknown=Span(Fraction(1, 10), Fraction(3, 10), Fraction(6, 10)),
    reported=Span(Fraction(7, 10), Fraction(9, 10), Fraction(1)),
    reported_executed=Span(Fraction(5, 10), Fraction(7, 10), Fraction(1)),
    learned_on=frozenset({"a100-sxm4-80gb"}),
)


def row_of(**cells: str) -> Row:
    """A row with these cells."""
    return read_row({"model": "m", **cells}, TABLE, place="t.csv line 2")


def estimated(**cells: str) -> DeskEstimate:
    """Its estimate, with the constants of this file."""
    return estimate_row(row_of(**cells), utilization=CONSTANTS)


def test_hardware_by_hand() -> None:
    """Device-hours x 3600 x peak x share, from either spelling of the hours."""
    done = 1_000 * 3_600 * A100_PEAK
    by_hours = estimated(accelerator="A100", gpu_hours="1000").hardware
    by_count = estimated(accelerator="A100", accelerator_count="10", wall_hours="100").hardware
    assert (
        by_hours
        == by_count
        == Span(Fraction(done * 1, 10), Fraction(done * 3, 10), Fraction(done * 6, 10))
    )


@pytest.mark.parametrize(
    ("cells", "best", "basis"),
    [
        ({"mfu": "0.4"}, Fraction(4, 10) * Fraction(9, 10), "reported mfu"),
        ({"hfu": "0.4"}, Fraction(4, 10) * Fraction(7, 10), "reported hfu"),
        ({"mfu": "0.4", "hfu": "0.5"}, Fraction(36, 100), "reported mfu"),
        (
            {"tflops_per_gpu": "156"},
            Fraction(156 * 10**12, A100_PEAK) * Fraction(7, 10),
            "reported tflops_per_gpu",
        ),
        (
            {"tokens_per_s_per_gpu": "2000", "params_active": "1e10"},
            Fraction(6 * 2000 * 10**10, A100_PEAK) * Fraction(9, 10),
            "reported tokens_per_s_per_gpu",
        ),
    ],
)
def test_reported_rates(cells: dict[str, str], best: Fraction, basis: str) -> None:
    """The best evidence of a utilisation there is counts, and is named."""
    found = estimated(accelerator="A100", gpu_hours="1000", **cells)
    assert found.hardware is not None
    assert found.hardware.best == 1_000 * 3_600 * A100_PEAK * best
    assert found.basis["utilization_basis"] == basis


def test_range_of_utilisation_widens() -> None:
    """A range reaches further on both sides than its middle."""
    middle = estimated(accelerator="A100", gpu_hours="1", mfu="0.405").hardware
    both = estimated(accelerator="A100", gpu_hours="1", mfu="0.38-0.43").hardware
    assert middle is not None and both is not None
    assert both.lower < middle.lower < middle.best == both.best < middle.upper < both.upper


def test_peak_is_of_the_declared_format() -> None:
    """FP8 doubles the peak of an H100; a mix lies between; undeclared is BF16 and said."""

    def best(precision: str) -> Fraction:
        found = estimated(accelerator="H100", gpu_hours="1", precision=precision)
        assert found.hardware is not None
        return found.hardware.best

    assert best("fp8") == 2 * best("bf16") == 2 * best("")
    assert best("bf16") < best("fp8=0.5,bf16=rest") < best("fp8")
    said = estimated(accelerator="H100", gpu_hours="1").warnings
    assert any("number format is not declared" in sentence for sentence in said)


def test_a_badly_known_part_is_wider() -> None:
    """A part outside the learned ones adds the width of its standing; FP16 stands in on a V100."""
    known = estimated(accelerator="A100", gpu_hours="1").hardware
    capped = estimated(accelerator="H20", gpu_hours="1").hardware
    assert known is not None and capped is not None
    assert capped.upper / capped.lower > known.upper / known.lower
    assert estimated(accelerator="V100", gpu_hours="1").basis["number_format"] == "fp16"


def test_architecture_by_hand() -> None:
    """6ND, independent of everything else in the row."""
    alone = estimated(params_active="1e9", tokens="1e10")
    beside = estimated(params_active="1e9", tokens="1e10", accelerator="A100", gpu_hours="9")
    assert alone.architecture == beside.architecture
    assert alone.architecture is not None
    assert alone.architecture.best == 6 * 10**19
    assert (alone.hardware, alone.method) == (None, "architecture")


def test_architecture_where_it_does_not_hold() -> None:
    """An encoder-decoder reaches down to half; a total is no stand-in for active parameters."""
    t5 = estimated(params_active="1e9", tokens="1e10", notes="an encoder-decoder")
    assert t5.architecture is not None
    assert t5.architecture.lower <= t5.architecture.best / 2
    sparse = estimated(params_total="1e12", tokens="1e10", accelerator="A100", gpu_hours="1")
    assert sparse.architecture is None
    assert any("experts" in sentence for sentence in sparse.warnings)


def test_energy() -> None:
    """More energy over the same hours is more work; PUE is taken off; computed energy is said."""

    def best(energy_mwh: str, basis: str, **cells: str) -> Fraction:
        found = estimated(
            accelerator="A100", energy_mwh=energy_mwh, energy_basis=basis, **cells
        ).energy
        assert found is not None
        return found.best

    hours = {"gpu_hours": "1000"}
    assert best("0.5", "metered, node", **hours) > best("0.4", "metered, node", **hours) > 0
    assert best("0.48", "metered, node, x PUE 1.2", **hours) == best(
        "0.4", "metered, node", **hours
    )
    assert best("0.4", "metered at nodes") > 0
    tdp = estimated(
        accelerator="A100", gpu_hours="1000", energy_mwh="0.4", energy_basis="TDP x time"
    )
    assert tdp.method == "hardware"
    assert any("confirms nothing" in sentence for sentence in tdp.warnings)


def test_energy_alone_reconciles() -> None:
    """A metered energy is evidence by itself, an unpublished power makes it none."""
    assert estimated(accelerator="A100", energy_mwh="1", energy_basis="metered").method == "energy"
    unknown = estimated(accelerator="TPU v5e", energy_mwh="1", energy_basis="metered")
    assert (unknown.energy, unknown.reconciled, unknown.method) == (None, None, "none")


def test_reconcile() -> None:
    """The narrowest of agreeing intervals, whole; all of them where they do not agree."""
    wide = Span(Fraction(1), Fraction(3), Fraction(9))
    narrow = Span(Fraction(4), Fraction(5), Fraction(6))
    apart = Span(Fraction(20), Fraction(30), Fraction(50))
    assert reconcile({"hardware": wide, "architecture": narrow})[:2] == (narrow, "architecture")
    joined, method, said = reconcile({"hardware": apart, "architecture": narrow})
    assert (joined, method) == (Span(narrow.lower, narrow.best, apart.upper), DISAGREEMENT)
    assert "do not overlap" in said[0]
    assert reconcile({})[:2] == (None, "none")


def test_circular_figures_are_no_truth() -> None:
    """A published figure from hardware time is never compared, an independent one is."""
    cells = {"params_active": "1e9", "tokens": "1e10", "flop_published": "9e25"}
    circular = estimated(**cells, flop_basis="hardware time x assumed 30% (circular)")
    honest = estimated(**cells, flop_basis="stated by developer")
    assert circular.reconciled == honest.reconciled
    assert any("not compared" in sentence for sentence in circular.warnings)
    assert any("lies outside" in sentence for sentence in honest.warnings)


def test_near_hours_widen() -> None:
    """Two figures of the hours that nearly agree are both inside."""
    found = estimated(
        accelerator="A100", gpu_hours="1000", accelerator_count="10", wall_hours="120"
    )
    alone = estimated(accelerator="A100", gpu_hours="1000")
    assert found.hardware is not None and alone.hardware is not None
    assert found.hardware.upper == alone.hardware.upper * Fraction(12, 10)
    assert any("holds both" in sentence for sentence in found.warnings)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"accelerator": "H2000"}, "does not know"),
        ({"accelerator": "H"}, "does not know"),
        ({"accelerator": "A100", "precision": "fp8"}, "no fp8"),
        ({"accelerator": "V100", "precision": "bf16"}, "no bf16"),
        ({"accelerator": "A100", "precision": "fp7"}, "unknown number format"),
        ({"precision": "fp8=0.9,bf16=0.9"}, "more than 1"),
        ({"mfu": "-0.4"}, "cannot be negative"),
        ({"mfu": "nan"}, "no quantity"),
        ({"mfu": "1.4"}, "between 0 and 1"),
        ({"mfu": "0.5", "hfu": "0.4"}, "higher mfu than hfu"),
        ({"params_total": "1e9", "params_active": "2e9"}, "more active parameters"),
        ({"accelerator_count": "1.5"}, "no whole number"),
        (
            {"params_active": "1e9", "tokens": "1e10", "flop_6nd_derived": "7e19"},
            "flop_6nd_derived is",
        ),
    ],
)
def test_bad_rows(cells: dict[str, str], sentence: str) -> None:
    """Each is refused with one sentence that names the row."""
    with pytest.raises(DataError, match=sentence) as caught:
        row_of(**cells)
    assert "t.csv line 2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            {"gpu_hours": "1000", "accelerator_count": "10", "wall_hours": "10"},
            "gpu_hours is 1000, but accelerator_count x wall_hours is 100",
        ),
        ({"gpu_hours": "1", "tflops_per_gpu": "400"}, "times the part's dense peak"),
        (
            {"gpu_hours": "1", "tokens_per_s_per_gpu": "1e9", "params_active": "1e9"},
            "times the part's dense peak",
        ),
        ({"energy_mwh": "1", "energy_basis": "metered, PUE 0.5"}, "never below 1"),
    ],
)
def test_contradictions(cells: dict[str, str], sentence: str) -> None:
    """What cannot be true together is refused, whatever it would come to."""
    with pytest.raises(DataError, match=sentence):
        estimated(accelerator="A100", **cells)


def test_names() -> None:
    """Names are compared whole: H200 is not H20, and an open form factor is said."""
    found = {
        name: find_part(TABLE, name, place="x")
        for name in ("H200", "H20", "NVIDIA H100 PCIe", "tpu-v3", "A100 40/80GB", "h800")
    }
    assert {name: part.id for name, (part, _) in found.items()} == {
        "H200": "h200-sxm-141gb",
        "H20": "h20-96gb",
        "NVIDIA H100 PCIe": "h100-pcie-80gb",
        "tpu-v3": "tpu-v3",
        "A100 40/80GB": "a100-sxm4-80gb",
        "h800": "h800-sxm5-80gb",
    }
    assert found["H200"][1] and not found["H20"][1]


def test_every_part_is_found_by_its_names() -> None:
    """Each row by its id, its name and its aliases."""
    for part in TABLE.parts:
        for name in (part.id, part.name, *part.aliases, *part.loose_aliases):
            assert find_part(TABLE, name, place="x")[0] is part, name


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("lower = 0.125", "lower = 0.9"),
        ("lower = 0.125", "lower = 'a tenth'"),
        ("[utilization.reported]", "[utilization.claimed]"),
        ('standing = "extrapolated"', 'standing = "sure"'),
        ("learned_on = [", "learned_from = ["),
        ("version", "= version"),
        ('source = "', 'source = "   " # "'),
    ],
)
def test_bad_constants(good: str, bad: str) -> None:
    """A learned table that lacks a row or rises backwards is refused."""
    text = builtin_table("utilization.toml")
    assert good in text
    with pytest.raises(DataError, match="utilisation table"):
        parse_utilization(text.replace(good, bad, 1))
    assert builtin_utilization().unknown.upper <= 1
