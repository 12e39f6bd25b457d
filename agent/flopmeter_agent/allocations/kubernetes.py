"""Pods: what the kubelet says of a device, and whose pod a process is in.

Owns: the answer of the kubelet's pod-resources socket as allocations, and the names that kubelets
and container runtimes give to cgroups of pods.
May touch: the kubelet's socket, from a thread of its own; /proc/driver/nvidia, for device numbers.
Called by allocations.table. docs/allocations.md has the rules and the privilege.

Namespace and pod leave the node only as site-keyed hashes. Cgroup names: kubelet's systemd and
cgroupfs drivers with containerd, CRI-O and cri-dockerd (kubernetes.io, "Configuring a cgroup
driver"; recorded in tests/data/cgroups).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from flopmeter_agent.allocations.base import SourceCounters, Statement, Statements
from flopmeter_agent.procfs import PROC, ProcessFacts, below_common
from flopmeter_agent.site_key import SiteKey
from flopmeter_core.allocations import pod
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.podresources.v1 import pod_resources_pb2 as pb

logger = logging.getLogger(__name__)

KUBELET_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
"""Where a kubelet serves it (kubernetes.io, "Monitoring device plugin resources")."""

METHOD = "/v1.PodResourcesLister/List"

LIST_PERIOD_S = 10.0
"""How often the kubelet is asked when nothing tells of a change; a new or ended process does."""
SHORTEST_LIST_PERIOD_S = 1.0
ANSWER_DEADLINE_S = 5.0
BELIEVED_NS = 60 * NS_PER_S
"""How long the last answer holds while the kubelet does not answer: it restarts in seconds."""
MAXIMUM_ANSWER_BYTES = 16 << 20
MAXIMUM_CONTAINERS = 4_096
"""Containers remembered; one that is forgotten is met anew, and waits for the next answer."""

_UID = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(rf"(?:.*-)?pod({_UID})(?:\.slice)?(?::.*)?")
_CONTAINER = re.compile(r"(?:.*[-:])?([0-9a-f]{64})(?:\.scope)?")
_CLASSES_OF_SERVICE = ("burstable", "besteffort")
"""Folders of the kubelet's cgroupfs driver between its root and pods."""

_CONTAINER_DIGITS = 12
"""Of a container's id, as container tools print it."""

_UUID = re.compile(r"(?:GPU|MIG)-[A-Za-z0-9._-]{1,100}")
_NUMBERED = re.compile(r"(?:nvidia|gpu-)(\d{1,3})")
"""GKE's device plugin names devices nvidia<minor>, NVIDIA's DRA driver gpu-<minor>."""
_SHARE_MARK = "::"
"""NVIDIA's device plugin appends ::<number> to a UUID that it gives out more than once."""


