"""What relays and collectors say to each other, free of any encoding.

Owns: a relay's messages as plain values: hello, batch, what it knows of a node.
May touch: nothing; pure data.
Called by the collector, which forwards and takes them, and wire, which translates.
The answers are those of reports. Explained in docs/relays.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from flopmeter_core.claims import Claim
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.reports import Doubt, Hello, HourlyVector, KeyedVector
from flopmeter_core.values import value_class

MAXIMUM_VECTORS_PER_BATCH = 1_600
"""Vectors in one batch: 200 nodes of 8 devices; with everything stated anew about 0.6 MB."""


@value_class(frozen=True, slots=True)
class RelayHello:
    """Which collector forwards on a stream.

    Attributes:
        relay: its name, a label.
        simulated: whether its ledger keeps simulated readings.
        version: of its software, a label.
        ledger_ids: its ledger and every ledger it forwards for: who finds its own among them
            stands below itself.
    """

    relay: str
    simulated: bool
    version: str = ""
    ledger_ids: tuple[str, ...] = ()


@value_class(frozen=True, slots=True)
class RelayedNode:
    """What a relay knows of a node's agent: labels, nothing here enters a figure.

    Attributes:
        hello: what the agent said of itself.
        silent_ns: time since its last report at the collector it reports to, in ns.
        display_flop: its own best estimate by allocation, for display only.
    """

    hello: Hello
    silent_ns: int
    display_flop: Mapping[str, int] = field(default_factory=dict)


@value_class(frozen=True, slots=True)
class RelayBatch:
    """What a relay forwards at a time; like a report it may be lost, repeated or late.

    Attributes:
        ledger_ids: as in the hello, where they are others than before; else empty.
        records: the device records the keys refer to, by record id.
        vectors: newest vectors; of a forked key every branch.
        hours: vectors at the ends of hours, none ahead of its key's newest vector.
        claims: newest claims.
        nodes: the nodes that reported since the last batch.
        doubts: what this relay's agents brought, and may be somebody else's than what it held.
    """

    ledger_ids: tuple[str, ...]
    records: Mapping[str, DeviceRecord]
    vectors: tuple[KeyedVector, ...] = ()
    hours: tuple[HourlyVector, ...] = ()
    claims: tuple[Claim, ...] = ()
    nodes: tuple[RelayedNode, ...] = ()
    doubts: tuple[Doubt, ...] = ()
