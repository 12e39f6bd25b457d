"""The command line's front door: finds the command, loads its module, turns errors into words.

Owns: the table of commands, the one-sentence error and the exit code of every failure.
May touch: standard error; loads a command's module only when that command is called.
Called by the `flopmeter` script and by ``python -m flopmeter``; docs/cli.md.
Never imports grpc, starlette or rich: ``flopmeter --help`` has to answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from flopmeter_core.errors import FlopmeterError, UsageError

EXIT_USAGE = 64
EXIT_STORAGE = 74
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: what a program in a pipe exits with when its reader has gone."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: where a command lives, what it does, which extras it needs."""

    module: str
    summary: str
    extras: tuple[str, ...] = ()


COMMANDS = {
    "agent": Entry(
        "agent", "Meter this node's accelerators and report to a collector.", ("agent",)
    ),
    "collector": Entry(
        "collector", "Collect reports, keep the ledger, serve page and metrics.", ("collector",)
    ),
    "exec": Entry("execute", "Tell the node's agent which run COMMAND is, and become COMMAND."),
    "demo": Entry("demo", "Watch a simulated training run cross a line.", ("agent", "collector")),
    "totals": Entry("totals", "Show the compute of every run and model.", ("collector",)),
    "top": Entry("top", "Watch runs and models against the lines of the law.", ("collector",)),
    "forecast": Entry(
        "forecast", "Show when each model will be above each threshold.", ("collector",)
    ),
    "alert": Entry(
        "alert", "Show alerts, and acknowledge, silence or resolve them.", ("collector",)
    ),
    "review": Entry(
        "review", "Show reviews, and record what a named person determines.", ("collector",)
    ),
    "doctor": Entry(
        "doctor",
        "Say whether the storage of a ledger, or of an agent, gives what flopmeter promises.",
        ("collector",),
    ),
    "run": Entry("run", "Declare what a training run is.", ("collector",)),
    "model": Entry("model", "Say what a model is made of, and show it.", ("collector",)),
    "report": Entry("report", "Report a model's compute as a law asks for it.", ("collector",)),
    "role": Entry(
        "role", "Give and list the roles that decide on what lowers a legal total.", ("collector",)
    ),
    "approve": Entry("approve", "Decide on statements that lower a legal total.", ("collector",)),
    "ledger": Entry("ledger", "Check, copy and put back a ledger.", ("collector",)),
    "recompute": Entry("recompute", "Evaluate a ledger's past again.", ("collector",)),
    "replay": Entry("replay", "Meter a recording as if it happened now.", ("agent", "collector")),
    "pack": Entry("pack", "Pack telemetry as text into series, one file a device.", ("agent",)),
    "import": Entry(
        "import_series", "Take recorded telemetry into a ledger.", ("agent", "collector")
    ),
    "record": Entry("record", "Write down what the sensor reads.", ("agent",)),
    "calibrate": Entry(
        "calibrate", "Score the meter by work of known FLOP.", ("agent", "collector", "calibrate")
    ),
    "simulate": Entry(
        "simulate", "Put a fleet of agents and a collector through faults.", ("agent", "collector")
    ),
    "thresholds": Entry("thresholds", "List the compute thresholds and their sources."),
    "device": Entry("device", "List the accelerators flopmeter knows."),
    "estimate": Entry("estimate", "Estimate training compute from published figures."),
    "import-log": Entry("import_log", "Count FLOP by architecture from a training's own log."),
    "config": Entry("config", "Print the settings in force and where each comes from."),
}
"""Explicit, in the order of the help page; each module holds an object named `command`."""

EXTRA_MODULES = frozenset(
    {
        "cryptography",
        "google",
        "grpc",
        "grpc_health",
        "pynvml",
        "starlette",
        "uvicorn",
    }
)
"""Modules that only an extra installs: their absence is no defect of the installation."""


class ReaderGoneError(Exception):
    """Whoever read standard output has gone; nothing is wrong."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command's module."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = importlib.import_module(f"flopmeter.cli.{entry.module}")
        except ModuleNotFoundError as error:
            missing = _missing_extra(error, cmd_name)
            if missing is None:
                raise
            raise missing from error
        from flopmeter.cli.marks import marked

        loaded: click.Command = module.command
        return _listed_whole(marked(loaded))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; of a name that is none, say which is like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # Click compares with commands that are loaded.
            name = error.command_name
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Serve the command; click itself would report a closed pipe as exit code 1."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        return code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without loading a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def _listed_whole(command: click.Command) -> click.Command:
    """Let a group list its commands by whole sentences; click would cut them where a line ends."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            paragraph = " ".join((each.help or "").partition("\n\n")[0].split())
            each.short_help = paragraph.partition(". ")[0].rstrip(".") + "."
            _listed_whole(each)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flopmeter", message="flopmeter %(version)s")
def group() -> None:
    """The electricity meter of AI training.

    Tells for every training run and model how many floating-point operations (FLOP) it has used,
    how sure that figure is, and how near it is to each law's compute threshold.
    """


LONGEST_SENTENCE = 1_200
"""Characters of a failure: what somebody pasted by mistake is not printed whole."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one command line.

    Args:
        arguments: the words after `flopmeter`; None takes them from the process.

    Returns:
        The exit code: 0, or that of the failure, after one sentence on standard error.
    """
    try:
        code = group.main(
            args=None if arguments is None else list(arguments),
            prog_name="flopmeter",
            standalone_mode=False,
        )
    except FlopmeterError as error:
        return _say(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as error:
        return _say(_usage_sentence(error), EXIT_USAGE)
    except click.FileError as error:
        return _say(error.format_message(), EXIT_STORAGE)
    except click.ClickException as error:
        return _say(error.format_message(), EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ReaderGoneError:
        # Python flushes standard output once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:  # the edge of the process: a defect still ends in one sentence
        missing = _missing_extra(error, _command_of(arguments))
        if missing is not None:
            return _say(str(missing), missing.exit_code)
        import traceback

        traceback.print_exc()
        return _say(f"internal error: {error!r}; please report this", EXIT_INTERNAL)
    return code if isinstance(code, int) else 0


def _say(sentence: str, code: int) -> int:
    """Write the one sentence of a failure, whatever stood in what it quotes."""
    told = " ".join(sentence.split())
    told = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in told)
    if len(told) > LONGEST_SENTENCE:
        told = f"{told[: LONGEST_SENTENCE // 2]} ... {told[-LONGEST_SENTENCE // 2 :]}"
    click.echo("flopmeter: " + told, err=True)
    return code


def _usage_sentence(error: click.UsageError) -> str:
    """Say what is wrong with the command line, and where help is."""
    place = error.ctx.command_path if error.ctx is not None else "flopmeter"
    told = error.format_message().rstrip(".")
    return f"{told} See `{place} --help`" if told.endswith("?") else f"{told}; see `{place} --help`"


def _command_of(arguments: Sequence[str] | None) -> str:
    """The command that was called, for an import that failed while it worked."""
    words = sys.argv[1:] if arguments is None else arguments
    return next((word for word in words if word in COMMANDS), "")


def _missing_extra(error: Exception, command: str) -> UsageError | None:
    """The sentence that names the extra of a missing module; None where that is not the fault."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_MODULES or command not in COMMANDS:
        return None
    extras = ",".join(COMMANDS[command].extras) or "agent,collector"
    return UsageError(
        f"`flopmeter {command}` needs the module {module}; "
        f"install it with: pip install '.[{extras}]' from a checkout"
    )
