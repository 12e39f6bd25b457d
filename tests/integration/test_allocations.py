"""Whose work it is, from a scheduler's prolog and the driver's process lists to the registers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_core.allocations import NONE, boundary, confidence_of
from flopmeter_core.registers import TIME_COMPONENTS, Component
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import instance_of, uuid_of
from support.metered_node import MeteredNode
from support.proc_tree import layout

FULL_SECOND = 132 * 1_700_000_000
"""SM cycles of a scripted H100 in a second at 1.7 GHz."""

TENSOR, BUSY = Component.TENSOR_MEGACYCLES, Component.BUSY_NS


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MeteredNode]:
    """A node with one GPU that works half its time."""
    made = MeteredNode(tmp_path)
    made.work(0, 50)
    yield made
    made.close()


def whole(node: MeteredNode, seconds: int, place: int = 0) -> None:
    """The parts of a GPU add up to its time and its work, to the unit."""
    for component in Component:
        parts = [v[component] for v in node.by_allocation(place, instances=False).values()]
        device = node.loop.device_totals()[uuid_of(place)][component]
        assert sum(parts) == device
    vectors = node.by_allocation(place, instances=False).values()
    assert sum(v[component] for v in vectors for component in TIME_COMPONENTS) == seconds * NS_PER_S


def test_two_jobs_after_each_other(node: MeteredNode) -> None:
    """Each job has its time, the change lies on the boundary, and all of it is the device's."""
    node.seconds(3)
    node.slurm("prolog", 1, SLURM_JOB_GPUS="0", SLURM_CLUSTER_NAME="big")
    node.seconds(11)
    node.slurm("epilog", 1)
    node.slurm("prolog", 2, SLURM_JOB_GPUS="0", SLURM_JOB_RESTART_COUNT="3")
    node.seconds(6)
    node.slurm("epilog", 2)
    node.seconds(2)
    seconds = {
        NONE: 3 + 1,
        boundary(NONE, "slurm:big/1"): 1,
        "slurm:big/1": 10,
        boundary("slurm:big/1", "slurm:c1/2.3"): 1,
        "slurm:c1/2.3": 5,
        boundary("slurm:c1/2.3", NONE): 1,
    }
    assert {name: vector[BUSY] for name, vector in node.by_allocation().items()} == {
        name: count * NS_PER_S for name, count in seconds.items()
    }
    for name, count in seconds.items():
        cycles = count * FULL_SECOND // 2 // 10**6
        assert node.share(name, TENSOR) in (cycles, cycles + 1)
    whole(node, 22)


def test_job_seen_by_its_processes(node: MeteredNode) -> None:
    """Without a prolog a job has its device while a process of it is listed there."""
    node.proc.start(500, layout("slurm-v2"))
    node.seconds(2)
    node.driver.set("gpu0.processes", "500")
    node.seconds(4)
    node.driver.set("gpu0.processes", None)
    node.proc.end(500)
    node.seconds(2)
    assert node.share("slurm.pids:c1/4242", BUSY) == 3 * NS_PER_S
    assert node.share(boundary(NONE, "slurm.pids:c1/4242"), BUSY) == NS_PER_S
    whole(node, 8)


def test_means_change_without_a_boundary(node: MeteredNode) -> None:
    """A prolog that was installed late changes the name of a job, and puts nothing apart."""
    node.proc.start(500, layout("slurm-v2"))
    node.driver.set("gpu0.processes", "500")
    node.seconds(3)
    node.slurm("prolog", 4242, SLURM_JOB_GPUS="0", SLURM_CLUSTER_NAME="c1")
    node.seconds(3)
    # The period of the change counts under the weaker means.
    assert node.share("slurm.pids:c1/4242", BUSY) == 3 * NS_PER_S
    assert node.share("slurm:c1/4242", BUSY) == 2 * NS_PER_S
    assert set(node.by_allocation()) == {
        boundary(NONE, "slurm.pids:c1/4242"),
        "slurm.pids:c1/4242",
        "slurm:c1/4242",
    }
    whole(node, 6)


