"""The receipt of a run: what was read, with which settings and weights, and what was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mamp.model.encoder import EncoderFunction
from mamp.runs.incremental import clip_sha256
from mamp.runs.request import RunRequest
from mamp.settings import Settings


@dataclass
class RunStatus:
    """State of a run that its receipt records.

    Attributes:
        stopped: Whether the run ends before all masks and the video are complete.
        error: Message of the error that ended the run.
        encoder: Architecture of the encoder; ``None`` if it has no name.
        short_of_memory: Whether the device ran out of memory, so that matching used smaller blocks.
        masks_written: Number of frames with a mask.
        masks_reused: Number of those copied from the previous run.
        frames_in_video: Number of frames in the overlay video.
        audio: Codec and treatment of the audio; ``None`` without audio.
    """

    stopped: bool = False
    error: str | None = None
    encoder: str | None = None
    short_of_memory: bool = False
    masks_written: int = 0
    masks_reused: int = 0
    frames_in_video: int = 0
    audio: str | None = None

    @property
    def end(self) -> str:
        """How the run ended: "failed", "stopped" or "complete"."""
        return "failed" if self.error else "stopped" if self.stopped else "complete"


def run_identity(request: RunRequest, encoder: EncoderFunction) -> dict[str, Any]:
    """The entries of the receipt that determine the masks; runs with equal ones can reuse each other's masks."""
    clip = {"clip_sha256": clip_sha256(request.reader.path)}
    return clip | identity_within_clip(request.size, request.settings, encoder)


def identity_within_clip(size: tuple[int, int], settings: Settings, encoder: EncoderFunction) -> dict[str, Any]:
    """The entries of ``run_identity`` without the hash of the clip, for runs that are known to be of one clip.

    Args:
        size: Size of the clip (H, W) [pixels].
        settings: Settings of the run.
        encoder: Encoder of the run.
    """
    (height, width), (processed_height, processed_width) = size, settings.processing_size(size)
    return {
        "size": [width, height],
        "processed_size": [processed_width, processed_height],
        "settings": settings.to_dict(),
        **getattr(encoder, "origin", {"weights": "given by the caller", "weights_sha256": None}),
    }


def receipt_document(
    request: RunRequest, identity: dict[str, Any], status: RunStatus, end: str, seconds: dict[str, float]
) -> dict[str, Any]:
    """The receipt as JSON.

    Args:
        request: The request of the run.
        identity: Entries from ``run_identity``.
        status: State of the run.
        end: "killed" while the run is under way, then ``RunStatus.end``.
        seconds: Time by stage [s].
    """
    info = request.reader.info
    return {
        "clip": request.reader.path.name,
        **identity,
        "encoder": status.encoder,
        "end": end,
        "error": status.error,
        "damage": request.reader.damage,
        "notes": request.notes,
        "short_of_memory": status.short_of_memory,
        "frames_in_clip": request.frames_total,
        "frames_decoded": status.masks_written,
        "masks_written": status.masks_written,
        "masks_reused": status.masks_reused,
        "frames_in_video": status.frames_in_video,
        "fps": str(info.fps),
        "time_base": str(info.time_base),
        "rotation": info.rotation,
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "audio": status.audio,
        "input_masks": sorted(request.input_masks),
        "input_masks_read": {str(frame): summary for frame, summary in sorted(request.mask_summaries.items())},
        "objects": request.objects,
        "names": request.names,
        "seconds": seconds,
    }
