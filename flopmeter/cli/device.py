"""`flopmeter device`: the parts the device table knows, and the devices a ledger accounts for.

Owns: the command's arguments and its tables.
May touch: the package's device table (reading); one ledger; the clock and the user's name.
Called by the command line; core.devices parses the table, lab.enrolment writes and reads the
ledger.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter_core.devices import DeviceTable, Part, builtin_parts
from flopmeter_core.mig import MigRow

CONSTANTS = (
    "sm_count",
    "max_sm_clock_mhz",
    "dense_clock_mhz",
    "memory_gb",
    "memory_bandwidth_gb_per_s",
    "power_w",
)
"""The constants of a row, each printed with its own standing."""


@click.group("device")
def command() -> None:
    """List the accelerators flopmeter knows, and account for a ledger's devices."""


@command.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """List the parts of the device table."""
    table = builtin_parts()
    if as_json:
        print_json(
            {
                "schema": 1,
                "version": table.version,
                "parts": [_json(part) for part in table.parts],
                "mig": [_mig_json(row) for row in table.mig],
            }
        )
    else:
        _print_table(table)


_LEDGER = click.option("--ledger", metavar="URL", required=True, help="Ledger to use.")
_AUTHOR = click.option("--author", help="Who states it.  [default: the user's name]")


@command.command("enrolled")
@_LEDGER
@json_option
def enrolled(ledger: str, as_json: bool) -> None:
    """List the devices whose time has to be accounted for, and where it went."""
    from flopmeter.lab.enrolment import enrolled_devices
    from flopmeter_proto.daemon.clock import SystemClock

    document = enrolled_devices(ledger, SystemClock())
    if as_json:
        print_json(document)
    else:
        _print_enrolled(document)


