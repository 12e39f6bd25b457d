"""What the demo would start: a collector, an agent a node, this host's own; no host settings."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from flopmeter.lab.demo import child_environment, read_seconds
from flopmeter.lab.demo_plan import Plan, free_addresses, make_plan, read_scenario, seeded
from flopmeter.lab.demo_view import Addresses
from flopmeter_agent.scenario import parse_scenario
from flopmeter_core.errors import DataError, StorageError, UnreachableError, UsageError


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The built-in demo in some folder."""
    scenario = parse_scenario(read_scenario(None))
    return Plan(tmp_path, scenario, Addresses(http="127.0.0.1:2", grpc="127.0.0.1:1"))


def test_built_in_scenario_crosses_demo_line() -> None:
    """Four nodes of eight devices execute well over 10^20 FLOP, in about 75 s of real time."""
    scenario = parse_scenario(read_scenario(None))
    assert (scenario.node_count, scenario.devices_per_node) == (4, 8)
    assert 60 <= scenario.duration_s / scenario.acceleration <= 90
    cycles = sum(
        scenario.tensor_cycles(node, device, scenario.duration_s * 10**9)
        for node in scenario.nodes
        for device in range(scenario.devices_per_node)
    )
    # 0.62 of the rate is the least an active cycle can be worth: the crossing is decided.
    assert cycles * 4096 * 0.62 > 10**20
    assert cycles * 8192 < 10**21


def test_agents(plan: Plan) -> None:
    """Every node of the scenario, then this host in CPU-simulated mode, each with its own state."""
    agents = dict(plan.agents(epoch_ns=5))
    assert list(agents) == ["agent-n0", "agent-n1", "agent-n2", "agent-n3", "agent-this-host"]
    assert {"--sensor=simulated", "--scenario-epoch=5", "--node=n2"} <= set(agents["agent-n2"])
    assert {"--sensor=cpu", "--run=this-host"} <= set(agents["agent-this-host"])
    states = [word for line in agents.values() for word in line if word.startswith("--state=")]
    assert len(set(states)) == len(agents)
    for line in [*agents.values(), plan.collector_arguments()]:
        assert f"--config={plan.folder / 'settings.toml'}" in line
    assert "--simulated" in plan.collector_arguments()


def test_seed() -> None:
    """Only the seed changes; a script without one refuses."""
    text = read_scenario(None)
    assert parse_scenario(seeded(text, 77)).seed == 77
    assert seeded(text, 77).replace("seed = 77", "seed = 1") == text
    assert seeded(text, None) == text
    with pytest.raises(UsageError, match=r"no line 'seed = \.\.\.'"):
        seeded("acceleration = 1\n", 1)


def test_scenario_file(tmp_path: Path) -> None:
    """A script that is missing is a wrong command, one that is no text is bad data."""
    with pytest.raises(UsageError, match="No such file"):
        read_scenario(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(DataError, match="is no UTF-8 text"):
        read_scenario(tmp_path / "bad.toml")


def test_scenario_errors_name_the_file(tmp_path: Path) -> None:
    """What is wrong in a person's script is said with the script's path, its seed too."""
    folder = tmp_path / "demo"
    folder.mkdir()
    file = tmp_path / "mine.toml"
    for text in ("= broken", "acceleration = 1\n"):
        file.write_text(text)
        with pytest.raises(DataError, match=f"{file}: "):
            make_plan(folder, scenario_file=file, seed=None)
    with pytest.raises(UsageError, match=f"{file}: "):
        make_plan(folder, scenario_file=file, seed=3)
    assert not list(folder.iterdir())


def test_children_get_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's own FLOPMETER_ variables do not reach the demo's processes."""
    monkeypatch.setenv("FLOPMETER_TLS_CA", "/etc/ca.pem")
    monkeypatch.setenv("OTHER", "kept")
    environment = child_environment()
    assert environment["OTHER"] == "kept"
    assert not any(name.startswith("FLOPMETER_") for name in environment)


def test_seconds() -> None:
    """DEMO_SECONDS is optional and may be a fraction."""
    assert read_seconds({}) is None
    assert read_seconds({"DEMO_SECONDS": ""}) is None
    assert read_seconds({"DEMO_SECONDS": "2.5"}) == 2.5


@pytest.mark.parametrize(
    ("text", "seed", "error", "said"),
    [
        ("[node", None, DataError, "TOML"),
        ("x = 1\n", 3, UsageError, "has no line 'seed = ...', so --seed has nothing to replace"),
    ],
)
def test_a_scenario_of_ones_own_that_is_wrong(
    text: str, seed: int | None, error: type[Exception], said: str, tmp_path: Path
) -> None:
    """Its file is named, and nothing is laid out."""
    own, folder = tmp_path / "own.toml", tmp_path / "demo"
    own.write_text(text)
    folder.mkdir()
    with pytest.raises(error, match=said) as caught:
        make_plan(folder, scenario_file=own, seed=seed)
    assert str(caught.value).startswith(f"{own}: ")
    assert list(folder.iterdir()) == []


def test_ports_that_are_taken() -> None:
    """Others are found, and the two differ."""
    first = free_addresses(0, 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_addresses(port, port)
    assert {found.http, found.grpc} & {f"127.0.0.1:{port}"} == set()
    assert found.http != found.grpc and first.http != first.grpc


def test_a_host_without_a_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and what to do; neither the usual port nor any other one was forgotten."""
    tried: list[int] = []

    class Refusing(socket.socket):
        def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
            tried.append(address[1])
            raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(UnreachableError, match=r"no free port on 127\.0\.0\.1; end some"):
        free_addresses(8431, 8432)
    assert tried == [8431, 0]


def test_a_plan_elsewhere(plan: Plan) -> None:
    """The same demo, at other addresses."""
    other = plan.elsewhere()
    assert (other.folder, other.scenario) == (plan.folder, plan.scenario)
    assert other.addresses != plan.addresses


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said before anything is started."""
    with pytest.raises(StorageError):
        make_plan(tmp_path / "none", scenario_file=None, seed=None)
