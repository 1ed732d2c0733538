"""Masks from rough strokes, boxes and clicks on one frame, without a model that was trained on masks.

The object is cut out of the surroundings of its strokes, at a resolution that fits it: by the distance to the strokes,
by colors and by motion. How far it reaches beyond the strokes is unknown. So a small image is cut for several
answers, and the one whose mask separates object and background best is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mamp.flow.optical_flow import FlowFunction, dis_flow
from mamp.flow.warp import to_cell_units
from mamp.interactive.object_cut import ObjectCut, Surroundings
from mamp.interactive.strokes import OUTSIDE, UNKNOWN, Strokes, fill_outlines, stroked_objects
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
Part = tuple[slice, slice]  # rows and columns
PixelBox = tuple[int, int, int, int]  # left, top, right and bottom, the last two excluded

_MARGIN = 0.5  # of the longer side of the strokes' extent: how far beyond them an object may reach
_MIN_MARGIN = 0.05  # of the short side of the frame: the same for tiny objects
_CLICK = 0.06  # of the short side: strokes up to this extent say nothing about the size of the object
_CLICKED = 0.5  # of the short side: the box that a click stands for
_REACH = 0.5  # of the longer side of a correction's extent: how far from it the mask may change
# Of the longer side of the marks' extent: how far from them an object may end.
_REACHES = (0.02, 0.035, 0.06, 0.11, 0.2, 0.3)
_CLICKED_REACHES = (0.1, 0.2, 0.4, 0.8)
_BOXED_REACHES = (0.06, 0.11, 0.2, 0.3)
_CORE = 0.85  # of the sides of a box: an ellipse of this size is object at first
_OUTLINED = 2  # area of filled strokes, of their own area: an outline from here on
_TRIED_AREA = 10_000  # [pixels] of the image that is cut for each reach
_WORKING_AREA = 25_000  # [pixels] of the image that is cut for the best of them
_LAB_SCALE = np.array((3.25, 10.4, 10.4), np.float32)  # inverse of the usual deviation of L, a and b
_MOTION_SCALE = 1.5  # of the logarithm of motion: a step of this is about as clear as one usual deviation of a color
_COVERED = 0.3  # share of a working pixel that a stroke has to cover


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
        self._lab = np.ascontiguousarray(rgb_to_lab(torch.from_numpy(image)).permute(1, 2, 0)) * _LAB_SCALE
        self._motion: Scores | None = None
        if next_frame is not None:
            displacement = torch.as_tensor(flow(image, resize_frame(next_frame, self._size))).float().cpu()
            cells = to_cell_units(pad_to_stride(displacement))
            motion, spread = relative_motion(cells, torch.zeros(cells.shape[1:], dtype=torch.bool))
            motion = to_pixels(motion.float() / (spread + FLOW_ERROR), self._size)
            scaled = _MOTION_SCALE * motion.sign() * motion.abs().log1p()
            self._motion = np.ascontiguousarray(scaled.permute(1, 2, 0))

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
        outlined = np.bincount(strokes.ravel(), minlength=256) >= _OUTLINED * marked
        small = _shrunk(strokes, self._size)
        scaled_boxes = {label: self._scaled(box) for label, box in (boxes or {}).items()}
        mask = np.zeros(self._size, np.uint8)
        best = np.full(self._size, -np.inf, np.float32)
        labels = {*stroked_objects(small), *scaled_boxes}
        if previous is not None:
            previous = self._checked(previous, "The previous mask")
            asked = _contradicted(previous, strokes)
            labels &= {*objects_in(strokes[asked]), *objects_in(previous[asked]), *scaled_boxes}
        for label in sorted(labels):
            if outlined[label] and marked[label]:
                continue
            box, object_mask, score = self._object(small, label, scaled_boxes.get(label))
            won = object_mask & (score > best[box])
            mask[box][won] = label
            best[box][won] = score[won]
        mask = resize_mask(mask, self.size)
        mask = np.where(strokes == UNKNOWN, mask, np.where(strokes == OUTSIDE, 0, strokes))
        if previous is None:
            return mask
        boxed = np.isin(mask, list(scaled_boxes)) & (previous == 0) & (strokes != OUTSIDE)
        return _changed_near_strokes(np.where(boxed, mask, previous), mask, strokes)

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
        if around is not None:
            outside |= ~_filled_box(around, self._size) & ~inside
            spanned = inside | _filled_box(around, self._size)
            likely = inside | (_ellipse(around, self._size) & ~outside)
            reaches = _BOXED_REACHES
        elif (clicked := _box_around_click(inside)) is not None:
            spanned = inside | _filled_box(clicked, self._size)
            reaches = _CLICKED_REACHES
        part, extent = _surroundings(spanned)
        marks = inside[part], outside[part], likely[part]
        tried = ObjectCut(self._view(part, *marks, extent, _TRIED_AREA))
        masks = {reach: tried.mask(reach)[0] for reach in reaches}
        reach = max(reaches, key=lambda reach: tried.quality(masks[reach]))
        view = self._view(part, *marks, extent, _WORKING_AREA)
        mask, score = ObjectCut(view).mask(reach, _resized(masks[reach], view.inside.shape) > 0.5)
        inside, outside, likely = marks
        mask = _resized(mask, inside.shape) > 0.5
        return part, parts_with(likely, (mask | inside) & ~outside), _resized(score, inside.shape)

    def _view(self, part: Part, inside: Bool, outside: Bool, likely: Bool, extent: int, area: int) -> Surroundings:
        """A part of the frame and the marks on it, at a size of at most so many pixels."""
        scale = min(1.0, math.sqrt(area / inside.size))
        size = max(1, round(inside.shape[0] * scale)), max(1, round(inside.shape[1] * scale))
        inside, outside, likely = (_covered(marks, size) for marks in (inside, outside, likely))
        return Surroundings(
            _resized(self._lab[part], size),
            None if self._motion is None else _resized(self._motion[part], size),
            inside,
            (outside | _rim(part, self._size, size)) & ~inside,
            _distance(likely | inside) / (scale * extent),
            _distance(outside) / (scale * extent),
        )


def _shrunk(strokes: Strokes, size: tuple[int, int]) -> Strokes:
    """Strokes at a size (H, W); thin ones stay, at least a pixel wide."""
    if strokes.shape == size:
        return strokes
    shrunk = np.zeros(size, np.uint8)
    for label in objects_in(strokes):
        shrunk[_resized(strokes == label, size) > 0] = label
    return shrunk


def _surroundings(spanned: Bool) -> tuple[Part, int]:
    """The part of the frame that may hold an object which spans some pixels (H, W), and their longer side [pixels]."""
    spans = _spans(spanned)
    extent = max(stop - start for start, stop in spans)
    margin = math.ceil(max(_MARGIN * extent, _MIN_MARGIN * min(spanned.shape)))
    rows, columns = (slice(max(0, start - margin), stop + margin) for start, stop in spans)
    return (rows, columns), extent


def _box_around_click(inside: Bool) -> PixelBox | None:
    """A box in place of strokes (H, W) that are too small to tell the size of an object."""
    (top, bottom), (left, right) = _spans(inside)
    short_side = min(inside.shape)
    if max(bottom - top, right - left) > _CLICK * short_side:
        return None
    grown = int(_CLICKED * short_side) // 2
    return max(0, left - grown), max(0, top - grown), right + grown, bottom + grown


def _spans(pixels: Bool) -> list[tuple[int, int]]:
    """First row and last plus one, then columns, of the true pixels."""
    indices = [np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0)]
    return [(int(each[0]), int(each[-1]) + 1) for each in indices]


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


def _resized(pixels: NDArray[Any], size: tuple[int, int]) -> Scores:
    interpolation = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=interpolation), np.float32)


def _covered(pixels: Bool, size: tuple[int, int]) -> Bool:
    """True pixels (H, W) at a size (h, w); thin lines stay."""
    share = _resized(pixels, size)
    return np.asarray(share > min(_COVERED, float(share.max()) / 2))


def _rim(box: Part, frame: tuple[int, int], size: tuple[int, int]) -> Bool:
    """The outermost pixels of a part of the frame, resized to (h, w), where the frame goes on."""
    rim = np.ones(size, bool)
    top, left = (int(part.start > 0) for part in box)
    bottom, right = (int(part.stop < whole) for part, whole in zip(box, frame, strict=True))
    rim[top : size[0] - bottom, left : size[1] - right] = False
    return rim


def _distance(pixels: Bool) -> Scores:
    """Distance of each pixel (h, w) to the next true one [pixels]; far if there is none."""
    if not pixels.any():
        return np.full(pixels.shape, 1e6, np.float32)
    return np.asarray(cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def parts_with(pixels: Bool, mask: Bool) -> Bool:
    """The connected parts of a mask (H, W) that contain one of some pixels (H, W)."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return mask & np.isin(parts, np.unique(parts[pixels & mask]))


