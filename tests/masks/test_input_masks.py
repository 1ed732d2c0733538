"""Input masks of a clip: several files for one frame, and JSON files."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from mamp import MaskError, write_mask
from mamp.masks.input_masks import read_input_masks
from mamp.masks.mask_io import MaskFile
from mamp.masks.rle import describe_rle, encode_rle, read_rle_file
from mamp.runs.results import Result

SIZE = (40, 60)
ONE, TWO = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
ONE[5:20, 5:25], TWO[15:36, 20:55] = 1, 1


def read(*arguments: Any) -> dict[int, MaskFile]:
    return dict(read_input_masks(*arguments))


def rle(shape: np.ndarray) -> dict[str, Any]:  # type: ignore[type-arg]
    (counts,) = encode_rle(shape).values()
    return dict(describe_rle(counts, SIZE)["segmentation"])


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_several_files_for_one_frame_are_several_objects(tmp_path: Path) -> None:
    write_mask(tmp_path / "one.png", ONE)
    write_mask(tmp_path / "two.png", TWO)
    write_mask(tmp_path / "seven.png", ONE * np.uint8(7))
    write_mask(tmp_path / "empty.png", ONE * np.uint8(0))
    file = read({0: [tmp_path / "one.png", tmp_path / "two.png"]}, SIZE, 3)[0]
    assert np.array_equal(file.mask, np.where(TWO, 2, ONE)) and file.rule == "2 files"
    assert "two.png: object 2, read as DAVIS palette" in file.notes
    file = read({0: [tmp_path / "seven.png", tmp_path / "two.png"]}, SIZE, 3)[0]
    assert list(file.areas) == [1, 7], "labels that differ already stay"
    file = read({0: [tmp_path / "one.png", tmp_path / "one.png"]}, SIZE, 3)[0]
    assert "entirely covered by a later file: object 1" in file.notes
    with pytest.raises(MaskError, match=r"empty.png contains no object"):
        read({0: [tmp_path / "one.png", tmp_path / "empty.png"]}, SIZE, 3)


def test_the_void_label_of_datasets_is_no_object(tmp_path: Path) -> None:
    outlined = np.where(cv2.dilate(ONE, np.ones((3, 3), np.uint8)) > ONE, 255, ONE).astype(np.uint8)
    write_mask(tmp_path / "m.png", outlined)
    ((_, file),) = read_input_masks({0: tmp_path / "m.png"}, SIZE, 1)
    assert np.array_equal(file.mask, ONE) and file.notes == ("label 255 is unlabeled (void)",)
    write_mask(tmp_path / "m.png", ONE * np.uint8(255))
    ((_, file),) = read_input_masks({0: tmp_path / "m.png"}, SIZE, 1)
    assert list(file.areas) == [255], "alone it is an object"


def test_the_json_of_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    Result(tmp_path).write_json(
        "clip.mp4", SIZE, {"00000": {}, "00001": encode_rle(ONE * np.uint8(3)), "00002": encode_rle(TWO + ONE * 3)}, {}
    )
    files = read(tmp_path / "masks.json", SIZE, 3)
    assert list(files) == [1, 2], "the first frames of the objects"
    assert np.array_equal(files[1].mask, ONE * 3) and files[1].rule == "COCO run lengths"
    at_two = read({2: tmp_path / "masks.json"}, SIZE, 3)[2]
    assert at_two.areas == {label: int((label == TWO + ONE * 3).sum()) for label in (1, 3, 4)}
    with pytest.raises(MaskError, match=r"masks.json has no mask of frame 0"):
        read({0: tmp_path / "masks.json"}, SIZE, 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_the_layouts_of_coco_are_read(tmp_path: Path) -> None:
    both = np.where(TWO, 2, ONE)
    counts = [len(list(group)) for group in np.split(ONE.T.ravel(), np.flatnonzero(np.diff(ONE.T.ravel())) + 1)]
    uncompressed = {"size": list(SIZE), "counts": counts}
    annotations = [
        {"id": 5, "image_id": 9, "category_id": 1, "segmentation": uncompressed},
        {"id": 6, "image_id": 9, "category_id": 1, "segmentation": rle(TWO)},
    ]
    image = {"id": 9, "file_name": "frame.jpg", "height": 40, "width": 60}
    for document in (
        {"images": [image], "annotations": annotations},
        annotations,
        [rle(ONE), rle(TWO)],
        {"0": [rle(ONE), rle(TWO)]},
        {"0": {"1": rle(ONE), "2": rle(TWO)}},
    ):
        path = written(tmp_path / "m.json", document)
        assert np.array_equal(read({0: path}, SIZE, 3)[0].mask, both), document
    assert np.array_equal(read({0: written(tmp_path / "m.json", rle(ONE))}, SIZE, 3)[0].mask, ONE)
    polygon = [[5, 5, 25, 5, 25, 20, 5, 20]]
    path = written(tmp_path / "m.json", [{"image_id": 1, "segmentation": polygon}])
    expected = coco.decode(coco.merge(coco.frPyObjects(polygon, *SIZE)))
    assert np.array_equal(read({0: path}, SIZE, 3)[0].mask, expected)


def test_frames_of_coco_images_are_in_natural_order(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "f10.jpg"}, {"id": 2, "file_name": "f9.jpg"}]
    annotations = [
        {"image_id": 1, "track_id": 4, "segmentation": rle(ONE)},
        {"image_id": 2, "track_id": 5, "segmentation": rle(TWO)},
    ]
    file = read_rle_file(written(tmp_path / "m.json", {"images": images, "annotations": annotations}))
    assert {frame: list(objects) for frame, objects in file.frames.items()} == {1: [4], 0: [5]}


@pytest.mark.parametrize(
    "document",
    [
        {"size": [40, 60], "counts": [1, 2]},
        {"size": [40, 60], "counts": [3000, -600]},
        {"size": [90000, 90000], "counts": "0"},
        {"size": [40, 60], "counts": "ooooooooooo1"},
        {"size": [40, 60], "counts": "\u00e9"},
        {"size": [40], "counts": [2400]},
        [{"image_id": 1, "segmentation": [[float("nan")] * 8]}],
        [{"image_id": 1, "segmentation": [[]]}],
        {"frames": 3},
        [1, 2],
        7,
        [],
    ],
)
def test_invalid_json_raises_mask_error(document: object, tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"m\.json"):
        read({0: written(tmp_path / "m.json", document)}, SIZE, 3)


def test_deeply_nested_or_broken_json_raises_mask_error(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "{", "\udcff"):
        (tmp_path / "m.json").write_text(text, errors="surrogateescape")
        with pytest.raises(MaskError, match=r"m\.json cannot be read as JSON"):
            read_rle_file(tmp_path / "m.json")
