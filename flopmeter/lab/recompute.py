"""Evaluates the past of a ledger again, and writes down what was answered before and after.

Owns: the audit row of a recompute, and what an answer has to rest on to be the same one.
May touch: one ledger, through the collector's backends: read, and one audit row added.
Called by `flopmeter recompute`. The figures are the collector's own (lab.ledger_totals).

A ledger keeps the newest vector of each key, so an earlier answer comes out again exactly as long
as no register has grown since; the audit row keeps the hash of all registers, which tells.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from flopmeter.lab.ledger_totals import load_totals
from flopmeter.lab.registers_digest import Digest
from flopmeter_collector import backends
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import AuditRow, Ledger
from flopmeter_collector.presentation import totals_document
from flopmeter_core.errors import UsageError
from flopmeter_core.estimate import METHOD_VERSION
from flopmeter_proto.daemon.clock import Clock

ACTION = "recompute"

METHOD_VERSIONS = (METHOD_VERSION,)
"""Released versions of the estimate that this flopmeter can repeat."""

_BASIS = (
    "ledger_id",
    "registers_sha256",
    "as_of_declaration",
    "method_version",
    "device_table_version",
)
"""Two answers that rest on the same of each are the same answer."""


def recompute(
    url: str,
    *,
    method_version: str | None,
    as_of: int | None,
    author: str,
    reason: str,
    clock: Clock,
) -> Json:
    """Evaluate a ledger anew and add an audit row of it.

    Args:
        url: the ledger, a path or ``sqlite:///`` URL.
        method_version: version of the estimate; the present one when None.
        as_of: sequence of the last declaration that counts; all of them when None.
        author: who asks.
        reason: why, in that person's words.
        clock: dates the row.

    Returns:
        The object of ``flopmeter recompute --json``.

    Raises:
        UsageError: a method version or a declaration that does not exist; nothing is written.
        DataError, StorageError: the ledger cannot be read or written.
    """
    if method_version is not None and method_version not in METHOD_VERSIONS:
        raise UsageError(
            f"method version {method_version!r} is not in this flopmeter; it has "
            f"{', '.join(METHOD_VERSIONS)}"
        )
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        newest = max((row.sequence for row in ledger.declarations()), default=0)
        if as_of is not None and not 0 <= as_of <= newest:
            raise UsageError(
                f"the ledger has the declarations 1 to {newest} and none with sequence {as_of}; "
                "name one of them, or 0 for none"
            )
        up_to = newest if as_of is None else as_of
        answer = _answer(ledger, up_to)
        earlier = [row for row in ledger.audit() if row.action == ACTION]
        before = json.loads(earlier[-1].content)["after"] if earlier else _answer(ledger, 0)
        same = [row.sequence for row in earlier if _same(row, answer)]
    source = {
        "audit": earlier[-1].sequence if earlier else None,
        "as_of_declaration": before["as_of_declaration"],
        "method_version": before["method_version"],
    }
    content = json.dumps({"before": before, "after": answer}, sort_keys=True)
    row = backends.audit(url, AuditRow(0, clock.wall_ns(), author, reason, ACTION, content))
    told = _told(before["runs"]), _told(answer["runs"])
    return {
        "schema": 1,
        "audit": row.sequence,
        "author": author,
        "reason": reason,
        **{name: answer[name] for name in (*_BASIS, "commit_number", "simulated")},
        "before": source,
        "reproduces": same,
        "runs": [
            {
                "run": run,
                "before": before["runs"].get(run),
                "after": answer["runs"].get(run),
                "changed": told[0].get(run) != told[1].get(run),
            }
            for run in sorted(before["runs"].keys() | answer["runs"].keys())
        ],
    }


def _answer(ledger: Ledger, up_to: int) -> dict[str, Any]:
    """The figures under the declarations up to one, and what they rest on."""
    digest = Digest()
    totals = load_totals(ledger, up_to=up_to, seen=digest.add)
    position = ledger.position()
    document: Any = totals_document(totals.snapshot(0, position), ())
    return {
        "ledger_id": position.ledger_id,
        "commit_number": position.commit_number,
        "registers_sha256": digest.text,
        "as_of_declaration": up_to,
        "method_version": document["method_version"],
        "device_table_version": document["device_table_version"],
        "simulated": document["simulated"],
        "runs": {
            run["run"]: {
                "declared": run["declared"],
                "compute_flop_str": run["compute_flop_str"],
                "model_flop_str": run["model_flop"] and run["model_flop"]["compute_flop_str"],
                "straddling_share": run["split"] and run["split"]["straddling_share"],
            }
            for run in document["runs"]
        },
    }


def _same(row: AuditRow, answer: Mapping[str, Any]) -> bool:
    """Whether an earlier answer rests on the same, and says the same."""
    after = json.loads(row.content)["after"]
    same_basis = all(after[name] == answer[name] for name in _BASIS)
    return same_basis and _told(after["runs"]) == _told(answer["runs"])


def _told(runs: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says of runs, without fields that nobody declared: older ones knew fewer."""
    return {
        run: {
            **said,
            "declared": {name: text for name, text in said["declared"].items() if text is not None},
        }
        for run, said in runs.items()
    }