@command.command("enroll")
@click.argument("device")
@click.option("--from", "since", metavar="TIME", required=True, help="Enrolled from (ISO).")
@click.option("--part", help="Part of a device that never reported; see flopmeter device list.")
@click.option("--node", help="Node of a device that never reported.")
@click.option("--reason", help="Why.")
@_LEDGER
@_AUTHOR
@json_option
def enroll(
    device: str,
    since: str,
    part: str | None,
    node: str | None,
    reason: str | None,
    ledger: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Account for the time of DEVICE from a stated time on.

    A device is enrolled by its first report; this is for one that never reports, or for another
    beginning.
    """
    body = {"state": "enrolled", "from": since, "part": part, "node": node, "reason": reason}
    _declare(ledger, device, body, author, as_json=as_json)


@command.command("retire")
@click.argument("device")
@click.option("--at", "at_time", metavar="TIME", required=True, help="Retired at (ISO).")
@click.option("--reason", required=True, help="Why.")
@_LEDGER
@_AUTHOR
@json_option
def retire(
    device: str, at_time: str, reason: str, ledger: str, author: str | None, as_json: bool
) -> None:
    """End the accounting of DEVICE: from then on its time is missing to nobody."""
    body = {"state": "retired", "at": at_time, "reason": reason}
    _declare(ledger, device, body, author, as_json=as_json)


@command.command("down")
@click.argument("node")
@click.option("--from", "since", metavar="TIME", required=True, help="Down from (ISO).")
@click.option("--to", "until", metavar="TIME", required=True, help="Until, exclusive (ISO).")
@click.option("--reason", required=True, help="Why.")
@_LEDGER
@_AUTHOR
@json_option
def down(
    node: str,
    since: str,
    until: str,
    reason: str,
    ledger: str,
    author: str | None,
    as_json: bool,
) -> None:
    """Declare NODE (or one device) down: what no agent saw in that time held no work.

    A person vouches for it; what an agent did see stays as it is.
    """
    body = {"state": "down", "from": since, "to": until, "reason": reason}
    _declare(ledger, node, body, author, as_json=as_json)


def _declare(
    ledger: str, subject: str, body: Mapping[str, str | None], author: str | None, *, as_json: bool
) -> None:
    from flopmeter.lab.enrolment import declare_device
    from flopmeter_proto.daemon.clock import SystemClock

    stated = {field: text for field, text in body.items() if text is not None}
    written = declare_device(
        ledger, subject, stated, author=author or getpass.getuser(), clock=SystemClock()
    )
    if as_json:
        print_json(
            {
                "schema": 1,
                "sequence": written.sequence,
                "subject": written.subject,
                "author": written.author,
                "source": written.source,
                "declared": dict(written.body),
            }
        )
        return
    said = ", ".join(f"{field} {text}" for field, text in stated.items() if field != "state")
    click.echo(f"declaration {written.sequence}: {subject} is {stated['state']}, {said}")


def _print_enrolled(document: dict[str, object]) -> None:
    from flopmeter.lab.listing import Column, Listing

    hours = ("enrolled", "classified", "declared down", "residual", "doubled")
    asides = (0, 0, 3, 0, 2)
    table = Listing(
        "device",
        "node",
        Column("since", aside=1),
        *(
            Column(f"{name} h", aside=at, right=True)
            for name, at in zip(hours, asides, strict=True)
        ),
    )
    devices = document["devices"]
    assert isinstance(devices, list)
    for device in devices:
        amounts = [device[f"{name.replace(' ', '_')}_seconds"] / 3600 for name in hours]
        ended = "retired" if device["retired"] else "named" if device["named"] else ""
        table.add(
            device["device"],
            device["node"] or "-",
            ended or device["enrolled"][-1]["from"][:19],
            *(f"{amount:,.1f}" for amount in amounts),
        )
    console().print(table if devices else "no device ever reported to this ledger")


def _json(part: Part) -> dict[str, object]:
    architecture = part.architecture
    return {
        "id": part.id,
        "name": part.name,
        "vendor": architecture.vendor,
        "architecture": architecture.name,
        "aliases": list(part.aliases),
        "loose_aliases": list(part.loose_aliases),
        "pci_device_ids": [f"0x{pci:04x}" for pci in part.pci_device_ids],
        "pci_note": part.pci_note or None,
        "unit": architecture.unit,
        "sm_count": part.sm_count,
        "max_sm_clock_mhz": part.max_sm_clock_mhz,
        "dense_clock_mhz": part.dense_clock_mhz,
        # null where nobody publishes it: a missing figure is not zero.
        "memory_gb": part.memory_gb or None,
        "memory_bandwidth_gb_per_s": part.memory_bandwidth_gb_per_s or None,
        "power_w": part.power_w or None,
        "peak_flop_per_s": {name: part.peak_flop_per_s(name) for name in architecture.tensor},
        "tensor_flop_per_sm_cycle": dict(architecture.tensor),
        "vector_flop_per_sm_cycle": dict(architecture.vector),
        "issue_floor_ppm": architecture.issue_floor_ppm,
        "issue_ceiling_ppm": architecture.issue_ceiling_ppm,
        "instruction_families_ppm": dict(architecture.families),
        "source": part.source,
        "standing": str(part.standing),
        "standings": {name: str(part.standing_of(name)) for name in CONSTANTS},
        "architecture_source": architecture.source,
        "architecture_standing": str(architecture.standing),
    }


def _mig_json(row: MigRow) -> dict[str, object]:
    return {
        "id": row.name,
        "parts": list(row.parts),
        "profile_sm_counts": dict(row.profiles),
        "source": row.source,
        "standing": str(row.standing),
    }


def _print_table(devices: DeviceTable) -> None:
    from flopmeter.lab.listing import Column, Listing

    table = Listing(
        "part",
        Column("units", right=True),
        Column("MHz", right=True),
        Column("dense TFLOP/s", right=True),
        "standing",
        Column("PCI", wraps=True),
    )
    for part in devices.parts:
        name = "bf16" if "bf16" in part.architecture.tensor else "fp16"
        table.add(
            part.id,
            f"{part.sm_count} {part.architecture.unit}".replace("TensorC", "c").replace(
                "NeuronC", "c"
            ),
            str(part.max_sm_clock_mhz),
            f"{part.peak_flop_per_s(name) / 1e12:,.0f} {name}",
            str(part.standing),
            " ".join(f"{pci:04x}" for pci in part.pci_device_ids) or "-",
        )
    out = console()
    out.print(table)
    for row in devices.mig:
        profiles = "  ".join(f"{name} {count}" for name, count in row.profiles.items())
        out.print(f"MIG, SMs of {', '.join(row.parts)}: {profiles} ({row.standing})")
    out.print(f"\ndevice table {devices.version}; sources: flopmeter device list --json")
