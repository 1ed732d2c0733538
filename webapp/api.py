"""The API endpoint for programs and agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamp import MaskError, OverlayStyle, Settings
from webapp.errors import error_for_visitor
from webapp.job_queue import LINES, refusal_of
from webapp.project import read_project_file
from webapp.run_handler import expected_seconds, track
from webapp.session import (
    Session,
    begin_job,
    close_session,
    end_job,
    job_of,
    new_session,
    project_of,
    request_job,
)
from webapp.settings_controls import with_own_weights
from webapp.work_limit import WorkLimitError


def segment(
    video: str,
    mask: str,
    frame: int = 0,
    short_side: int = 480,
    flow: str = "dis",
    top_k: int = 9,
    radius: int = 12,
) -> list[str]:
    """Segments objects throughout a video, given a mask of the objects on one frame.

    Args:
        video: Video file: mp4, mov, mkv, webm, avi or gif.
        mask: Mask image of one frame, JSON with COCO run lengths, or a project file of this page with masks and settings.
        frame: Number of the frame that the mask belongs to, from 0.
        short_side: Short side at which the video is processed [pixels]; smaller is faster. Masks have the video's size.
        flow: Optical flow method: "dis", "raft" or "none".
        top_k: Number of matches per location [1, 200]; 0 for all.
        radius: Search radius around the motion-compensated position [1, 24], in steps of 4 pixels.

    Returns:
        overlay.mp4, masks.zip, masks.json, objects.csv and receipt.json, which tells how the mask was read.
    """
    session: Session = {}
    try:
        if refusal := refusal_of("run"):
            raise WorkLimitError(refusal)
        session = new_session(video)
        if Path(mask).suffix == ".zip":
            settings = _load_project(session, mask)
        else:
            _load_mask(session, mask, frame)
            values = {"short_side": short_side, "flow": flow, "top_k": top_k, "radius": radius}
            settings = with_own_weights(Settings.from_dict(values))
        if not project_of(session).input_masks:
            raise MaskError("The mask contains no object: every pixel is background.")
        request_job(session, "run")
        try:
            job = job_of(session)
            assert job is not None
            job.expect(expected_seconds(session, settings))
            with LINES["run"].turn(job):
                begin_job(session)
                for update in track(session, settings, OverlayStyle()):
                    if update.seconds_left is not None:
                        job.expect(update.seconds_left)
        finally:
            end_job(session)
        result = project_of(session).result
        assert result is not None
        return [str(path) for path in result.files]
    except Exception as error:
        close_session(session)
        raise error_for_visitor(error) from error


def _load_project(session: Session, path: str) -> Settings:
    """Loads the masks of a project file; returns its settings."""
    file = read_project_file(path)
    project_of(session).load(file)
    return with_own_weights(file.settings)


def _load_mask(session: Session, path: str, frame: Any) -> None:
    """Makes a mask file the input mask of a frame."""
    project, frames = project_of(session), session["frames"]
    if isinstance(frame, float) and frame.is_integer():
        frame = int(frame)
    if not isinstance(frame, int) or isinstance(frame, bool):
        raise MaskError(f"The number of the frame must be a whole number, not {frame!s:.40}.")
    if not 0 <= frame < frames:
        raise MaskError(f"The video has frames 0 to {frames - 1}, but the mask is for frame {frame}.")
    for index, file in project.read_mask_files([path], frame).items():
        project.set_mask(index, file)
