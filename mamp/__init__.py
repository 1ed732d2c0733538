"""Self-supervised video object segmentation by motion-aware mask propagation."""

from mamp.explanation.explain import explain
from mamp.explanation.explanation import Explanation
from mamp.flow.optical_flow import dis_flow, raft_flow
from mamp.interactive.stroke_segmenter import StrokeSegmenter, mask_from_strokes
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
    "load_encoder",
    "mask_from_strokes",
    "overlay",
    "raft_flow",
    "read_mask",
    "segment_video",
    "write_mask",
]
