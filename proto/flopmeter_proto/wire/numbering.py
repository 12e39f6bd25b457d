"""Numbers that stand for keys and device records on one stream.

Owns: both sides' tables: what was stated under which number, and how much may be stated at all.
May touch: generated messages; no socket, no clock.
Called by the other modules of this package. Each key and record is spelled out once a stream: a
report is then mostly numbers, and the receiver builds no text twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import WireError
from flopmeter_core.registers import Key
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import (
    check_number,
    check_text,
    evidence_in,
    incarnation_in,
    key_out,
    paused,
    record_in,
    record_out,
)

MAXIMUM_KEYS_PER_STREAM = 100_000
MAXIMUM_RECORDS_PER_STREAM = 10_000


@dataclass
class SentNumbers:
    """The sending side: gives numbers, and says which key a number was given to."""

    _keys: dict[Key, int] = field(default_factory=dict)
    _keys_back: list[Key] = field(default_factory=list)
    _records: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many keys were stated."""
        return len(self._keys_back)

    def number(
        self,
        message: pb.StreamReportsRequest | pb.StreamBatchesRequest,
        key: Key,
        records: Mapping[str, DeviceRecord],
    ) -> int:
        """The number of a key; the message states it, and its record, where that is new.

        Args:
            message: the message that will hold the number.
            key: the key.
            records: device records by id; that of the key is among them.
        """
        number = self._keys.get(key)
        return self._state(message, key, records[key.record]) if number is None else number

    def key(self, number: int) -> Key:
        """The key a number was given to.

        Raises:
            WireError: the number was never given.
        """
        if not 0 <= number < len(self._keys_back):
            raise WireError(f"the collector acknowledged key {number}, never sent")
        return self._keys_back[number]

    def _state(
        self,
        message: pb.StreamReportsRequest | pb.StreamBatchesRequest,
        key: Key,
        record: DeviceRecord,
    ) -> int:
        record_number = self._records.get(key.record)
        if record_number is None:
            record_number = self._records[key.record] = len(self._records)
            message.device_records.append(record_out(record, record_number))
        number = len(self._keys_back)
        self._keys[key] = number
        self._keys_back.append(key)
        message.keys.append(key_out(key, number, record_number))
        return number


@dataclass
class StatedNumbers:
    """The receiving side: what the sender stated, and the limit on it.

    Attributes:
        maximum_keys, maximum_records: more on one stream are refused.
    """

    maximum_keys: int = MAXIMUM_KEYS_PER_STREAM
    maximum_records: int = MAXIMUM_RECORDS_PER_STREAM
    _keys: dict[int, Key] = field(default_factory=dict)
    _numbers: dict[Key, int] = field(default_factory=dict)
    _records: dict[int, DeviceRecord] = field(default_factory=dict)
    _records_by_id: dict[str, DeviceRecord] = field(default_factory=dict)

    def take(
        self,
        records: Iterable[pb.DeviceRecord],
        keys: Iterable[pb.KeyDescriptor],
        pause: Callable[[], None] | None = None,
    ) -> None:
        """Take what a message states.

        Args:
            records: the device records.
            keys: the keys.
            pause: called after each of them, where they may be many.

        Raises:
            WireError: too many, a number stated twice for different things, or a field that
                breaks the contract.
        """
        self._take_records(paused(records, pause))
        self._take_keys(paused(keys, pause))

    def key(self, number: int) -> Key:
        """The key a number stands for on this stream.

        Raises:
            WireError: the number was never stated.
        """
        try:
            return self._keys[number]
        except KeyError:
            raise WireError(f"key number {number} was never stated on this stream") from None

    def has(self, numbers: Iterable[int]) -> bool:
        """Whether every one of these numbers was stated."""
        return self._keys.keys() >= set(numbers)

    def number(self, key: Key) -> int:
        """The number of a key that was stated.

        Raises:
            KeyError: it was not.
        """
        return self._numbers[key]

    def records(self, used: Iterable[str]) -> dict[str, DeviceRecord]:
        """The stated records of these ids."""
        return {record_id: self._records_by_id[record_id] for record_id in used}

    def _take_records(self, records: Iterable[pb.DeviceRecord]) -> None:
        for message in records:
            if len(self._records) >= self.maximum_records:
                raise WireError(f"more than {self.maximum_records} device records")
            record = record_in(message)
            if self._records.setdefault(message.record_number, record) != record:
                raise WireError(
                    f"device record {message.record_number} was stated before as another"
                )
            self._records_by_id[record.record_id] = record

    def _take_keys(self, keys: Iterable[pb.KeyDescriptor]) -> None:
        for message in keys:
            if len(self._keys) >= self.maximum_keys:
                raise WireError(f"more than {self.maximum_keys} keys on one stream")
            record = self._records.get(message.record_number)
            if record is None:
                raise WireError(f"device record {message.record_number} was never stated")
            key = Key(
                device=record.device,
                incarnation=incarnation_in(message.incarnation),
                allocation=check_text(message.allocation, "allocation", limit=MAXIMUM_LENGTH),
                phase=check_number(message.phase, "phase"),
                evidence=evidence_in(message.evidence),
                record=record.record_id,
            )
            if self._keys.setdefault(message.key_number, key) != key:
                raise WireError(f"key number {message.key_number} was stated before as another")
            if self._numbers.setdefault(key, message.key_number) != message.key_number:
                raise WireError(f"key number {message.key_number} states a key that has another")
