"""Lists of clips: which files are clips, and which masks belong to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mamp.batch.clip_list import read_clip_list
from mamp.settings import Settings


@pytest.fixture
def shoot(tmp_path: Path) -> Path:
    """A folder of clips and a folder of masks; the list never opens either."""
    for name in ("a.mp4", "b.mov", "notes.txt", ".hidden.mp4", "c/00001.jpg", "c/00002.jpg", "empty/x.txt"):
        file = tmp_path / "clips" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for name in ("a.png", "b/00040.png", "b/00040_2.png", "b/00000.png", "b/read.me", "c.json"):
        file = tmp_path / "masks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def test_a_folder_has_videos_and_folders_of_frames_with_masks_by_name(shoot: Path) -> None:
    masks = shoot / "masks"
    items = read_clip_list(str(shoot / "clips"), masks, Settings())
    assert [(item.name, item.clip.name) for item in items] == [("a", "a.mp4"), ("b", "b.mov"), ("c", "c")]
    assert items[0].masks == {0: [masks / "a.png"]}
    assert items[1].masks == {0: [masks / "b/00000.png"], 40: [masks / "b/00040.png", masks / "b/00040_2.png"]}
    assert items[2].masks == masks / "c.json"


def test_a_pattern_names_clips(shoot: Path) -> None:
    items = read_clip_list(str(shoot / "clips" / "*.mp4"), None, Settings())
    assert [item.name for item in items] == ["a"] and items[0].masks is None
    with pytest.raises(ValueError, match=r"^There are no clips in "):
        read_clip_list(str(shoot / "clips" / "*.mkv"), None, Settings())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "clip,masks,name,short_side\nclips/a.mp4,masks/b,first,240\nclips/b.mov,,,\n"),
        (
            "list.jsonl",
            '{"clip": "clips/a.mp4", "masks": "masks/b", "name": "first", "short_side": 240}\n\n{"clip": "clips/b.mov"}\n',
        ),
    ],
)
def test_a_list_names_masks_and_settings_for_each_clip(shoot: Path, name: str, text: str) -> None:
    (shoot / name).write_text(text)
    first, second = read_clip_list(str(shoot / name), shoot / "masks", Settings(radius=5))
    assert first.name == "first" and first.settings == Settings(radius=5, short_side=240)
    assert isinstance(first.masks, dict) and 40 in first.masks
    assert second.name == "b" and second.settings == Settings(radius=5) and second.masks == first.masks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,sise\na.mp4,3\n", "list.csv has the unknown column sise."),
        ("masks\na.png\n", "list.csv, clip 1: the column clip is missing."),
        ("clip,radius\na.mp4,900\n", "list.csv, clip 1: "),
        ("clip\nx/a.mp4\ny/a.mp4\n", "Two clips are called a.mp4; name them in the column name of a list."),
        ("clip,name\na.mp4,../b\n", "../b is no name of a folder."),
        ("clip,masks\na.mp4,one.png;two.png\n", "The name of the mask one.png must have the number of its frame."),
    ],
)
def test_a_wrong_list_is_refused_with_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError) as refusal:
        read_clip_list(str(tmp_path / "list.csv"), None, Settings())
    assert str(refusal.value).startswith(message)


def test_a_dot_in_a_name_is_no_suffix_of_a_folder_or_a_mask(tmp_path: Path) -> None:
    for name in ("clips/shot.01/1.jpg", "clips/shot.02/1.jpg", "masks/shot.01.png", "masks/shot.02.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "clips/shot.mp4").touch()
    items = read_clip_list(str(tmp_path / "clips"), tmp_path / "masks", Settings())
    masks = {item.name: item.masks for item in items}
    assert masks["shot"] is None and masks["shot.02"] == {0: [tmp_path / "masks/shot.02.png"]}


def test_clips_that_differ_in_their_suffix_only_keep_it_in_their_names(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mov"):
        (tmp_path / name).touch()
    assert [item.name for item in read_clip_list(str(tmp_path), None, Settings())] == ["a.mov", "a.mp4"]
