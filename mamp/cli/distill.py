"""The command ``python -m mamp distill``: training of a small encoder by a larger one, with the options of ``train``."""

from __future__ import annotations

import argparse

from mamp.cli import train
from mamp.training.trainer import TrainConfig

run = train.run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``python -m mamp distill``."""
    defaults = TrainConfig.distillation()
    train.add_arguments(parser, defaults)
    parser.add_argument(
        "--teacher", default=defaults.teacher, help="weights of the larger encoder: a file or shipped (%(default)s)"
    )
