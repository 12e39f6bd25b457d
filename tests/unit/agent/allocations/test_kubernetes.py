"""Kubernetes: what a kubelet says of a device, and whose pod a process is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.allocations.kubernetes import KubernetesSource, pod_of, statements_of
from flopmeter_agent.procfs import cgroup_paths
from flopmeter_agent.site_key import SiteKey
from flopmeter_proto.podresources.v1 import pod_resources_pb2 as pb
from support.manual_clock import ManualClock
from support.proc_tree import LAYOUTS, layout

UID = "0c5f0c36-93bb-4b6e-9a9c-8f3f1a2b4c5d"
CONTAINER = "a1b2c3d4a1b2"
KEY = SiteKey(b"k" * 32)


@pytest.mark.parametrize("name", sorted(p.name for p in LAYOUTS.iterdir() if p.name != "README.md"))
def test_layouts(name: str) -> None:
    """A container is told in each driver's and runtime's names, and nowhere else."""
    expected = None
    if name.startswith("kubernetes-"):
        uid = "0123456789abcdef" * 2 if name == "kubernetes-static" else UID
        expected = (uid, CONTAINER)
    assert pod_of(cgroup_paths(layout(name))) == expected


def test_nested_pods() -> None:
    """Of a cluster inside a pod the node's own pod counts."""
    inner = "11111111-2222-3333-4444-555555555555"
    path = f"/kubepods/pod{UID}/{'a1' * 32}/kubepods/pod{inner}/{'b2' * 32}"
    assert pod_of((path,)) == (UID, "a1" * 6)
    assert pod_of((f"/kubepods/pod{UID}",)) == (UID, "")


def answer(
    *device_ids: str, name: str = "trainer", pod_name: str = "p0"
) -> pb.ListPodResourcesResponse:
    """A kubelet's answer with one container."""
    devices = pb.ContainerDevices(resource_name="nvidia.com/gpu", device_ids=device_ids)
    container = pb.ContainerResources(name=name, devices=[devices])
    found = pb.PodResources(name=pod_name, namespace="team-a", containers=[container])
    return pb.ListPodResourcesResponse(pod_resources=[found])


def test_statement() -> None:
    """A container has its devices, under hashes that say nothing without the key."""
    found = statements_of(answer("GPU-a", "GPU-b"), KEY)
    assert set(found) == {"GPU-a", "GPU-b"}
    (statement,) = found["GPU-a"]
    assert statement.allocation.startswith("pod:") and statement.allocation.endswith("/trainer")
    assert "team-a" not in statement.allocation and "p0" not in statement.allocation
    (other,) = statements_of(answer("GPU-a", pod_name="p1"), KEY)["GPU-a"]
    # One namespace has one hash, so that a rule can name it; pods are told apart.
    namespace, _, pod_hash = statement.allocation[4:].partition(".")
    assert other.allocation[4:].startswith(namespace + ".")
    assert pod_hash not in other.allocation
    (foreign,) = statements_of(answer("GPU-a"), SiteKey(b"x" * 32))["GPU-a"]
    assert foreign.allocation != statement.allocation


def test_device_spellings() -> None:
    """Shared, numbered and sliced devices, and those of dynamic allocation, are found."""
    numbers = {0: "GPU-zero", 3: "GPU-three"}
    response = answer(
        "GPU-a::7", "GPU-a::8", "MIG-b", "nvidia3", "nvidia0/gi1", "nvidia9", "hugepage"
    )
    resource = pb.DynamicResource(
        claim_resources=[
            pb.ClaimResource(cdi_devices=[pb.CDIDevice(name="nvidia.com/gpu=GPU-cdi")]),
            pb.ClaimResource(device_name="gpu-0"),
        ]
    )
    response.pod_resources[0].containers[0].dynamic_resources.append(resource)
    found = statements_of(response, KEY, numbers.get)
    assert set(found) == {"GPU-a", "MIG-b", "GPU-three", "GPU-zero", "GPU-cdi"}
    assert len(found["GPU-a"]) == 1


def test_two_containers_on_one_device() -> None:
    """A device given out twice has two users."""
    response = answer("GPU-a::0")
    response.pod_resources.append(answer("GPU-a::1", pod_name="p1").pod_resources[0])
    assert len(statements_of(response, KEY)["GPU-a"]) == 2


def test_hostile_names() -> None:
    """A container's name that no kubelet allows makes no allocation."""
    assert statements_of(answer("GPU-a", name="a(b),c"), KEY) == {}
    assert statements_of(answer("GPU-" + "x" * 300), KEY) == {}


def test_a_gpu_by_its_minor_number(tmp_path: Path) -> None:
    """The driver's own files name it; what cannot be read, and another number, is nobody."""
    gpus = tmp_path / "driver/nvidia/gpus"
    for place, minor in ((1, 0), (2, 3)):
        (gpus / f"0000:0{place}").mkdir(parents=True)
        (gpus / f"0000:0{place}/information").write_text(
            f"Model: \t H100\nGPU UUID: \t GPU-{place}\nDevice Minor: \t {minor}\n"
        )
    (gpus / "0000:00/information").mkdir(parents=True)
    source = KubernetesSource(KEY, ManualClock(), socket=None, proc=tmp_path)
    assert source._numbered(3) == "GPU-2"
    assert source._numbered(0) == "GPU-1"
    assert source._numbered(7) is None
    source.close()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/../../pod{UID}/{'a1b2c3d4' * 8}", (UID, CONTAINER)),
        (f"/../../../besteffort/pod{UID}/{'a1b2c3d4' * 8}", (UID, CONTAINER)),
        (f"/../../../../kubepods/burstable/pod{UID}/{'a1b2c3d4' * 8}", (UID, CONTAINER)),
        (f"/../../../../user.slice/user-1.slice/kubepods/pod{UID}/{'a1b2c3d4' * 8}", None),
        (f"/../../../../user.slice/pod{UID}/{'a1b2c3d4' * 8}", None),
        (f"/../../system.slice/docker-x.scope/pod{UID}/{'a1b2c3d4' * 8}", None),
        (f"/pod{UID}/{'a1b2c3d4' * 8}", None),
        ("/../burstable", None),
        ("/..", None),
    ],
)
def test_agent_in_a_cgroup_namespace(path: str, found: tuple[str, str] | None) -> None:
    """Pods are told from a pod's own cgroup namespace too, and a user's folder is none there."""
    assert pod_of((path,)) == found
