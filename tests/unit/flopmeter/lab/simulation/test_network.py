"""The simulated network: an answer arrives, however its sender has spelled it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from flopmeter.lab.simulation.network import Method, ServerContext
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb

ANSWER = pb.StreamReportsResponse(ledger_id="ledger", commit_number=7)


@pytest.mark.parametrize("answer", [ANSWER, ANSWER.SerializeToString()])
def test_an_answer_that_is_spelled_already(answer: Any) -> None:
    """Large answers leave the service as bytes, as gRPC takes them."""
    sent: list[bytes] = []
    told: list[tuple[object, ...]] = []
    stream: Any = SimpleNamespace(
        network=SimpleNamespace(trace=lambda *words: told.append(words)),
        node="n0",
        to="root",
        method=Method.REPORTS,
        spoken=lambda message, speaker, listener: message,
        server_sends=sent.append,
    )
    asyncio.run(ServerContext(stream).write(answer))
    assert (sent, told) == ([ANSWER.SerializeToString()], [("answer", "n0", 7)])
