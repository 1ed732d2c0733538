"""Errors whose message is for the user."""

from __future__ import annotations


class UserError(ValueError):
    """An error with a message of one sentence for the user.

    Attributes:
        kind: Short name of the error, by which a program finds its message in another language; empty for rare errors.
        values: What the message names, by name.
    """

    def __init__(self, message: str, kind: str = "", **values: object) -> None:
        super().__init__(message)
        self.kind, self.values = kind, values
