"""Which sensor a node gets: nothing is made up where an accelerator is or ever was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Sensor
from flopmeter_agent.sensors.table import SEEN_FILE, SENSORS, Choice, DcgmSource, choose
from flopmeter_core.errors import NotPermittedError, SensorError, StorageError, UsageError
from flopmeter_core.registers import TIME_COMPONENTS
from flopmeter_core.units import NS_PER_S
from support import pci_tree
from support.fake_exporter import FakeExporter, page
from support.fake_exporter import uuid_of as exported
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

DRIVER_NOT_LOADED = 9


class Host:
    """A node: its bus, its driver, its state folder."""

    def __init__(self, folder: Path) -> None:
        self.bus = folder / "devices"
        self.bus.mkdir()
        self.state = folder / "state"
        self.clock = ManualClock()
        self.driver = FakeDriver(folder)
        self.driver.set("error.nvmlInitWithFlags", DRIVER_NOT_LOADED)
        self.opened: list[Sensor] = []

    def choose(
        self, name: str = "auto", *, require_real: bool = False, dcgm: DcgmSource | None = None
    ) -> Choice:
        """Choose a sensor on this node."""
        choice = choose(
            name,
            node="n1",
            clock=self.clock,
            state_folder=self.state,
            require_real=require_real,
            pci_folder=self.bus,
            library_path=self.driver.library,
            dcgm=dcgm,
        )
        self.opened.append(choice.sensor)
        return choice

    def load_driver(self) -> None:
        """Let the driver work."""
        self.driver.set("error.nvmlInitWithFlags", None)

    def devices(self, choice: Choice) -> list[str]:
        """The names of the devices."""
        return [record.device for record in choice.sensor.devices()]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A node without accelerators and without a driver."""
    made = Host(tmp_path)
    yield made
    for sensor in made.opened:
        sensor.close()
    made.driver.close()


def test_no_accelerator(host: Host) -> None:
    """Where none is or was, the processor drives a simulated device, and nothing is noted."""
    choice = host.choose()
    assert choice.sensor.name == "cpu"
    assert choice.sensor.simulated
    assert "no accelerator is or was" in choice.reason
    assert not (host.state / SEEN_FILE).exists()


def test_working_driver(host: Host) -> None:
    """Where the driver works it is used."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    host.load_driver()
    choice = host.choose()
    assert choice.sensor.name == "nvml"
    assert "lists 1 device" in choice.reason
    assert host.devices(choice) == [uuid_of(0)]


def test_hidden_bus(host: Host) -> None:
    """A driver that works is used even where the bus shows nothing, as in some machines."""
    host.load_driver()
    assert host.choose().sensor.name == "nvml"
    assert (host.state / SEEN_FILE).exists()


def test_driver_does_not_work(host: Host) -> None:
    """An accelerator without a driver is never replaced by a simulated one."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    choice = host.choose()
    assert choice.sensor.name == "none"
    assert not choice.sensor.simulated
    assert "not loaded" in choice.reason
    assert host.devices(choice) == ["PCI-n1-0000:1b:00.0"]
    (failure,) = choice.sensor.read().failures
    assert "not loaded" in failure.reason


def test_driver_appears(host: Host) -> None:
    """Sensor none goes on trying, and reads as soon as the driver works."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    choice = host.choose()
    host.load_driver()
    host.clock.advance(10)
    assert host.devices(choice) == [uuid_of(0)]
    assert choice.sensor.name == "nvml"
    assert len(choice.sensor.read().readings) == 1


def test_name_survives_a_broken_driver(host: Host) -> None:
    """A device whose driver broke keeps the name it had: it is not another device."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    host.load_driver()
    host.choose().sensor.close()
    host.driver.set("error.nvmlInitWithFlags", DRIVER_NOT_LOADED)
    for _ in range(3):
        choice = host.choose()
        assert choice.sensor.name == "none"
        (record,) = choice.sensor.devices()
        assert (record.device, record.sm_count) == (uuid_of(0), 132)


def test_another_part_in_the_same_place(host: Host) -> None:
    """Another part in the place of an old one is not taken for it."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    host.load_driver()
    host.choose().sensor.close()
    host.driver.set("error.nvmlInitWithFlags", DRIVER_NOT_LOADED)
    pci_tree.unplug(host.bus, "0000:1b:00.0")
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.MI300X)
    choice = host.choose()
    assert host.devices(choice) == ["PCI-n1-0000:1b:00.0"]
    assert "NVIDIA devices only" in choice.reason


def test_once_seen(host: Host) -> None:
    """Where an accelerator once was, its absence is no reason to make one up."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    host.choose()
    pci_tree.unplug(host.bus, "0000:1b:00.0")
    choice = host.choose()
    assert choice.sensor.name == "none"
    assert "once on this node" in choice.reason
    assert str(host.state / SEEN_FILE) in choice.reason
    assert host.devices(choice) == ["PCI-n1-0000:1b:00.0"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"accelerators": 3}', '{"accelerators": {"a": {}}}']
)
def test_damaged_memory(host: Host, text: str) -> None:
    """A memory that cannot be understood still says that there was an accelerator."""
    host.state.mkdir()
    (host.state / SEEN_FILE).write_text(text)
    choice = host.choose()
    assert choice.sensor.name == "none"
    with pytest.raises(SensorError, match=r"once on this node|not loaded"):
        choice.sensor.devices()


