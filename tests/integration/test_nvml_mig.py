"""MIG instances through the real binding: whose the work is, and that nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.sums import Account
from flopmeter_collector.totals import Totals
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence
from flopmeter_core.suspicion import Check
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.wire.stream import StreamReader, StreamWriter
from support.fake_nvml import FakeDriver, instance_of, uuid_of
from support.manual_clock import ManualClock
from support.totals import AS_OF_NS, POSITION, table

GPU_IS_LOST = 15
NO_PERMISSION = 4
CYCLES_A_SECOND_AND_SM = 1_700_000_000
ACTIVITY = {2: 80, 5: 50, 7: 50, 8: 0, 6: 0, 9: 0, 4: 0, 11: 0, 12: 0, 13: 0}


class Agent:
    """The agent's loop on one GPU in MIG mode, which itself has no utilisation, as in reality."""

    def __init__(self, folder: Path) -> None:
        self.driver = FakeDriver(folder)
        self.driver.update({"gpu0.mig": 1, "gpu0.busy_percent": None, "gpu0.gpm.5": None})
        self.clock = ManualClock()
        self.sensor = NvmlSensor(
            "n1", self.clock, library_path=self.driver.library, pause=lambda _: None
        )
        self.folder = folder
        self.start("1")

    def start(self, incarnation: str) -> None:
        """Start an agent on the journal there is."""
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(self.folder / "journal")),
            self.clock,
            Identity(node="n1", allocation="run:a"),
            closed=open_closed(OsBlockFile(self.folder / "closed")),
            incarnation=incarnation.rjust(32, "0"),
            period_ns=NS_PER_S,
            contradiction=table().contradiction,
        )

    def instance(self, number: int, **sizes: object) -> None:
        """Make (or replace) a busy instance."""
        self.driver.update(
            {f"gpu0.mig.{number % 7}": instance_of(number, **sizes)}  # type: ignore[arg-type]
            | {f"gpu0.gi{number}.gpm.{metric}": share for metric, share in ACTIVITY.items()}
        )

    def seconds(self, count: int) -> None:
        """Sample once a second, at 500 W."""
        for _ in range(count):
            self.clock.advance(1)
            self.driver.set("gpu0.energy_mj", self.clock.monotonic_ns() * 500 // 10**6)
            self.loop.sample()

    def total(self, device: str, component: Component) -> int:
        """A component of one device or instance over all its registers; 0 where it has none."""
        return self.loop.device_totals().get(device, [0] * 18)[component]

    def works(self) -> dict[str, int]:
        """Tensor megacycles of each instance."""
        return {
            device: total[Component.TENSOR_MEGACYCLES]
            for device, total in self.loop.device_totals().items()
            if "/gi" in device
        }

    @property
    def remark(self) -> str:
        """What the sensor says of the GPU."""
        return self.sensor.remarks[uuid_of(0)]

    def account(self) -> Account:
        """What a collector makes of all registers."""
        sent = self.loop.report()
        assert sent is not None
        report = StreamReader().report(StreamWriter().report(sent))
        assert report.records.items() <= sent.records.items()
        totals = Totals(table())
        for each in report.vectors:
            stored = StoredVector(each.key, 0, each.sequence, each.vector)
            totals.update(each.key, report.records[each.key.record], [stored])
        (run,) = totals.snapshot(AS_OF_NS, POSITION).runs
        return run.account


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent that has not sampled yet."""
    made = Agent(tmp_path)
    yield made
    made.sensor.close()
    assert made.driver.calls("nvmlGpmSampleFree") == made.driver.calls("nvmlGpmSampleAlloc")
    made.driver.close()


def tensor_megacycles(seconds: int, sm_count: int = 16) -> int:
    """What ACTIVITY comes to."""
    return seconds * sm_count * CYCLES_A_SECOND_AND_SM // 2 // 10**6


@pytest.mark.parametrize("count", [1, 7])
def test_work_by_instance(agent: Agent, count: int) -> None:
    """Each instance has its own work; time, energy, device and ceiling are the GPU's, once."""
    for number in range(1, count + 1):
        agent.instance(number)
    agent.seconds(11)
    assert list(agent.works().values()) == [tensor_megacycles(10)] * count
    assert agent.total(uuid_of(0), Component.TENSOR_MEGACYCLES) == 0
    assert f"{count} of its instances are read" in agent.remark
    account = agent.account()
    assert account.device_count == account.node_count == 1
    assert account.busy_ns + account.unobserved_ns == 10 * NS_PER_S
    assert sum(account.energy_mj.values()) == 10 * 500_000
    measured = account.best_flop_by_level["gpm"]
    # FP16 or BF16: 4096 FLOP a cycle and SM on Hopper (data/devices).
    assert measured == pytest.approx(count * tensor_megacycles(10) * 10**6 * 4096, rel=1e-6)


def test_ceiling_is_the_gpus(agent: Agent) -> None:
    """The ceiling and what nobody measured are those of the same GPU read as a whole."""
    agent.instance(1)
    agent.instance(2, sm_count=32)
    agent.seconds(11)
    sliced = agent.account()
    report = agent.loop.report()
    assert report is not None
    whole = Totals(table())
    for each in report.vectors:
        if "/gi" not in each.key.device:
            stored = StoredVector(each.key, 0, each.sequence, each.vector)
            whole.update(each.key, report.records[each.key.record], [stored])
    (run,) = whole.snapshot(AS_OF_NS, POSITION).runs
    assert sliced.figures.observed.ceiling == run.account.figures.observed.ceiling > 0
    assert sliced.figures.unobserved_ceiling == run.account.figures.unobserved_ceiling
    observed = sliced.figures.observed
    assert 0 <= observed.floor <= observed.lower < observed.best < observed.upper < observed.ceiling


def test_elapsed_cycles(agent: Agent) -> None:
    """The instances' elapsed cycles are at most the GPU's, and as many as their SMs make."""
    for number, sm_count in ((1, 16), (2, 32), (3, 60)):
        agent.instance(number, sm_count=sm_count)
    agent.seconds(11)
    elapsed = Component.SM_ELAPSED_MEGACYCLES
    slices = [agent.total(device, elapsed) for device in agent.works()]
    assert sum(slices) * 132 == agent.total(uuid_of(0), elapsed) * (16 + 32 + 60)


def test_no_instance(agent: Agent) -> None:
    """Without an instance nothing is told apart: the GPU is on the energy rung, as ever."""
    agent.seconds(11)
    assert agent.works() == {}
    assert "no GPU instance has a compute instance" in agent.remark
    account = agent.account()
    assert [level for level, best in account.best_flop_by_level.items() if best] == ["energy"]
    assert account.busy_ns == 10 * NS_PER_S


def test_without_gpm(agent: Agent) -> None:
    """As on A100: the GPU is read as a whole, on the energy rung, and says so."""
    agent.driver.set("gpu0.gpm", 0)
    agent.instance(1)
    agent.seconds(5)
    assert agent.works() == {}
    assert "read as a whole" in agent.remark
    assert "no GPM" in agent.remark
    assert agent.account().best_flop_by_level["energy"] > 0


def test_recreated_instance(agent: Agent) -> None:
    """An instance made anew under an old id is another one: it starts from nothing."""
    agent.instance(1)
    agent.seconds(11)
    (old,) = agent.works()
    agent.instance(1, creation=1, sm_count=32)
    agent.seconds(2 + 5)
    work = agent.works()
    (new,) = work.keys() - {old}
    assert old.partition("@")[0] == new.partition("@")[0]
    assert work[old] == tensor_megacycles(10)
    assert work[new] == tensor_megacycles(5, sm_count=32)
    # The two periods in between are the GPU's, and the old one's time has ended.
    assert agent.account().busy_ns_by_level["energy"] == 2 * NS_PER_S
    before = agent.total(old, Component.UNOBSERVED_NS)
    agent.seconds(10)
    assert agent.total(old, Component.UNOBSERVED_NS) == before


def test_instances_come_and_go(agent: Agent) -> None:
    """Each period is in the instances or in the GPU's own rung; all time is there once."""
    agent.instance(1)
    agent.seconds(11)
    agent.instance(2)
    agent.seconds(10)
    agent.driver.set("gpu0.mig.1", None)
    agent.seconds(10)
    one, two = agent.works().values()
    assert one == tensor_megacycles(10 + 8)
    assert two == tensor_megacycles(8 + 9)
    account = agent.account()
    assert account.busy_ns == 30 * NS_PER_S
    assert account.busy_ns_by_level["energy"] == (2 + 1) * NS_PER_S
    assert sum(account.energy_mj.values()) == 30 * 500_000


def test_restart(agent: Agent) -> None:
    """A restarted agent counts the gap once: to the GPU, on its own rung."""
    agent.instance(1)
    agent.seconds(11)
    agent.sensor.close()
    agent.sensor = NvmlSensor(
        "n1", agent.clock, library_path=agent.driver.library, pause=lambda _: None
    )
    agent.start("2")
    agent.clock.advance(9)
    agent.seconds(2 + 5)
    assert list(agent.works().values()) == [tensor_megacycles(6)]
    account = agent.account()
    assert account.best_flop_by_level["gpm"] == pytest.approx(
        tensor_megacycles(16) * 10**6 * 4096, rel=1e-6
    )
    assert account.busy_ns + account.unobserved_ns == (10 + 9 + 7) * NS_PER_S
    assert sum(account.energy_mj.values()) == (10 + 9 + 7) * 500_000


def test_mig_switched_off(agent: Agent) -> None:
    """A GPU out of MIG mode is probed anew and read as a whole; instances get nothing more."""
    agent.instance(1)
    agent.seconds(11)
    work = agent.works()
    agent.driver.update({"gpu0.mig": 0, "gpu0.busy_percent": 100})
    agent.seconds(10)
    assert agent.works() == work
    assert "MIG" not in agent.remark
    account = agent.account()
    assert account.busy_ns_by_level["busy"] >= 7 * NS_PER_S
    assert account.busy_ns + account.unobserved_ns == 20 * NS_PER_S


def test_mig_switched_on(agent: Agent) -> None:
    """A GPU put into MIG mode is probed anew, and its instances are read from then on."""
    agent.driver.set("gpu0.mig", 0)
    agent.seconds(11)
    agent.driver.set("gpu0.mig", 1)
    agent.instance(1)
    agent.seconds(10)
    (work,) = agent.works().values()
    assert tensor_megacycles(4) <= work <= tensor_megacycles(8)
    account = agent.account()
    assert account.busy_ns + account.unobserved_ns == 20 * NS_PER_S


@pytest.mark.parametrize(
    ("key", "broken", "reason", "more_lost"),
    [
        ("gpu0.gi2.gpm_return.5", 3, "GPU instance 2 says: no tensor activity", 0),
        ("gpu0.gi2.gpm_return.9", 3, "GPU instance 2 says: no tensor activity", 0),
        ("gpu0.gi2.gpm_return.5", -1, "GPU instance 2 says: no tensor activity", 0),
        ("gpu0.error.nvmlGpmMigSampleGet", NO_PERMISSION, "grant access", 1),
        ("gpu0.error.nvmlGpmMetricsGet", 999, "nvmlGpmMetricsGet", 1),
        ("gpu0.error.nvmlDeviceGetMigDeviceHandleByIndex", NO_PERMISSION, "grant access", 0),
        ("gpu0.error.nvmlDeviceGetAttributes_v2", 999, "nvmlDeviceGetAttributes", 0),
        ("gpu0.error.nvmlDeviceGetMigMode", 999, "nvmlDeviceGetMigMode", 0),
        ("gpu0.error.nvmlDeviceGetClockInfo", 999, "the clock is not known", 0),
    ],
)
def test_errors(agent: Agent, key: str, broken: int, reason: str, more_lost: int) -> None:
    """What one instance cannot say, the GPU's own rung holds for all; it costs those periods."""
    agent.instance(1)
    agent.instance(2)
    agent.seconds(11)
    agent.driver.set(key, broken)
    agent.seconds(4)
    assert reason in agent.remark
    assert list(agent.works().values()) == [tensor_megacycles(10)] * 2
    agent.driver.set(key, None)
    agent.seconds(6)
    assert list(agent.works().values()) == [tensor_megacycles(10 + 6 - more_lost)] * 2
    assert agent.account().busy_ns == 20 * NS_PER_S


def test_unlisted_instance(agent: Agent) -> None:
    """Nothing counts before the agent has listed an instance and taken its first reading."""
    agent.sensor.devices()
    agent.instance(1)
    for _ in range(4):
        agent.clock.advance(1)
        (gpu,) = agent.sensor.read().readings
        assert gpu.evidence is Evidence.ENERGY
    agent.sensor.devices()
    evidence = []
    for _ in range(2):
        agent.clock.advance(1)
        gpu, instance = agent.sensor.read().readings
        evidence.append((gpu.evidence, bool(instance.activity_ppm)))
    assert evidence == [(Evidence.ENERGY, False), (Evidence.GPM, True)]


def test_without_compute_instance(agent: Agent) -> None:
    """In an instance without a compute instance nothing can run: it is not sampled."""
    agent.instance(1)
    agent.instance(5, compute="-")
    agent.seconds(11)
    assert list(agent.works().values()) == [tensor_megacycles(10)]
    assert "GPU instance 5 has no compute instance and is not sampled" in agent.remark


def test_divided_instance(agent: Agent) -> None:
    """Compute instances of one GPU instance are read together, if they fill it."""
    agent.instance(1, sm_count=16, slices=2, computing=1)
    agent.seconds(5)
    assert agent.works() == {}
    assert "the SM count of GPU instance 1 is not told" in agent.remark
    agent.driver.set("gpu0.mig.4", instance_of(1, compute="1", slices=2, computing=1))
    agent.seconds(2 + 5)
    assert list(agent.works().values()) == [tensor_megacycles(5, sm_count=32)]


def test_impossible_sizes(agent: Agent) -> None:
    """Instances with more SMs than their GPU are not believed."""
    agent.instance(1, sm_count=133)
    agent.seconds(5)
    assert agent.works() == {}
    assert "more SMs than the GPU" in agent.remark


def test_lost_gpu(agent: Agent) -> None:
    """With the GPU its instances are gone: the time is the GPU's, unobserved, and only once."""
    agent.instance(1)
    agent.seconds(11)
    work = agent.works()
    agent.driver.set("gpu0.error.*", GPU_IS_LOST)
    agent.seconds(20)
    assert agent.works() == work
    account = agent.account()
    assert account.unobserved_ns >= 17 * NS_PER_S
    assert account.busy_ns + account.unobserved_ns <= 30 * NS_PER_S


def test_idle_instances(agent: Agent) -> None:
    """An instance that does nothing leaves the GPU idle; one that does hardly anything does not."""
    agent.instance(1)
    agent.driver.update({f"gpu0.gi1.gpm.{metric}": 0 for metric in ACTIVITY})
    agent.seconds(11)
    assert agent.total(uuid_of(0), Component.IDLE_NS) == 10 * NS_PER_S
    agent.driver.set("gpu0.gi1.gpm.2", 0.0001)
    agent.seconds(1)
    assert agent.total(uuid_of(0), Component.IDLE_NS) == 10 * NS_PER_S


def test_record(agent: Agent) -> None:
    """An instance is of its GPU's part, with its own SMs and memory, and no accelerator more."""
    agent.instance(3)
    agent.seconds(3)
    gpu, instance = agent.sensor.devices()
    assert instance == replace(
        gpu,
        device=f"{uuid_of(0)}/gi3@MIG-00000000-0000-5000-0000-000000000003",
        sm_count=16,
        memory_mib=9856,
        device_count=0,
        energy_scope=instance.energy_scope,
        tensor_classes=True,
    )
    assert instance.energy_scope.value == "none"
    assert table().recognise(instance) == table().recognise(gpu)
    reading = agent.sensor.read().readings[1]
    assert (reading.device, reading.evidence) == (instance.device, Evidence.GPM)


def test_profile_in_the_name(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    """An instance has the profile its driver names; a count that differs is said once."""
    agent.driver.set("gpu0.mig_name.3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    agent.driver.set("gpu0.mig_name.4", "NVIDIA H100 80GB HBM3 MIG 3g.40gb")
    agent.instance(3)
    agent.instance(4)
    agent.seconds(130)  # listed three times
    names = [record.product_name for record in agent.sensor.devices()[1:]]
    assert names == ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100 80GB HBM3 MIG 3g.40gb"]
    assert agent.loop.counters.suspects.counts[Check.TABLE] == 1
    said = [r for r in caplog.records if r.message == "a device contradicts the device table"]
    assert len(said) == 1


def test_many_instances_after_each_other(agent: Agent) -> None:
    """What an instance left is in its registers; nothing else of it is kept once it is gone."""
    agent.seconds(2)
    for creation in range(40):
        agent.instance(1, creation=creation)
        agent.seconds(4)
    agent.driver.set("gpu0.mig.1", None)
    agent.seconds(62)
    assert list(agent.loop.accumulator.devices) == [uuid_of(0)]
    works = agent.works()
    assert len(works) == 40
    assert all(work > 0 for work in works.values())
    times = [agent.total(uuid_of(0), part) for part in TIME_COMPONENTS]
    assert sum(times) == (1 + 40 * 4 + 62) * NS_PER_S
