"""Hardware-based estimate: device-hours x dense peak x utilisation.

Owns: device-hours from the cells, the peak of the declared format, and which utilisation counts.
May touch: nothing; pure function of a row and constants.
Called by desk.reconcile.

Formula: model FLOP = device-hours x 3600 x peak x u, where u is, in this order: reported MFU, a
rate from tokens per second (6 x parameters x tokens/s / peak), reported HFU or TFLOP/s, and else
the spread of published runs. A reported rate holds while the run runs; `Utilization` says what
share of it whole-run hours keep.
Assumptions: the peak is that of the declared format, BF16 (FP16 where the part has none) if
nothing is declared; hours include failed and auxiliary work, which the learned spread contains.
Error budget and its check against 40 published runs: docs/estimate.md.
"""

from __future__ import annotations

from fractions import Fraction

from flopmeter_core.annex import HardwareReport, Period
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.constants import Utilization
from flopmeter_core.desk.row import FLOP_PER_PARAMETER_AND_TOKEN, Row, rates_of
from flopmeter_core.devices import Part
from flopmeter_core.errors import DataError
from flopmeter_core.formats import widest_rates

SECONDS_PER_HOUR = 3_600
TERA = 10**12
UNCERTAIN_RATIO = Fraction(105, 100)
"""gpu_hours and count x wall_hours this near are one figure, rounded."""
CONTRADICTION_RATIO = 2
"""Further apart than this they are not two roundings of one run."""


def device_hours(row: Row) -> tuple[Span | None, list[str]]:
    """Hours of all devices together, and what has to be said of them.

    Raises:
        DataError: gpu_hours and count x wall_hours differ by more than a factor of 2.
    """
    stated = row.get("gpu_hours")
    count, wall = row.get("accelerator_count"), row.get("wall_hours")
    product = count * wall if count is not None and wall is not None else None
    if stated is None or product is None:
        return (product if stated is None else stated), []
    ratio = max(stated.best / product.best, product.best / stated.best)
    if ratio > CONTRADICTION_RATIO:
        raise DataError(
            f"{row.place}: gpu_hours is {float(stated.best):.6g}, but accelerator_count x "
            f"wall_hours is {float(product.best):.6g}; correct one of them"
        )
    if ratio > UNCERTAIN_RATIO:
        return stated.hull(product), [
            f"gpu_hours and accelerator_count x wall_hours differ by {float(ratio - 1):.0%}; "
            "the interval holds both"
        ]
    return stated, []


def peak_flop_per_s(row: Row, part: Part) -> tuple[Span, str, list[str]]:
    """Dense peak of one device in the declared format, its name, and what has to be said."""
    tensor = part.architecture.tensor
    per_second = part.sm_count * part.dense_clock_mhz * 10**6
    if row.formats is not None:
        least, likely, greatest = row.formats.rates(rates_of(part))
        return Span(least, likely, greatest) * per_second, row.formats.text, []
    _, likely, _ = widest_rates(tensor)
    name = "bf16" if "bf16" in tensor else "fp16"
    said = []
    if "fp8" in tensor and tensor["fp8"] > likely:
        said.append(f"the number format is not declared: {name} is taken, fp8 would raise the peak")
    return Span.exactly(likely * per_second), name, said


def utilization(row: Row, peak: Span, constants: Utilization) -> tuple[Span, str]:
    """Whole-run share of the peak that became 6ND, and what it rests on."""
    if row.mfu is not None:
        return row.mfu * constants.reported, "reported mfu"
    rate = _token_rate_share(row, peak)
    if rate is not None:
        return rate * constants.reported, "reported tokens_per_s_per_gpu"
    if row.hfu is not None:
        return row.hfu * constants.reported_executed, "reported hfu"
    achieved = row.get("tflops_per_gpu")
    if achieved is not None:
        share = achieved * (TERA / peak.best)
        _refuse_above_peak(row, share, "tflops_per_gpu")
        return share * constants.reported_executed, "reported tflops_per_gpu"
    return constants.unknown, "published runs"


def hardware_flop(
    row: Row, constants: Utilization
) -> tuple[Span | None, dict[str, str], list[str]]:
    """The hardware-based interval.

    Returns:
        The interval in FLOP or None, what it rests on, and what has to be said of it.

    Raises:
        DataError: contradictory hours, or a reported rate above the part's peak.
    """
    hours, said = device_hours(row)
    if row.part is None or hours is None:
        missing = "accelerator" if row.part is None else "gpu_hours, or count and wall_hours,"
        return None, {}, [*said, f"no hardware-based figure: {missing} not stated"]
    if row.loose_name:
        said.append(f"{row.texts['accelerator']} may be several boards: taken as {row.part.name}")
    peak, format_name, about_peak = peak_flop_per_s(row, row.part)
    share, basis = utilization(row, peak, constants)
    seconds = hours * SECONDS_PER_HOUR
    found = seconds * peak * share * _width(row.part, constants)
    # No run does more than its hours at the peak, whatever it reports.
    most = seconds.upper * peak.upper * _width(row.part, constants).upper
    capped = Span(min(found.lower, most), min(found.best, most), min(found.upper, most))
    basis_of = {
        "part": row.part.id,
        "number_format": format_name,
        "utilization_basis": basis,
        "annex": "\n".join(_annex(row, seconds.best, peak.best, share.best)),
    }
    return capped, basis_of, said + about_peak


def _annex(row: Row, seconds: Fraction, peak: Fraction, share: Fraction) -> list[str]:
    """N, L, H and U of the likely figure; nothing where U is no share (a run above its peak)."""
    if not 0 < share <= 1:
        return []
    count = row.get("accelerator_count")
    # A range of counts is no N; then, as in the annex's model B, only the product N x L is known.
    units = count.best if count is not None and count.lower == count.upper else Fraction(1)
    return HardwareReport((Period(int(units), seconds / units, peak, share),)).lines()


def _width(part: Part, constants: Utilization) -> Span:
    """How well the peak is known; the spread of runs already contains it for their own parts."""
    if part.id in constants.learned_on:
        return Span.exactly(1)
    width = max(
        part.architecture.standing.width,
        part.standing_of("sm_count").width,
        part.standing_of("dense_clock_mhz").width,
    )
    return Span(1 - width, Fraction(1), 1 + width)


def _token_rate_share(row: Row, peak: Span) -> Span | None:
    rate, active = row.get("tokens_per_s_per_gpu"), row.get("params_active")
    if rate is None or active is None:
        return None
    share = rate * active * (Fraction(FLOP_PER_PARAMETER_AND_TOKEN) / peak.best)
    _refuse_above_peak(row, share, "tokens_per_s_per_gpu")
    return share


def _refuse_above_peak(row: Row, share: Span, column: str) -> None:
    if share.best > 1:
        raise DataError(
            f"{row.place}: {column} is {float(share.best):.2g} times the part's dense peak; "
            "correct it, the accelerator or the precision"
        )
