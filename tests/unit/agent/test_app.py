"""The agent's app: what it refuses before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.app import AgentApp, choose_sensor, open_file
from flopmeter_agent.config import AgentConfig
from flopmeter_core.errors import DataError, NotPermittedError, StorageError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock

SCENARIO = Path(__file__).parents[3] / "flopmeter" / "lab" / "data" / "demo.toml"


def test_made_up_readings_are_refused_where_real_ones_are_required() -> None:
    """--require-real and a scenario cannot both be meant."""
    config = AgentConfig(sensor="simulated", scenario=SCENARIO, node="n0", require_real=True)
    with pytest.raises(NotPermittedError, match="--require-real forbids"):
        choose_sensor(config, SystemClock())


def test_a_scenario_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """The path is named."""
    config = AgentConfig(sensor="simulated", scenario=tmp_path / "missing.toml", node="n0")
    with pytest.raises(DataError, match=r"missing\.toml cannot be read"):
        choose_sensor(config, SystemClock())


def test_a_node_the_scenario_lacks_is_one_sentence() -> None:
    """The nodes there are, are named."""
    config = AgentConfig(sensor="simulated", scenario=SCENARIO, node="stranger")
    with pytest.raises(UsageError, match="use --node with one of n0"):
        choose_sensor(config, SystemClock())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sample_period_s": 0.01}, "not fresher than"),
        ({"sample_period_s": 5.0, "report_period_s": 1.0}, "must not be shorter"),
        ({"sensor": "simulated"}, "go together"),
        ({"scenario": SCENARIO}, "go together"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], sentence: str) -> None:
    """Each contradiction is one sentence before anything starts."""
    with pytest.raises(UsageError, match=sentence):
        AgentConfig(**settings)  # type: ignore[arg-type]


def test_a_journal_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(StorageError, match="cannot be opened"):
        open_file(tmp_path / "missing")


def test_the_agents_own_estimate_rides_along(tmp_path: Path) -> None:
    """The agent as it is built, not only its loop, sends an estimate of what it has registered."""
    began_ns = SystemClock().wall_ns() - 20 * NS_PER_S
    config = AgentConfig(
        sensor="simulated",
        scenario=SCENARIO,
        scenario_epoch=began_ns,
        node="n0",
        state=tmp_path,
        claims_socket="",
    )
    app = AgentApp(config, SystemClock())
    try:
        app.loop.sample()
        app.loop.sample()
        report = app.loop.report()
    finally:
        app.close()
    assert report is not None
    assert "run:atlas-pretrain" in report.display_flop
