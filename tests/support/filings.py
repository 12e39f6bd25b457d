"""The facts of a small model, for tests of what reports say.

Owns: one model of two runs under the EU's two quantities, and short ways to change it.
May touch: the built-in tables, reading.
Called by tests of the filings.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from fractions import Fraction

from flopmeter_collector.filings.facts import (
    Basis,
    ExternalFacts,
    ModelFacts,
    RunFacts,
    StandingFacts,
)
from flopmeter_collector.sums import DeviceUse
from flopmeter_core.activities import Activity, WorkLabel
from flopmeter_core.catalogue import stand
from flopmeter_core.counting import OWN, WorkPart, count
from flopmeter_core.devices import EnergyScope
from flopmeter_core.interval import Figures, Interval, sum_figures
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import factor_or_widest
from flopmeter_core.reports import LedgerPosition
from support.totals import AS_OF_NS, thresholds

DAY_NS = 86_400 * 10**9


def figures(best: int, *, spread: int = 20, unobserved: int = 0) -> Figures:
    """Figures whose likely range is so many percent to either side."""
    lower, upper = best * (100 - spread) // 100, best * (100 + spread) // 100
    return Figures(Interval(lower // 2, lower, best, upper, upper * 2), unobserved)


def part(run: str, activity: Activity, of: Figures) -> WorkPart:
    """A run's work of one activity."""
    factor = factor_or_widest(None, activity=activity, workload=None)
    return WorkPart(WorkLabel(activity), of, factor, OWN, run)


def model_facts(
    *, best: int = 7 * 10**24, evaluation: int = 10**23, spread: int = 20, name: str = "atlas"
) -> ModelFacts:
    """A pretraining run and an evaluation run."""
    parts = [
        part("atlas-pretrain", Activity.PRETRAINING, figures(best, spread=spread)),
        part("atlas-eval", Activity.EVALUATION, figures(evaluation, spread=spread)),
    ]
    profiles = {
        name: builtin_profiles()[name] for name in ("eu-cumulative", "eu-parameter-updates")
    }
    counted = {name: count(parts, profile) for name, profile in profiles.items()}
    rows = {row.id: row for row in thresholds()}
    held = stand(counted["eu-cumulative"].everything, rows["eu-ai-act-51-2"])
    return ModelFacts(
        model=name,
        simulated=False,
        basis=Basis(
            measured_to_ns=AS_OF_NS,
            law_as_of=datetime.date(2026, 11, 21),
            known_at=7,
            position=LedgerPosition("5eed", 1, 42),
            registers_sha256="ab" * 32,
            method_version="3",
            device_table_version="2026-11",
        ),
        counted=counted,
        profiles=profiles,
        executed=sum_figures(each.figures for each in parts),
        runs=tuple(
            RunFacts(
                run=each.run,
                activity=str(each.label.activity),
                number_format="bf16",
                figures=each.figures,
                evidence={"cycles": (each.figures.observed.best, each.figures.observed.best)},
                first_ns=AS_OF_NS - 40 * DAY_NS,
                last_ns=AS_OF_NS - DAY_NS,
                register_count=8,
                origin="own",
            )
            for each in parts
        ),
        hardware=(DeviceUse("h100-sxm5-80gb", 512, 512 * 30 * DAY_NS, 512 * 39 * DAY_NS),),
        energy_mj={EnergyScope.GPU: 123_456_789 * 3_600_000_000},
        observed_share=Fraction(999, 1000),
        standings=(StandingFacts(held, counted["eu-cumulative"].everything, "in_force"),),
        externals=(
            ExternalFacts(
                name="teacher-api",
                interval=Interval(0, 10**21, 10**22, 10**23, 10**23),
                activity="synthetic_data",
                period="2026-01 to 2026-03",
                party="Example Ltd",
                source="invoice.pdf",
                source_sha256="cd" * 32,
            ),
        ),
        unattributed_upper_flop=3 * 10**22,
    )


def simulated(facts: ModelFacts) -> ModelFacts:
    """The same facts, made up."""
    return replace(facts, simulated=True)
