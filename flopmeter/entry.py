"""The script `flopmeter`: two ways in, of which one has to be quick.

Owns: which words need the command line's libraries.
May touch: nothing but what it hands over to.
Called by the installed script and by ``python -m flopmeter``.

``flopmeter exec`` stands before every training process, so it goes to the SDK at once; everything
else, its help included, goes to the command line.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Serve this process' command line; returns the exit code, or never where it is an exec."""
    words = sys.argv[1:]
    if words[:1] == ["exec"] and not {"-h", "--help"} & set(_before_command(words)):
        from flopmeter.sdk import execute
        from flopmeter_core.errors import FlopmeterError

        try:
            execute.main(words[1:])
        except FlopmeterError as error:
            sys.stderr.write(f"flopmeter: {error}\n")
            return error.exit_code
    from flopmeter.cli import main as command_line

    return command_line()


def _before_command(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words
