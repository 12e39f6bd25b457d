"""What agents and collectors of other versions said on the wire, recorded from their own code.

Owns: the recordings of tests/data/wire and today's report that older collectors were recorded on.
May touch: files of this tree, reading.
Called by tests/integration/collector/test_versions.py; their making: tests/data/wire/README.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.reports import KeyedVector, Report
from flopmeter_core.writers import fingerprint
from support.ingest import BOOT_NS, hourly, key, report, vector

FOLDER = Path(__file__).parent.parent / "data" / "wire"


@dataclass(frozen=True, slots=True)
class Version:
    """One earlier version.

    Attributes:
        name: what it lacks.
        said: its agent's messages on one stream, hello first.
        answered: its collector's answers to hello and `todays_report` of a newer agent.
        relayed: its relay's messages on one stream, hello first; of versions with relays.
    """

    name: str
    said: tuple[bytes, ...]
    answered: tuple[bytes, ...]
    relayed: tuple[bytes, ...]


def versions() -> list[Version]:
    """Every recording, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text())
        parts = (content.get(part, ()) for part in ("said", "answered", "relayed"))
        found.append(Version(path.stem, *(tuple(map(bytes.fromhex, part)) for part in parts)))
    return found


def todays_report() -> Report:
    """A report with everything an agent of today may say: two keys, an hour and a claim.

    Its vectors follow those that the recorded agents sent.
    """
    claim = Claim(
        ClaimKey("a", "0", ClaimScope.RANK, 0, "ab" * 16, 0, 1, "m", "bf16=1", "pretraining"),
        ClaimCounts(9, 9, 100, 10**20),
    )
    said = report(
        [
            KeyedVector(key(), 6, vector(7200), BOOT_NS, (fingerprint(5, vector(9)),)),
            KeyedVector(key(phase=1), 2, vector(2), BOOT_NS, (fingerprint(1, vector(1)),)),
        ],
        hours=[hourly(0, 3, vector(3000))],
    )
    return Report(
        records=said.records,
        vectors=said.vectors,
        boot_ns=said.boot_ns,
        wall_ns=said.wall_ns,
        claims=(claim,),
        hours=said.hours,
    )
