import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_HERE: _ClassVar[Durability]
    DURABILITY_AT_ROOT: _ClassVar[Durability]
    DURABILITY_REFUSED: _ClassVar[Durability]
    DURABILITY_QUARANTINED: _ClassVar[Durability]
    DURABILITY_CONTESTED: _ClassVar[Durability]

class Evidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVIDENCE_UNSPECIFIED: _ClassVar[Evidence]
    EVIDENCE_CYCLES: _ClassVar[Evidence]
    EVIDENCE_GPM: _ClassVar[Evidence]
    EVIDENCE_DCGM_SAMPLED: _ClassVar[Evidence]
    EVIDENCE_ENERGY: _ClassVar[Evidence]
    EVIDENCE_POWER_SAMPLED: _ClassVar[Evidence]
    EVIDENCE_BUSY_SAMPLED: _ClassVar[Evidence]
    EVIDENCE_ALLOCATION: _ClassVar[Evidence]

class EnergyScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_SCOPE_UNSPECIFIED: _ClassVar[EnergyScope]
    ENERGY_SCOPE_GPU: _ClassVar[EnergyScope]
    ENERGY_SCOPE_MODULE: _ClassVar[EnergyScope]
    ENERGY_SCOPE_NODE: _ClassVar[EnergyScope]

class ClaimQuantity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLAIM_QUANTITY_UNSPECIFIED: _ClassVar[ClaimQuantity]
    CLAIM_QUANTITY_MODEL: _ClassVar[ClaimQuantity]
    CLAIM_QUANTITY_EXECUTED: _ClassVar[ClaimQuantity]

class ClaimScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLAIM_SCOPE_UNSPECIFIED: _ClassVar[ClaimScope]
    CLAIM_SCOPE_GLOBAL: _ClassVar[ClaimScope]
    CLAIM_SCOPE_RANK: _ClassVar[ClaimScope]
DURABILITY_UNSPECIFIED: Durability
DURABILITY_HERE: Durability
DURABILITY_AT_ROOT: Durability
DURABILITY_REFUSED: Durability
DURABILITY_QUARANTINED: Durability
DURABILITY_CONTESTED: Durability
EVIDENCE_UNSPECIFIED: Evidence
EVIDENCE_CYCLES: Evidence
EVIDENCE_GPM: Evidence
EVIDENCE_DCGM_SAMPLED: Evidence
EVIDENCE_ENERGY: Evidence
EVIDENCE_POWER_SAMPLED: Evidence
EVIDENCE_BUSY_SAMPLED: Evidence
EVIDENCE_ALLOCATION: Evidence
ENERGY_SCOPE_UNSPECIFIED: EnergyScope
ENERGY_SCOPE_GPU: EnergyScope
ENERGY_SCOPE_MODULE: EnergyScope
ENERGY_SCOPE_NODE: EnergyScope
CLAIM_QUANTITY_UNSPECIFIED: ClaimQuantity
CLAIM_QUANTITY_MODEL: ClaimQuantity
CLAIM_QUANTITY_EXECUTED: ClaimQuantity
CLAIM_SCOPE_UNSPECIFIED: ClaimScope
CLAIM_SCOPE_GLOBAL: ClaimScope
CLAIM_SCOPE_RANK: ClaimScope

class Hello(_message.Message):
    __slots__ = ("protocol_version", "node", "cluster", "agent_version", "method_version", "incarnation", "boot_id", "simulated", "sensor", "sensor_reason")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    METHOD_VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    SENSOR_FIELD_NUMBER: _ClassVar[int]
    SENSOR_REASON_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    node: str
    cluster: str
    agent_version: str
    method_version: str
    incarnation: bytes
    boot_id: str
    simulated: bool
    sensor: str
    sensor_reason: str
    def __init__(self, protocol_version: _Optional[int] = ..., node: _Optional[str] = ..., cluster: _Optional[str] = ..., agent_version: _Optional[str] = ..., method_version: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., boot_id: _Optional[str] = ..., simulated: _Optional[bool] = ..., sensor: _Optional[str] = ..., sensor_reason: _Optional[str] = ...) -> None: ...

