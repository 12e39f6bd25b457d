"""One row of a table of training runs, read and checked.

Owns: the columns a table may have, what each means, and which contradict each other.
May touch: nothing; a mapping of cells in, a row or one sentence out.
Called by lab.published (files) and the `estimate` command (flags).
Explained in docs/estimate.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from flopmeter_core.desk.cells import Span, parse_quantity, parse_ratio
from flopmeter_core.desk.names import find_part
from flopmeter_core.devices import DeviceTable, Part
from flopmeter_core.errors import DataError
from flopmeter_core.formats import KNOWN_FORMATS, FormatMix, parse_format_mix
from flopmeter_core.values import value_class

COLUMNS = (
    "model", "published", "params_total", "params_active", "tokens", "accelerator",
    "accelerator_count", "wall_hours", "gpu_hours", "flop_published", "flop_basis",
    "flop_6nd_derived", "mfu", "hfu", "tflops_per_gpu", "tokens_per_s_per_gpu", "precision",
    "power_w_per_gpu", "energy_mwh", "energy_basis", "check_class", "provenance",
    "from_memory_fields", "source", "notes", "developer",
)  # fmt: skip
"""Every column that is read; others are named on standard error and not used."""

QUANTITIES = (
    "params_total", "params_active", "tokens", "accelerator_count", "wall_hours", "gpu_hours",
    "flop_published", "flop_6nd_derived", "tflops_per_gpu", "tokens_per_s_per_gpu",
    "power_w_per_gpu", "energy_mwh",
)  # fmt: skip

CIRCULAR_WORDS = ("circular", "hardware", "utilisation", "utilization", "assumed")
"""A published FLOP figure whose basis has one of these words came from hardware time: it can
neither confirm nor refute an estimate from hardware time."""

FLOP_PER_PARAMETER_AND_TOKEN = 6
"""Two for the forward pass, four for the backward one (Kaplan et al. 2020, arXiv 2001.08361)."""


@value_class(frozen=True, slots=True)
class Row:
    """What a table says of one training run; None where it says nothing.

    Attributes:
        place: where the row stands, for sentences.
        part: the accelerator, and whether its name leaves the form factor open.
        quantities: the numeric cells by column, in the column's unit.
        mfu, hfu: model and hardware FLOP utilisation, 0..1.
        formats: declared number-format mix.
        developer: who trained it; only the fit of constants looks at it.
        texts: the other cells.
    """

    place: str
    model: str
    part: Part | None
    loose_name: bool
    quantities: Mapping[str, Span]
    mfu: Span | None
    hfu: Span | None
    formats: FormatMix | None
    texts: Mapping[str, str]

    def get(self, column: str) -> Span | None:
        """A numeric cell, or None when it is empty."""
        return self.quantities.get(column)

    @property
    def circular(self) -> bool:
        """Whether the published FLOP figure rests on hardware time and may not be a truth."""
        basis = self.texts["flop_basis"].casefold()
        return self.texts["check_class"] == "C" or any(word in basis for word in CIRCULAR_WORDS)


def read_row(cells: Mapping[str, str], table: DeviceTable, *, place: str) -> Row:
    """Read one row.

    Args:
        cells: column -> text; a column that is absent counts as empty.
        table: the device table.
        place: for the sentence, for instance ``runs.csv line 7``.

    Raises:
        DataError: a cell that cannot be read, an unknown part or format, a format the part does
            not have, or cells that contradict each other.
    """
    texts = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    where = {name: f"{place}, column {name}," for name in COLUMNS}
    spans = {name: parse_quantity(texts[name], place=where[name]) for name in QUANTITIES}
    quantities = {name: span for name, span in spans.items() if span is not None}
    part, loose = None, False
    if texts["accelerator"]:
        part, loose = find_part(table, texts["accelerator"], place=where["accelerator"])
    formats = _formats(texts["precision"], part, where["precision"])
    row = Row(
        place=place,
        model=texts["model"] or place,
        part=part,
        loose_name=loose,
        quantities=quantities,
        mfu=parse_ratio(texts["mfu"], place=where["mfu"]),
        hfu=parse_ratio(texts["hfu"], place=where["hfu"]),
        formats=formats,
        texts=texts,
    )
    _refuse_contradictions(row)
    return row


def _formats(text: str, part: Part | None, where: str) -> FormatMix | None:
    """The declared mix, checked against the part where one is named."""
    if not text:
        return None
    try:
        bare = text.lower() in ("fp32", *KNOWN_FORMATS)
        # A format named alone stands for itself here: the prior was learned on its own peak.
        mix = (
            FormatMix(text=text.lower(), shares={text.lower(): (Fraction(1), Fraction(1))})
            if bare
            else parse_format_mix(text)
        )
        if part is not None:
            mix.rates(rates_of(part))
    except DataError as error:
        raise DataError(f"{where} cannot be used: {error}") from error
    return mix


def rates_of(part: Part) -> dict[str, int]:
    """FLOP per unit and cycle by format: the matrix engine's, else the vector units'."""
    return dict(part.architecture.vector) | dict(part.architecture.tensor)


def _refuse_contradictions(row: Row) -> None:
    total, active = row.get("params_total"), row.get("params_active")
    if total is not None and active is not None and active.lower > total.upper:
        raise DataError(
            f"{row.place} says more active parameters than parameters in all; correct one of them"
        )
    count = row.get("accelerator_count")
    if count is not None and any(
        bound.denominator != 1 for bound in (count.best, count.upper) if count.lower == count.upper
    ):
        raise DataError(f"{row.place}: {float(count.best)} accelerators are no whole number")
    hfu, mfu = row.hfu, row.mfu
    if hfu is not None and mfu is not None and mfu.lower > hfu.upper:
        raise DataError(f"{row.place} says a higher mfu than hfu, which cannot be; correct one")
    derived, tokens = row.get("flop_6nd_derived"), row.get("tokens")
    if derived is None or active is None or tokens is None:
        return
    product = active * tokens * FLOP_PER_PARAMETER_AND_TOKEN
    # The derived figure is rounded to four digits in the tables seen.
    around = product * Span(Fraction(99, 100), Fraction(1), Fraction(101, 100))
    if not around.overlaps(derived):
        raise DataError(
            f"{row.place}: flop_6nd_derived is {float(derived.best):.4g}, but 6 x params_active x "
            f"tokens is {float(product.best):.4g}; correct one of them"
        )
