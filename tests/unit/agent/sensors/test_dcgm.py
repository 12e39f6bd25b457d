"""Sensor dcgm: what is new counts once, what is not adds nothing, and who a device is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from flopmeter_agent.accumulate import Accumulator
from flopmeter_agent.sensors.base import Readout
from flopmeter_agent.sensors.dcgm import DcgmSensor
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence
from flopmeter_core.suspicion import Check
from flopmeter_core.units import NS_PER_S
from support.fake_exporter import NEW, OLD, page, uuid_of
from support.manual_clock import ManualClock

PERIOD_S = 30
TENSOR = Component.TENSOR_MEGACYCLES
GPU = uuid_of(0)
CLASSES = {"hmma": 0.25, "imma": 0.0}


class Node:
    """One node with an exporter whose page a test writes."""

    def __init__(self, *, part: str = "", on_bus: dict[str, DeviceRecord] | None = None) -> None:
        self.clock = ManualClock()
        self.problem: SensorError | None = None
        self.devices: list[dict[str, object]] = [
            {"tensor": 0.5, "engine": 0.9, "busy": 0.99, "clock_mhz": 1_700, "energy_j": 100.0,
             "power_w": 500.0}
        ]  # fmt: skip
        self.text: str | None = None
        self.names = OLD
        self.stamp_ms: int | None = None
        self.sensor = DcgmSensor(
            "n0",
            self.clock,
            self._fetch,
            collect_period_ns=PERIOD_S * NS_PER_S,
            part=part,
            on_bus=lambda: on_bus or {},
        )

    def _fetch(self) -> str:
        if self.problem is not None:
            raise self.problem
        if self.text is not None:
            return self.text
        return page(self.devices, self.names, stamp_ms=self.stamp_ms)

    def collect(self, **shown: object) -> None:
        """Let the exporter collect anew: energy runs on, and what the test names changes."""
        energy = self.devices[0]["energy_j"]
        assert isinstance(energy, float)
        self.devices = [{**self.devices[0], "energy_j": energy + 15_000.0, **shown}]

    def read(self, after_s: float = 1) -> Readout:
        """One round a while later."""
        self.clock.advance(after_s)
        return self.sensor.read()


@pytest.fixture
def node() -> Iterator[Node]:
    """A node whose device is listed and was read once, on a beat of one second from then on."""
    made = Node()
    made.sensor.devices()
    made.read()
    made.read()
    yield made
    made.sensor.close()


def test_a_reading(node: Node) -> None:
    """A reading holds what the exporter shows, in our units and on its own rung."""
    node.read(PERIOD_S - 2)
    node.collect(tensor=0.25)
    assert node.read().readings == ()
    (reading,) = node.read().readings
    assert reading == Reading(
        device=GPU,
        evidence=Evidence.DCGM_SAMPLED,
        monotonic_ns=node.clock.monotonic_ns(),
        boottime_ns=node.clock.boottime_ns(),
        energy_mj=15_100_000,
        activity_ppm={TENSOR: 250_000},
        clock_khz=1_700_000,
        power_mw=500_000,
        busy_ppm=990_000,
        engine_ppm=900_000,
    )


def test_the_same_page_adds_nothing(node: Node) -> None:
    """Scraped every second, a value that stands for 30 s is read once."""
    for _ in range(PERIOD_S):
        assert node.read() == Readout(())
    node.collect()
    assert [len(node.read().readings) for _ in range(5)] == [0, 1, 0, 0, 0]


def test_a_page_that_changes_in_two_steps(node: Node) -> None:
    """Fields that change one after the other are one collection, with the newest of each."""
    node.read(PERIOD_S - 2)
    node.collect()  # energy first
    assert node.read().readings == ()
    node.devices[0]["tensor"] = 0.75
    assert [r.activity_ppm[TENSOR] for r in node.read().readings] == [750_000]
    assert node.read().readings == ()


def test_an_exporter_that_collects_faster(node: Node) -> None:
    """A page that never settles is taken all the same; a slow scrape takes each one."""
    taken = 0
    for _ in range(10):
        node.collect()
        taken += len(node.read().readings)
    assert taken == 5
    node.collect()
    assert len(node.read(PERIOD_S).readings) == 1


def test_time_stamps_decide_where_there_are_any() -> None:
    """Lines with a stamp are new when the stamp is, whatever they say."""
    node = Node()
    node.stamp_ms = 1_000
    node.sensor.devices()
    node.read()
    node.collect()
    assert node.read().readings == ()  # other values under an old stamp
    node.stamp_ms = 31_000
    assert len(node.read().readings) == 1
    assert node.read().readings == ()
    node.stamp_ms = 5_000
    assert node.read().readings == ()  # a stamp that goes back


def registers(accumulator: Accumulator) -> list[int]:
    """All components of all registers."""
    totals = [0] * len(Component)
    for register in accumulator.registers.values():
        for place, amount in enumerate(register.units):
            totals[place] += amount
    return totals


def test_each_value_counts_once_for_its_time() -> None:
    """Over ten collections of 30 s the register is activity x clock x time, to the second."""
    node = Node()
    accumulator = Accumulator("0" * 32, PERIOD_S * NS_PER_S)
    shares = [0.5, 0.25, 0.75, 0.0, 1.0, 0.5, 0.125, 0.5, 0.5, 0.25]

    def sample() -> None:
        records = {record.device: record for record in node.sensor.devices()}
        for reading in node.sensor.read().readings:
            accumulator.observe(records[reading.device], reading, allocation="run:a")

    sample()
    for share in shares:
        for second in range(PERIOD_S):
            if second == PERIOD_S - 2:
                node.collect(tensor=share)
            node.clock.advance(1)
            sample()
    totals = registers(accumulator)
    # Of one SM, because an exporter does not say how many there are.
    assert totals[TENSOR] == int(sum(shares) * 1_700 * PERIOD_S)
    assert sum(totals[part] for part in TIME_COMPONENTS) == len(shares) * PERIOD_S * NS_PER_S
    # Engine activity and energy went on while no tensor did, so no period is suspect.
    assert totals[Component.SUSPECT_NS] == totals[Component.UNOBSERVED_NS] == 0


def test_what_an_agent_before_counted_is_not_counted_again() -> None:
    """The first page after a start is a baseline: its activity may be in a register already."""
    node = Node()
    node.sensor.devices()
    (first,) = node.read().readings
    assert first.activity_ppm == {}
    assert first.energy_mj == 100_000
    assert first.evidence is Evidence.DCGM_SAMPLED


# --- frozen, blank, missing -----------------------------------------------------------------------


def test_a_frozen_exporter(node: Node) -> None:
    """One that shows its last values for ever fails and is suspect (gpu-monitoring-tools 188)."""
    for _ in range(2 * PERIOD_S - 2):
        assert node.read().failures == ()
    readout = node.read(2)
    assert [failure.device for failure in readout.failures] == [GPU]
    assert [suspicion.check for suspicion in readout.suspicions] == [Check.FROZEN]
    node.collect()
    node.read()
    assert len(node.read().readings) == 1


def test_rest_without_an_energy_counter_is_no_accusation() -> None:
    """A page on which nothing has to move may stand still: unobserved, but not suspect."""
    node = Node()
    node.devices[0].pop("energy_j")
    node.sensor.devices()
    node.read()
    readout = node.read(3 * PERIOD_S)
    assert (len(readout.failures), readout.suspicions) == (1, ())


@pytest.mark.parametrize("blank", ["9223372036854775794", "140737488355328", "NaN"])
def test_a_blank_is_no_zero(node: Node, blank: str) -> None:
    """A blank activity takes the device to the energy rung and is counted as a sentinel."""
    node.read(PERIOD_S)
    node.collect(tensor=blank)
    readout = node.read(PERIOD_S)
    (reading,) = readout.readings
    assert (reading.evidence, reading.activity_ppm) == (Evidence.ENERGY, {})
    assert [suspicion.check for suspicion in readout.suspicions] == [Check.SENTINEL]
    assert "PIPE_TENSOR_ACTIVE" in readout.suspicions[0].detail


@pytest.mark.parametrize(
    ("gone", "evidence"),
    [(["tensor"], Evidence.ENERGY), (["tensor", "energy_j"], Evidence.POWER_SAMPLED)],
)
def test_without_profiling_fields(gone: list[str], evidence: Evidence) -> None:
    """Without tensor activity energy is the rung, then power."""
    node = Node()
    for shown in gone:
        node.devices[0].pop(shown)
    node.sensor.devices()
    assert [reading.evidence for reading in node.read().readings] == [evidence]


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({"clock_mhz": 1_410, "busy": 0.0}, "add DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"),  # a vGPU
        ({"tensor": 0.5}, "add DCGM_FI_DEV_SM_CLOCK"),
        ({"tensor": "NaN", "clock_mhz": 1_410}, "blank"),
        ({"tensor": 0.5, "clock_mhz": 1_410, "hmma": "NaN", "imma": 0.0}, "class is blank"),
        ({"tensor": 0.5, "clock_mhz": 1_410, "labels": ',GPU_I_ID="7"'}, "MIG is on"),
    ],
)
def test_nothing_to_measure_by(shown: dict[str, object], reason: str) -> None:
    """A device without any measure of work fails with what to do, and is never at zero."""
    node = Node()
    node.devices = [shown]
    node.sensor.devices()
    readout = node.read()
    assert readout.readings == ()
    assert reason in readout.failures[0].reason


def test_a_device_that_is_shown_no_more(node: Node) -> None:
    """It stays listed and fails; when it is back its first value is a baseline again."""
    node.devices.append({**node.devices[0]})
    node.read()
    assert len(node.sensor.devices()) == 2
    node.read()
    gone = node.devices.pop()
    assert [failure.device for failure in node.read().failures] == [uuid_of(1)]
    assert len(node.sensor.devices()) == 2
    node.devices.append(gone)
    (back,) = node.read().readings
    assert (back.device, back.activity_ppm) == (uuid_of(1), {})


def test_a_page_that_is_none(node: Node) -> None:
    """A page that cannot be read is a SensorError that says what becomes of the time."""
    for text in ("<html></html>\n", "DCGM_FI_DEV_SM_CLOCK{", 'DCGM_FI_X{a="} 1\n'):
        node.text = text
        with pytest.raises(SensorError, match="unobserved"):
            node.read()
    node.text = None
    node.problem = SensorError("it is gone")
    with pytest.raises(SensorError, match="gone"):
        node.read()
    assert len(node.sensor.devices()) == 1


def test_an_exporter_without_devices() -> None:
    """Until the exporter has shown a device there is none to list."""
    node = Node()
    node.devices = []
    with pytest.raises(SensorError, match="shows no GPU"):
        node.sensor.devices()


# --- identity -------------------------------------------------------------------------------------


def test_record() -> None:
    """Identity is the UUID; the name is for display; SMs are not known and no name gives them."""
    node = Node()
    (record,) = node.sensor.devices()
    assert record == DeviceRecord(
        node="n0",
        device=GPU,
        vendor="nvidia",
        product_name="NVIDIA H100",
        driver_version="580.1",
        energy_scope=EnergyScope.GPU,
        tensor_classes=False,
    )
    node.devices[0] |= {**CLASSES, "max_clock_mhz": 1_980}
    node.names = NEW
    node.read()
    (changed,) = node.sensor.devices()
    assert changed == replace(record, tensor_classes=True, max_sm_clock_mhz=1_980)


def test_a_changed_record_is_read_once_it_is_listed(node: Node) -> None:
    """Readings never go under a record that no longer describes them."""
    node.devices[0] |= CLASSES
    readout = node.read(PERIOD_S)
    assert (readout.readings, len(readout.failures)) == ((), 1)
    node.sensor.devices()
    assert len(node.read(PERIOD_S).readings) == 1


def test_recognition_is_by_pci_id() -> None:
    """An id on this host's bus counts; a configured part stands in only where there is none."""
    beside = DeviceRecord("n0", "PCI", "nvidia", "", pci_device_id=0x233010DE)
    found = Node(on_bus={"0000:10:00.0": beside}, part="a100-sxm4-80gb").sensor.devices()[0]
    assert (found.pci_device_id, found.part) == (0x233010DE, "")
    told = Node(part="a100-sxm4-80gb").sensor.devices()[0]
    assert (told.pci_device_id, told.part) == (0, "a100-sxm4-80gb")
    unknown = Node().sensor.devices()[0]
    assert (unknown.pci_device_id, unknown.part) == (0, "")


