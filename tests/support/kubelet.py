"""A kubelet's pod-resources socket for tests, in the words of the published API.

Owns: a gRPC server on a Unix socket whose messages are described here a second time, under the
kubelet's own package `v1`, so that a wrong number in our file is found.
May touch: the socket's file.
Called by tests of Kubernetes allocations.

Source of names and numbers: kubernetes.io, "Device Plugins", "Monitoring device plugin resources".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_NUMBER = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_ONE = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_MANY = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

_MESSAGES: dict[str, Sequence[tuple[str, int, int, int, str]]] = {
    "ListPodResourcesRequest": (),
    "ListPodResourcesResponse": (("pod_resources", 1, _MESSAGE, _MANY, "PodResources"),),
    "PodResources": (
        ("name", 1, _TEXT, _ONE, ""),
        ("namespace", 2, _TEXT, _ONE, ""),
        ("containers", 3, _MESSAGE, _MANY, "ContainerResources"),
    ),
    "ContainerResources": (
        ("name", 1, _TEXT, _ONE, ""),
        ("devices", 2, _MESSAGE, _MANY, "ContainerDevices"),
        ("cpu_ids", 3, _NUMBER, _MANY, ""),
        ("dynamic_resources", 5, _MESSAGE, _MANY, "DynamicResource"),
    ),
    "ContainerDevices": (
        ("resource_name", 1, _TEXT, _ONE, ""),
        ("device_ids", 2, _TEXT, _MANY, ""),
    ),
    "DynamicResource": (
        ("claim_name", 2, _TEXT, _ONE, ""),
        ("claim_namespace", 3, _TEXT, _ONE, ""),
        ("claim_resources", 4, _MESSAGE, _MANY, "ClaimResource"),
    ),
    "ClaimResource": (("cdi_devices", 1, _MESSAGE, _MANY, "CDIDevice"),),
    "CDIDevice": (("name", 1, _TEXT, _ONE, ""),),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="kubelet/podresources/v1/api.proto", package="v1", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, inner in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if inner:
                added.type_name = f".v1.{inner}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}"))
        for name in _MESSAGES
    }


class FakeKubelet:
    """Answers List with the pods it is given.

    Attributes:
        pods: (namespace, pod, container) -> device ids.
        dynamic: the same -> names of CDI devices.
        calls: how often it was asked.
        delay_s: how long it takes to answer.
        fails: whether it refuses.
    """

    def __init__(self, path: Path) -> None:
        """Serve at a socket until closed."""
        self.pods: dict[tuple[str, str, str], list[str]] = {}
        self.dynamic: dict[tuple[str, str, str], list[str]] = {}
        self.calls = 0
        self.delay_s = 0.0
        self.fails = False
        self._classes = _classes()
        handler: Any = grpc.unary_unary_rpc_method_handler(
            self._list,
            request_deserializer=self._classes["ListPodResourcesRequest"].FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
        service = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix://{path}")
        self._server.start()

    def close(self) -> None:
        """Stop at once, as a kubelet that is restarted."""
        self._server.stop(None).wait()

    def _list(self, request: object, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        time.sleep(self.delay_s)
        if self.fails:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
        response = self._classes["ListPodResourcesResponse"]()
        for place in {**self.pods, **self.dynamic}:
            namespace, pod, container = place
            found = response.pod_resources.add(name=pod, namespace=namespace)
            held = found.containers.add(name=container, cpu_ids=[1, 2])
            ids = self.pods.get(place, [])
            held.devices.add(resource_name="nvidia.com/gpu", device_ids=ids)
            for name in self.dynamic.get(place, []):
                claim = held.dynamic_resources.add(claim_name="c", claim_namespace=namespace)
                claim.claim_resources.add().cdi_devices.add(name=name)
        return response


@contextlib.contextmanager
def kubelet(path: Path) -> Iterator[FakeKubelet]:
    """A kubelet for a while."""
    made = FakeKubelet(path)
    try:
        yield made
    finally:
        made.close()