def test_mps_clients(node: MeteredNode) -> None:
    """Clients of one job under MPS are that job; those of two jobs share the device."""
    node.proc.start(400, layout("user-service"), name="nvidia-cuda-mps-server")
    node.proc.start(500, layout("slurm-v2"))
    node.proc.start(501, layout("slurm-v2"))
    node.proc.start(502, layout("slurm-26.05-sluid"))
    node.driver.update({"gpu0.processes": "400", "gpu0.mps": "500 501"})
    node.seconds(3)
    node.driver.update({"gpu0.mps": "500 502"})
    node.seconds(3)
    shared = "shared:slurm.pids:c1/4242+slurm.pids:c1/s5K1KKYAYG5D00"
    assert node.share("slurm.pids:c1/4242", BUSY) == 2 * NS_PER_S
    assert node.share(shared, BUSY) == 2 * NS_PER_S
    assert confidence_of(shared) == "shared"
    whole(node, 6)


def test_time_sliced_device(node: MeteredNode) -> None:
    """Of two users on a device the one whose kernels ran has the period; two that ran share it."""
    node.proc.start(500, layout("slurm-v2"))
    node.proc.start(600, layout("user-session"))
    node.driver.update({"gpu0.processes": "500 600", "gpu0.process_busy": "1:500:0 1:600:0"})
    node.second()
    for second in range(2, 6):
        node.driver.set("gpu0.process_busy", f"{second}:500:80 {second}:600:0")
        node.second()
    assert node.share("slurm.pids:c1/4242", BUSY) == 3 * NS_PER_S
    node.driver.set("gpu0.process_busy", "9:500:40 9:600:40")
    node.second()
    node.driver.set("gpu0.process_busy", "10:500:40 10:600:40")
    node.second()
    (shared,) = (name for name in node.by_allocation() if name.startswith("shared:"))
    assert node.share(shared, BUSY) == NS_PER_S
    assert node.driver.calls("nvmlDeviceGetProcessUtilization") > 0
    whole(node, 7)


def test_mig_instances(node: MeteredNode) -> None:
    """In MIG mode processes are told by instance, and the GPU is not asked as a whole."""
    for number in (1, 2):
        node.driver.update(
            {
                f"gpu0.mig.{number - 1}": instance_of(number),
                f"gpu0.gi{number}.gpm.5": 40,
                **{f"gpu0.gi{number}.gpm.{metric}": 40 for metric in (2, 6, 7, 8, 9)},
            }
        )
    node.driver.set("gpu0.mig", 1)
    node.proc.start(500, layout("slurm-v2"))
    node.proc.start(600, layout("user-session"))
    node.driver.update({"gpu0.gi1.processes": "500"})
    node.seconds(20)
    mine = node.share("slurm.pids:c1/4242", TENSOR)
    assert mine > 0
    node.driver.update({"gpu0.gi2.processes": "600"})
    node.seconds(4)
    (shared,) = (name for name in node.by_allocation() if name.startswith("shared:"))
    assert node.share(shared, TENSOR) > 0
    assert node.share("slurm.pids:c1/4242", TENSOR) == mine
    whole(node, 24)


def test_parts_sum_whatever_happens(tmp_path: Path) -> None:
    """Jobs and processes at random on two GPUs: the parts are the whole, to the unit."""
    seed = random.Random(24)
    node = MeteredNode(tmp_path, devices=2)
    layouts = ["slurm-v1", "slurm-26.05-sluid", "kubernetes-systemd-crio", "user-session"]
    for number, name in enumerate(layouts):
        node.proc.start(500 + number, layout(name))
    for second in range(60):
        place = seed.randrange(2)
        match seed.randrange(5):
            case 0:
                node.slurm("prolog", seed.randrange(1, 4), SLURM_JOB_GPUS=str(place))
            case 1:
                node.slurm("epilog", seed.randrange(1, 4))
            case 2:
                pids = seed.sample(range(500, 500 + len(layouts)), seed.randrange(4))
                node.driver.set(f"gpu{place}.processes", " ".join(map(str, pids)) or None)
            case 3:
                node.work(place, seed.randrange(1, 101))
            case _:
                busy = " ".join(f"{second + 2}:{p}:{seed.randrange(101)}" for p in range(500, 504))
                node.driver.set(f"gpu{place}.process_busy", busy)
        node.second()
    assert len(node.by_allocation(0)) > 4
    for place in range(2):
        whole(node, 60, place)
    node.close()
