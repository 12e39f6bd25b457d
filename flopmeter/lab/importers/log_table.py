"""Which formats of training logs can be read.

Owns: the explicit list of log importers and the choice among them.
May touch: nothing; texts in, logs out.
Called by lab.training_log.
"""

from __future__ import annotations

from flopmeter.lab.importers.base import LogImporter
from flopmeter.lab.importers.megatron_log import MegatronLogImporter
from flopmeter.lab.importers.step_log import StepLogImporter
from flopmeter.lab.importers.throughput_table import ThroughputTableImporter
from flopmeter_core.errors import DataError

LOG_IMPORTERS: tuple[LogImporter, ...] = (
    MegatronLogImporter(),
    StepLogImporter(),
    ThroughputTableImporter(),
)


def importer_of(text: str, *, name: str) -> LogImporter:
    """The importer that recognises a text.

    Raises:
        DataError: nobody does.
    """
    for importer in LOG_IMPORTERS:
        if importer.recognises(text):
            return importer
    names = ", ".join(importer.name for importer in LOG_IMPORTERS)
    raise DataError(f"{name} is no training log flopmeter knows; known formats: {names}")
