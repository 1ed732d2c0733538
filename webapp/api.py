"""What programs and agents may ask for."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from mamp import MaskError, OverlayStyle, Settings, VideoError, WeightsError, read_mask
from webapp.project import read_project_file
from webapp.run_handler import follow
from webapp.session import Session, new_session, project_of, reader_of
from webapp.settings_controls import allowed


def segment(
    video: str,
    mask: str,
    frame: int = 0,
    short_side: int = 480,
    flow: str = "dis",
    top_k: int = 9,
    radius: int = 12,
) -> list[str]:
    """Follows objects through a video, from a mask of them on one frame.

    Args:
        video: The video file: mp4, mov, mkv, webm, avi or gif.
        mask: A mask file of the objects on one frame (palette PNG, black and white, or one colour an object), or a project
            file of this page, which holds masks and settings of its own.
        frame: Number of the frame that the mask is of, from 0.
        short_side: Pixels at which the video is processed; the masks come back in its own size. Smaller is faster.
        flow: Motion between frames: "dis", "raft" or "none".
        top_k: How many matches vote for each place [1 to 200]; 0 for all.
        radius: How far objects are looked for around where the motion leads, in steps of 4 pixels [1 to 24].

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
            settings = allowed(file.settings)
        else:
            info = reader_of(video).info
            if not 0 <= frame < session["frames"]:
                raise MaskError(f"The video has frames 0 to {session['frames'] - 1}, and none with the number {frame}.")
            project.give(int(frame), read_mask(mask, (info.height, info.width)))
            settings = allowed(
                Settings(short_side=int(short_side), flow=flow, top_k=int(top_k) or None, radius=int(radius))
            )
        if not project.input_masks:
            raise MaskError("The mask names no object: every pixel is background.")
        for _ in follow(session, settings, OverlayStyle()):
            pass
        assert project.result is not None
        return [str(path) for path in project.result.files]
    except (VideoError, MaskError, WeightsError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from error
