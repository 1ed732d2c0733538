"""The parser of ``python -m mamp`` and its exit codes."""

from __future__ import annotations

import argparse
import sys

from mamp.cli import benchmark, distill, evaluate, explain, export, segment, train
from mamp.model.checkpoint import WeightsError


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand.

    Returns:
        The exit code: that of the subcommand; 2, with one line on stderr, for input that the user can correct; 130 after
        Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m mamp", description="Track objects through a video.")
    commands = parser.add_subparsers(required=True, metavar="{segment,export,explain,train,distill,evaluate,benchmark}")
    for name, module, about in (
        ("segment", segment, "track objects through a clip"),
        ("export", export, "cut-outs with alpha, and masks by object, of a finished run"),
        ("explain", explain, "why a pixel of a finished run got its label"),
        ("train", train, "train the encoder on unlabeled clips"),
        ("distill", distill, "train a small encoder to give the features of a larger one"),
        ("evaluate", evaluate, "measure J and F on sequences with masks"),
        ("benchmark", benchmark, "measure the time per frame by stage, and the memory"),
    ):
        command = commands.add_parser(name, help=about)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, WeightsError) as error:
        print(f"mamp: {error}", file=sys.stderr)
        return 2
    return code
