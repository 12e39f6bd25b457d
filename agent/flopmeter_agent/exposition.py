"""The agent's own metrics: what it reads, sends and keeps, on one page for Prometheus.

Owns: the agent's metric families.
May touch: one listening socket, through page_server; the loop's registers and counters, read only.
Called by app when ``metrics_listen`` is set; off by default. docs/metrics.md lists the families.
A scrape never calls the driver: it shows what the loop has read last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flopmeter_agent.claims import ClaimBook, ClaimCounters
from flopmeter_agent.loop import AgentLoop
from flopmeter_agent.page_server import serving
from flopmeter_core.allocations import Confidence, confidence_of
from flopmeter_core.errors import UsageError
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.link import LinkState

if TYPE_CHECKING:
    from flopmeter_agent.allocations.table import AllocationTable

_DEVICE_SECONDS = {
    "busy": Component.BUSY_NS,
    "idle": Component.IDLE_NS,
    "suspended": Component.SUSPENDED_NS,
    "unobserved": Component.UNOBSERVED_NS,
    "suspect": Component.SUSPECT_NS,
}


class AgentMetrics(Collector):
    """Turns an agent's counters into metric families at each scrape."""

    def __init__(
        self,
        loop: AgentLoop,
        link: LinkState,
        claims: ClaimBook | None = None,
        *,
        lasting: bool = True,
        users: AllocationTable | None = None,
    ) -> None:
        """Show a loop, its link, the claims where any are taken, and whether the state lasts.

        Of users of devices, where they are looked for, numbers are shown and never names.
        """
        self._lasting = lasting
        self._users = users
        self._loop = loop
        self._link = link
        self._claims = claims

    def collect(self) -> Iterable[Metric]:
        """The families, freshly made."""
        counters = self._loop.counters
        yield CounterMetricFamily(
            "flopmeter_sensor_reads", "Rounds of readings.", value=counters.reads
        )
        yield CounterMetricFamily(
            "flopmeter_sensor_read_failures",
            "Devices that could not be read in a round.",
            value=counters.read_failures,
        )
        yield CounterMetricFamily(
            "flopmeter_sensor_read_seconds",
            "Time spent in the sensor.",
            value=counters.read_duration_ns / NS_PER_S,
        )
        yield CounterMetricFamily(
            "flopmeter_reports_sent", "Reports handed to the link.", value=counters.reports
        )
        yield CounterMetricFamily(
            "flopmeter_agent_vectors_refused",
            "Register vectors that the collector refused or quarantined.",
            value=counters.refused_vectors,
        )
        yield CounterMetricFamily(
            "flopmeter_second_writers",
            "Registers that another process writes under the same incarnation too.",
            value=counters.second_writers,
        )
        yield from self._memory_families()
        suspect = CounterMetricFamily(
            "flopmeter_suspect_readings",
            "Readings that were doubted, by check; their time is suspect or unobserved.",
            labels=["check"],
        )
        for check, count in counters.suspects.counts.items():
            suspect.add_metric([check], count)
        yield suspect
        yield GaugeMetricFamily(
            "flopmeter_collector_connected",
            "Whether a stream to the collector is open.",
            value=float(self._link.connected),
        )
        yield from self._claim_families()
        yield from self._allocation_families()
        yield from self._device_families()

    def _memory_families(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "flopmeter_journal_failures",
            "Times the state could not be kept; metering went on in memory.",
            value=self._loop.counters.journal_failures,
        )
        yield GaugeMetricFamily(
            "flopmeter_state_lasting",
            "Whether the state folder is on a disk that outlives host and container.",
            value=float(self._lasting),
        )
        kept = self._loop.closed_summary()
        yield GaugeMetricFamily(
            "flopmeter_closed_registers",
            "Final vectors of ended incarnations that are kept.",
            value=kept.registers,
        )
        yield GaugeMetricFamily(
            "flopmeter_incarnation_waiting",
            "Whether an ended incarnation finds no room: new users fold, or nothing is metered.",
            value=float(kept.waiting),
        )
        room = CounterMetricFamily(
            "flopmeter_room_made",
            "Registers and periods that gave way for want of room, by what was done.",
            labels=["step"],
        )
        for step, count in kept.room_made.items():
            room.add_metric([step], count)
        yield room

    def _claim_families(self) -> Iterator[Metric]:
        counters = self._claims.counters if self._claims is not None else ClaimCounters()
        yield CounterMetricFamily(
            "flopmeter_claim_messages",
            "Messages of training processes that were taken.",
            value=counters.messages,
        )
        yield CounterMetricFamily(
            "flopmeter_claim_throttlings",
            "Times a training process that sent too much was not read for a while.",
            value=counters.throttled,
        )
        refused = CounterMetricFamily(
            "flopmeter_claims_refused",
            "Claims, messages and connections of training processes not taken, by reason.",
            labels=["reason"],
        )
        for reason, count in counters.refused.items():
            refused.add_metric([reason], count)
        yield refused
        yield GaugeMetricFamily(
            "flopmeter_claim_registers",
            "Claim registers held.",
            value=len(self._claims) if self._claims is not None else 0,
        )

    def _allocation_families(self) -> Iterator[Metric]:
        found = list(self._users.users.values()) if self._users is not None else []
        devices = GaugeMetricFamily(
            "flopmeter_allocated_devices",
            "Devices and MIG instances by how well it is known who uses them.",
            labels=["confidence"],
        )
        known = [confidence_of(allocation) for allocation in found]
        for confidence in Confidence:
            devices.add_metric([confidence], known.count(confidence))
        yield devices
        failures = CounterMetricFamily(
            "flopmeter_allocation_source_failures",
            "Times a way of telling users apart failed, or what it read was refused.",
            labels=["source"],
        )
        for source, counters in (self._users.counters if self._users is not None else {}).items():
            failures.add_metric([source], counters.failures)
        yield failures

    def _device_families(self) -> Iterator[Metric]:
        seconds = CounterMetricFamily(
            "flopmeter_device_seconds",
            "Time of a device by what was known of it, in this incarnation.",
            labels=["device", "state"],
        )
        tensor = CounterMetricFamily(
            "flopmeter_device_tensor_sm_megacycles",
            "Tensor-active SM megacycles of a device, in this incarnation.",
            labels=["device"],
        )
        energy = CounterMetricFamily(
            "flopmeter_device_energy_joules",
            "Energy of a device in this incarnation.",
            labels=["device"],
        )
        for device, vector in self._loop.device_totals().items():
            for state, component in _DEVICE_SECONDS.items():
                seconds.add_metric([device, state], vector[component] / NS_PER_S)
            tensor.add_metric([device], vector[Component.TENSOR_MEGACYCLES])
            energy.add_metric([device], vector[Component.ENERGY_MJ] / 1_000)
        yield from (seconds, tensor, energy)


@contextlib.contextmanager
def serve(
    listen: str,
    loop: AgentLoop,
    link: LinkState,
    claims: ClaimBook | None = None,
    *,
    lasting: bool = True,
    users: AllocationTable | None = None,
) -> Iterator[int]:
    """Serve the metrics on ``host:port`` until the context ends; yields the port.

    Raises:
        UsageError: the address is malformed or in use.
    """
    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AgentMetrics(loop, link, claims, lasting=lasting, users=users))
    with contextlib.ExitStack() as stack:
        page = make_wsgi_app(registry)
        try:
            served = stack.enter_context(serving(page, host or "127.0.0.1", int(port)))
        except (ValueError, OSError) as error:
            raise UsageError(
                f"the agent's metrics cannot be served on {listen!r} ({error}); "
                "name a free host:port with --metrics-listen"
            ) from error
        yield served
