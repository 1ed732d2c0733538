"""Errors as visitors see them: one sentence, without paths of the server."""

from __future__ import annotations

import traceback

import gradio as gr

from mamp import MaskError, VideoError, WeightsError
from mamp.errors import UserError
from mamp.files import ResourceError, as_resource_error
from mamp.settings import SettingsError
from webapp.languages import message, text, visitor_language
from webapp.session import SessionEndedError
from webapp.work_limit import WorkLimitError

# The messages of these are written for visitors.
_FOR_VISITORS = (MaskError, VideoError, WeightsError, ResourceError, SettingsError, SessionEndedError, WorkLimitError)


def error_text(error: Exception) -> str:
    """The message of an error for visitors in the language of the visitor, English for rare errors of ``mamp``."""
    language = visitor_language()
    if isinstance(error, UserError) and error.kind and language != "en":
        return text(f"error.{error.kind}", language, **error.values)
    return str(error)


def error_for_visitor(error: Exception) -> gr.Error:
    """The error to raise in a handler: with the message of an error for visitors, else without any detail.

    An error that nobody expects is printed to the log.
    """
    error = as_resource_error(error) or error
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, _FOR_VISITORS):
        return gr.Error(error_text(error), print_exception=False)
    traceback.print_exception(error)
    return gr.Error(message("server.failed"), print_exception=False)
