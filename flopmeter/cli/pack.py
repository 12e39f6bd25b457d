"""`flopmeter pack`: telemetry as text into series that are read fast.

Owns: the command's arguments.
May touch: the text; the folder of ``--out``; standard output.
Called by the command line; lab.bulk.packing does the work, docs/bulk.md has text and file.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter_core.errors import UsageError, not_text, unreadable
from flopmeter_core.units import NS_PER_S

if TYPE_CHECKING:
    from flopmeter_core.registers import Evidence


@click.command("pack")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--part", required=True, help="Part of every device (flopmeter device list).")
@click.option("--evidence", default="gpm", show_default=True, help="Rung of every reading.")
@click.option("--period-s", type=float, default=1.0, show_default=True, help="Sampling period.")
@click.option("--node", default="", help="Node of every device, where no column says it.")
@click.option("--sm-count", type=int, default=0, help="SMs as the driver said; gpm needs it.")
@click.option("--max-sm-clock-mhz", type=int, default=0, help="Highest clock, as it said.")
@click.option("--node-scope", is_flag=True, help="Power is that of the whole node.")
@click.option("--device-count", type=int, default=1, show_default=True, help="Devices of a node.")
@click.option("--simulated", is_flag=True, help="The readings are made up.")
@json_option
def command(
    path: Path,
    out: Path,
    part: str,
    evidence: str,
    period_s: float,
    node: str,
    sm_count: int,
    max_sm_clock_mhz: int,
    node_scope: bool,
    device_count: int,
    simulated: bool,
    as_json: bool,
) -> None:
    """Pack telemetry as text into series, one file a device.

    PATH is comma-separated text with a header, or - for standard input.
    """
    from flopmeter.lab.bulk.packing import Origin, pack
    from flopmeter_core.devices import DeviceRecord, EnergyScope

    rung = _rung(evidence, sm_count)
    record = DeviceRecord(
        node=node or "recorded",
        device="",
        vendor=_vendor(part),
        product_name=part,
        part=part,
        sm_count=sm_count,
        max_sm_clock_mhz=max_sm_clock_mhz,
        device_count=device_count,
        energy_scope=EnergyScope.NODE if node_scope else EnergyScope.GPU,
        simulated=simulated,
    )
    version = importlib.metadata.version("flopmeter")
    origin = Origin(record, rung, round(period_s * NS_PER_S), version)
    try:
        stream = sys.stdin if str(path) == "-" else path.open(encoding="utf-8", newline="")
        with stream:
            packed = pack(stream, out, origin, name=str(path))
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_text(path) from error
    if as_json:
        print_json(
            {
                "schema": 1,
                "series": {device: str(file) for device, file in packed.files.items()},
                "readings": packed.rows,
                "incomplete": packed.incomplete,
            }
        )
        return
    click.echo(
        f"{out}: {len(packed.files)} series of {packed.rows} readings; {packed.incomplete} rows "
        "lacked a number and were left out"
    )


def _vendor(part: str) -> str:
    """Whose a part is.

    Raises:
        UsageError: the device table does not have it.
    """
    from flopmeter_core.devices import builtin_parts

    known = {each.id: each for each in builtin_parts().parts}
    if part not in known:
        raise UsageError(f"{part!r} is no part of the device table; see flopmeter device list")
    return known[part].architecture.vendor


def _rung(evidence: str, sm_count: int) -> Evidence:
    """The rung a word names.

    Raises:
        UsageError: there is none, or it needs more than is given.
    """
    from flopmeter_core.registers import Evidence

    try:
        rung = Evidence[evidence.upper()]
    except KeyError as error:
        names = ", ".join(each.name.lower() for each in Evidence)
        raise UsageError(f"--evidence {evidence!r} is no rung; they are {names}") from error
    if rung is Evidence.GPM and not sm_count:
        raise UsageError("--evidence gpm needs --sm-count, the SMs the driver said the device has")
    return rung
