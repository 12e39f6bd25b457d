"""Who speaks, on the wire: the hello of an agent and of a relay, and the nodes of a relay.

Owns: the spelling of both hellos, of a relayed node and of display estimates.
May touch: generated messages; no socket, no clock.
Called by wire.stream and wire.batch. Labels only: nothing here enters a figure but `simulated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.errors import WireError
from flopmeter_core.reports import PROTOCOL_VERSION, Hello, RelayedNode, RelayHello
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import check_digits, check_text, check_version, incarnation_in

MAXIMUM_DISPLAYS = 256
"""Estimates for display of a node; of more none is read."""

MAXIMUM_NODES_PER_BATCH = 2_000
"""Nodes told of in one message, each at most about 2 KB with its labels."""

MAXIMUM_LEDGERS_BELOW = 10_000
"""Ledgers a relay may forward for: one a site, with room for a tree of them."""


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


def relay_hello_out(hello: RelayHello) -> pb.RelayHello:
    """Spell a relay's hello out."""
    return pb.RelayHello(
        protocol_version=PROTOCOL_VERSION,
        relay=hello.relay,
        relay_version=hello.version,
        simulated=hello.simulated,
    )


def ledgers_in(message: pb.StreamBatchesRequest) -> tuple[str, ...]:
    """The ledgers a relay says it forwards for.

    Raises:
        WireError: too many, or an identity that is none.
    """
    if len(message.ledger_ids) > MAXIMUM_LEDGERS_BELOW:
        raise WireError(f"more than {MAXIMUM_LEDGERS_BELOW} ledgers below one relay")
    return tuple(check_text(text, "ledger_id") for text in message.ledger_ids)


def relay_hello_in(message: pb.StreamBatchesRequest) -> RelayHello:
    """Read a relay's hello.

    Raises:
        WireError: as `hello_in`.
    """
    hello = message.hello
    check_version(hello.protocol_version)
    return RelayHello(
        relay=check_text(hello.relay, "relay"),
        simulated=hello.simulated,
        version=check_text(hello.relay_version, "relay_version", required=False),
        ledger_ids=ledgers_in(message),
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


def nodes_out(message: pb.StreamBatchesRequest, nodes: Iterable[RelayedNode]) -> None:
    """Add what a relay knows of nodes to a message."""
    for node in nodes:
        added = message.nodes.add(hello=hello_out(node.hello))
        added.silent_duration.FromNanoseconds(node.silent_ns)
        displays_out(added, node.display_flop)


def nodes_in(messages: Sequence[pb.RelayedNode]) -> tuple[RelayedNode, ...]:
    """Read what a relay knows of nodes.

    Raises:
        WireError: too many, or a label that breaks the contract.
    """
    if len(messages) > MAXIMUM_NODES_PER_BATCH:
        raise WireError(f"more than {MAXIMUM_NODES_PER_BATCH} nodes in one message")
    return tuple(
        RelayedNode(
            hello=hello_in(node.hello),
            silent_ns=max(0, node.silent_duration.ToNanoseconds()),
            display_flop=shown_in(node.display_estimates),
        )
        for node in messages
    )
