"""Masks from rough strokes, boxes and clicks on one frame, without a model that was trained on masks.

The object is cut out of the surroundings of its strokes, at a resolution that fits it: by the distance to the strokes,
by colors and by motion. How far it reaches beyond the strokes is unknown. So a small image is cut for several
answers, and their masks are averaged, weighted by how well they separate object and background.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mamp.flow.optical_flow import FlowFunction, dis_flow
from mamp.flow.warp import to_cell_units
from mamp.interactive.correction import corrected
from mamp.interactive.guided_resize import guided_resize
from mamp.interactive.object_cut import ObjectCut
from mamp.interactive.strokes import OUTSIDE, UNKNOWN, Strokes, fill_outlines, stroked_objects
from mamp.interactive.surroundings import FrameValues, Part, part_around, parts_with, resized, spans
from mamp.masks.label_map import MaskError, as_label_map, objects_in, resize_mask
from mamp.model.color import rgb_to_lab
from mamp.propagation.alignment import pad_to_stride, to_pixels
from mamp.propagation.cell_features import FLOW_ERROR, relative_motion
from mamp.settings import Settings
from mamp.video.images import resize_frame

Frame = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]
PixelBox = tuple[int, int, int, int]  # left, top, right and bottom, the last two excluded

_MARGIN = 0.5  # of the longer side of the strokes' extent: how far beyond them an object may reach
_MIN_MARGIN = 0.05  # of the short side of the frame: the same for tiny objects
_CLICK = 0.06  # of the short side: strokes up to this extent say nothing about the size of the object
_CLICKED = 0.5  # of the short side: the box that a click stands for
# Of the longer side of the marks' extent: how far from them an object may end.
_REACHES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
_CLICKED_REACHES = (0.1, 0.2, 0.4, 0.8)
_BOXED_REACHES = (0.06, 0.11, 0.2, 0.3)
_CORE = 0.85  # of the sides of a box: an ellipse of this size is object at first
_OUTLINED = 2  # area of filled strokes, of their own area: an outline from here on
_LOWEST_QUALITY = -1e6  # that of a mask without object, or without background
_TRIED_AREA = 10_000  # [pixels] of the image that is cut for each reach
_WORKING_AREA = 200_000  # [pixels] of the image that is cut for the best of them: half of a frame at 480 pixels
_BOXED_AREA = 25_000  # the same for boxes, which say little of the object: it would end at edges within itself
_LAB_SCALE = np.array((3.25, 10.4, 10.4), np.float32)  # inverse of the usual deviation of L, a and b
_FRAMES_FOR_MOTION = 12  # half a second: a longer flow is less exact
_BLOCKS = 24  # along the short side
_REPEATED = 8  # [gray levels] a repeated frame is compressed again, and its blocks differ by up to this in the mean
_MOTION_SCALE = 1.5  # of the logarithm of motion: a step of this is about as clear as one usual deviation of a color


def mask_from_strokes(frame: Frame, strokes: Strokes, *, next_frame: Frame | None = None) -> Mask:
    """The mask that rough strokes on one frame mean; ``StrokeSegmenter`` is faster for several strokes in turn.

    Args:
        frame: RGB (H, W, 3) uint8.
        strokes: (H, W) uint8: 0 unknown, 1 to 254 inside an object, 255 outside all objects.
        next_frame: A frame that follows (H, W, 3) uint8, which shows what moves.

    Returns:
        Label map (H, W) uint8.

    Raises:
        MaskError: The strokes have another size.
    """
    return StrokeSegmenter(frame, next_frame).segment(strokes)


def frame_with_motion(frame: Frame, others: Iterable[Frame]) -> Frame | None:
    """The frame that shows best what moves, for ``StrokeSegmenter``: clips repeat frames, or stand still at first.

    Args:
        frame: RGB (H, W, 3) uint8.
        others: Other frames of the clip, nearest first; at most 12 are read.

    Returns:
        The first in which something has moved; if there is none, the last that was read, or ``None`` without any.
    """
    other: Frame | None = None
    for other in islice(others, _FRAMES_FOR_MOTION):
        difference = cv2.cvtColor(cv2.absdiff(frame, other), cv2.COLOR_RGB2GRAY).astype(np.float32)
        side = max(1, min(difference.shape) // _BLOCKS)
        size = (max(1, difference.shape[1] // side), max(1, difference.shape[0] // side))
        if cv2.resize(difference, size, interpolation=cv2.INTER_AREA).max() > _REPEATED:
            break
    return other


class StrokeSegmenter:
    """Finds the masks that strokes on one frame mean; keeps what depends on the frame only.

    Args:
        frame: RGB (H, W, 3) uint8.
        next_frame: A frame that follows (H, W, 3) uint8, which shows what moves.
        flow: Optical flow between the two.
    """

    @torch.inference_mode()
    def __init__(self, frame: Frame, next_frame: Frame | None = None, *, flow: FlowFunction = dis_flow) -> None:
        self.size = (frame.shape[0], frame.shape[1])
        self._size = Settings().processing_size(self.size)
        image = resize_frame(frame, self._size)
        colors = np.ascontiguousarray(rgb_to_lab(torch.from_numpy(image)).permute(1, 2, 0)) * _LAB_SCALE
        relative: Scores | None = None
        if next_frame is not None:
            displacement = torch.as_tensor(flow(image, resize_frame(next_frame, self._size))).float().cpu()
            cells = to_cell_units(pad_to_stride(displacement))
            motion, spread = relative_motion(cells, torch.zeros(cells.shape[1:], dtype=torch.bool))
            motion = to_pixels(motion.float() / (spread + FLOW_ERROR), self._size)
            scaled = _MOTION_SCALE * motion.sign() * motion.abs().log1p()
            relative = np.ascontiguousarray(scaled.permute(1, 2, 0))
        self._values = FrameValues(colors, relative)

    def segment(
        self, strokes: Strokes, *, boxes: Mapping[int, PixelBox] | None = None, previous: Mask | None = None
    ) -> Mask:
        """The mask that strokes mean. What strokes of an object enclose belongs to it; an outline is the object's edge.

        Args:
            strokes: (H, W) uint8: 0 unknown, 1 to 254 inside an object, 255 outside all objects.
            boxes: Boxes around objects, by label: left, top, right and bottom [pixels], right and bottom excluded.
            previous: The mask (H, W) before the newest strokes; it changes only where they contradict it, and around. Boxes
                add to it what was background.

        Returns:
            Label map (H, W) uint8.

        Raises:
            MaskError: The strokes or the previous mask have another size than the frame, or a box does not lie in it.
        """
        strokes = self._checked(strokes, "The strokes")
        marked = np.bincount(strokes.ravel(), minlength=256)
        strokes = fill_outlines(strokes)
        outlined = {*np.flatnonzero((np.bincount(strokes.ravel(), minlength=256) >= _OUTLINED * marked) & (marked > 0))}
        scaled_boxes = {label: self._scaled(box) for label, box in (boxes or {}).items()}
        mask = np.zeros_like(strokes) if previous is None else self._checked(previous, "The previous mask")
        new = {*stroked_objects(strokes)} - {*objects_in(mask)}
        if new or scaled_boxes:
            mask = self._with_objects(mask, strokes, new, scaled_boxes, outlined)
        asked = _contradicted(mask, strokes)
        for mark in objects_in(np.where(asked, strokes, UNKNOWN)):
            mask = self._corrected(mask, strokes, mark, asked & (strokes == mark), literally=mark in outlined)
        return mask

    def _with_objects(
        self, mask: Mask, strokes: Strokes, new: set[int], boxes: Mapping[int, PixelBox], outlined: set[int]
    ) -> Mask:
        """A mask (H, W) with objects that are new to it, and with what boxes add to its background.

        A new object takes pixels from another one only if its strokes touch that.
        """
        small = _shrunk(strokes, self._size)
        found = np.zeros(self._size, np.uint8)
        best = np.full(self._size, -np.inf, np.float32)
        for label in sorted({*new, *boxes} - outlined):
            part, object_mask, score = self._object(small, label, boxes.get(label))
            won = object_mask & (score > best[part])
            found[part][won] = label
            best[part][won] = score[won]
        found = resize_mask(found, self.size)
        found = np.where(strokes == UNKNOWN, found, np.where(strokes == OUTSIDE, 0, strokes))
        result = np.where(np.isin(found, list(boxes)) & (mask == 0), found, mask)
        for label in new:
            seeds = strokes == label
            result[parts_with(seeds, (found == label) & np.isin(mask, np.unique(mask[seeds])))] = label
        return result

    def _corrected(self, mask: Mask, strokes: Strokes, mark: int, asked: Bool, *, literally: bool) -> Mask:
        """Corrects a mask (H, W) by those strokes of one mark that contradict it.

        The strokes change only the labels that they were painted on, and nothing far away.

        Args:
            mask: To correct.
            strokes: All strokes (H, W).
            mark: A label, or 255 for strokes outside all objects.
            asked: Pixels of the mark's strokes that the mask contradicts (H, W).
            literally: Change nothing but these pixels.
        """
        label = 0 if mark == OUTSIDE else mark
        changed = asked
        if not literally:
            small_mask, small = resize_mask(mask, self._size), _shrunk(strokes, self._size)
            touched = np.isin(mask, np.unique(mask[asked]))
            changed = corrected(
                self._values,
                resized(asked, self._size) > 0,
                right=(small_mask == label) | (small == mark),
                contrary=(small != UNKNOWN) & (small != mark),
                fixed=~np.isin(small_mask, [label, *np.unique(mask[asked])]),
            )
            free = (strokes == UNKNOWN) & touched
            changed = asked | ((resize_mask(changed.astype(np.uint8), self.size) > 0) & free)
        return np.where(changed, label, mask).astype(np.uint8)

    def _checked(self, mask: Mask, name: str) -> Mask:
        mask = as_label_map(mask, name)
        if mask.shape != self.size:
            raise MaskError(f"{name} must have the size of the frame, {self.size[1]}x{self.size[0]}.")
        return mask

    def _scaled(self, box: PixelBox) -> PixelBox:
        """A box of the frame at the processing size."""
        (height, width), (rows, columns) = self.size, self._size
        left, top, right, bottom = box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise MaskError(f"The box {left}, {top} to {right}, {bottom} does not lie in the frame, {width}x{height}.")
        x0, y0 = left * columns // width, top * rows // height
        return x0, y0, max(x0 + 1, right * columns // width), max(y0 + 1, bottom * rows // height)

    def _object(self, strokes: Strokes, label: int, around: PixelBox | None) -> tuple[Part, Bool, Scores]:
        """Cuts out one object.

        Args:
            strokes: At the processing size.
            label: Its label.
            around: A box around it, at the processing size.

        Returns:
            The part of the frame that may hold it, its mask there, and its log-odds there.
        """
        inside, outside = strokes == label, (strokes != UNKNOWN) & (strokes != label)
        spanned = likely = inside
        reaches: Sequence[float] = _REACHES
        area = _WORKING_AREA
        if around is not None:
            outside |= ~_filled_box(around, self._size) & ~inside
            spanned = inside | _filled_box(around, self._size)
            likely = inside | (_ellipse(around, self._size) & ~outside)
            reaches, area = _BOXED_REACHES, _BOXED_AREA
        elif (clicked := _box_around_click(inside)) is not None:
            spanned = inside | _filled_box(clicked, self._size)
            reaches = _CLICKED_REACHES
        part, extent = part_around(spanned, _MARGIN, _MIN_MARGIN)
        around_marks = partial(self._values.around, part, extent, inside=inside, outside=outside, likely=likely)
        tried = ObjectCut(around_marks(_TRIED_AREA))
        masks = [tried.mask(reach)[0] for reach in reaches]
        qualities = np.maximum([tried.quality(mask) for mask in masks], _LOWEST_QUALITY)
        shares = np.exp(qualities - qualities.max())
        likely_mask = np.average(np.asarray(masks, np.float32), axis=0, weights=shares).astype(np.float32)
        view = around_marks(area)
        reach = reaches[int(qualities.argmax())]
        mask, score = ObjectCut(view).mask(reach, resized(likely_mask, view.inside.shape) > 0.5)
        mask = guided_resize(mask, view.colors, self._values.colors[part])
        mask = parts_with(likely[part], (mask | inside[part]) & ~outside[part])
        return part, mask, resized(score, mask.shape)


def _shrunk(strokes: Strokes, size: tuple[int, int]) -> Strokes:
    """Strokes at a size (H, W); thin ones stay, at least a pixel wide."""
    if strokes.shape == size:
        return strokes
    shrunk = np.zeros(size, np.uint8)
    for label in objects_in(strokes):
        shrunk[resized(strokes == label, size) > 0] = label
    return shrunk


def _box_around_click(inside: Bool) -> PixelBox | None:
    """A box in place of strokes (H, W) that are too small to tell the size of an object."""
    (top, bottom), (left, right) = spans(inside)
    short_side = min(inside.shape)
    if max(bottom - top, right - left) > _CLICK * short_side:
        return None
    grown = int(_CLICKED * short_side) // 2
    return max(0, left - grown), max(0, top - grown), right + grown, bottom + grown


def _filled_box(box: PixelBox, size: tuple[int, int]) -> Bool:
    left, top, right, bottom = box
    filled = np.zeros(size, bool)
    filled[top:bottom, left:right] = True
    return filled


def _ellipse(box: PixelBox, size: tuple[int, int]) -> Bool:
    """The middle of a box."""
    left, top, right, bottom = box
    center = ((left + right) / 2, (top + bottom) / 2)
    axes = (_CORE * (right - left), _CORE * (bottom - top))
    return cv2.ellipse(np.zeros(size, np.uint8), (center, axes, 0), 1, cv2.FILLED) > 0


def _contradicted(previous: Mask, strokes: Strokes) -> Bool:
    """The pixels where strokes ask for another label than that of the previous mask."""
    wanted: Mask = np.where(strokes == OUTSIDE, 0, strokes)
    return np.asarray((strokes != UNKNOWN) & (wanted != previous), bool)
