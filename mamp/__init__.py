"""Self-supervised video object segmentation by motion-aware mask propagation."""

from mamp.encoder import PatchEncoder, WeightsError, load_encoder
from mamp.flow import dis_flow, raft_flow
from mamp.job import segment_video
from mamp.masks import OBJECT_COLOURS, MaskError, read_mask, write_mask
from mamp.progress import Update
from mamp.render import Look, overlay
from mamp.result import Result, Sighting
from mamp.settings import Settings
from mamp.tracker import MaskTracker
from mamp.video import VideoError, VideoReader

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
