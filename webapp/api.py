"""The API endpoint for programs and agents."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from mamp import MaskError, OverlayStyle, Settings, VideoError, WeightsError, read_mask
from webapp.project import read_project_file
from webapp.run_handler import track
from webapp.session import Session, new_session, project_of, reader_of
from webapp.settings_controls import with_own_weights


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
        mask: Mask file of one frame (palette PNG, black and white, or one color per object), or a project file of this
            page, which contains masks and settings.
        frame: Number of the frame that the mask belongs to, from 0.
        short_side: Short side at which the video is processed [pixels]; smaller is faster. Masks have the video's size.
        flow: Optical flow method: "dis", "raft" or "none".
        top_k: Number of matches per location [1, 200]; 0 for all.
        radius: Search radius around the motion-compensated position [1, 24], in steps of 4 pixels.

    Returns:
        overlay.mp4, masks.zip, masks.json, objects.csv and receipt.json.
    """
    session: Session = {}
    try:
        session = new_session(video)
        project = project_of(session)
        if Path(mask).suffix == ".zip":
            file = read_project_file(mask)
            project.load(file)
            settings = with_own_weights(file.settings)
        else:
            info = reader_of(video).info
            if not 0 <= frame < session["frames"]:
                raise MaskError(
                    f"The video has frames 0 to {session['frames'] - 1}, but the mask is for frame {frame}."
                )
            project.set_mask(int(frame), read_mask(mask, (info.height, info.width)))
            values = {"short_side": short_side, "flow": flow, "top_k": top_k, "radius": radius}
            settings = with_own_weights(Settings.from_dict(values))
        if not project.input_masks:
            raise MaskError("The mask contains no object: every pixel is background.")
        for _ in track(session, settings, OverlayStyle()):
            pass
        assert project.result is not None
        return [str(path) for path in project.result.files]
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from error
