"""``python -m flopmeter``: the command line without its script.

Owns: nothing but the call.
May touch: the process's exit code.
Called by the demo, which starts its children with the interpreter it runs under.
"""

from __future__ import annotations

import sys

from flopmeter.entry import main

if __name__ == "__main__":
    sys.exit(main())
