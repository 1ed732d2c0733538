"""Self-supervised video object segmentation by motion-aware mask propagation.

Names are imported when they are first used, so that ``import mamp`` and ``python -m mamp --help`` do not wait for PyTorch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# PyTorch's threads wait actively for each other, on a busy machine for one that does not run. Read when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

if TYPE_CHECKING:
    from mamp.batch.clip_list import ClipItem, read_clip_list
    from mamp.batch.export_dataset import export_dataset
    from mamp.batch.segment_many import segment_many
    from mamp.explanation.explain import explain
    from mamp.explanation.explanation import Explanation
    from mamp.flow.optical_flow import dis_flow, raft_flow
    from mamp.interactive.stroke_segmenter import StrokeSegmenter, frame_with_motion, mask_from_strokes
    from mamp.masks.label_map import MaskError
    from mamp.masks.mask_io import read_mask, write_mask
    from mamp.masks.overlay import OverlayStyle, overlay
    from mamp.masks.palette import OBJECT_COLORS
    from mamp.model.checkpoint import WeightsError, load_encoder
    from mamp.model.patch_encoder import PatchEncoder
    from mamp.runs.progress import Update
    from mamp.runs.results import ObjectFrame, Result
    from mamp.runs.segment_video import segment_video
    from mamp.settings import Settings
    from mamp.tracker import MaskTracker
    from mamp.video.reader import VideoError, VideoReader

__all__ = [
    "OBJECT_COLORS",
    "ClipItem",
    "Explanation",
    "MaskError",
    "MaskTracker",
    "ObjectFrame",
    "OverlayStyle",
    "PatchEncoder",
    "Result",
    "Settings",
    "StrokeSegmenter",
    "Update",
    "VideoError",
    "VideoReader",
    "WeightsError",
    "dis_flow",
    "explain",
    "export_dataset",
    "frame_with_motion",
    "load_encoder",
    "mask_from_strokes",
    "overlay",
    "raft_flow",
    "read_clip_list",
    "read_mask",
    "segment_many",
    "segment_video",
    "write_mask",
]

_MODULES = {
    "ClipItem": "mamp.batch.clip_list",
    "Explanation": "mamp.explanation.explanation",
    "MaskError": "mamp.masks.label_map",
    "MaskTracker": "mamp.tracker",
    "OBJECT_COLORS": "mamp.masks.palette",
    "ObjectFrame": "mamp.runs.results",
    "OverlayStyle": "mamp.masks.overlay",
    "PatchEncoder": "mamp.model.patch_encoder",
    "Result": "mamp.runs.results",
    "Settings": "mamp.settings",
    "StrokeSegmenter": "mamp.interactive.stroke_segmenter",
    "Update": "mamp.runs.progress",
    "VideoError": "mamp.video.reader",
    "VideoReader": "mamp.video.reader",
    "WeightsError": "mamp.model.checkpoint",
    "dis_flow": "mamp.flow.optical_flow",
    "explain": "mamp.explanation.explain",
    "export_dataset": "mamp.batch.export_dataset",
    "frame_with_motion": "mamp.interactive.stroke_segmenter",
    "load_encoder": "mamp.model.checkpoint",
    "mask_from_strokes": "mamp.interactive.stroke_segmenter",
    "overlay": "mamp.masks.overlay",
    "raft_flow": "mamp.flow.optical_flow",
    "read_clip_list": "mamp.batch.clip_list",
    "read_mask": "mamp.masks.mask_io",
    "segment_many": "mamp.batch.segment_many",
    "segment_video": "mamp.runs.segment_video",
    "write_mask": "mamp.masks.mask_io",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
