"""Curves of growth: the exponent of their upper end, their table and their picture.

Owns: the fit, and what is written of it.
May touch: nothing; numbers in, text out.
Called by curves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

EXPONENT_MAXIMUM = 1.15
"""Linear is 1; the rest is what a busy machine does to a measurement."""

FITTED_POINTS = 3
"""The upper end of a curve: below it fixed costs hide what grows."""


@dataclass(slots=True)
class Curve:
    """One cost over one size.

    Attributes:
        by: what grows: nodes, runs, live keys, days.
        of: the same with what stays fixed.
        what: is measured.
        unit: of it.
        points: size and cost, ascending.
    """

    by: str
    of: str
    what: str
    unit: str
    points: list[tuple[int, float]] = field(default_factory=list)

    def add(self, size: int, cost: float) -> None:
        """Add a point."""
        self.points.append((size, cost))

    @property
    def exponent(self) -> float:
        """Of the power law through the upper end, by least squares of logarithms."""
        upper = self.points[-FITTED_POINTS:]
        logs = [(math.log(size), math.log(max(cost, 1e-9))) for size, cost in upper]
        mean_x = sum(x for x, _ in logs) / len(logs)
        mean_y = sum(y for _, y in logs) / len(logs)
        spread = sum((x - mean_x) ** 2 for x, _ in logs)
        return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread

    @property
    def ok(self) -> bool:
        """Whether it is linear or better."""
        return self.exponent <= EXPONENT_MAXIMUM

    def to_json(self) -> dict[str, Any]:
        """The curve as plain values."""
        return {
            "by": self.by,
            "of": self.of,
            "what": self.what,
            "unit": self.unit,
            "points": self.points,
            "exponent": self.exponent,
            "ok": self.ok,
        }


def section(curves: Sequence[Curve], *, said: str) -> str:
    """The tables of all curves, one for each thing that grows."""
    parts = [said, "", "![Costs over sizes, both on logarithmic axes](scaling-curves.svg)"]
    for of, group in groupby(curves, key=lambda each: each.of):
        every = list(group)
        sizes = [size for size, _ in every[0].points]
        parts += [
            "",
            f"| {of} | " + " | ".join(f"{size:,}" for size in sizes) + " | grows as |",
            "|---" * (len(sizes) + 2) + "|",
        ]
        for each in every:
            costs = " | ".join(amount(cost, each.unit) for _, cost in each.points)
            parts.append(f"| {each.what} | {costs} | x^{each.exponent:.2f} |")
    return "\n".join(parts) + "\n"


def amount(cost: float, unit: str) -> str:
    """A cost with two or three digits and its unit."""
    if unit == "bytes":
        for name, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if cost >= size:
                return f"{cost / size:.3g} {name}"
    return f"{cost:.2g} {unit}" if cost < 100 else f"{cost:.0f} {unit}"


# --- the picture ----------------------------------------------------------------------------------

PANEL_W, PANEL_H, MARGIN = 360, 240, 46
COLOURS = ("#1b6ca8", "#c0392b", "#2e7d32", "#8e44ad", "#b9770e", "#555555")


def svg(curves: Iterable[Curve]) -> str:
    """A panel for each thing that grows; each cost relative to its first point, log over log."""
    groups = [list(group) for _, group in groupby(curves, key=lambda each: each.of)]
    height = PANEL_H * ((len(groups) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * PANEL_W} {height}" '
        'font-family="sans-serif" font-size="10">',
        f'<rect width="{2 * PANEL_W}" height="{height}" fill="white"/>',
    ]
    for number, group in enumerate(groups):
        left, top = PANEL_W * (number % 2), PANEL_H * (number // 2)
        parts += [f'<g transform="translate({left},{top})">', *_panel(group), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(group: Sequence[Curve]) -> list[str]:
    sizes = [size for size, _ in group[0].points]
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])
    tops = [
        math.log10(max(cost / each.points[0][1], 0.1)) for each in group for _, cost in each.points
    ]
    ceiling = max(high - low, *tops)
    floor = min(0.0, *tops)
    width, height = PANEL_W - 2 * MARGIN, PANEL_H - 2 * MARGIN

    def place(size: float, ratio: float) -> str:
        x = MARGIN + width * (math.log10(size) - low) / (high - low)
        y = MARGIN + height * (1 - (math.log10(max(ratio, 0.1)) - floor) / (ceiling - floor))
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<text x="{MARGIN}" y="16" font-size="12">over {group[0].of}</text>',
        f'<text x="{MARGIN}" y="28" fill="#777">each relative to its first point; dashed: linear'
        "</text>",
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{width}" height="{height}" fill="none" '
        'stroke="#bbb"/>',
        f'<polyline points="{place(sizes[0], 1)} {place(sizes[-1], sizes[-1] / sizes[0])}" '
        'fill="none" stroke="#999" stroke-dasharray="4 3"/>',
    ]
    for size in sizes:
        x = place(size, 1).partition(",")[0]
        parts.append(
            f'<text x="{x}" y="{PANEL_H - MARGIN + 13}" text-anchor="middle">{size:,}</text>'
        )
    for number, each in enumerate(group):
        colour, first = COLOURS[number % len(COLOURS)], each.points[0][1]
        points = " ".join(place(size, cost / first) for size, cost in each.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(
            f'<text x="{MARGIN + 6}" y="{MARGIN + 14 + 12 * number}" fill="{colour}">{each.what} '
            f"(x^{each.exponent:.2f})</text>"
        )
    return parts
