"""Self-supervised video object segmentation by motion-aware mask propagation."""

from mamp.flow.optical_flow import dis_flow, raft_flow
from mamp.masks.mask_io import OBJECT_COLOURS, MaskError, read_mask, write_mask
from mamp.masks.overlay import Look, overlay
from mamp.model.encoder import PatchEncoder, WeightsError, load_encoder
from mamp.runs.progress import Update
from mamp.runs.results import Result, Sighting
from mamp.runs.segment_video import segment_video
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video.reader import VideoError, VideoReader

__all__ = [
    "OBJECT_COLOURS",
    "Look",
    "MaskError",
    "MaskTracker",
    "PatchEncoder",
    "Result",
    "Settings",
    "Sighting",
    "Update",
    "VideoError",
    "VideoReader",
    "WeightsError",
    "dis_flow",
    "load_encoder",
    "overlay",
    "raft_flow",
    "read_mask",
    "segment_video",
    "write_mask",
]