def test_fields_that_come_and_go(node: Node) -> None:
    """A highest clock and an energy that one answer leaves out change nothing of the device."""
    node.collect(max_clock_mhz=1_980)
    node.read(PERIOD_S)
    (listed,) = node.sensor.devices()
    assert listed.max_sm_clock_mhz == 1_980
    node.devices = [{k: v for k, v in node.devices[0].items() if k in ("tensor", "clock_mhz")}]
    node.read(PERIOD_S)
    assert list(node.sensor.devices()) == [listed]


def test_clock_above_the_highest_one(node: Node) -> None:
    """A clock above what the device says is its highest makes no work: the period is suspect."""
    accumulator = Accumulator("0" * 32, PERIOD_S * NS_PER_S)
    for clock_mhz in (1_700, 1_700, 1_700, 5_000, 1_700):
        node.collect(clock_mhz=clock_mhz, max_clock_mhz=1_980)
        node.sensor.devices()
        for reading in node.read(PERIOD_S).readings:
            (record,) = node.sensor.devices()
            accumulator.observe(record, reading, allocation="run:a")
    amounts = [register.units for register in accumulator.registers.values()]
    total = [sum(amount[part] for amount in amounts) for part in Component]
    assert total[TENSOR] == 2 * PERIOD_S * 1_700 // 2
    assert total[Component.SUSPECT_NS] == PERIOD_S * NS_PER_S
