"""What an address of a setting must look like, before anybody listens or connects.

Owns: the form ``host:port``, and which targets gRPC resolves itself.
May touch: nothing; nothing is looked up.
Called by the settings of agent and collector.
"""

from __future__ import annotations

GREATEST_PORT = 65_535

GRPC_SCHEMES = ("unix", "unix-abstract", "ipv4", "ipv6", "dns")
"""Kinds of targets that gRPC resolves itself."""


def is_target(address: str) -> bool:
    """Tell whether gRPC can be asked to connect to it: ``host:port``, or a target of its own."""
    scheme, _, rest = address.partition(":")
    return (scheme in GRPC_SCHEMES and bool(rest)) or is_host_port(address, lowest_port=1)


def is_host_port(address: str, *, lowest_port: int) -> bool:
    """Tell whether an address is ``host:port``; an IPv6 host stands in brackets.

    Args:
        address: what a person wrote.
        lowest_port: 0 where a free port may be asked for, else 1.
    """
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or any(character.isspace() for character in host):
        return False
    if ":" in host and not bracketed:
        return False
    return port.isascii() and port.isdigit() and lowest_port <= int(port) <= GREATEST_PORT