def test_unwritable_state(host: Host) -> None:
    """A state folder that cannot be written is one clear sentence."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    host.state.write_text("a file")
    with pytest.raises(StorageError, match=r"needs a folder of its own|cannot be read"):
        host.choose()


def test_device_the_driver_does_not_list(host: Host) -> None:
    """Of two on the bus and one in the driver, the other one's time is unobserved."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    pci_tree.plug(host.bus, "0000:9b:00.0", pci_tree.H100)
    host.load_driver()
    choice = host.choose()
    assert host.devices(choice) == [uuid_of(0), "PCI-n1-0000:9b:00.0"]
    assert [f.device for f in choice.sensor.read().failures] == ["PCI-n1-0000:9b:00.0"]


@pytest.mark.parametrize(
    ("name", "advice"), [("auto", "on a node with an accelerator"), ("cpu", "use --sensor auto")]
)
def test_require_real(host: Host, name: str, advice: str) -> None:
    """Where only real readings are wanted nothing simulated is chosen; exit code 77."""
    with pytest.raises(NotPermittedError, match=f"--require-real.*{advice}") as error:
        host.choose(name, require_real=True)
    assert error.value.exit_code == 77


@pytest.mark.parametrize("name", ["auto", "nvml", "none"])
def test_require_real_with_accelerator(host: Host, name: str) -> None:
    """With an accelerator it is no hindrance, with or without a driver."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    assert not host.choose(name, require_real=True).sensor.simulated


def test_asking_for_cpu_does_not_forget(host: Host) -> None:
    """Trying the simulated device on a node with an accelerator does not hide that one later."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    assert host.choose("cpu").sensor.name == "cpu"
    pci_tree.unplug(host.bus, "0000:1b:00.0")
    assert host.choose().sensor.name == "none"


@pytest.mark.parametrize("name", ["simulated", "replay", "gpu", ""])
def test_not_by_name(host: Host, name: str) -> None:
    """A sensor that needs more than its name, or that is none, is a usage error."""
    with pytest.raises(UsageError) as error:
        host.choose(name)
    assert ("--scenario" if name == "simulated" else name) in str(error.value)


def test_only_what_starts_is_offered(host: Host) -> None:
    """Of a name that is none, the sentence lists no sensor that would be refused in turn."""
    with pytest.raises(UsageError) as error:
        host.choose("foo")
    offered = str(error.value).partition("use one of ")[2].partition(";")[0]
    assert offered.split(", ") == ["auto", "nvml", "dcgm", "none", "cpu"]
    assert "simulated with --scenario FILE" in str(error.value)


def test_table_is_described() -> None:
    """Each sensor has its line of explanation."""
    assert all(SENSORS.values())


def test_an_exporter_is_read_where_it_is_asked_for(host: Host) -> None:
    """Sensor dcgm reads the page it is given, and knows a part by its id on this host's bus."""
    pci_tree.plug(host.bus, "0000:10:00.0", pci_tree.H100)
    exporter = FakeExporter()
    try:
        exporter.text = page([{"tensor": 0.5, "clock_mhz": 1_700}, {"tensor": 0.5}])
        choice = host.choose("dcgm", dcgm=DcgmSource(exporter.url, "a100-sxm4-80gb"))
        first, second = choice.sensor.devices()
    finally:
        exporter.close()
    assert (choice.sensor.name, choice.sensor.simulated) == ("dcgm", False)
    assert exporter.url in choice.reason
    assert (first.device, first.pci_device_id, first.part) == (exported(0), 0x233010DE, "")
    assert (second.pci_device_id, second.part) == (0, "a100-sxm4-80gb")


@pytest.mark.parametrize(
    "source", [DcgmSource(part="h100"), DcgmSource(url="node7:9400"), DcgmSource(url="ftp://h/")]
)
def test_a_source_that_cannot_be(host: Host, source: DcgmSource) -> None:
    """A part that is in no table and an address that is none are refused at the start."""
    with pytest.raises(UsageError):
        host.choose("dcgm", dcgm=source)


def test_place_has_no_time_once_its_device_has_a_name(host: Host, tmp_path: Path) -> None:
    """Once the driver names a GPU, the time of its place on the bus is over: it is one GPU."""
    pci_tree.plug(host.bus, "0000:1b:00.0", pci_tree.H100)
    choice = host.choose()
    loop = AgentLoop(
        choice.sensor,
        Journal(OsBlockFile(tmp_path / "journal")),
        host.clock,
        Identity(node="n1"),
        closed=open_closed(OsBlockFile(tmp_path / "closed")),
        incarnation="1".rjust(32, "0"),
        period_ns=NS_PER_S,
    )
    for second in range(230):
        if second == 30:
            host.load_driver()
        loop.sample()
        host.clock.advance(1)
    totals = loop.device_totals()
    place, gpu = (
        sum(totals[device][part] for part in TIME_COMPONENTS)
        for device in ("PCI-n1-0000:1b:00.0", uuid_of(0))
    )
    assert 28 * NS_PER_S <= place <= 45 * NS_PER_S
    assert place + gpu == 229 * NS_PER_S


def test_bus_that_cannot_be_seen(host: Host, tmp_path: Path) -> None:
    """Without /sys nobody knows that no accelerator is here, so none is made up."""
    host.bus = tmp_path / "sys/bus/pci/devices"
    with pytest.raises(SensorError, match="let the agent see /sys"):
        host.choose()
    host.load_driver()
    assert host.choose().sensor.name == "nvml"


def test_machine_without_a_pci_bus(host: Host, tmp_path: Path) -> None:
    """Where sysfs is there and has no PCI bus, there is none."""
    (tmp_path / "sys/bus").mkdir(parents=True)
    host.bus = tmp_path / "sys/bus/pci/devices"
    assert host.choose().sensor.name == "cpu"
