"""`flopmeter exec`: start a training command under the name of its run.

Owns: the command's help; the work is the SDK's.
May touch: what flopmeter.sdk.execute touches.
Called by the command line for its help; the script `flopmeter` itself goes to the SDK at once.
"""

from __future__ import annotations

import click

from flopmeter.sdk.execute import execute


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--run", metavar="NAME", help="The run.  [default: FLOPMETER_RUN]")
@click.option("--model", metavar="NAME", help="The model, as a claim.")
@click.option("--activity", metavar="WORD", help="What is done, as a claim.")
@click.option("--format", metavar="MIX", help="The mix of number formats, as a claim.")
@click.argument("command_words", metavar="-- COMMAND", nargs=-1, required=True)
def command(command_words: tuple[str, ...], **said: str | None) -> None:
    """Tell the node's agent which run COMMAND is, and become COMMAND.

    The command is started whether an agent is there or not; its exit code and signals are its own.
    """
    execute({name: text for name, text in said.items() if text}, command_words)
