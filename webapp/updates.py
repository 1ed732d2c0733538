"""Updates of the page: which components each kind of event may change.

A handler returns a dictionary with the components it changes, by their names in ``webapp.layout.events``. Components that
are missing stay as they are, so an early return cannot have the wrong number of values.
"""

from __future__ import annotations

from typing import Any, TypedDict


class SessionUpdates(TypedDict, total=False):
    """The session."""

    session: Any


class AddressUpdates(TypedDict, total=False):
    """The page's address."""

    address: Any


class StatusUpdates(TypedDict, total=False):
    """The status line."""

    status: Any


class EstimateUpdates(TypedDict, total=False):
    """The expected duration of a run."""

    estimate: Any


class JobUpdates(StatusUpdates, total=False):
    """The buttons that start and stop a run or an export."""

    start: Any
    stop: Any
    prepare: Any


class ExplanationUpdates(TypedDict, total=False):
    """Why a pixel of the result got its label."""

    explained: Any


class FrameUpdates(ExplanationUpdates, total=False):
    """A frame of the result, without and with its masks."""

    comparison: Any


class ScoreUpdates(TypedDict, total=False):
    """Scores against true masks, as a table and in the chart."""

    scored: Any
    flags: Any


class ResultUpdates(FrameUpdates, ScoreUpdates, total=False):
    """The review section."""

    results: Any
    result_video: Any
    result_frame: Any
    files: Any
    python: Any
    command: Any
    client: Any
    exported: Any
    true_masks: Any


class RunUpdates(JobUpdates, ResultUpdates, total=False):
    """A run."""

    scroll: Any
    preview: Any
    masks: Any


class ExportUpdates(JobUpdates, total=False):
    """An export."""

    exported: Any


class ClipUpdates(SessionUpdates, AddressUpdates, RunUpdates, total=False):
    """Another clip, or none. ``closed_status`` is the status after a clip was removed, and empty while a clip is open."""

    closed_status: str
    editor: Any
    frame: Any
    mask_file: Any
    project_file: Any
    trim_panel: Any
    first_frame: Any
    last_frame: Any


class ExampleUpdates(ClipUpdates, total=False):
    """An example, which also replaces the clip that is shown; or a clip that cannot be shown."""

    clip: Any


class EndedUpdates(ExampleUpdates, EstimateUpdates, total=False):
    """A page whose session has ended."""


class SettingsUpdates(TypedDict, total=False):
    """The settings: a dictionary by their names in ``Settings``."""

    settings: dict[str, Any]


class ResumeUpdates(ExampleUpdates, SettingsUpdates, total=False):
    """The page after a reload."""


class MaskUpdates(TypedDict, total=False):
    """The list of masks."""

    masks: Any


class EditorUpdates(StatusUpdates, MaskUpdates, total=False):
    """The frame in the editor, the list of masks and the box of mask files."""

    editor: Any
    frame: Any
    mask_file: Any


class ProjectUpdates(EditorUpdates, SettingsUpdates, total=False):
    """A project file."""
