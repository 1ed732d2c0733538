"""Reading, writing and converting masks, and the overlay."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from mamp import OBJECT_COLORS, MaskError, OverlayStyle, overlay, read_mask, write_mask
from mamp.masks.label_map import mask_in_box
from mamp.masks.mask_io import open_mask
from mamp.masks.palette import PALETTE, mask_to_strokes, strokes_to_mask
from mamp.masks.rle import describe_rle, encode_rle
from tests.conftest import overlap, scene

MASK = np.zeros((40, 60), np.uint8)
MASK[5:20, 5:25], MASK[22:36, 30:55] = 1, 2


def test_palette_is_that_of_davis() -> None:
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE[255].tolist() == [224, 224, 192]


def test_a_written_mask_is_read_back_unchanged(tmp_path: Path) -> None:
    everything = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_mask(tmp_path / "m.png", everything)
    assert np.array_equal(read_mask(tmp_path / "m.png"), everything)
    assert [path.name for path in tmp_path.iterdir()] == ["m.png"]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.where(MASK == 1, 255, 0).astype(np.uint8), MASK == 1),
        (MASK, MASK),
        (PALETTE[MASK], MASK),
        (np.dstack((PALETTE[MASK], np.full_like(MASK, 255))), MASK),
        (OBJECT_COLORS[MASK] * (MASK > 0)[..., None].astype(np.uint8), MASK),
        (mask_to_strokes(MASK, OBJECT_COLORS.tolist()), MASK),
    ],
    ids=[
        "black and white",
        "label numbers",
        "davis colors",
        "davis colors and alpha",
        "other colors",
        "transparent",
    ],
)
def test_every_kind_of_mask_is_read(pixels: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:  # type: ignore[type-arg]
    Image.fromarray(pixels).save(tmp_path / "m.png")
    result = read_mask(tmp_path / "m.png")
    assert np.array_equal(result > 0, expected > 0)
    assert len(np.unique(result)) == len(np.unique(expected))


def test_colors_match_davis_or_the_overlay_or_are_numbered_by_area(tmp_path: Path) -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[2:20, 2:20], truth[22:38, 30:58], truth[4:8, 40:44] = 5, 3, 1
    for palette in (PALETTE, np.vstack(([(0, 0, 0)], OBJECT_COLORS))):
        Image.fromarray(palette[truth].astype(np.uint8)).save(tmp_path / "known.png")
        assert np.array_equal(read_mask(tmp_path / "known.png"), truth)
    custom = np.array([(0, 0, 0), (90, 200, 90), (0, 0, 0), (200, 30, 30), (0, 0, 0), (30, 160, 60)], np.uint8)
    Image.fromarray(custom[truth]).save(tmp_path / "custom.png")
    mask_file = open_mask(tmp_path / "custom.png")
    assert mask_file.notes == ("3 objects", "colors numbered by area")
    assert np.array_equal(mask_file.mask, np.array([0, 3, 0, 1, 0, 2])[truth])


def test_the_notes_of_a_mask_file_describe_its_interpretation(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(np.where(MASK == 1, 255, 0).astype(np.uint8).repeat(4, 0).repeat(4, 1), (3, 3), 0)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    assert open_mask(tmp_path / "soft.png").notes == ("1 object", "soft edges cut at half")
    Image.fromarray(MASK).save(tmp_path / "small.png")
    large = open_mask(tmp_path / "small.png", (80, 120))
    assert large.notes == ("2 objects", "scaled from 60x40")
    assert np.array_equal(large.mask[::2, ::2], MASK)
    with pytest.raises(MaskError, match="60x40, but the clip is 90x40: it has another shape"):
        open_mask(tmp_path / "small.png", (40, 90))


def test_sixteen_bit_masks_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.where(MASK == 1, 65535, 0).astype(np.uint16)).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), MASK == 1)


def test_the_object_in_a_box_is_segmented() -> None:
    frame, truth = scene(0)
    rows, columns = np.nonzero(truth)
    box = (int(columns.min()) - 4, int(rows.min()) - 4, int(columns.max()) + 5, int(rows.max()) + 5)
    assert overlap(mask_in_box(frame, box, 3) == 3, truth) > 0.85
    with pytest.raises(MaskError, match="does not lie in the frame, 128x96"):
        mask_in_box(frame, (0, 0, 500, 20), 1)
    with pytest.raises(MaskError, match="whole frame"):
        mask_in_box(frame, (0, 0, 128, 96), 1)


def test_invalid_mask_files_raise_mask_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    for name in ("text.png", "photo.png", "missing.png"):
        with pytest.raises(MaskError, match=name):
            read_mask(tmp_path / name)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_run_lengths_decode_to_every_object() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), MASK.shape)
    for labels in (mask, MASK, np.zeros_like(MASK), np.full_like(MASK, 3)):
        run_lengths = encode_rle(labels)
        assert list(run_lengths) == [label for label in np.unique(labels).tolist() if label]
        for label, counts in run_lengths.items():
            assert np.array_equal(coco.decode({"size": list(labels.shape), "counts": counts}), labels == label)
            assert describe_rle(counts, MASK.shape)["area"] == np.count_nonzero(labels == label)


def test_antialiased_strokes_snap_to_the_palette() -> None:
    strokes = mask_to_strokes(MASK, OBJECT_COLORS.tolist())
    strokes[..., :3] = np.clip(strokes[..., :3].astype(int) + 9, 0, 255).astype(np.uint8)
    strokes[4, 5:25] = (*OBJECT_COLORS[0], 90)  # the antialiased edge of an editor
    assert np.array_equal(strokes_to_mask(strokes, OBJECT_COLORS.tolist()), MASK)


def test_overlay_changes_object_pixels_only() -> None:
    frame = np.full((40, 60, 3), 90, np.uint8)
    image = overlay(frame, MASK, OverlayStyle(numbers=False))
    far = cv2.dilate((MASK > 0).astype(np.uint8), np.ones((5, 5))) == 0  # a contour is two pixels wide
    assert np.array_equal(image[far], frame[far])
    assert (image[10, 15] != image[30, 50]).any() and (image[10, 15] != 90).any()
    assert (image[5, 5] == OBJECT_COLORS[0]).all()  # the contour is opaque
    assert not np.array_equal(overlay(frame, MASK), image)  # numbers are drawn