def _contradicted(previous: Mask, strokes: Strokes) -> Bool:
    """The pixels where strokes ask for another label than that of the previous mask."""
    wanted: Mask = np.where(strokes == OUTSIDE, 0, strokes)
    return np.asarray((strokes != UNKNOWN) & (wanted != previous), bool)


def _changed_near_strokes(previous: Mask, mask: Mask, strokes: Strokes) -> Mask:
    """The previous mask with those connected changes that a stroke asks for.

    A stroke changes only the labels that it was painted on: one that adds to an object removes nothing from it, and
    takes pixels from another object only if it touches that object. Nothing changes far away, except for a new object.
    """
    asked = _contradicted(previous, strokes)
    if not asked.any():
        return previous
    wanted = np.where(strokes == OUTSIDE, 0, strokes)
    reach = max(_REACH * max(stop - start for start, stop in _spans(asked)), _MIN_MARGIN * min(mask.shape))
    near = cv2.distanceTransform((~asked).astype(np.uint8), cv2.DIST_L2, 5) <= reach
    known = {0, *objects_in(previous)}
    result = previous.copy()
    for label in np.unique(wanted[asked]):
        seeds = asked & (wanted == label)
        changed = (mask == label) & np.isin(previous, np.unique(previous[seeds])) & (previous != label)
        if int(label) in known:
            changed &= near
        result[parts_with(seeds, changed)] = label
    return result
