"""Masks from rough strokes, boxes and clicks on one frame, without a model that was trained on masks.

The object discriminant of the tracker is fitted to the strokes instead of a mask: one number for each cell, from the
encoder's features, colors and motion. GrabCut (Rother et al., SIGGRAPH 2004) then cuts the object out of an image that
has this score and the two main colors as channels; its mask refines the discriminant. Both work in the surroundings of
the strokes only, at a resolution that fits the object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mamp.flow.optical_flow import FlowFunction, dis_flow
from mamp.flow.warp import to_cell_units
from mamp.interactive.strokes import OUTSIDE, UNKNOWN, Strokes, fill_outlines, stroked_objects
from mamp.masks.label_map import MaskError, as_label_map, objects_in, resize_mask
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import STRIDE, EncoderFunction, device_of, has_bfloat16
from mamp.propagation.alignment import Box, pad_to_stride, to_pixels
from mamp.propagation.cell_features import color_features, independent_motion
from mamp.propagation.object_discriminant import ClassStatistics, Discriminants, class_statistics
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
_REACH = 0.5  # of the longer side of a correction's extent: how far from it the mask may change
_FAR = 0.3  # of the longer side of the strokes' extent: what is further away from them is background at first
_NEAR = 0.01  # of the longer side of the strokes' extent: what is as near to them is object at first
_CORE = 0.5  # of the sides of a box: an ellipse of this size is object at first
_OUTLINED = 2  # area of filled strokes, of their own area: an outline from here on
_WORKING_AREA = 25_000  # [pixels] of the image that is cut
_FITTED_CELLS = 4_000  # more do not change the discriminant
_CONTRAST = 40  # gray levels per unit of the discriminant score, and per usual deviation of a color
_LAB_SCALE = np.array((3.25, 10.4, 10.4), np.float32)  # inverse of the usual deviation of L, a and b
_COVERED = 0.3  # share of a working pixel that a stroke has to cover
_UNUSED = 2  # label of cells that nothing is known of


def mask_from_strokes(
    frame: Frame, strokes: Strokes, encoder: EncoderFunction, *, next_frame: Frame | None = None
) -> Mask:
    """The mask that rough strokes on one frame mean; ``StrokeSegmenter`` is faster for several strokes in turn.

    Args:
        frame: RGB (H, W, 3) uint8.
        strokes: (H, W) uint8: 0 unknown, 1 to 254 inside an object, 255 outside all objects.
        encoder: See ``load_encoder``.
        next_frame: A frame that follows (H, W, 3) uint8, which shows what moves.

    Returns:
        Label map (H, W) uint8.

    Raises:
        MaskError: The strokes have another size.
    """
    return StrokeSegmenter(frame, encoder, next_frame).segment(strokes)


class StrokeSegmenter:
    """Finds the masks that strokes on one frame mean; keeps what depends on the frame only.

    Making one encodes the frame, which takes ten times as long as an answer: do it when the frame is shown.

    Args:
        frame: RGB (H, W, 3) uint8.
        encoder: Lab (B, 3, H, W) -> features (B, C, H / 4, W / 4); see ``load_encoder``.
        next_frame: A frame that follows (H, W, 3) uint8, which shows what moves.
        flow: Optical flow between the two.
    """

    @torch.inference_mode()
    def __init__(
        self,
        frame: Frame,
        encoder: EncoderFunction,
        next_frame: Frame | None = None,
        *,
        flow: FlowFunction = dis_flow,
    ) -> None:
        self.size = (frame.shape[0], frame.shape[1])
        self._size = Settings().processing_size(self.size)
        image = resize_frame(frame, self._size)
        device = device_of(encoder)
        lab = pad_to_stride(rgb_to_lab(torch.from_numpy(image).to(device)))
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            self._key = encoder(lab[None])[0].float().cpu()
        lab = lab.cpu()
        self._lab = np.ascontiguousarray(lab.permute(1, 2, 0))[: self._size[0], : self._size[1]] * _LAB_SCALE
        cues = color_features(lab)
        if next_frame is not None:
            displacement = torch.as_tensor(flow(image, resize_frame(next_frame, self._size)))
            moving = to_cell_units(pad_to_stride(displacement.float().cpu()))
            nothing = torch.zeros(moving.shape[1:], dtype=torch.bool)
            cues = torch.cat((cues, independent_motion(moving, nothing).float()))
        self._cues = cues

    @torch.inference_mode()
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

    def _object(self, strokes: Strokes, label: int, around: PixelBox | None) -> tuple[Box, Bool, Scores]:
        """Cuts out one object.

        Args:
            strokes: At the processing size.
            label: Its label.
            around: A box around it, at the processing size.

        Returns:
            The part of the frame that may hold it, its mask there, and its discriminant scores there.
        """
        inside, outside = strokes == label, (strokes != UNKNOWN) & (strokes != label)
        spanned = likely = inside
        if around is not None:
            outside |= ~_filled_box(around, self._size) & ~inside
        else:
            around = _box_around_click(inside)
        if around is not None:
            spanned = inside | _filled_box(around, self._size)
            likely = inside | (_ellipse(around, self._size) & ~outside)
        cell_box, extent = _surroundings(spanned)
        box = _pixels_of(cell_box)
        inside, outside, likely = inside[box], outside[box], likely[box]
        scale = min(1.0, math.sqrt(_WORKING_AREA / inside.size))
        size = max(1, round(inside.shape[0] * scale)), max(1, round(inside.shape[1] * scale))

        distance = cv2.distanceTransform((~likely).astype(np.uint8), cv2.DIST_L2, 5)
        far = distance > min(_FAR * extent, float(np.quantile(distance, 0.8)))
        marks = self._statistics(cell_box, inside, outside)
        score = self._scores(cell_box, self._statistics(cell_box, likely, far | outside), marks)
        segmentation = np.where(_resized(score, size) > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        segmentation[_resized(distance, size) < _NEAR * extent] = cv2.GC_PR_FGD
        segmentation[(_resized(outside, size) > _COVERED) | _rim(box, self._size, size)] = cv2.GC_BGD
        segmentation[_resized(inside, size) > _COVERED] = cv2.GC_FGD
        colors = _main_colors(_resized(self._lab[box], size))
        mask = _cut(score, colors, segmentation)
        score = self._scores(cell_box, self._statistics(cell_box, mask, ~mask), marks)
        mask = _cut(score, colors, segmentation)
        return box, parts_with(likely, (mask | inside) & ~outside), score

    def _statistics(self, cell_box: Box, inside: Bool, outside: Bool) -> dict[int, ClassStatistics]:
        """Statistics of the cells that hold pixels inside (label 1) and outside (label 0) an object, with equal weight."""
        masks = torch.from_numpy(np.stack((inside, outside)).astype(np.float32))
        # The pixels nearer to this cell than to others, and those halfway.
        holds = F.max_pool2d(masks, STRIDE + 1, STRIDE, STRIDE // 2) > 0
        value = torch.where(holds[0], 1, torch.where(holds[1], 0, _UNUSED)).to(torch.uint8)
        step = math.ceil(math.sqrt(value.numel() / _FITTED_CELLS))
        key, cues = (cells[(slice(None), *cell_box)][:, ::step, ::step] for cells in (self._key, self._cues))
        statistics = class_statistics(key, cues, value[::step, ::step], radius=max(value.shape))
        return {label: _mean(statistics[label]) for label in (0, 1) if label in statistics}

    def _scores(self, cell_box: Box, *statistics: Mapping[int, ClassStatistics]) -> Scores:
        """Discriminant scores of the pixels of a part of the frame [-1, 1]."""
        discriminants = Discriminants(statistics, [0, 1], strength=0)
        cells = discriminants.scores(*(each[(slice(None), *cell_box)] for each in (self._key, self._cues)))
        return to_pixels(cells, self._size, pixel_box=_pixels_of(cell_box), cell_box=cell_box)[0].numpy()


def _shrunk(strokes: Strokes, size: tuple[int, int]) -> Strokes:
    """Strokes at a size (H, W); thin ones stay, at least a pixel wide."""
    if strokes.shape == size:
        return strokes
    shrunk = np.zeros(size, np.uint8)
    for label in objects_in(strokes):
        shrunk[_resized(strokes == label, size) > 0] = label
    return shrunk


def _mean(statistics: ClassStatistics) -> ClassStatistics:
    """The same as of a single cell: added up, many cells weigh as much as few."""
    count = statistics.count
    return ClassStatistics(count / count, statistics.sums / count, statistics.products / count)


def _surroundings(spanned: Bool) -> tuple[Box, int]:
    """The cells that may hold an object which spans some pixels (H, W), and the longer side of these [pixels]."""
    spans = _spans(spanned)
    extent = max(stop - start for start, stop in spans)
    margin = max(_MARGIN * extent, _MIN_MARGIN * min(spanned.shape))
    rows, columns = (
        slice(int(max(0, start - margin)) // STRIDE, math.ceil(min(size, stop + margin) / STRIDE))
        for (start, stop), size in zip(spans, spanned.shape, strict=True)
    )
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


def _pixels_of(cell_box: Box) -> Box:
    rows, columns = (slice(cells.start * STRIDE, cells.stop * STRIDE) for cells in cell_box)
    return rows, columns


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


def _rim(box: Box, frame: tuple[int, int], size: tuple[int, int]) -> Bool:
    """The outermost pixels of a part of the frame, resized to (h, w), where the frame goes on."""
    rim = np.ones(size, bool)
    top, left = (int(part.start > 0) for part in box)
    bottom, right = (int(part.stop < whole) for part, whole in zip(box, frame, strict=True))
    rim[top : size[0] - bottom, left : size[1] - right] = False
    return rim


def _main_colors(lab: Scores) -> Scores:
    """The first two principal components of scaled Lab colors (H, W, 3): (H, W, 2)."""
    colors = lab.reshape(-1, 3) - lab.reshape(-1, 3).mean(axis=0)
    _, directions = np.linalg.eigh(colors.T @ colors)
    return np.asarray(colors @ directions[:, 1:], np.float32).reshape(*lab.shape[:2], 2)


def _cut(score: Scores, colors: Scores, segmentation: Mask) -> Bool:
    """Cuts an object out (GrabCut).

    Args:
        score: Discriminant scores (H, W).
        colors: (h, w, 2), in units of their usual deviation.
        segmentation: Classes of GrabCut (h, w); the probable ones are changed.

    Returns:
        Mask (H, W).
    """
    objects = np.isin(segmentation, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if objects.any() and not objects.all():
        channels = np.dstack((_resized(score, segmentation.shape), colors))
        image = (128 + _CONTRAST * channels).clip(0, 255).astype(np.uint8)
        cv2.setRNGSeed(0)
        cv2.grabCut(image, segmentation, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
        objects = np.isin(segmentation, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return _resized(objects, score.shape) > 0.5


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
