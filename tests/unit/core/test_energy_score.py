"""The energy method against the ground truth of real runs, from energies and times alone.

The energies and times come straight from truth.toml; no constant of the method was fitted to the
FLOP of these runs, so every row is out of sample.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.estimate import coefficients_for, estimate
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Figures
from flopmeter_core.methods.base import Conditions, Workload
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence
from flopmeter_core.units import MJ_PER_KWH, NS_PER_MS, NS_PER_S
from support.requirements import ROOT

TRUTHS: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "tests/data/mlperf-training-v4.0-smc/truth.toml").read_text()
)["run"]
KNOWN = [truth for truth in TRUTHS if "model_flop" in truth]
GPT3 = [truth for truth in KNOWN if truth["benchmark"] == "gpt3"]
DEVICES_PER_NODE = 8


def figures_of(
    truth: dict[str, Any], *, workload: Workload | None = None, formats: str | None = None
) -> Figures:
    """The run's figures as if all its nodes had been one key."""
    record = DeviceRecord(
        node="n",
        device="node:n",
        vendor="nvidia",
        product_name="NVIDIA H100-SXM5-80GB",
        part="h100-sxm5-80gb",
        device_count=DEVICES_PER_NODE,
        energy_scope=EnergyScope.NODE,
    )
    part = parse_device_table(builtin_table("devices.toml")).recognise(record)
    mix = parse_format_mix(formats) if formats else None
    weights = coefficients_for(
        Evidence.POWER_SAMPLED, Conditions(part, record, formats=mix, workload=workload)
    )
    run_ms = truth["run_stop_unix_ms"] - truth["run_start_unix_ms"]
    unobserved_ns = round(truth["unobserved_device_seconds"] / DEVICES_PER_NODE * NS_PER_S)
    vector = [0] * COMPONENT_COUNT
    vector[Component.ENERGY_MJ] = round(truth["energy_kwh"] * MJ_PER_KWH)
    vector[Component.BUSY_NS] = run_ms * NS_PER_MS * truth["node_count"] - unobserved_ns
    vector[Component.UNOBSERVED_NS] = unobserved_ns
    return estimate(vector, weights)


def identity(truth: dict[str, Any]) -> str:
    """A short name for a test's id."""
    run: str = truth["path"].rpartition("/")[2]
    return f"{truth['benchmark']}-{run}"


@pytest.mark.parametrize("truth", KNOWN, ids=identity)
def test_undeclared(truth: dict[str, Any]) -> None:
    """With nothing declared, model and executed FLOP lie in an interval of less than 20 times."""
    interval = figures_of(truth).total
    assert interval.lower <= truth["model_flop"] <= truth["executed_flop"] <= interval.upper
    assert 0 < interval.upper <= 20 * interval.lower


@pytest.mark.parametrize("truth", TRUTHS, ids=identity)
def test_width(truth: dict[str, Any]) -> None:
    """The goal for the width holds for the runs without ground truth too."""
    interval = figures_of(truth).total
    assert 0 < interval.upper <= 20 * interval.lower


@pytest.mark.parametrize("truth", GPT3, ids=identity)
def test_declared(truth: dict[str, Any]) -> None:
    """Declared as what it was, GPT-3 lies in an interval of less than 5 times, best near it."""
    interval = figures_of(truth, workload=Workload.DENSE_TRANSFORMER, formats="fp8").total
    assert interval.lower <= truth["model_flop"] <= truth["executed_flop"] <= interval.upper
    assert 0 < interval.upper <= 5 * interval.lower
    assert 0.6 <= interval.best / truth["model_flop"] <= 1.4


@pytest.mark.parametrize("truth", KNOWN, ids=identity)
def test_every_honest_declaration(truth: dict[str, Any]) -> None:
    """What a user may honestly declare keeps the truth inside and never widens the interval."""
    workloads = {
        "gpt3": Workload.DENSE_TRANSFORMER,
        "bert": Workload.DENSE_TRANSFORMER,
        "llama2_70b_lora": Workload.LORA,
        "resnet": Workload.VISION,
    }
    interval = figures_of(truth, workload=workloads[truth["benchmark"]]).total
    undeclared = figures_of(truth).total
    assert interval.lower <= truth["model_flop"] <= truth["executed_flop"] <= interval.upper
    assert undeclared.lower <= interval.lower
    assert interval.upper == undeclared.upper


def test_power_says_little() -> None:
    """One power, 4.7 times the work: why energy alone cannot do better (docs/estimation.md)."""
    j_per_tflop = {}
    for truth in KNOWN:
        executed_tflop = truth["executed_flop"] / 1e12
        j_per_tflop[identity(truth)] = truth["energy_kwh"] * 3.6e6 / executed_tflop
    assert 1.0 < min(j_per_tflop.values()) < 1.1
    assert max(j_per_tflop.values()) > 4.5 * min(j_per_tflop.values())
