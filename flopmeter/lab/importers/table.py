"""Which recording formats can be replayed.

Owns: the explicit list of importers and the choice among them.
May touch: names of the files under the given path; the chosen importer reads their content.
Called by lab.replay.
"""

from __future__ import annotations

from pathlib import Path

from flopmeter.lab.importers.base import Importer, Recording
from flopmeter.lab.importers.mlperf_power import MlperfPowerImporter
from flopmeter.lab.importers.recording import RecordingImporter
from flopmeter_core.errors import DataError, unreadable

IMPORTERS: tuple[Importer, ...] = (MlperfPowerImporter(), RecordingImporter())


def load_recording(path: Path) -> Recording:
    """Read a recording by the importer that recognises it.

    Args:
        path: file or folder of one recorded run.

    Raises:
        UsageError: nothing there, or it cannot be read.
        DataError: a format nobody recognises, or as the importer says.
    """
    try:
        path.stat()
    except OSError as error:
        hint = "name the file or folder of a recorded run"
        raise unreadable(path, error, hint) from error
    for importer in IMPORTERS:
        if importer.recognises(path):
            return importer.load(path)
    names = ", ".join(importer.name for importer in IMPORTERS)
    raise DataError(f"{path} is no recording flopmeter knows; known formats: {names}")
