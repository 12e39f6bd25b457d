"""The version of this software, found without the library that knows all about packages.

Owns: where an installed distribution's name is looked for.
May touch: the names in the folders of the import path.
Called by the agent, whose start it is a tenth of: importlib.metadata brings a mail parser and an
archiver with it.
"""

from __future__ import annotations

import contextlib
import os
import sys

_BEGIN, _END = "flopmeter-", ".dist-info"


def version() -> str:
    """The version of the installed distribution, as pip names its folder.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):
                if name.startswith(_BEGIN) and name.endswith(_END):
                    return name[len(_BEGIN) : -len(_END)]
    # An installation of another form, such as an archive: the library finds those too.
    from importlib import metadata

    return metadata.version("flopmeter")