class DeviceRecord(_message.Message):
    __slots__ = ("record_number", "node", "device", "vendor", "product_name", "pci_device_id", "part", "sm_count", "max_sm_clock_mhz", "memory_mib", "driver_version", "device_count", "energy_scope", "tensor_classes", "simulated")
    RECORD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    VENDOR_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_NAME_FIELD_NUMBER: _ClassVar[int]
    PCI_DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    SM_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_SM_CLOCK_MHZ_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MIB_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ENERGY_SCOPE_FIELD_NUMBER: _ClassVar[int]
    TENSOR_CLASSES_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    record_number: int
    node: str
    device: str
    vendor: str
    product_name: str
    pci_device_id: int
    part: str
    sm_count: int
    max_sm_clock_mhz: int
    memory_mib: int
    driver_version: str
    device_count: int
    energy_scope: EnergyScope
    tensor_classes: bool
    simulated: bool
    def __init__(self, record_number: _Optional[int] = ..., node: _Optional[str] = ..., device: _Optional[str] = ..., vendor: _Optional[str] = ..., product_name: _Optional[str] = ..., pci_device_id: _Optional[int] = ..., part: _Optional[str] = ..., sm_count: _Optional[int] = ..., max_sm_clock_mhz: _Optional[int] = ..., memory_mib: _Optional[int] = ..., driver_version: _Optional[str] = ..., device_count: _Optional[int] = ..., energy_scope: _Optional[_Union[EnergyScope, str]] = ..., tensor_classes: _Optional[bool] = ..., simulated: _Optional[bool] = ...) -> None: ...

class KeyDescriptor(_message.Message):
    __slots__ = ("key_number", "record_number", "incarnation", "allocation", "phase", "evidence")
    KEY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RECORD_NUMBER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    key_number: int
    record_number: int
    incarnation: bytes
    allocation: str
    phase: int
    evidence: Evidence
    def __init__(self, key_number: _Optional[int] = ..., record_number: _Optional[int] = ..., incarnation: _Optional[bytes] = ..., allocation: _Optional[str] = ..., phase: _Optional[int] = ..., evidence: _Optional[_Union[Evidence, str]] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("key_number", "sequence", "component_values", "boot_duration_ns", "follows_fingerprints")
    KEY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_VALUES_FIELD_NUMBER: _ClassVar[int]
    BOOT_DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FINGERPRINTS_FIELD_NUMBER: _ClassVar[int]
    key_number: int
    sequence: int
    component_values: _containers.RepeatedScalarFieldContainer[int]
    boot_duration_ns: int
    follows_fingerprints: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key_number: _Optional[int] = ..., sequence: _Optional[int] = ..., component_values: _Optional[_Iterable[int]] = ..., boot_duration_ns: _Optional[int] = ..., follows_fingerprints: _Optional[_Iterable[int]] = ...) -> None: ...

