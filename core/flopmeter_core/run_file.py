"""The form of a run file: what ``flopmeter exec`` leaves for the node's agent.

Owns: the lines of the file and their limits.
May touch: nothing; pure text, and no import that costs `flopmeter exec` time.
Called by the SDK (writes) and by the agent's explicit allocations (reads); docs/allocations.md.

Lines ``key text`` in any order; unknown keys are left alone, so that an older agent reads a newer
file.
"""

from __future__ import annotations

from flopmeter_core.errors import DataError

FIRST_LINE = "flopmeter-run 1"
KEYS = ("run", "attempt", "model", "activity", "format", "job")
MAXIMUM_TEXT_LENGTH = 200
_FORBIDDEN = "(),"


class RunFile:
    """What a run file says; empty where it does not.

    Attributes:
        run, attempt: as in a claim.
        model, activity, format: what the process says the run is.
        job: the scheduler's number of the job it is in, as its environment says.
    """

    __slots__ = KEYS

    def __init__(
        self,
        run: str,
        *,
        attempt: str = "",
        model: str = "",
        activity: str = "",
        format: str = "",
        job: str = "",
    ) -> None:
        """Take the texts; `check` says whether they may stand in a file."""
        self.run = run
        self.attempt = attempt
        self.model = model
        self.activity = activity
        self.format = format
        self.job = job

    @property
    def text(self) -> str:
        """The content of the file."""
        lines = [f"{key} {getattr(self, key)}" for key in KEYS if getattr(self, key)]
        return "\n".join((FIRST_LINE, *lines)) + "\n"

    def check(self) -> None:
        """Refuse what a file cannot say.

        Raises:
            DataError: no run, or a text that is too long or unprintable.
        """
        for key in KEYS:
            text = getattr(self, key)
            if len(text) > MAXIMUM_TEXT_LENGTH or not (text == "" or text.isprintable()):
                raise DataError(
                    f"{key} has at most {MAXIMUM_TEXT_LENGTH} printable characters; "
                    f"shorten {text[:60]!r}"
                )
        if not self.run or any(c in _FORBIDDEN for text in (self.run, self.model) for c in text):
            raise DataError(
                "a run and a model have a name of printable characters except '(', ')' and ','; "
                f"rename {self.run[:60]!r}"
            )


def parse_run_file(text: str) -> RunFile:
    """Read a run file.

    Raises:
        DataError: it is none, or says what a run file cannot.
    """
    first, *lines = text.split("\n")
    if first != FIRST_LINE:
        raise DataError(f"a run file begins with the line {FIRST_LINE!r}")
    said: dict[str, str] = {}
    for line in lines:
        key, _, content = line.partition(" ")
        if key in KEYS:
            said[key] = content
    found = RunFile(said.pop("run", ""), **said)
    found.check()
    return found
