"""Run-length encoding of masks in COCO's format: encoding, and reading of the files that hold it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from mamp.masks.label_map import MAX_PIXELS, Mask, MaskError, objects_in

Rle = dict[str, Any]

_MAX_BYTES = 64 * 2**20  # of a JSON file
_MAX_LABEL = 255


def encode_rle(mask: NDArray[np.uint8]) -> dict[int, bytes]:
    """The compressed run lengths of each object in a label map (H, W) uint8, by label."""
    return {label: coco.encode(np.asfortranarray(mask == label).view(np.uint8))["counts"] for label in objects_in(mask)}


def decode_rle(run_lengths: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The pixels (H, W) of an object with given ``size`` and ``counts``: COCO's text, or the lengths themselves.

    Raises:
        ValueError: The run lengths do not fill the mask. pycocotools does not check all of them.
    """
    height, width = (int(length) for length in run_lengths["size"])
    counts = run_lengths["counts"]
    lengths = _uncompressed(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if not 0 < height * width <= MAX_PIXELS or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError("run lengths do not fill the mask")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def describe_rle(counts: bytes, size: tuple[int, int]) -> Rle:
    """The COCO annotation of an object with given run lengths on a frame of ``size`` (H, W).

    Returns:
        ``segmentation`` (``size`` and ``counts``), ``area`` [pixels] and ``bbox`` (x, y, width, height) [pixels].
    """
    run_lengths = {"size": list(size), "counts": counts}
    return {
        "segmentation": {"size": list(size), "counts": counts.decode()},
        "area": int(coco.area(run_lengths)),
        "bbox": coco.toBbox(run_lengths).tolist(),
    }


@dataclass(frozen=True)
class RleFile:
    """The masks of a JSON file.

    Attributes:
        name: Name of the file.
        frames: Run lengths or polygons of each object by label, by frame number; frame 0 if the file is for one image.
        size: Size of the frames (H, W) that the file states, if any.
    """

    name: str
    frames: Mapping[int, Mapping[int, Any]]
    size: tuple[int, int] | None

    def first_frames(self) -> list[int]:
        """The frames on which an object appears first, ascending: enough to track all objects."""
        first: dict[int, int] = {}
        for frame in sorted(self.frames):
            for label in self.frames[frame]:
                first.setdefault(label, frame)
        return sorted(set(first.values()))

    def mask(self, frame: int, size: tuple[int, int]) -> Mask:
        """The label map (H, W) uint8 of a frame; where objects overlap, the later one has the pixel.

        Args:
            frame: Frame number. A file with one frame has the same masks for every frame.
            size: Size (H, W) of the clip, for polygons in a file that states no size.

        Raises:
            MaskError: The file has no mask of this frame, or an invalid one.
        """
        objects = next(iter(self.frames.values())) if len(self.frames) == 1 else self.frames.get(frame)
        if not objects:
            raise MaskError(f"The file {self.name} has no mask of frame {frame}.")
        merged: Mask | None = None
        for label, segmentation in objects.items():
            try:
                shape = _decode(segmentation, self.size or size)
            except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                raise MaskError(f"The file {self.name} has an invalid mask of object {label}.") from error
            merged = np.zeros(shape.shape, np.uint8) if merged is None else merged
            if merged.shape != shape.shape:
                raise MaskError(f"The masks in {self.name} have different sizes.")
            merged[shape] = label
        assert merged is not None
        return merged


def is_rle_file(path: str | Path) -> bool:
    """Whether a file is read by ``read_rle_file``, by its name."""
    return Path(path).suffix.lower() == ".json"


def read_rle_file(path: str | Path) -> RleFile:
    """Reads masks from JSON: ``masks.json`` of a run, or another file with COCO run lengths or polygons.

    These layouts are known: YouTube-VIS (``segmentations``, one entry a frame), COCO (``images`` and ``annotations``),
    a list of annotations or results (``image_id`` and ``segmentation``), a list of run lengths, one run-length object,
    and any of the last two by frame number. Labels are ``category_id`` in YouTube-VIS, ``track_id`` or ``instance_id``
    where it is given, and otherwise count from 1 within each image.

    Raises:
        MaskError: The file is missing, larger than 64 MB, not JSON, or holds no mask.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MaskError(f"The file {path.name} is larger than {_MAX_BYTES >> 20} MB.")
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"The file {path.name} cannot be read as JSON.", "no_json", name=path.name) from error
    try:
        frames, size = _frames(document)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        text = f"The file {path.name} holds no masks as COCO run lengths."
        raise MaskError(text, "no_rle", name=path.name) from error
    frames = {frame: objects for frame, objects in frames.items() if objects}
    if not frames:
        raise MaskError(f"The file {path.name} holds no mask.")
    if any(not 1 <= label <= _MAX_LABEL for objects in frames.values() for label in objects):
        raise MaskError(f"The file {path.name} has more than {_MAX_LABEL} objects.")
    return RleFile(path.name, frames, size)


def _frames(document: Any) -> tuple[dict[int, dict[int, Any]], tuple[int, int] | None]:
    """The objects of each frame, and the size (H, W) that the document states."""
    if isinstance(document, list):
        if any("segmentations" in entry for entry in document):
            return _tracks(document), None
        if any("image_id" in entry for entry in document):
            return _images(document, sorted({entry["image_id"] for entry in document}, key=_natural)), None
        return {0: _numbered(document)}, None
    if "annotations" in document:
        listed = document.get("videos") or document.get("images") or [{}]
        size = (int(listed[0]["height"]), int(listed[0]["width"])) if "height" in listed[0] else None
        if "videos" in document:
            return _tracks(document["annotations"]), size
        ids = [image["id"] for image in sorted(listed, key=lambda image: _natural(image.get("file_name", image["id"])))]
        return _images(document["annotations"], ids), size
    if "counts" in document or "segmentation" in document:
        return {0: {1: document}}, None
    frames = {int(frame): entry for frame, entry in document.items()}
    return {
        frame: _numbered(entry if isinstance(entry, list) else [entry]) if _is_object_list(entry) else _labelled(entry)
        for frame, entry in frames.items()
    }, None


def _is_object_list(entry: Any) -> bool:
    return isinstance(entry, list) or "counts" in entry or "segmentation" in entry


def _labelled(entry: Mapping[str, Any]) -> dict[int, Any]:
    return {int(label): segmentation for label, segmentation in entry.items()}


def _natural(key: Any) -> tuple[int, str]:
    digits = "".join(itertools.takewhile(str.isdigit, reversed(str(key).rsplit(".", 1)[0])))[::-1]
    return (int(digits), str(key)) if digits else (-1, str(key))


def _tracks(annotations: Iterable[Mapping[str, Any]]) -> dict[int, dict[int, Any]]:
    """YouTube-VIS: one annotation an object. Categories that repeat do not identify objects."""
    annotations = list(annotations)
    categories = [annotation.get("category_id") for annotation in annotations]
    distinct = len(set(categories)) == len(categories) and None not in categories
    frames: dict[int, dict[int, Any]] = {}
    for number, annotation in enumerate(annotations, 1):
        label = int(annotation["category_id"]) if distinct else number
        for frame, segmentation in enumerate(annotation["segmentations"]):
            if segmentation:
                frames.setdefault(frame, {})[label] = segmentation
    return frames


def _images(annotations: Iterable[Mapping[str, Any]], ids: list[Any]) -> dict[int, dict[int, Any]]:
    """COCO: annotations of images in order; their frame numbers."""
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    number_of = {image_id: number for number, image_id in enumerate(ids)}
    for annotation in annotations:
        if annotation.get("segmentation"):
            grouped.setdefault(number_of[annotation["image_id"]], []).append(annotation)
    return {frame: _numbered(entries) for frame, entries in grouped.items()}


def _numbered(entries: Iterable[Any]) -> dict[int, Any]:
    """The objects of one image by label."""
    objects = {}
    for number, entry in enumerate(entries, 1):
        label = entry.get("track_id", entry.get("instance_id", number))
        objects[int(label)] = entry.get("segmentation", entry)
    return objects


def _decode(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """An object's pixels (H, W), of run lengths or polygons."""
    if isinstance(segmentation, Mapping) and "segmentation" in segmentation:
        segmentation = segmentation["segmentation"]
    if isinstance(segmentation, list):
        polygons = [[float(value) for value in polygon] for polygon in segmentation]
        for polygon in polygons:
            # pycocotools allocates memory for the length of the outline.
            if len(polygon) < 6 or len(polygon) % 2 or not all(abs(value) <= 4 * max(size) for value in polygon):
                raise ValueError("not a polygon on the image")
        return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, *size))), bool)
    return decode_rle(segmentation)


def _uncompressed(counts: str) -> NDArray[np.int64]:
    """Run lengths from COCO's text: groups of five bits, and from the third on differences to the one before last."""
    lengths: list[int] = []
    value = shift = 0
    for byte in counts.encode("ascii"):
        group = byte - 48
        if not 0 <= group < 64 or shift > 30:
            raise ValueError("not COCO's compressed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return np.array(lengths, np.int64)
