"""What auto reads where the driver works: the best rung that is there, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent.sensors.table import SEEN_FILE, Choice, DcgmSource, choose
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import UsageError
from flopmeter_core.registers import Evidence
from support.fake_exporter import FakeExporter, page
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

A100 = 0x20B210DE
SHOWN: dict[str, object] = {"tensor": 0.5, "clock_mhz": 1_400, "energy_j": 5, "engine": 0.9}


def shown(*places: int, **more: object) -> str:
    """A page with these devices of the driver."""
    return page([SHOWN | {"uuid": uuid_of(place)} | more for place in places])


class Node:
    """Two A100s without GPM, and an exporter that shows both."""

    def __init__(self, folder: Path) -> None:
        self.driver = FakeDriver(folder, devices=2)
        for place in range(2):
            self.driver.set(f"gpu{place}.gpm", 0)
            self.driver.set(f"gpu{place}.pci", A100)
            self.driver.set(f"gpu{place}.address", f"00000000:{place + 16:02x}:00.0")
        self.exporter = FakeExporter()
        self.exporter.text = shown(0, 1)
        self.clock = ManualClock()
        self.opened: list[Choice] = []
        (folder / "bus").mkdir()
        self._folder = folder

    @property
    def state(self) -> Path:
        """The state folder."""
        return self._folder / "state"

    def choose(self, *, url: str | None = None, part: str = "") -> Choice:
        """What auto takes; the exporter's address is set unless another is given."""
        choice = choose(
            "auto",
            node="n1",
            clock=self.clock,
            state_folder=self.state,
            pci_folder=self._folder / "bus",
            library_path=self.driver.library,
            dcgm=DcgmSource(self.exporter.url if url is None else url, part),
        )
        self.opened.append(choice)
        return choice


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node, with everything given back at the end."""
    made = Node(tmp_path)
    yield made
    for choice in made.opened:
        choice.sensor.close()
    made.exporter.close()
    assert made.driver.references == 0
    made.driver.close()


def test_an_exporter_goes_before_busy_time(node: Node) -> None:
    """No device has GPM and the exporter shows activity of all: it is read, and the reason says so.

    The part is known by what the driver said of that place, though the bus shows nothing.
    """
    choice = node.choose()
    assert choice.sensor.name == "dcgm"
    assert "lists 2 device(s) without activity counters" in choice.reason
    assert node.exporter.url in choice.reason
    records = choice.sensor.devices()
    assert [record.device for record in records] == [uuid_of(0), uuid_of(1)]
    table = parse_device_table(builtin_table("devices.toml"))
    assert {table.recognise(record).id for record in records} == {"a100-sxm4-80gb"}
    assert {r.evidence for r in choice.sensor.read().readings} == {Evidence.DCGM_SAMPLED}
    assert node.driver.references == 0
    assert (node.state / SEEN_FILE).exists()


def test_gpm_goes_before_an_exporter(node: Node) -> None:
    """Where one device gives activity itself, the driver is read, and no exporter is asked."""
    node.driver.set("gpu1.gpm", 1)
    asked: list[object] = []
    node.exporter.behave = asked.append
    choice = node.choose()
    assert choice.sensor.name == "nvml"
    assert "1 of them give activity counters" in choice.reason
    assert asked == []


def test_no_exporter_is_asked_unless_it_is_set(node: Node) -> None:
    """Without an address busy time is what there is, and the reason says what to set."""
    choice = node.choose(url="")
    assert choice.sensor.name == "nvml"
    assert "no GPM counters" in choice.reason and "no dcgm_url is set" in choice.reason
    node.clock.advance(1)
    evidence = {reading.evidence for reading in choice.sensor.read().readings}
    assert evidence <= {Evidence.BUSY_SAMPLED, Evidence.ENERGY}


def test_an_exporter_that_does_not_answer(node: Node) -> None:
    """It is named in the reason, and the driver is read."""
    node.exporter.text = "no exposition {"
    for url, told in (
        (None, "the time is unobserved"),
        ("http://127.0.0.1:1/", "cannot be reached"),
    ):
        choice = node.choose(url=url)
        assert choice.sensor.name == "nvml"
        assert "no activity counters (" in choice.reason
        assert told in choice.reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (shown(0), "shows other devices"),
        (shown(0, 1, 2), "shows other devices"),
        (shown(0, 7), "shows other devices"),
        (page([{"uuid": uuid_of(n), "energy_j": 5} for n in (0, 1)]), "shows no tensor activity"),
        (shown(0, 1, tensor="9223372036854775794"), "tensor activity is blank"),
        (page([SHOWN | {"uuid": uuid_of(0)}, {"uuid": uuid_of(1), "energy_j": 5}]), "tensor"),
        ("", "shows no GPU"),
    ],
)
def test_an_exporter_that_is_no_better(node: Node, text: str, told: str) -> None:
    """Another node's devices, some of ours only, or no activity: the driver is read instead."""
    node.exporter.text = text
    choice = node.choose()
    assert choice.sensor.name == "nvml"
    assert told in choice.reason


def test_a_setting_that_cannot_be(node: Node) -> None:
    """A wrong address or part is refused at the start, whatever the devices can do."""
    for gpm in (0, 1):
        node.driver.set("gpu0.gpm", gpm)
        with pytest.raises(UsageError, match="no address"):
            node.choose(url="node7:9400")
        with pytest.raises(UsageError, match="no part of the device table"):
            node.choose(part="a100")


def test_a_new_start_probes_again(node: Node) -> None:
    """What a start chose binds no later one: with GPM allowed, the driver is read."""
    assert node.choose().sensor.name == "dcgm"
    node.driver.set("gpu0.gpm", 1)
    assert node.choose().sensor.name == "nvml"
