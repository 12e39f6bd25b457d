"""A batch in a call of its own: its rows, and the answer to them.

Owns: the spelling of SubmitBatch, which spells every key out each time.
May touch: generated messages; no socket, no clock.
Called by the collector's service; relays use the stream of batches instead. See docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from flopmeter_core.errors import WireError
from flopmeter_core.registers import Key
from flopmeter_core.reports import Durability, LedgerPosition, Report
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import DURABILITIES
from flopmeter_proto.wire.stream import StreamReader


def read_submitted(batch: pb.SubmitBatchRequest) -> Report:
    """Read a batch as if its rows had come on a stream, so that the same code checks them.

    Args:
        batch: columns, and each key spelled out.

    Raises:
        WireError: columns that do not fit together, or as `StreamReader.report`.
    """
    count = len(batch.keys)
    lengths = {len(column.component_values) for column in batch.columns}
    lengths |= {len(batch.sequences), len(batch.boot_duration_ns)}
    if lengths != {count}:
        raise WireError(f"every column of a batch must have one entry for each of its {count} keys")
    if not batch.columns:
        raise WireError("a batch must have at least one column")
    if len({key.key_number for key in batch.keys}) != count:
        raise WireError("a key number stands twice in the batch")
    message = pb.StreamReportsRequest(device_records=batch.device_records, keys=batch.keys)
    rows = zip(*(column.component_values for column in batch.columns), strict=True)
    for key, sequence, row in zip(batch.keys, batch.sequences, rows, strict=True):
        message.vectors.add(key_number=key.key_number, sequence=sequence, component_values=row)
    if any(boot_ns < 0 for boot_ns in batch.boot_duration_ns):
        raise WireError("a boot_duration_ns of the batch is negative")
    return StreamReader().report(message)


def answer_submitted(
    batch: pb.SubmitBatchRequest,
    report: Report,
    refused: Mapping[Key, str],
    quarantined: Mapping[Key, str],
    position: LedgerPosition,
    durable: Durability,
) -> pb.SubmitBatchResponse:
    """Answer every row of a batch whose accepted vectors are committed.

    Args:
        batch: the batch.
        report: what `read_submitted` made of it.
        refused: why each refused key's vector was not taken.
        quarantined: why each quarantined key's vector cannot be true.
        position: where the ledger stands after the commit.
        durable: how durable the accepted ones are.
    """
    response = pb.SubmitBatchResponse(
        ledger_id=position.ledger_id,
        ledger_generation=position.generation,
        commit_number=position.commit_number,
    )
    for key, keyed in zip(batch.keys, report.vectors, strict=True):
        durability = DURABILITIES[durable]
        if keyed.key in refused:
            durability = pb.DURABILITY_REFUSED
        elif keyed.key in quarantined:
            durability = pb.DURABILITY_QUARANTINED
        response.acknowledgements.add(
            key_number=key.key_number,
            sequence=keyed.sequence,
            durability=durability,
            reason=refused.get(keyed.key) or quarantined.get(keyed.key, ""),
        )
    return response
