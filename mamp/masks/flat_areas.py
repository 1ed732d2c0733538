"""The flat areas of a mask image: which values stand for objects, and which are soft edges, ringing or noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.uint8]

MAX_LABEL_NUMBER = 99  # gray values up to this are label numbers, if edges are hard
_SQUARE = np.ones((3, 3), np.uint8)
_NEAR_SQUARE = np.ones((17, 17), np.uint8)  # around a pixel of a soft edge, in which its area has a core
_SOFT_SHARE = 0.1  # of the pixels at edges, above which the image has soft edges
_FLAT_RANGE = 12  # range of values in a 3x3 square of a flat area in an image with soft edges
_MIN_FLAT = 4  # squares of one value that make an area, if edges are hard
_NOISE_DISTANCE = 6.0  # values this near to a larger area, without an area of their own, are noise
_SAME_AREA_DISTANCE = 8.0  # in an image with soft edges: values this near belong to one area ...
_RINGING_DISTANCE = 48.0  # ... and so do these if they are rare
_RARE = 16  # squares of one value that make an area, if edges are soft
_RINGING_SHARE = 0.02  # of the squares of the larger area
_MAX_GROUPED = 4096  # values that are grouped to areas, the most frequent first
_MIN_CONTRAST = 24.0  # between an object and its background, if the image has soft edges
_PHOTO_FLAT_SHARE = 0.25  # flat share of an image below which it is a photograph
_PHOTO_VALUES = 64
_THIN = 0.35  # of the thickest object's thickness, up to which an area may be a soft edge or noise
_RIM_SHARE = 0.6  # of an area that is near to an object, or of its outline inside one
_BLURRED_FLAT_SHARE = 0.25  # of an area, below which it is a blurred line
_MIN_SIZE = 9  # [pixels] of an object that touches another one
_PIECES = 6  # of noise, at least
_PIECE_SIZE = 40  # [pixels], of noise, at most on average
_MAX_AREAS = 255


class PhotographError(ValueError):
    """The image has too few flat areas for a mask."""


@dataclass(frozen=True)
class FlatAreas:
    """The areas of an image.

    Attributes:
        values: Value of each area (N, C), by index.
        index: Index of the area of each pixel (H, W) uint8.
        soft: Whether the image has soft edges, ringing or noise that belong to no area.
    """

    values: NDArray[Any]
    index: NDArray[np.uint8]
    soft: bool


def find_flat_areas(image: Values, *, lossy: bool) -> FlatAreas:
    """Finds the values that cover areas, and assigns each pixel to one of them.

    In an image with hard edges each value is an area. In one with soft edges, an area is a value that covers squares of
    3x3 pixels. With two areas, edges are cut at half; with more, a pixel whose value is near to none of them belongs to
    the nearest area.

    Args:
        image: (H, W, C) uint8, C is 1 or 3.
        lossy: Whether the file format changes values, as JPEG does.

    Raises:
        PhotographError: The image looks like a photograph.
    """
    index, values, counts = _index_values(image)
    if len(values) <= 2 and not lossy:
        return FlatAreas(values, index.astype(np.uint8), soft=False)
    spread = np.zeros(index.shape, np.uint8)  # largest range of a channel in the 3x3 square of each pixel
    between = np.zeros(index.shape, bool)
    for channel in range(image.shape[2]):
        plane = np.ascontiguousarray(image[..., channel])
        low, high = cv2.erode(plane, _SQUARE), cv2.dilate(plane, _SQUARE)
        np.maximum(spread, high - low, out=spread)
        between |= (low < plane) & (plane < high)
    constant = spread == 0
    extreme = counts - np.bincount(index[between], minlength=len(values))
    own = extreme >= 0.5 * counts  # most pixels of a soft edge have lower and higher neighbors
    edges = constant.size - np.count_nonzero(constant)
    soft = lossy or (values.max() > _FLAT_RANGE and counts[~own].sum() > _SOFT_SHARE * edges)
    if soft and np.count_nonzero(constant) < _PHOTO_FLAT_SHARE * constant.size and len(values) > _PHOTO_VALUES:
        raise PhotographError
    colors = values.astype(np.float32)
    if not soft:
        if image.shape[2] == 1 and values.max() <= MAX_LABEL_NUMBER:
            return FlatAreas(values, index.astype(np.uint8), soft=False)  # label numbers differ by one
        member = _group_hard(colors, np.bincount(index[constant], minlength=len(values)), counts)
        areas = _distinct(member)
        assigned = _assign(index, colors, member, areas, None)
        if len(areas) <= 2 or len(_without_artifacts(assigned, colors[areas], None)) == len(areas):
            return FlatAreas(values[areas], assigned, soft=False)
    core = spread <= _FLAT_RANGE
    del spread, between, constant
    member = _group_soft(colors, np.bincount(index[core], minlength=len(values)))
    areas = _distinct(member)
    if len(areas) <= 1:
        areas = _extremes(colors, areas, counts)
    while len(areas) > 2:
        assigned = _assign(index, colors, member, areas, core)
        kept = areas[_without_artifacts(assigned, colors[areas], core)]
        if len(kept) == len(areas):
            return FlatAreas(values[areas], assigned, soft=True)
        areas = kept
        member[np.isin(member, areas, invert=True)] = -1
    return FlatAreas(values[areas], _cut_at_half(index, colors, areas), soft=True)


def _distinct(member: NDArray[np.intp]) -> NDArray[np.intp]:
    areas = np.unique(member[member >= 0])
    if len(areas) > _MAX_AREAS + 1:
        raise PhotographError
    return areas


def _index_values(image: Values) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.intp]]:
    """The distinct values (N, C), their pixel counts (N,), and the index of each pixel (H, W).

    A table of all values is several times faster than sorting the pixels.
    """
    packed = image[..., 0]
    if image.shape[2] == 3:
        packed = packed.astype(np.int32)
        packed |= image[..., 1].astype(np.int32) << 8
        packed |= image[..., 2].astype(np.int32) << 16
    table = np.zeros(int(packed.max()) + 1, bool)
    table[packed] = True
    present = np.flatnonzero(table)
    lookup = np.zeros(len(table), np.int32)
    lookup[present] = np.arange(len(present))
    index = lookup[packed]
    channels = [present] if image.shape[2] == 1 else [(present >> shift) & 255 for shift in (0, 8, 16)]
    return index, np.stack(channels, axis=1).astype(image.dtype), np.bincount(index.ravel())


def _group_hard(values: NDArray[np.float32], flat: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The area of each value of an image with hard edges: its own, unless it is noise beside a larger one."""
    member = np.arange(len(values))
    by_size = np.argsort(-counts, kind="stable")
    for rank, value in enumerate(by_size):
        if rank and flat[value] < _MIN_FLAT:
            distance = np.linalg.norm(values[by_size[:rank]] - values[value], axis=1)
            if distance.min() <= _NOISE_DISTANCE:
                member[value] = member[by_size[distance.argmin()]]
    return member