class HourlyVector(_message.Message):
    __slots__ = ("key_number", "sequence", "component_values", "first_hour", "boot_duration", "observe_time")
    KEY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_VALUES_FIELD_NUMBER: _ClassVar[int]
    FIRST_HOUR_FIELD_NUMBER: _ClassVar[int]
    BOOT_DURATION_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    key_number: int
    sequence: int
    component_values: _containers.RepeatedScalarFieldContainer[int]
    first_hour: int
    boot_duration: _duration_pb2.Duration
    observe_time: _timestamp_pb2.Timestamp
    def __init__(self, key_number: _Optional[int] = ..., sequence: _Optional[int] = ..., component_values: _Optional[_Iterable[int]] = ..., first_hour: _Optional[int] = ..., boot_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DisplayEstimate(_message.Message):
    __slots__ = ("allocation", "compute_flop")
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FLOP_FIELD_NUMBER: _ClassVar[int]
    allocation: str
    compute_flop: str
    def __init__(self, allocation: _Optional[str] = ..., compute_flop: _Optional[str] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("claim_number", "sequence", "run", "attempt", "scope", "rank", "writer", "pass_number", "first_step", "model", "format_mix", "activity", "last_step", "step_count", "token_count", "compute_flop", "quantity")
    CLAIM_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    PASS_NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_MIX_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    STEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FLOP_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    claim_number: int
    sequence: int
    run: str
    attempt: str
    scope: ClaimScope
    rank: int
    writer: bytes
    pass_number: int
    first_step: int
    model: str
    format_mix: str
    activity: str
    last_step: int
    step_count: int
    token_count: int
    compute_flop: str
    quantity: ClaimQuantity
    def __init__(self, claim_number: _Optional[int] = ..., sequence: _Optional[int] = ..., run: _Optional[str] = ..., attempt: _Optional[str] = ..., scope: _Optional[_Union[ClaimScope, str]] = ..., rank: _Optional[int] = ..., writer: _Optional[bytes] = ..., pass_number: _Optional[int] = ..., first_step: _Optional[int] = ..., model: _Optional[str] = ..., format_mix: _Optional[str] = ..., activity: _Optional[str] = ..., last_step: _Optional[int] = ..., step_count: _Optional[int] = ..., token_count: _Optional[int] = ..., compute_flop: _Optional[str] = ..., quantity: _Optional[_Union[ClaimQuantity, str]] = ...) -> None: ...

class StreamReportsRequest(_message.Message):
    __slots__ = ("hello", "device_records", "keys", "vectors", "display_estimates", "observe_time", "boot_duration", "claims", "hourly_vectors")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    DEVICE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    BOOT_DURATION_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_VECTORS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    device_records: _containers.RepeatedCompositeFieldContainer[DeviceRecord]
    keys: _containers.RepeatedCompositeFieldContainer[KeyDescriptor]
    vectors: _containers.RepeatedCompositeFieldContainer[Vector]
    display_estimates: _containers.RepeatedCompositeFieldContainer[DisplayEstimate]
    observe_time: _timestamp_pb2.Timestamp
    boot_duration: _duration_pb2.Duration
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    hourly_vectors: _containers.RepeatedCompositeFieldContainer[HourlyVector]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., device_records: _Optional[_Iterable[_Union[DeviceRecord, _Mapping]]] = ..., keys: _Optional[_Iterable[_Union[KeyDescriptor, _Mapping]]] = ..., vectors: _Optional[_Iterable[_Union[Vector, _Mapping]]] = ..., display_estimates: _Optional[_Iterable[_Union[DisplayEstimate, _Mapping]]] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., boot_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ..., hourly_vectors: _Optional[_Iterable[_Union[HourlyVector, _Mapping]]] = ...) -> None: ...

class ClaimAcknowledgement(_message.Message):
    __slots__ = ("claim_number", "sequence", "durability", "reason")
    CLAIM_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    claim_number: int
    sequence: int
    durability: Durability
    reason: str
    def __init__(self, claim_number: _Optional[int] = ..., sequence: _Optional[int] = ..., durability: _Optional[_Union[Durability, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("key_number", "sequence", "durability", "reason", "held_sequence", "held_fingerprint")
    KEY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HELD_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    key_number: int
    sequence: int
    durability: Durability
    reason: str
    held_sequence: int
    held_fingerprint: int
    def __init__(self, key_number: _Optional[int] = ..., sequence: _Optional[int] = ..., durability: _Optional[_Union[Durability, str]] = ..., reason: _Optional[str] = ..., held_sequence: _Optional[int] = ..., held_fingerprint: _Optional[int] = ...) -> None: ...

class Doubt(_message.Message):
    __slots__ = ("node", "key_digest", "held_sequence", "held_fingerprint")
    NODE_FIELD_NUMBER: _ClassVar[int]
    KEY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HELD_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    node: str
    key_digest: bytes
    held_sequence: int
    held_fingerprint: int
    def __init__(self, node: _Optional[str] = ..., key_digest: _Optional[bytes] = ..., held_sequence: _Optional[int] = ..., held_fingerprint: _Optional[int] = ...) -> None: ...

class HourlyAcknowledgement(_message.Message):
    __slots__ = ("key_number", "hour", "sequence", "durability", "reason")
    KEY_NUMBER_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key_number: int
    hour: int
    sequence: int
    durability: Durability
    reason: str
    def __init__(self, key_number: _Optional[int] = ..., hour: _Optional[int] = ..., sequence: _Optional[int] = ..., durability: _Optional[_Union[Durability, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StreamReportsResponse(_message.Message):
    __slots__ = ("acknowledgements", "ledger_id", "ledger_generation", "commit_number", "claim_acknowledgements", "hourly_acknowledgements", "fold_users", "doubts")
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_ID_FIELD_NUMBER: _ClassVar[int]
    LEDGER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    FOLD_USERS_FIELD_NUMBER: _ClassVar[int]
    DOUBTS_FIELD_NUMBER: _ClassVar[int]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    ledger_id: str
    ledger_generation: int
    commit_number: int
    claim_acknowledgements: _containers.RepeatedCompositeFieldContainer[ClaimAcknowledgement]
    hourly_acknowledgements: _containers.RepeatedCompositeFieldContainer[HourlyAcknowledgement]
    fold_users: bool
    doubts: _containers.RepeatedCompositeFieldContainer[Doubt]
    def __init__(self, acknowledgements: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., ledger_id: _Optional[str] = ..., ledger_generation: _Optional[int] = ..., commit_number: _Optional[int] = ..., claim_acknowledgements: _Optional[_Iterable[_Union[ClaimAcknowledgement, _Mapping]]] = ..., hourly_acknowledgements: _Optional[_Iterable[_Union[HourlyAcknowledgement, _Mapping]]] = ..., fold_users: _Optional[bool] = ..., doubts: _Optional[_Iterable[_Union[Doubt, _Mapping]]] = ...) -> None: ...

class SubmitBatchRequest(_message.Message):
    __slots__ = ("protocol_version", "relay", "request_id", "simulated", "device_records", "keys", "sequences", "boot_duration_ns", "columns")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    BOOT_DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    relay: str
    request_id: str
    simulated: bool
    device_records: _containers.RepeatedCompositeFieldContainer[DeviceRecord]
    keys: _containers.RepeatedCompositeFieldContainer[KeyDescriptor]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    boot_duration_ns: _containers.RepeatedScalarFieldContainer[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, protocol_version: _Optional[int] = ..., relay: _Optional[str] = ..., request_id: _Optional[str] = ..., simulated: _Optional[bool] = ..., device_records: _Optional[_Iterable[_Union[DeviceRecord, _Mapping]]] = ..., keys: _Optional[_Iterable[_Union[KeyDescriptor, _Mapping]]] = ..., sequences: _Optional[_Iterable[int]] = ..., boot_duration_ns: _Optional[_Iterable[int]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("component_values",)
    COMPONENT_VALUES_FIELD_NUMBER: _ClassVar[int]
    component_values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, component_values: _Optional[_Iterable[int]] = ...) -> None: ...

class SubmitBatchResponse(_message.Message):
    __slots__ = ("acknowledgements", "ledger_id", "ledger_generation", "commit_number")
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_ID_FIELD_NUMBER: _ClassVar[int]
    LEDGER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    ledger_id: str
    ledger_generation: int
    commit_number: int
    def __init__(self, acknowledgements: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., ledger_id: _Optional[str] = ..., ledger_generation: _Optional[int] = ..., commit_number: _Optional[int] = ...) -> None: ...

class RelayHello(_message.Message):
    __slots__ = ("protocol_version", "relay", "relay_version", "simulated")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RELAY_FIELD_NUMBER: _ClassVar[int]
    RELAY_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    relay: str
    relay_version: str
    simulated: bool
    def __init__(self, protocol_version: _Optional[int] = ..., relay: _Optional[str] = ..., relay_version: _Optional[str] = ..., simulated: _Optional[bool] = ...) -> None: ...

class RelayedNode(_message.Message):
    __slots__ = ("hello", "silent_duration", "display_estimates")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SILENT_DURATION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    silent_duration: _duration_pb2.Duration
    display_estimates: _containers.RepeatedCompositeFieldContainer[DisplayEstimate]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., silent_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., display_estimates: _Optional[_Iterable[_Union[DisplayEstimate, _Mapping]]] = ...) -> None: ...

class StreamBatchesRequest(_message.Message):
    __slots__ = ("hello", "ledger_ids", "device_records", "keys", "key_numbers", "sequences", "columns", "hourly_vectors", "claims", "nodes", "boot_duration_ns", "doubts")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LEDGER_IDS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    KEY_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_VECTORS_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    BOOT_DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    DOUBTS_FIELD_NUMBER: _ClassVar[int]
    hello: RelayHello
    ledger_ids: _containers.RepeatedScalarFieldContainer[str]
    device_records: _containers.RepeatedCompositeFieldContainer[DeviceRecord]
    keys: _containers.RepeatedCompositeFieldContainer[KeyDescriptor]
    key_numbers: _containers.RepeatedScalarFieldContainer[int]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    hourly_vectors: _containers.RepeatedCompositeFieldContainer[HourlyVector]
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    nodes: _containers.RepeatedCompositeFieldContainer[RelayedNode]
    boot_duration_ns: _containers.RepeatedScalarFieldContainer[int]
    doubts: _containers.RepeatedCompositeFieldContainer[Doubt]
    def __init__(self, hello: _Optional[_Union[RelayHello, _Mapping]] = ..., ledger_ids: _Optional[_Iterable[str]] = ..., device_records: _Optional[_Iterable[_Union[DeviceRecord, _Mapping]]] = ..., keys: _Optional[_Iterable[_Union[KeyDescriptor, _Mapping]]] = ..., key_numbers: _Optional[_Iterable[int]] = ..., sequences: _Optional[_Iterable[int]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., hourly_vectors: _Optional[_Iterable[_Union[HourlyVector, _Mapping]]] = ..., claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[RelayedNode, _Mapping]]] = ..., boot_duration_ns: _Optional[_Iterable[int]] = ..., doubts: _Optional[_Iterable[_Union[Doubt, _Mapping]]] = ...) -> None: ...

class StreamBatchesResponse(_message.Message):
    __slots__ = ("key_numbers", "sequences", "durabilities", "refusals", "ledger_id", "ledger_generation", "commit_number", "claim_acknowledgements", "hourly_acknowledgements", "beside", "doubts")
    KEY_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    DURABILITIES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_ID_FIELD_NUMBER: _ClassVar[int]
    LEDGER_GENERATION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLAIM_ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    DOUBTS_FIELD_NUMBER: _ClassVar[int]
    key_numbers: _containers.RepeatedScalarFieldContainer[int]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    durabilities: _containers.RepeatedScalarFieldContainer[Durability]
    refusals: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    ledger_id: str
    ledger_generation: int
    commit_number: int
    claim_acknowledgements: _containers.RepeatedCompositeFieldContainer[ClaimAcknowledgement]
    hourly_acknowledgements: _containers.RepeatedCompositeFieldContainer[HourlyAcknowledgement]
    beside: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    doubts: _containers.RepeatedCompositeFieldContainer[Doubt]
    def __init__(self, key_numbers: _Optional[_Iterable[int]] = ..., sequences: _Optional[_Iterable[int]] = ..., durabilities: _Optional[_Iterable[_Union[Durability, str]]] = ..., refusals: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., ledger_id: _Optional[str] = ..., ledger_generation: _Optional[int] = ..., commit_number: _Optional[int] = ..., claim_acknowledgements: _Optional[_Iterable[_Union[ClaimAcknowledgement, _Mapping]]] = ..., hourly_acknowledgements: _Optional[_Iterable[_Union[HourlyAcknowledgement, _Mapping]]] = ..., beside: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., doubts: _Optional[_Iterable[_Union[Doubt, _Mapping]]] = ...) -> None: ...
