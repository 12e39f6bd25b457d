"""The agent's own metrics: what it reads, sends and keeps, on one page for Prometheus.

Owns: the agent's metric families.
May touch: one listening socket, through page_server; the loop's registers and counters, read only.
Called by app when ``metrics_listen`` is set; off by default. docs/metrics.md lists the families.
A scrape never calls the driver: it shows what the loop has read last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from flopmeter_agent.claims import ClaimBook, ClaimCounters
from flopmeter_agent.loop import AgentLoop
from flopmeter_agent.page_server import serving
from flopmeter_core.allocations import Confidence, confidence_of
from flopmeter_core.errors import UsageError
from flopmeter_core.kernels.render import Family, decimal, labels, render
from flopmeter_core.registers import Component
from flopmeter_proto.link import LinkState

if TYPE_CHECKING:
    from flopmeter_agent.allocations.table import AllocationTable

Name = TypeVar("Name", bound=str)

_DEVICE_SECONDS = {
    "busy": Component.BUSY_NS,
    "idle": Component.IDLE_NS,
    "suspended": Component.SUSPENDED_NS,
    "unobserved": Component.UNOBSERVED_NS,
    "suspect": Component.SUSPECT_NS,
}
_NS_DIGITS, _MJ_DIGITS = 9, 3
"""Decimal places of ns in seconds, and of mJ in J."""


def _counter(name: str, help_text: str, count: int, *, digits: int = 0) -> Family:
    return Family(name, "counter", help_text, [("", decimal(count, digits=digits))])


def _gauge(name: str, help_text: str, value: int) -> Family:
    return Family(name, "gauge", help_text, [("", str(int(value)))])


def _by(label: str, counts: Mapping[Name, int]) -> list[tuple[str, str]]:
    """Samples told apart by one label."""
    return [(labels(**{label: name}), str(count)) for name, count in counts.items()]


class AgentMetrics:
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

    def text(self) -> str:
        """The families as Prometheus reads them."""
        return render(self.families())

    def families(self) -> Iterator[Family]:
        """The families, freshly made."""
        counters = self._loop.counters
        yield _counter("flopmeter_sensor_reads_total", "Rounds of readings.", counters.reads)
        yield _counter(
            "flopmeter_sensor_read_failures_total",
            "Devices that could not be read in a round.",
            counters.read_failures,
        )
        yield _counter(
            "flopmeter_sensor_read_seconds_total",
            "Time spent in the sensor.",
            counters.read_duration_ns,
            digits=_NS_DIGITS,
        )
        yield _counter(
            "flopmeter_reports_sent_total", "Reports handed to the link.", counters.reports
        )
        yield _counter(
            "flopmeter_agent_vectors_refused_total",
            "Register vectors that the collector refused or quarantined.",
            counters.refused_vectors,
        )
        yield _counter(
            "flopmeter_second_writers_total",
            "Registers that another process writes under the same incarnation too.",
            counters.second_writers,
        )
        yield from self._memory_families()
        yield Family(
            "flopmeter_suspect_readings_total",
            "counter",
            "Readings that were doubted, by check; their time is suspect or unobserved.",
            _by("check", counters.suspects.counts),
        )
        yield _gauge(
            "flopmeter_collector_connected",
            "Whether a stream to the collector is open.",
            self._link.connected,
        )
        yield from self._claim_families()
        yield from self._allocation_families()
        yield from self._device_families()

    def _memory_families(self) -> Iterator[Family]:
        yield _counter(
            "flopmeter_journal_failures_total",
            "Times the state could not be kept; metering went on in memory.",
            self._loop.counters.journal_failures,
        )
        yield _gauge(
            "flopmeter_state_lasting",
            "Whether the state folder is on a disk that outlives host and container.",
            self._lasting,
        )
        kept = self._loop.closed_summary()
        yield _gauge(
            "flopmeter_closed_registers",
            "Final vectors of ended incarnations that are kept.",
            kept.registers,
        )
        yield _gauge(
            "flopmeter_incarnation_waiting",
            "Whether an ended incarnation finds no room: new users fold, or nothing is metered.",
            kept.waiting,
        )
        yield Family(
            "flopmeter_room_made_total",
            "counter",
            "Registers and periods that gave way for want of room, by what was done.",
            _by("step", kept.room_made),
        )

    def _claim_families(self) -> Iterator[Family]:
        counters = self._claims.counters if self._claims is not None else ClaimCounters()
        yield _counter(
            "flopmeter_claim_messages_total",
            "Messages of training processes that were taken.",
            counters.messages,
        )
        yield _counter(
            "flopmeter_claim_throttlings_total",
            "Times a training process that sent too much was not read for a while.",
            counters.throttled,
        )
        yield Family(
            "flopmeter_claims_refused_total",
            "counter",
            "Claims, messages and connections of training processes not taken, by reason.",
            _by("reason", counters.refused),
        )
        yield _gauge(
            "flopmeter_claim_registers",
            "Claim registers held.",
            len(self._claims) if self._claims is not None else 0,
        )

    def _allocation_families(self) -> Iterator[Family]:
        found = list(self._users.users.values()) if self._users is not None else []
        known = [confidence_of(allocation) for allocation in found]
        yield Family(
            "flopmeter_allocated_devices",
            "gauge",
            "Devices and MIG instances by how well it is known who uses them.",
            _by("confidence", {each: known.count(each) for each in Confidence}),
        )
        sources = self._users.counters if self._users is not None else {}
        yield Family(
            "flopmeter_allocation_source_failures_total",
            "counter",
            "Times a way of telling users apart failed, or what it read was refused.",
            _by("source", {name: counters.failures for name, counters in sources.items()}),
        )

    def _device_families(self) -> Iterator[Family]:
        vectors = self._loop.device_totals()
        yield Family(
            "flopmeter_device_seconds_total",
            "counter",
            "Time of a device by what was known of it, in this incarnation.",
            [
                (
                    labels(device=device, state=state),
                    decimal(vector[component], digits=_NS_DIGITS),
                )
                for device, vector in vectors.items()
                for state, component in _DEVICE_SECONDS.items()
            ],
        )
        yield Family(
            "flopmeter_device_tensor_sm_megacycles_total",
            "counter",
            "Tensor-active SM megacycles of a device, in this incarnation.",
            _by("device", {each: v[Component.TENSOR_MEGACYCLES] for each, v in vectors.items()}),
        )
        yield Family(
            "flopmeter_device_energy_joules_total",
            "counter",
            "Energy of a device in this incarnation.",
            [
                (labels(device=device), decimal(vector[Component.ENERGY_MJ], digits=_MJ_DIGITS))
                for device, vector in vectors.items()
            ],
        )


@contextlib.contextmanager
def serve(listen: str, page: Callable[[], str]) -> Iterator[int]:
    """Serve a page on ``host:port`` until the context ends; yields the port.

    Args:
        listen: where; port 0 takes a free one.
        page: gives the text at each scrape.

    Raises:
        UsageError: the address is malformed or in use.
    """
    host, _, port = listen.rpartition(":")
    with contextlib.ExitStack() as stack:
        try:
            address = host.strip("[]") or "127.0.0.1"
            served = stack.enter_context(serving(page, address, int(port)))
        except (ValueError, OverflowError, OSError) as error:
            raise UsageError(
                f"the agent's metrics cannot be served on {listen!r} ({error}); "
                "name a free host:port with --metrics-listen"
            ) from error
        yield served