def _group_soft(values: NDArray[np.float32], flat: NDArray[np.intp]) -> NDArray[np.intp]:
    """The area of each value of an image with soft edges, named by its most frequent value; -1 for none.

    An area grows from value to value, since a gradual edge has many near to each other.
    """
    member = np.full(len(values), -1)
    loose = np.argsort(-flat, kind="stable")[:_MAX_GROUPED]
    loose = loose[flat[loose] >= _RARE]
    areas = 0
    while len(loose):
        seed, areas = loose[0], areas + 1
        if areas > _MAX_AREAS + 1:
            raise PhotographError
        joined = np.array([seed])
        while len(joined):
            member[joined] = seed
            loose = loose[member[loose] < 0]
            distance = np.linalg.norm(values[loose, None] - values[joined][None], axis=2)
            joined = loose[distance.min(axis=1, initial=np.inf) <= _SAME_AREA_DISTANCE]
        rare = flat[loose] < max(_RARE, min(_RINGING_SHARE * flat[seed], 16 * _RARE))
        loose = loose[~(rare & (np.linalg.norm(values[loose] - values[seed], axis=1) <= _RINGING_DISTANCE))]
    return member


def _extremes(values: NDArray[np.float32], areas: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Two values of an image with at most one flat area: that of the area, and the one that differs most from it."""
    start = int(areas[0]) if len(areas) else int(counts.argmax())
    distance = np.linalg.norm(values - values[start], axis=1)
    far = int(distance.argmax())
    if values.shape[1] == 1:
        # A gradual edge makes one area of all values between black and white.
        start = 0 if values[far, 0] > values[start, 0] else len(values) - 1
    contrast = float(np.linalg.norm(values[far] - values[start]))
    return np.array([start] if contrast < _MIN_CONTRAST else sorted((start, far)))


def _cut_at_half(index: NDArray[np.int32], values: NDArray[np.float32], areas: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The nearer of at most two areas, for each pixel (H, W)."""
    if len(areas) == 1:
        return np.zeros(index.shape, np.uint8)
    first, second = values[areas]
    axis = second - first
    nearer = ((values - first) @ axis >= 0.5 * float(axis @ axis)).astype(np.uint8)
    return np.asarray(nearer[index], np.uint8)


def _assign(
    index: NDArray[np.int32],
    values: NDArray[np.float32],
    member: NDArray[np.intp],
    areas: NDArray[np.intp],
    core: NDArray[np.bool_] | None,
) -> NDArray[np.uint8]:
    """The area of each pixel (H, W): that of its value in ``core``.

    Another pixel belongs to the area of the most similar value that has a core near to it: the edge between black and
    white has all grays, but is no gray object. Without one near, it belongs to the nearest area.
    """
    of_value = np.searchsorted(areas, np.maximum(member, areas[0])).astype(np.uint8)
    result = of_value[index]
    missing = (member < 0)[index]
    if core is not None:
        missing |= ~core
    if not missing.any():
        return np.asarray(result)
    _, source = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_source = np.zeros(int(source.max()) + 1, np.uint8)
    of_source[source[~missing]] = result[~missing]
    nearest = of_source[source[missing]]
    value = index[missing]
    least = np.full(len(value), np.inf, np.float32)
    for area, area_value in enumerate(areas):
        near = cv2.dilate(((result == area) & ~missing).astype(np.uint8), _NEAR_SQUARE)[missing] > 0
        distance = np.linalg.norm(values - values[area_value], axis=1)[value]
        better = near & (distance < least)
        nearest[better], least[better] = area, distance[better]
    result[missing] = nearest
    return np.asarray(result)


def _without_artifacts(
    assigned: NDArray[np.uint8], values: NDArray[np.float32], core: NDArray[np.bool_] | None
) -> NDArray[np.intp]:
    """The areas that are not traces of quantized edges or noise: thin ones that touch others.

    A band has a value between those of its two neighbors, and separates them. Noise is in many pieces. In an image with
    soft edges, with flat pixels in ``core`` (H, W), every thin area along the edge of an object is an artifact, and so is
    one that is hardly flat anywhere, as a blurred line.
    """
    count = len(values)
    contact = np.zeros((count, count), np.int64)
    for one, other in ((assigned[1:], assigned[:-1]), (assigned[:, 1:], assigned[:, :-1])):
        differ = one != other
        pairs = np.bincount(one[differ].astype(np.int32) * count + other[differ], minlength=count * count)
        contact += pairs.reshape(count, count) + pairs.reshape(count, count).T
    size = np.bincount(assigned.ravel(), minlength=count)
    perimeter = contact.sum(axis=1)
    thickness = 2 * size / np.maximum(perimeter, 1)  # the radius of a circle, the width of a stripe
    background = int(size.argmax())
    objects = np.arange(count) != background
    together = 2 * size[objects].sum() / max(perimeter[background], 1)
    thin = objects & (thickness <= _THIN * max(together, thickness[objects].max()))
    artifact = np.zeros(count, bool)
    if core is not None and thin.any():
        thick = np.isin(assigned, np.flatnonzero(objects & ~thin)).astype(np.uint8)
        along = np.bincount(assigned[cv2.dilate(thick, _NEAR_SQUARE) > 0], minlength=count)
        inside = contact[:, objects & ~thin].sum(axis=1)
        flat = np.bincount(assigned[core], minlength=count)
        blurred = flat < _BLURRED_FLAT_SHARE * size
        artifact = thin & (blurred | (along >= _RIM_SHARE * size) | (inside >= _RIM_SHARE * perimeter))
    artifact |= thin & (size < _MIN_SIZE) & (contact[:, objects].sum(axis=1) > 0)
    for area in np.flatnonzero(thin & ~artifact).tolist():
        neighbors = np.flatnonzero(contact[area]).tolist()
        artifact[area] = any(
            _separates(contact, area, one, other) and _is_mix(values[area], values[one], values[other])
            for one, other in combinations(neighbors, 2)
        ) or (len(neighbors) > 1 and _is_fragmented(assigned == area, size[area]))
    return np.flatnonzero(~artifact)


def _is_fragmented(area: NDArray[np.bool_], size: int) -> bool:
    pieces, _ = cv2.connectedComponents(area.astype(np.uint8), connectivity=8)
    return bool(pieces - 1 >= _PIECES and size / (pieces - 1) <= _PIECE_SIZE)


def _separates(contact: NDArray[np.int64], area: int, one: int, other: int) -> bool:
    first, second = contact[area, one], contact[area, other]
    mostly = min(first, second) >= 0.25 * contact[area].sum() and first + second >= 0.8 * contact[area].sum()
    return bool(mostly and contact[one, other] <= 0.1 * min(first, second))


def _is_mix(value: NDArray[np.float32], one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    axis = other - one
    share = float((value - one) @ axis) / max(float(axis @ axis), 1e-6)
    return 0.05 < share < 0.95 and float(np.linalg.norm(value - one - share * axis)) <= _MIN_CONTRAST