class KubernetesSource:
    """What a kubelet says of this node's devices."""

    name = "kubernetes"

    def __init__(
        self,
        key: SiteKey,
        clock: Clock,
        *,
        socket: Path | None,
        changed: Callable[[], object] = lambda: None,
        period_s: float = LIST_PERIOD_S,
        proc: Path = PROC,
    ) -> None:
        """Begin to ask, in a thread of its own.

        Args:
            key: hashes names.
            clock: says how old an answer is.
            socket: the kubelet's; None asks nobody, and tells pods by their processes only.
            changed: told when the kubelet's answer is another one.
            period_s: how often it is asked at least.
            proc: where procfs is.
        """
        self.counters = SourceCounters()
        self._key = key
        self._clock = clock
        self._socket = socket
        self._changed = changed
        self._period_s = period_s
        self._gpus = proc / "driver/nvidia/gpus"
        self._lock = threading.Lock()
        self._answer: Statements = {}
        self._answered_ns = 0
        # When the question was put that was answered last; -1 before that.
        self._asked_ns = -1
        # When each container was first seen by a process of it.
        self._met_ns: dict[tuple[str, str], int] = {}
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        if socket is not None:
            self._thread = threading.Thread(target=self._serve, name="kubelet", daemon=True)
            self._thread.start()

    def look(self) -> None:
        """Let go of an answer that is too old."""
        with self._lock:
            aged_ns = self._clock.monotonic_ns() - self._answered_ns
            if self._answer and aged_ns > BELIEVED_NS + self._period_s * NS_PER_S:
                self._answer = {}

    def statements(self) -> Statements:
        """The containers that hold devices, as the kubelet said last."""
        with self._lock:
            return self._answer

    def of_process(self, process: ProcessFacts) -> str | None:
        """The container whose cgroup a process is in."""
        found = pod_of(process.cgroups)
        return pod(*found, pids=True) if found is not None else None

    def knows(self, process: ProcessFacts) -> bool:
        """Whether the kubelet was asked since the process' container was first seen.

        What it said before that may be of the pod that had the device until then.
        """
        container = pod_of(process.cgroups)
        if container is None:
            return False
        met_ns = self._met_ns.setdefault(container, self._clock.monotonic_ns())
        if len(self._met_ns) > MAXIMUM_CONTAINERS:
            del self._met_ns[next(iter(self._met_ns))]
        with self._lock:
            return self._asked_ns >= met_ns

    def processes_changed(self) -> None:
        """Ask soon: a process that came or went may be a pod's."""
        self._due.set()

    def close(self) -> None:
        """End the thread; a call under way is waited for no longer than its deadline."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(ANSWER_DEADLINE_S + 1)

    # --- the thread -------------------------------------------------------------------------------

    def _serve(self) -> None:
        import grpc

        channel = grpc.insecure_channel(
            f"unix://{self._socket}",
            options=[
                ("grpc.default_authority", "localhost"),
                ("grpc.max_receive_message_length", MAXIMUM_ANSWER_BYTES),
            ],
        )
        ask = channel.unary_unary(
            METHOD,
            request_serializer=pb.ListPodResourcesRequest.SerializeToString,
            response_deserializer=pb.ListPodResourcesResponse.FromString,
        )
        while not self._stopping.is_set():
            asked_ns = self._clock.monotonic_ns()
            try:
                self._take(ask(pb.ListPodResourcesRequest(), timeout=ANSWER_DEADLINE_S), asked_ns)
            except grpc.RpcError as error:
                self._fail(f"the kubelet does not answer ({error.code().name.lower()})")
            except Exception as error:  # the edge of the thread: the next answer may be a good one
                self._fail(f"the kubelet's answer cannot be read ({error!r})")
            self._stopping.wait(SHORTEST_LIST_PERIOD_S)
            self._due.wait(self._period_s - SHORTEST_LIST_PERIOD_S)
            self._due.clear()
        channel.close()

    def _take(self, response: pb.ListPodResourcesResponse, asked_ns: int) -> None:
        answer = statements_of(response, self._key, self._numbered)
        with self._lock:
            before, self._answer = self._answer, answer
            self._answered_ns, self._asked_ns = self._clock.monotonic_ns(), asked_ns
        self.counters.problem = ""
        if before != answer:
            self._changed()

    def _fail(self, reason: str) -> None:
        self.counters.failures += 1
        if reason != self.counters.problem:
            self.counters.problem = reason
            logger.warning(
                "pods are not told by the kubelet", extra=fields(socket=self._socket, reason=reason)
            )

    def _numbered(self, minor: int) -> str | None:
        """The UUID of the GPU with a minor number; None where the driver shows none."""
        for path in sorted(self._gpus.glob("*/information")):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            lines = (line.partition(":") for line in text.splitlines())
            said = {name.strip(): content.strip() for name, _, content in lines}
            if said.get("Device Minor") == str(minor):
                return said.get("GPU UUID")
        return None


def statements_of(
    response: pb.ListPodResourcesResponse,
    key: SiteKey,
    numbered: Callable[[int], str | None] = lambda minor: None,
) -> Mapping[str, tuple[Statement, ...]]:
    """Make statements of a kubelet's answer: device -> the containers it was given to.

    Args:
        response: the answer.
        key: hashes namespace and pod.
        numbered: the UUID of a GPU by its minor number.
    """
    found: dict[str, dict[str, None]] = {}
    for each in response.pod_resources:
        namespace = key.hash("namespace", each.namespace)[:_CONTAINER_DIGITS]
        name = key.hash("pod", each.namespace, each.name)[:_CONTAINER_DIGITS]
        for container in each.containers:
            try:
                allocation = pod(f"{namespace}.{name}", container.name)
            except DataError:  # no kubelet allows it; what it holds is seen by its processes
                continue
            for device in _devices_of(container, numbered):
                found.setdefault(device, {})[allocation] = None
    return {
        device: tuple(Statement(allocation) for allocation in allocations)
        for device, allocations in found.items()
    }


def pod_of(cgroups: Iterable[str]) -> tuple[str, str] | None:
    """The pod's uid and the start of the container's id in cgroup paths; None where no pod's.

    Of nested ones the outermost, which the node's own kubelet made; none below ``user.slice``,
    where users make what they like.
    """
    for path in cgroups:
        parts, whole = below_common(path)
        if not parts or parts[0] == "user.slice":
            continue
        if "kubepods" not in path:
            # The agent is in a pod as well, in a cgroup namespace of its own.
            below = parts[parts[0] in _CLASSES_OF_SERVICE :]
            if whole or not below or _POD.fullmatch(below[0]) is None:
                continue
        for place, part in enumerate(parts):
            match = _POD.fullmatch(part)
            if match is None:
                continue
            uid = match[1].replace("_", "-")
            # containerd without the systemd driver: ...-pod<uid>.slice:cri-containerd:<id>
            for inner in (part.rpartition(":")[2], *parts[place + 1 :]):
                container = _CONTAINER.fullmatch(inner)
                if container:
                    return uid, container[1][:_CONTAINER_DIGITS]
            return uid, ""
    return None


def _devices_of(
    container: pb.ContainerResources, numbered: Callable[[int], str | None]
) -> Iterator[str]:
    """The UUIDs of a container's devices."""
    ids = [each for devices in container.devices for each in devices.device_ids]
    for resource in container.dynamic_resources:
        for claim in resource.claim_resources:
            ids.append(claim.device_name)
            ids += [device.name.rpartition("=")[2] for device in claim.cdi_devices]
    for each in ids:
        text = each.partition(_SHARE_MARK)[0].partition("/")[0]
        if _UUID.fullmatch(text):
            yield text
            continue
        number = _NUMBERED.fullmatch(text)
        uuid = numbered(int(number[1])) if number else None
        if uuid:
            yield uuid
