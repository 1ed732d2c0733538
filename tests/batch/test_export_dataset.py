"""Exports of many clips as one data set, read back."""

from __future__ import annotations

import base64
import io
import json
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mamp import Settings, export_dataset, read_mask, write_mask
from mamp.batch.clip_list import read_clip_list
from mamp.batch.export_dataset import FORMATS
from mamp.batch.exports.label_studio import write_label_studio
from mamp.batch.exports.tracked_clip import ObjectMask, ObjectTrack, TrackedClip
from mamp.batch.segment_many import segment_many
from mamp.cli.main import main
from tests.conftest import scene, write_clip

Bool = NDArray[np.bool_]
FAST = Settings(short_side=64, flow="none", radius=3, weights="patch")
LENGTHS = {"one & only": 4, "two": 3}
SECOND = {"one & only": 0, "two": 2}  # the frame from which on object 2 is to be seen


@pytest.fixture(scope="module")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segmented clips, with masks on all frames, and one that cannot be read; all of them are exported."""
    folder = tmp_path_factory.mktemp("shoot")
    (folder / "clips").mkdir()
    for name, length in LENGTHS.items():
        (folder / "masks" / name).mkdir(parents=True)
        write_clip(folder / "clips" / f"{name}.mp4", [scene(t)[0] for t in range(length)])
        for t in range(length):
            mask = scene(t)[1]
            if t >= SECOND[name]:
                mask[:7, 100:] = mask[3, 0] = 2  # in two parts, up to the edges of the frame
            write_mask(folder / "masks" / name / f"{t}.png", mask)
    (folder / "clips" / "broken.mp4").write_bytes(b"nothing")
    write_mask(folder / "masks" / "broken.png", scene(0)[1])
    clips, masks, out = (str(folder / name) for name in ("clips", "masks", "out"))
    options = ["--short-side", "64", "--flow", "none", "--radius", "3", "--weights", "patch"]
    command = ["segment", clips, "--masks", masks, "--out", out, "--export", ",".join(FORMATS), *options]
    assert main(command) == 3, "the broken clip fails, the others are exported"
    return folder


def true_mask(shoot: Path, name: str, frame: int, label: int) -> Bool:
    return np.asarray(read_mask(shoot / "out" / name / "masks" / f"{frame:05d}.png") == label)


def document(shoot: Path, name: str) -> Any:
    return json.loads((shoot / "out/exports" / name).read_text())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_coco_is_read_by_pycocotools(shoot: Path) -> None:
    data = COCO(str(shoot / "out/exports/coco.json"))
    assert {category["name"] for category in data.loadCats(data.getCatIds())} == {"object 1", "object 2"}
    assert len(data.imgs) == sum(LENGTHS.values()) and len(data.anns) == 2 * sum(LENGTHS.values()) - 2
    for annotation in data.anns.values():
        image = data.imgs[annotation["image_id"]]
        name, frame = image["file_name"].split("/")
        assert frame == f"{image['frame_id']:05d}.jpg"
        mask = data.annToMask(annotation) > 0
        assert np.array_equal(mask, true_mask(shoot, name, image["frame_id"], annotation["track_id"]))
        assert annotation["area"] == mask.sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_youtube_vis_has_an_entry_for_each_frame_of_each_video(shoot: Path) -> None:
    data = document(shoot, "youtube-vis.json")
    assert [(video["name"], video["length"]) for video in data["videos"]] == list(LENGTHS.items())
    names = {video["id"]: video["name"] for video in data["videos"]}
    labels = {category["id"]: int(category["name"].split()[-1]) for category in data["categories"]}
    assert len(data["annotations"]) == 4 and len({annotation["id"] for annotation in data["annotations"]}) == 4
    for annotation in data["annotations"]:
        name, label = names[annotation["video_id"]], labels[annotation["category_id"]]
        assert len(annotation["segmentations"]) == LENGTHS[name]
        for frame, segmentation in enumerate(annotation["segmentations"]):
            truth = true_mask(shoot, name, frame, label)
            if segmentation is None:
                assert not truth.any() and annotation["bboxes"][frame] is annotation["areas"][frame] is None
            else:
                assert np.array_equal(coco_mask.decode(segmentation) > 0, truth)


def test_cvat_has_each_mask_as_a_track_of_one_frame(shoot: Path) -> None:
    for name, length in LENGTHS.items():
        root = ElementTree.parse(shoot / "out/exports/cvat" / f"{name}.xml").getroot()
        assert root.findtext("version") == "1.1" and root.findtext("meta/task/name") == name
        assert root.findtext("meta/task/size") == str(length)
        labels = [label.findtext("name") for label in root.iter("label")]
        assert labels == ["object 1", "object 2"]
        width, height = (int(root.findtext(f"meta/task/original_size/{side}", "")) for side in ("width", "height"))
        masks = {}
        for track in root.iter("track"):
            first, *rest = (dict(mask.attrib) for mask in track)
            label, frame = labels.index(track.get("label")) + 1, int(first["frame"])
            assert track.get("group_id") == str(label) and first["outside"] == "0"
            assert [(mask["outside"], mask["frame"]) for mask in rest] == [("1", str(frame + 1))][: length - frame - 1]
            masks[frame, label] = unpacked(first, (height, width))
        assert len(masks) == 2 * length - SECOND[name]
        for (frame, label), mask in masks.items():
            assert np.array_equal(mask, true_mask(shoot, name, frame, label))


def unpacked(attributes: dict[str, str], size: tuple[int, int]) -> Bool:
    """A mask of CVAT: run lengths in its box, row by row, background first."""
    left, top, width, height = (int(attributes[name]) for name in ("left", "top", "width", "height"))
    lengths = [int(length) for length in attributes["rle"].split(",")]
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(
        height, width
    )
    return mask


def test_label_studio_has_a_box_for_each_object_on_each_frame(shoot: Path) -> None:
    tasks = document(shoot, "label-studio/tasks.json")
    addresses = [task["data"]["video"] for task in tasks]
    assert addresses == ["/data/local-files/?d=one%20%26%20only.mp4", "/data/local-files/?d=two.mp4"]
    values = [region["value"] for region in tasks[1]["predictions"][0]["result"]]
    assert [value["labels"] for value in values] == [["object 1"], ["object 2"]]
    assert all(value["framesCount"] == 3 and value["duration"] == 0.12 for value in values)
    assert [[box["frame"] for box in value["sequence"]] for value in values] == [[1, 2, 3], [3]]
    for box in values[0]["sequence"]:
        rows, columns = np.nonzero(true_mask(shoot, "two", box["frame"] - 1, 1))
        assert box["x"] == pytest.approx(100 * columns.min() / 128, abs=1e-3)
        assert box["y"] + box["height"] == pytest.approx(100 * (rows.max() + 1) / 96, abs=1e-3)
        assert box["time"] == pytest.approx((box["frame"] - 1) / 25, abs=1e-3)
    interface = ElementTree.parse(shoot / "out/exports/label-studio/interface.xml").getroot()
    controls = {tag.get("name") for tag in interface}
    assert all(tasks[1]["predictions"][0]["result"][0][end] in controls for end in ("from_name", "to_name"))


def test_a_box_of_label_studio_ends_where_its_object_is_hidden(tmp_path: Path) -> None:
    masks = [ObjectMask(frame, frame / 25, {}, (4.0, 2.0, 4.0, 2.0), 8, 0.9) for frame in (0, 1, 3)]
    clip = TrackedClip(
        "a", tmp_path / "a.mp4", 8, 8, Fraction(25), ["0", "1", "2", "3"], [ObjectTrack(1, "cat", masks)]
    )
    write_label_studio([clip], tmp_path / "out")
    (task,) = json.loads((tmp_path / "out/tasks.json").read_text())
    sequence = task["predictions"][0]["result"][0]["value"]["sequence"]
    assert [(box["frame"], box["enabled"]) for box in sequence] == [(1, True), (2, False), (4, False)]


def test_fiftyone_finds_the_clips_and_their_masks(shoot: Path) -> None:
    folder = shoot / "out/exports/fiftyone"
    index = json.loads((folder / "manifest.json").read_text())["index"]
    assert [(folder / entry["data"]).resolve().stem for entry in index] == list(LENGTHS)
    assert all((folder / entry["data"]).exists() for entry in index)
    frames = json.loads((folder / index[1]["labels"]).read_text())["frames"]
    assert {number: len(frame["objects"]["objects"]) for number, frame in frames.items()} == {"1": 1, "2": 1, "3": 2}
    for number, frame in frames.items():
        for found in frame["objects"]["objects"]:
            mask = np.load(io.BytesIO(zlib.decompress(base64.b64decode(found["mask"]))))
            corner, truth = found["bounding_box"]["top_left"], true_mask(shoot, "two", int(number) - 1, found["index"])
            left, top = round(corner["x"] * 128), round(corner["y"] * 96)
            assert np.array_equal(mask, truth[top : top + mask.shape[0], left : left + mask.shape[1]])
            assert mask.sum() == truth.sum() and 0 <= found["confidence"] <= 1


def test_a_folder_of_frames_keeps_its_file_names_and_is_no_video(shoot: Path, tmp_path: Path) -> None:
    (tmp_path / "clips/a").mkdir(parents=True)
    for t in range(2):
        Image.fromarray(scene(t)[0]).save(tmp_path / f"clips/a/shot_{t + 7}.png")
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks/a.png", scene(0)[1])
    items = read_clip_list(str(tmp_path / "clips"), tmp_path / "masks", FAST)
    for _ in segment_many(items, tmp_path / "out"):
        pass
    (path,) = export_dataset(items, tmp_path / "out", ["coco"])
    assert [image["file_name"] for image in json.loads(path.read_text())["images"]] == ["a/shot_7.png", "a/shot_8.png"]
    with pytest.raises(ValueError, match=r"^The format fiftyone needs video files, but a is a folder of frames.$"):
        export_dataset(items, tmp_path / "out", ["fiftyone"])


def test_an_unknown_format_is_refused_before_anything_runs(shoot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = ["segment", str(shoot / "clips"), "--masks", str(shoot / "masks"), "--out", str(shoot / "other")]
    assert main([*many, "--export", "coco,voc"]) == 2
    assert "A format of exports is one of youtube-vis, coco, cvat, label-studio, fiftyone, not voc." in (
        capsys.readouterr().err
    )
    assert not (shoot / "other").exists()
