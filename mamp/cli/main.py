"""The parser of ``python -m mamp`` and its exit codes."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from mamp.cli.interrupts import handled_by, unwind

COMMANDS = {
    "segment": "track objects through a clip",
    "export": "cut-outs with alpha, and masks by object, of a finished run",
    "explain": "why a pixel of a finished run got its label",
    "train": "train the encoder on unlabeled clips",
    "distill": "train a small encoder to give the features of a larger one",
    "evaluate": "measure J and F on sequences with masks",
    "benchmark": "measure the time per frame by stage, and the memory",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand.

    Returns:
        The exit code: that of the subcommand; 2, with one line on stderr, for input that the user can correct.
    """
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m mamp", description="Track objects through a video.")
    commands = parser.add_subparsers(required=True, metavar=f"{{{','.join(COMMANDS)}}}")
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about)
        if name in arguments[:1]:  # the modules of the others would only cost time
            module = import_module(f"mamp.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, arguments=arguments)
    args = parser.parse_args(arguments)
    try:
        with handled_by(unwind):
            code: int = args.run(args)
    except (ValueError, OSError) as error:
        print(f"mamp: {error}", file=sys.stderr)
        return 2
    return code
