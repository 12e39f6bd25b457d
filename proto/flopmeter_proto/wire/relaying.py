"""Who relays, on the wire: the hello of a relay, and what it knows of its nodes.

Owns: the spelling of a relay's hello and of a relayed node.
May touch: generated messages; no socket, no clock.
Called by wire.batch. Labels only: nothing here enters a figure but `simulated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flopmeter_core.batches import RelayedNode, RelayHello
from flopmeter_core.errors import WireError
from flopmeter_core.reports import PROTOCOL_VERSION
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.hello import displays_out, hello_in, hello_out, shown_in
from flopmeter_proto.wire.values import check_text, check_version

MAXIMUM_NODES_PER_BATCH = 2_000
"""Nodes told of in one message, each at most about 2 KB with its labels."""

MAXIMUM_LEDGERS_BELOW = 10_000
"""Ledgers a relay may forward for: one a site, with room for a tree of them."""


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
