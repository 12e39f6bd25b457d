"""Importer of MLPerf Training runs with node power: one run folder of a power submission.

Owns: what the folder's files mean, and refusing what they cannot mean.
May touch: files of the folder it is given, read only.
Called by lab.replay through importers.table; the lines themselves are read in mllog.

A run folder holds result.mllog.txt (or .txt.xz) and power-dc/ or power-ac/; DC is taken where
both are, because it leaves out the supply's loss. The power of node K is node_K.txt, .txt.xz or
a member of all_nodes.tar.xz; sw_*.txt (an estimate for switches) and total_power.txt (the
submitter's sum) are no nodes.
Assumption: node files in the order of their numbers are the hosts in the order of the log's
:::DLPAL line (job, node count, host list); no file of the format states it. A wrong order would
swap names, never figures, because the nodes of a run are alike.
"""

from __future__ import annotations

import io
import lzma
import re
import statistics
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from flopmeter.lab.importers.base import NodeRecording, Recording
from flopmeter.lab.importers.mllog import PowerSample, RunLog, parse_power, parse_run_log
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import DataError, unreadable
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Evidence
from flopmeter_core.units import NS_PER_MS

RESULT_NAME = "result.mllog.txt"
ARCHIVE_NAME = "all_nodes.tar.xz"
POWER_FOLDERS = ("power-dc", "power-ac")
"""Best first."""

MAXIMUM_CONTENT_BYTES = 512 * 1024 * 1024
"""Unpacked bytes of one file or archive: 64 nodes for an hour are 17 MiB."""

PARTS: Mapping[str, str] = {
    "NVIDIA H100-SXM5-80GB": "h100-sxm5-80gb",
    # The driver's name of the same board: the only 80 GB H100 with HBM3.
    "NVIDIA H100 80GB HBM3": "h100-sxm5-80gb",
}
"""accelerator_model_name of :::SYSJSON, word for word -> part of the device table."""


@dataclass(frozen=True, slots=True)
class _System:
    """The accelerators of one node."""

    model_name: str
    device_count: int


SYSTEMS: Mapping[str, _System] = {"SMC-H100-SXM-80GB": _System("NVIDIA H100-SXM5-80GB", 8)}
"""System folder without its ``<nodes>x`` -> what the submission's own description of that system
says; asked only where a log has no :::SYSJSON line (bert and dlrm_dcnv2 of v4.0 SMC)."""

_NODE_FILE = re.compile(r"node_(\d+)\.txt(?:\.xz)?")
_SYSTEM_FOLDER = re.compile(r"\d+x(.+)")


class MlperfPowerImporter:
    """Reads one run folder of an MLPerf Training power submission."""

    @property
    def name(self) -> str:
        """The format's name."""
        return "mlperf-power"

    def recognises(self, path: Path) -> bool:
        """Whether `path` is a folder with the run's log or one of the power folders."""
        names = (RESULT_NAME, RESULT_NAME + ".xz", *POWER_FOLDERS)
        return path.is_dir() and any((path / name).exists() for name in names)

    def load(self, path: Path) -> Recording:
        """Read a run folder.

        Raises:
            DataError: truncated, garbled or contradictory; the sentence names file and line.
        """
        folder = path.resolve()
        log_path = _present(folder / RESULT_NAME)
        log = parse_run_log(_text(_content(log_path), str(log_path)), name=str(log_path))
        samples = _node_samples(folder)
        if len(samples) != log.node_count:
            raise DataError(
                f"{folder} holds the power of {len(samples)} nodes and its log names "
                f"{log.node_count}; fetch the missing files or remove those of another run"
            )
        run = f"{log.benchmark or folder.parent.name}-{folder.name.removeprefix('result_')}"
        return _recording(run, log, samples, _system(folder, log))


def _recording(
    run: str, log: RunLog, samples: Mapping[str, list[PowerSample]], system: _System
) -> Recording:
    """Put the run on one time axis, whose 0 is the earliest thing recorded."""
    for name, node in samples.items():
        if node[-1].unix_ms < log.start_unix_ms or node[0].unix_ms > log.stop_unix_ms:
            raise DataError(
                f"{name} has no reading between the run's start and stop; "
                "it belongs to another run or its clock is wrong"
            )
    period_ms = _median_spacing_ms(samples)
    epoch_ms = min(log.start_unix_ms, *(node[0].unix_ms for node in samples.values()))
    hosts = log.hosts if len(log.hosts) == len(samples) else tuple(map(_stem, samples))
    return Recording(
        run=run,
        epoch_ns=epoch_ms * NS_PER_MS,
        start_ns=(log.start_unix_ms - epoch_ms) * NS_PER_MS,
        stop_ns=(log.stop_unix_ms - epoch_ms) * NS_PER_MS,
        sample_period_ns=period_ms * NS_PER_MS,
        simulated=False,
        nodes=tuple(
            NodeRecording(
                node=host,
                records=(_record(host, system),),
                readings=_readings(f"node:{host}", node, epoch_ms, log, allocation=for_run(run)),
            )
            for host, node in zip(hosts, samples.values(), strict=True)
        ),
    )


