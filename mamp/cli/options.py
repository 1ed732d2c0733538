"""The options of the method, shared by the subcommands: one for each field of ``Settings``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from mamp.settings import SETTINGS_INFO, Settings, parse_setting


def add_arguments(parser: argparse.ArgumentParser, *, short_side: int) -> None:
    """Declares an option for each setting.

    Args:
        parser: The parser of a subcommand.
        short_side: Default of ``--short-side`` [pixels].
    """
    defaults = {**Settings().to_dict(), "short_side": short_side}
    for name, info in SETTINGS_INFO.items():
        default = defaults[name]
        shown = ",".join(map(str, default)) if isinstance(default, list) else default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_parser_of(name),
            default=shown,
            metavar=None if info.choices else info.kind.upper(),
            choices=tuple(info.choices) if info.choices else None,
            help=f"{info.help} Default: {info.special_meaning if shown is None else '%(default)s'}.",
        )


def from_arguments(args: argparse.Namespace) -> Settings:
    """The settings that the options of ``add_arguments`` name."""
    return Settings(**{name: getattr(args, name) for name in SETTINGS_INFO})


def _parser_of(name: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return parse_setting(name, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse
