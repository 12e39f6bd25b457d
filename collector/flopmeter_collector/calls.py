"""What a call tells of its sender, and the status it ends with.

Owns: the name of a sender's host, and which status each fault is answered with.
May touch: the gRPC context of one call.
Called by the service. Explained in docs/wire.md.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from flopmeter_core.errors import FlopmeterError, NotPermittedError, StorageError, WireError
from flopmeter_proto.wire.values import check_version

Context = grpc.aio.ServicerContext[Any, Any]


class VersionError(WireError):
    """The sender speaks another protocol version; it must be upgraded, or this side."""


def checked_version(version: int) -> None:
    """Refuse what this side cannot read.

    Raises:
        VersionError: another version of the protocol.
    """
    try:
        check_version(version)
    except WireError as error:
        raise VersionError(str(error)) from error


def host_of(peer: str) -> str:
    """A gRPC peer without its port, which is another with every connection."""
    kind, _, rest = peer.partition(":")
    return peer.rpartition(":")[0] if kind in ("ipv4", "ipv6") and rest else peer


def status_of(error: FlopmeterError) -> grpc.StatusCode:
    """The status that a fault is answered with."""
    match error:
        case VersionError():
            return grpc.StatusCode.FAILED_PRECONDITION
        case WireError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case NotPermittedError():
            return grpc.StatusCode.PERMISSION_DENIED
        case StorageError():
            # A retry at another collector, or at this one once it works again, helps.
            return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.INTERNAL


async def abort(context: Context, code: grpc.StatusCode, reason: str) -> None:
    """End a call with a status; its handler has nothing more to do then.

    gRPC keeps the error that it raises, to raise it again once the handler has returned. With a
    traceback it would hold the call that holds it: 55 objects that nothing collects of an old call.
    """
    try:
        await context.abort(code, reason)
    except grpc.aio.AbortError as error:
        error.__traceback__ = error.__context__ = None
    except grpc.aio.InternalError:
        pass  # who went away before it took the status needs none, and a traceback tells nobody
