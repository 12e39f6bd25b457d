"""The thresholds in force at a site: the built-in rows and the site's own.

Owns: the folder of the site's own rows, and how it is read.
May touch: that folder, read only.
Called by the collector's app and by the command line, so that both apply the same rows.
Explained in docs/thresholds.md.
"""

from __future__ import annotations

from pathlib import Path

from flopmeter_core.catalogue import Threshold
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import UsageError
from flopmeter_core.threshold_files import parse_catalogue

THRESHOLDS_FOLDER = Path("/etc/flopmeter/thresholds.d")
"""Where a site keeps rows of its own; a host without the folder has none."""


def thresholds_in_force(folder: Path) -> tuple[Threshold, ...]:
    """Read the built-in rows and those of a folder, in the order of their values.

    Args:
        folder: holds one row a ``.toml`` file; it may be missing only at its usual place.

    Raises:
        UsageError: a folder that was named and is not there, or a file that cannot be read.
        DataError: a row is wrong, or two have one id.
    """
    if folder == THRESHOLDS_FOLDER and not folder.exists():
        return parse_catalogue(builtin_thresholds())
    try:
        found = sorted(folder.iterdir())
        own = {str(path): path.read_text("utf-8") for path in found if path.suffix == ".toml"}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the threshold rows in {folder} cannot be read ({error}); "
            "name another folder with --thresholds-dir"
        ) from error
    return parse_catalogue(builtin_thresholds() | own)