def _readings(
    device: str, samples: list[PowerSample], epoch_ms: int, log: RunLog, *, allocation: str
) -> tuple[Reading, ...]:
    """The samples as readings; the run used the node from its start to its stop."""
    readings = []
    for sample in samples:
        since_epoch_ns = (sample.unix_ms - epoch_ms) * NS_PER_MS
        inside = log.start_unix_ms <= sample.unix_ms <= log.stop_unix_ms
        readings.append(
            Reading(
                device=device,
                evidence=Evidence.POWER_SAMPLED,
                monotonic_ns=since_epoch_ns,
                boottime_ns=since_epoch_ns,
                power_mw=sample.power_mw,
                allocation=allocation if inside else NONE,
            )
        )
    return tuple(readings)


def _record(host: str, system: _System) -> DeviceRecord:
    """One device that stands for the whole node; nothing of it was read but its name."""
    part = PARTS.get(system.model_name, "")
    return DeviceRecord(
        node=host,
        device=f"node:{host}",
        vendor="nvidia" if part else "",
        product_name=system.model_name,
        part=part,
        device_count=system.device_count,
        energy_scope=EnergyScope.NODE,
    )


def _median_spacing_ms(samples: Mapping[str, list[PowerSample]]) -> int:
    """The sampling period: holes and late readings do not move a median."""
    spacings = [
        after.unix_ms - before.unix_ms
        for node in samples.values()
        for before, after in pairwise(node)
    ]
    period_ms = statistics.median_low(spacings) if spacings else 0
    if period_ms <= 0:
        raise DataError(
            f"{next(iter(samples))} has too few readings to tell the sampling period; "
            "at least two at different times are needed"
        )
    return period_ms


def _system(folder: Path, log: RunLog) -> _System:
    """The accelerators of a node, as the log or else the submission's description says."""
    if log.device_count is not None:
        return _System(log.accelerator_model_name, log.device_count)
    for parent in folder.parents[:2]:
        match = _SYSTEM_FOLDER.fullmatch(parent.name)
        if match and match[1] in SYSTEMS:
            return SYSTEMS[match[1]]
    raise DataError(
        f"the log of {folder} has no :::SYSJSON line and its system folder is not known, so its "
        f"accelerators are not; add the line, or keep the folder under one named as in "
        f"{', '.join(f'1x{name}' for name in SYSTEMS)}"
    )


# --- files ---------------------------------------------------------------------------------------


def _node_samples(folder: Path) -> dict[str, list[PowerSample]]:
    """File -> samples, in the order of the nodes' numbers."""
    for power_folder in (folder / name for name in POWER_FOLDERS):
        texts = _node_texts(power_folder)
        if texts:
            return {name: parse_power(texts[name], name=name) for name in texts}
    raise DataError(
        f"{folder} has no power files; {POWER_FOLDERS[0]}/ or {POWER_FOLDERS[1]}/ must hold "
        f"node_<number>.txt, node_<number>.txt.xz or {ARCHIVE_NAME}"
    )


def _node_texts(power_folder: Path) -> dict[str, str]:
    """Name -> text of each node; the archive wins over files, so that no node counts twice."""
    archive = power_folder / ARCHIVE_NAME
    found: dict[int, tuple[str, str]] = {}
    if archive.exists():
        for name, content in _members(archive).items():
            number = _node_number(name)
            if number is not None:
                found[number] = (f"{archive}:{name}", _text(content, f"{archive}:{name}"))
    elif power_folder.is_dir():
        for file in sorted(power_folder.iterdir()):
            number = _node_number(file.name)
            if number is not None and number not in found:
                found[number] = (str(file), _text(_content(file), str(file)))
    return dict(found[number] for number in sorted(found))


def _members(archive: Path) -> dict[str, bytes]:
    """File name -> content of the regular files in an archive; nothing is written to disk."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_content(archive)), mode="r:") as tar:
            return {
                PurePosixPath(member.name).name: opened.read()
                for member in tar
                if member.isfile() and (opened := tar.extractfile(member)) is not None
            }
    except tarfile.TarError as error:
        raise DataError(f"{archive} is truncated or no tar archive; fetch it again") from error


def _content(path: Path) -> bytes:
    """The content of a file, unpacked when its name ends in .xz."""
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            content: bytes = file.read(MAXIMUM_CONTENT_BYTES + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} is truncated or not in xz format; fetch it again") from error
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > MAXIMUM_CONTENT_BYTES:
        raise DataError(
            f"{path} unpacks to more than {MAXIMUM_CONTENT_BYTES >> 20} MiB; "
            "that is no log of one run"
        )
    return content


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} line {line} is not text; fetch the file again") from error


def _present(path: Path) -> Path:
    """The file itself or its packed form."""
    packed = path.with_name(path.name + ".xz")
    for candidate in (path, packed):
        if candidate.exists():
            return candidate
    raise DataError(f"{path} is missing; the run's begin and end are in it")


def _node_number(name: str) -> int | None:
    match = _NODE_FILE.fullmatch(name)
    return int(match[1]) if match else None


def _stem(name: str) -> str:
    """node_K, the name of a node whose host the log does not give."""
    return PurePosixPath(name.rpartition(":")[2]).name.partition(".")[0]
