"""Who speaks, on the wire: the hello of an agent, and what it shows.

Owns: the spelling of an agent's hello and of display estimates.
May touch: generated messages; no socket, no clock.
Called by wire.stream, wire.known and wire.relaying.
Labels only: nothing here enters a figure but `simulated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.reports import PROTOCOL_VERSION, Hello
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import check_digits, check_text, check_version, incarnation_in

MAXIMUM_DISPLAYS = 256
"""Estimates for display of a node; of more none is read."""


def hello_out(hello: Hello) -> pb.Hello:
    """Spell an agent's hello out."""
    return pb.Hello(
        protocol_version=PROTOCOL_VERSION,
        node=hello.node,
        cluster=hello.cluster,
        agent_version=hello.agent_version,
        method_version=hello.method_version,
        incarnation=bytes.fromhex(hello.incarnation),
        boot_id=hello.boot_id,
        simulated=hello.simulated,
        sensor=hello.sensor,
        sensor_reason=hello.sensor_reason,
    )


def hello_in(hello: pb.Hello) -> Hello:
    """Read an agent's hello.

    Raises:
        WireError: an unknown protocol version, or a label that breaks the contract.
    """
    check_version(hello.protocol_version)
    return Hello(
        node=check_text(hello.node, "node"),
        incarnation=incarnation_in(hello.incarnation),
        simulated=hello.simulated,
        cluster=check_text(hello.cluster, "cluster", required=False),
        agent_version=check_text(hello.agent_version, "agent_version", required=False),
        method_version=check_text(hello.method_version, "method_version", required=False),
        boot_id=check_text(hello.boot_id, "boot_id", required=False),
        sensor=check_text(hello.sensor, "sensor", required=False),
        sensor_reason=check_text(hello.sensor_reason, "sensor_reason", required=False),
    )


def displays_out(
    message: pb.StreamReportsRequest | pb.RelayedNode, display_flop: Mapping[str, int]
) -> None:
    """Add an agent's own estimates to a message."""
    for allocation, flop in display_flop.items():
        message.display_estimates.add(allocation=allocation, compute_flop=str(flop))


def shown_in(messages: Sequence[pb.DisplayEstimate]) -> dict[str, int]:
    """Read an agent's own estimates, where they are no more than anybody remembers.

    Raises:
        WireError: as `displays_in`.
    """
    return displays_in(messages) if len(messages) <= MAXIMUM_DISPLAYS else {}


def displays_in(messages: Iterable[pb.DisplayEstimate]) -> dict[str, int]:
    """Read an agent's own estimates.

    Raises:
        WireError: an allocation that is none, or a figure that is none.
    """
    return {
        check_text(display.allocation, "allocation", limit=MAXIMUM_LENGTH): check_digits(
            display.compute_flop
        )
        for display in messages
    }
