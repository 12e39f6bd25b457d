"""The simulator's other versions of the wire say no more than the real ones of their time did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flopmeter.lab.simulation.versions import Version, between
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.stream import StreamWriter
from support.ingest import hello
from support.wire_versions import todays_report, versions

RECORDED = {version.name: version for version in versions()}


def _fields(message: Any, above: str = "") -> Iterator[str]:
    for field, content in message.ListFields():
        name = f"{above}.{field.name}"
        yield name
        if field.message_type is not None:
            for each in content if hasattr(content, "add") else [content]:
                yield from _fields(each, name)


def _said(version: Version) -> list[pb.StreamReportsRequest]:
    writer = StreamWriter()
    today = [writer.hello(hello()), writer.report(todays_report())]
    return [between(message, version, Version.TODAY) for message in today]


@pytest.mark.parametrize("version", [v for v in Version if v.value in RECORDED])
def test_says_what_that_version_said(version: Version) -> None:
    """A vector has the fields it had then, and what came later is not there."""
    recorded = {
        name
        for raw in RECORDED[version.value].said
        for name in _fields(pb.StreamReportsRequest.FromString(raw))
    }
    said = {name for message in _said(version) for name in _fields(message)}
    vectors = {".vectors.key_number", ".vectors.sequence", ".vectors.component_values"}
    if version is Version.BEFORE_WRITERS:
        vectors.add(".vectors.boot_duration_ns")
    assert {name for name in recorded if name.startswith(".vectors.")} == vectors
    assert {name for name in said if name.startswith(".vectors.")} == vectors
    later = {".claims", ".hourly_vectors"}
    if version is Version.BEFORE_HOURS_AND_CLAIMS:
        assert not later & (said | recorded)
    else:
        assert later <= said


def test_today_is_untouched() -> None:
    """Between two sides of today every message is itself."""
    for message in _said(Version.TODAY):
        assert between(message, Version.TODAY, Version.TODAY) is message


def test_later_says_more_everywhere() -> None:
    """Every part of a later version's message has fields that nobody here knows."""
    for message, plain in zip(_said(Version.LATER), _said(Version.TODAY), strict=True):
        assert len(message.SerializeToString()) > len(plain.SerializeToString())
        message.DiscardUnknownFields()
        assert message == plain
