"""The only translator between wire messages and the plain values of core.

Owns: the public names of this package: what travels on a stream of reports or of batches, and every
limit on what may come in.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side).
Everything received is checked here for shape and size; what a value may be on its content is
the collector's `admit`. Limits: docs/wire.md, docs/adr/0005-delivery-and-durability.md.
"""

from flopmeter_core.reports import MAXIMUM_VECTORS_PER_BATCH
from flopmeter_proto.wire.batch import (
    MAXIMUM_KEYS_PER_RELAY,
    MAXIMUM_RECORDS_PER_RELAY,
    BatchMessage,
    BatchReader,
    BatchWriter,
)
from flopmeter_proto.wire.claims import DURABILITIES, MAXIMUM_CLAIMS_PER_MESSAGE
from flopmeter_proto.wire.columns import KnownBatch
from flopmeter_proto.wire.doubts import spelled_doubts
from flopmeter_proto.wire.hello import (
    MAXIMUM_DISPLAYS,
    MAXIMUM_LEDGERS_BELOW,
    MAXIMUM_NODES_PER_BATCH,
)
from flopmeter_proto.wire.hours import MAXIMUM_HOURS_PER_MESSAGE
from flopmeter_proto.wire.known import KnownReader, KnownReport, known_answer, known_report
from flopmeter_proto.wire.numbering import MAXIMUM_KEYS_PER_STREAM, MAXIMUM_RECORDS_PER_STREAM
from flopmeter_proto.wire.parsing import (
    MAXIMUM_PARTS_PER_MESSAGE,
    is_many,
    parse_batches,
    parse_long_batches,
    parse_long_reports,
    parse_long_submitted,
    parse_reports,
    parse_submitted,
)
from flopmeter_proto.wire.stream import MAXIMUM_FOLLOWED, StreamReader, StreamWriter
from flopmeter_proto.wire.submitted import answer_submitted, read_submitted
from flopmeter_proto.wire.values import (
    INCARNATION_BYTES,
    MAXIMUM_COMPONENTS,
    MAXIMUM_DEVICES_PER_NODE,
    MAXIMUM_MESSAGE_BYTES,
    MAXIMUM_TEXT_LENGTH,
    check_values,
    check_version,
)

__all__ = [
    "DURABILITIES",
    "INCARNATION_BYTES",
    "MAXIMUM_CLAIMS_PER_MESSAGE",
    "MAXIMUM_COMPONENTS",
    "MAXIMUM_DEVICES_PER_NODE",
    "MAXIMUM_DISPLAYS",
    "MAXIMUM_FOLLOWED",
    "MAXIMUM_HOURS_PER_MESSAGE",
    "MAXIMUM_KEYS_PER_RELAY",
    "MAXIMUM_KEYS_PER_STREAM",
    "MAXIMUM_LEDGERS_BELOW",
    "MAXIMUM_MESSAGE_BYTES",
    "MAXIMUM_NODES_PER_BATCH",
    "MAXIMUM_PARTS_PER_MESSAGE",
    "MAXIMUM_RECORDS_PER_RELAY",
    "MAXIMUM_RECORDS_PER_STREAM",
    "MAXIMUM_TEXT_LENGTH",
    "MAXIMUM_VECTORS_PER_BATCH",
    "BatchMessage",
    "BatchReader",
    "BatchWriter",
    "KnownBatch",
    "KnownReader",
    "KnownReport",
    "StreamReader",
    "StreamWriter",
    "answer_submitted",
    "check_values",
    "check_version",
    "is_many",
    "known_answer",
    "known_report",
    "parse_batches",
    "parse_long_batches",
    "parse_long_reports",
    "parse_long_submitted",
    "parse_reports",
    "parse_submitted",
    "read_submitted",
    "spelled_doubts",
]
