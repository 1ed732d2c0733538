"""Segmenting a clip: from a clip and its input masks to an overlay video, masks and a receipt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamp.masks.input_masks import MaskSource, paths_of, read_input_masks
from mamp.masks.overlay import OverlayStyle
from mamp.model.checkpoint import shared_encoder
from mamp.model.encoder import EncoderFunction
from mamp.runs.packed_masks import PackedMasks
from mamp.runs.part import PartTracker
from mamp.runs.progress import Update
from mamp.runs.receipt import run_identity
from mamp.runs.request import OUTPUTS, RunRequest
from mamp.runs.results import Result
from mamp.runs.run import Run
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.video.image_sequence import RATE
from mamp.video.reader import VideoReader

Image = NDArray[np.uint8]


def segment_video(
    clip: str | Path,
    masks: Mapping[int, MaskSource] | str | Path,
    out_dir: str | Path,
    settings: Settings | None = None,
    *,
    names: Mapping[int, str] | None = None,
    previous: str | Path | None = None,
    overlay_style: OverlayStyle | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    encoder: EncoderFunction | None = None,
    outputs: Collection[str] = OUTPUTS,
    fps: Fraction = RATE,
    track_part: PartTracker | None = None,
    memory_interval: int | None = None,
) -> Generator[Update, None, None]:
    """Segments objects through a clip. It streams: memory use does not grow with the length of the clip.

    Frames before the first input mask are tracked first, backwards from it. An object that only a later mask contains
    starts on the frame of that mask. A run that ends early keeps its results: a playable overlay, the masks so far, and
    the receipt.

    Args:
        clip: A video file or a folder of frames.
        masks: By frame number, a label map (H, W) of the clip's size with whole numbers from 0 to 255 of any type, a mask
            file, or a list of files that each hold other objects; or a JSON file such as ``Result.masks_json``. See
            ``read_input_masks``.
        out_dir: Folder for the files of ``Result``.
        settings: Settings of the method; the defaults if omitted.
        names: Object names by label, for the files.
        previous: Folder of a previous run of this clip with the same settings, stopped or complete. Only frames that it
            lacks or that changed masks affect are computed.
        overlay_style: Style of the overlay video.
        should_stop: Called after every frame; true ends the run.
        encoder: Encoder to use instead of loading one.
        outputs: "masks", "video" or both.
        fps: Frame rate of a clip without time stamps, as a folder of frames [frames/s].
        track_part: Tracks missing frames in place of this process, for instance in one that has a GPU for seconds: it is
            called until all frames have masks, or no new one comes, and may run ``mamp.runs.part.track_part`` there. If
            it fails, the video of the masks so far is made before the error is raised.
        memory_interval: Stores the memory of the tracker every so many frames, 3 MB each at 480p: later runs and
            explanations of the result then start there, and need not follow the motion from the first input mask on.

    Yields:
        An update after each frame; the last one carries the result.

    Raises:
        VideoError: The clip cannot be read.
        MaskError: A mask is unreadable, is no label map, does not fit the clip, contains no object, or is for a frame that
            does not exist; ``previous`` holds no run; or the clip or a mask file would be overwritten.
        WeightsError: The weights cannot be loaded.
    """
    settings = settings or Settings()
    result, mask_files = Result(Path(out_dir)), paths_of(masks)
    previous_result = None if previous is None else Result(Path(previous))
    result.check_paths(mask_files, previous_result)
    timer = StageTimer()
    with timer.stage("read"):
        reader = VideoReader(clip, fps)
        result.check_inputs([reader.path, *reader.files, *mask_files])
    with timer.stage("load"):  # a missing device or file is refused before the clip is decoded
        loaded = encoder or shared_encoder(settings.weights, settings.device)
    with timer.stage("read"):
        info = reader.info
        input_masks, summaries = PackedMasks(), {}
        size = (info.height, info.width)
        for frame, file in read_input_masks(masks, size, reader.count(), float(info.pixel_aspect)):
            input_masks.add(frame, file.mask)
            summaries[frame] = file.summary()
    request = RunRequest(
        reader, input_masks, settings, dict(names or {}), overlay_style, outputs, summaries, memory_interval
    )
    with timer.stage("read"):
        identity = run_identity(request, loaded)
    run = Run(request, identity, loaded, result, timer, track_part)
    if previous_result is not None:
        run.reuse_frames(previous_result)
    yield from run.updates(should_stop)
