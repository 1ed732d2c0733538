"""Reading, writing and converting masks, and the overlay."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pycocotools import mask as coco

from mamp import OBJECT_COLORS, MaskError, OverlayStyle, overlay, read_mask, write_mask
from mamp.masks.mask_io import open_mask
from mamp.masks.palette import PALETTE
from mamp.masks.rle import describe_rle, encode_rle
from tests.conftest import overlap

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
        (np.dstack((OBJECT_COLORS[MASK], np.where(MASK > 0, 255, 0).astype(np.uint8))), MASK),
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
    assert mask_file.notes == ("colors numbered by area",)
    assert np.array_equal(mask_file.mask, np.array([0, 3, 0, 1, 0, 2])[truth])


def disk(height: int = 120, width: int = 160) -> np.ndarray:  # type: ignore[type-arg]
    rows, columns = np.mgrid[:height, :width]
    return ((rows - 50) ** 2 + (columns - 60) ** 2 < 25**2).astype(np.uint8)


DISK, BOX = disk(), np.zeros((120, 160), np.uint8)
BOX[80:100, 100:130] = 1
WHITE = DISK * np.uint8(255)
SOFT = cv2.GaussianBlur(WHITE, (0, 0), 2)


def saved(folder: Path, pixels: np.ndarray, name: str = "m.png", mode: str | None = None, **options: object) -> Path:  # type: ignore[type-arg]
    Image.fromarray(pixels, mode).save(folder / name, **options)
    return folder / name


def assert_reads(path: Path, rule: str, *shapes: np.ndarray, least: float = 1.0) -> None:  # type: ignore[type-arg]
    """Asserts that a file is read by a rule as objects of these shapes, in any order."""
    mask_file = open_mask(path)
    assert mask_file.rule == rule and len(mask_file.areas) == len(shapes), mask_file.description
    for shape in shapes:
        assert max(overlap(mask_file.mask == label, shape) for label in mask_file.areas) >= least


@pytest.mark.parametrize("levels", [(0, 255), (0, 120), (16, 235), (60, 200)])
def test_soft_edges_between_any_two_levels_are_cut_at_half(levels: tuple[int, int], tmp_path: Path) -> None:
    black, white = levels
    pixels = cv2.GaussianBlur(np.where(DISK, white, black).astype(np.uint8), (0, 0), 2)
    assert_reads(saved(tmp_path, pixels), "black and white", DISK, least=0.97)
    assert open_mask(tmp_path / "m.png").notes == ("soft edges cut at half",)
    large = np.asarray(Image.fromarray(pixels).resize((1600, 1200), Image.Resampling.LANCZOS))
    shape = cv2.resize(DISK, (1600, 1200), interpolation=cv2.INTER_NEAREST)
    assert_reads(saved(tmp_path, large), "black and white", shape, least=0.97)


def test_compressed_masks_have_no_objects_of_noise(tmp_path: Path) -> None:
    small = np.zeros((120, 160), np.uint8)
    small[50:56, 60:66] = 255
    thin = cv2.line(np.zeros((120, 160), np.uint8), (20, 20), (140, 100), 255, 2)
    for pixels, least in ((WHITE, 0.95), (small, 0.9), (thin, 0.9)):
        for quality in (90, 98):
            path = saved(tmp_path, pixels, "m.jpg", quality=quality)
            assert_reads(path, "black and white", pixels > 0, least=least)
            Image.open(path).save(tmp_path / "copy.png")
            assert_reads(tmp_path / "copy.png", "black and white", pixels > 0, least=least)


@pytest.mark.parametrize("other", [254, 200, 100, 40])
def test_one_gray_per_object_is_several_objects_however_small(other: int, tmp_path: Path) -> None:
    pixels = WHITE.copy()
    pixels[80:90, 100:112] = other
    assert_reads(saved(tmp_path, pixels), "one gray per object", DISK, pixels == other)


def test_similar_flat_colors_are_different_objects(tmp_path: Path) -> None:
    colors = np.array([(0, 0, 0), (200, 30, 30), (210, 40, 40)], np.uint8)
    labels = DISK + 2 * BOX
    assert_reads(saved(tmp_path, colors[labels]), "one color per object", DISK, BOX)
    assert_reads(
        saved(tmp_path, cv2.GaussianBlur(colors[labels], (0, 0), 1)), "one color per object", DISK, BOX, least=0.9
    )
    panoptic = np.array([(0, 0, 0), (7, 1, 0), (8, 1, 0)], np.uint8)  # R + 256 G
    assert_reads(saved(tmp_path, panoptic[labels]), "one color per object", DISK, BOX)


def test_the_background_of_a_palette_is_not_its_first_entry(tmp_path: Path) -> None:
    for count in (2, 8):
        Image.fromarray(SOFT if count > 2 else WHITE).convert("RGB").quantize(count).save(tmp_path / "m.png")
        assert_reads(tmp_path / "m.png", "black and white", DISK, least=0.95)
    image = Image.fromarray(DISK + 2 * BOX, "P")
    image.putpalette([90, 90, 250, 250, 90, 90, 90, 250, 90])
    image.save(tmp_path / "m.png")
    assert open_mask(tmp_path / "m.png").rule == "palette entries"
    assert np.array_equal(read_mask(tmp_path / "m.png"), DISK + 2 * BOX)
    image = Image.fromarray((1 - DISK) + BOX, "P")  # entry 1 is around the disk
    image.putpalette([250, 90, 90, 255, 255, 255, 90, 250, 90])
    image.save(tmp_path / "m.png")
    assert_reads(tmp_path / "m.png", "palette entries", DISK, BOX)
    assert open_mask(tmp_path / "m.png").notes == ("entry 1 is the background",)
    unset = Image.fromarray(DISK + 2 * BOX, "P")
    unset.putpalette([0] * 768)
    unset.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), DISK + 2 * BOX)


def test_alpha_is_the_mask_where_color_says_nothing(tmp_path: Path) -> None:
    for color in (0, 90, 255):
        for soft in (WHITE, SOFT):
            layers = np.dstack((*[np.full_like(WHITE, color)] * 3, soft))
            assert_reads(saved(tmp_path, layers), "transparency", DISK, least=0.97)
            assert_reads(saved(tmp_path, layers[..., 2:], mode="LA"), "transparency", DISK, least=0.97)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert_reads(saved(tmp_path, np.dstack((frame, SOFT))), "a cut-out", DISK, least=0.97)


def test_sixteen_bits_and_floats_are_read(tmp_path: Path) -> None:
    for white in (65535, 65280, 4095, 1000):
        for shape in (WHITE, SOFT):
            pixels = (shape.astype(np.float32) / 255 * white).astype(np.uint16)
            assert_reads(saved(tmp_path, pixels), "black and white", DISK, least=0.97)
    for white in (1.0, 0.8, 255.0):
        pixels = SOFT.astype(np.float32) / 255 * white
        assert_reads(saved(tmp_path, pixels, "m.tiff"), "black and white", DISK, least=0.97)
    ids = (DISK * np.uint16(2002) + BOX * np.uint16(1001)).astype(np.uint16)
    ids[:5] = 10000
    assert_reads(saved(tmp_path, ids), "one gray per object", DISK, BOX)
    assert open_mask(tmp_path / "m.png").notes == (
        "1001 is object 1",
        "2002 is object 2",
        "10000 is the ignored region of MOTS",
    )


def test_a_dark_object_on_a_bright_background_is_noted(tmp_path: Path) -> None:
    assert_reads(saved(tmp_path, 255 - WHITE), "black and white", DISK)
    assert "the bright one covers the whole border" in open_mask(tmp_path / "m.png").description


def test_label_numbers_stay(tmp_path: Path) -> None:
    labels = DISK * np.uint8(7) + BOX * np.uint8(40)
    for name in ("m.png", "m.bmp", "m.tiff"):
        assert np.array_equal(read_mask(saved(tmp_path, labels, name)), labels)
    assert np.array_equal(read_mask(saved(tmp_path, np.dstack([labels] * 3))), labels)
    thin = np.zeros((40, 60), np.uint8)
    thin[5], thin[6], thin[8, 3] = 1, 2, 3
    assert np.array_equal(read_mask(saved(tmp_path, thin)), thin)


def test_a_mask_is_scaled_to_the_clip_or_to_its_displayed_size(tmp_path: Path) -> None:
    large = open_mask(saved(tmp_path, MASK), (80, 120))
    assert large.notes == ("scaled from 60x40",) and np.array_equal(large.mask[::2, ::2], MASK)
    assert large.description == "2 objects (1: 1,200 pixels, 2: 1,400 pixels), read as label numbers; scaled from 60x40"
    with pytest.raises(MaskError, match="60x40, but the clip is 90x40: it has another shape"):
        open_mask(tmp_path / "m.png", (40, 90))
    assert open_mask(tmp_path / "m.png", (40, 45), pixel_aspect=4 / 3).mask.shape == (40, 45)


def test_a_photograph_of_a_mask_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    path = saved(tmp_path, np.ascontiguousarray(np.rot90(WHITE)), "m.jpg", quality=95, exif=exif)
    assert_reads(path, "black and white", DISK, least=0.95)


@pytest.mark.parametrize("side", [8100, 9500, 14_000])  # by our limit, by Pillow's warning, and by its error
def test_a_mask_that_is_too_large_is_refused_in_one_sentence(tmp_path: Path, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / "huge.png")
    with pytest.raises(MaskError, match=r"^The mask huge\.png is too large: it has more than 64 megapixels\.$"):
        read_mask(tmp_path / "huge.png")


def test_a_large_colored_mask_is_read_in_limited_time_and_memory(tmp_path: Path) -> None:
    labels = np.zeros((2160, 3840), np.uint8)
    for label in range(1, 7):
        cv2.circle(labels, (600 * label - 200, 1000), 250, label, -1)
    saved(tmp_path, np.vstack(([(0, 0, 0)], OBJECT_COLORS)).astype(np.uint8)[labels])
    code = (
        "import resource, sys, time; from mamp.masks.mask_io import open_mask\n"
        "rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before, start = rss(), time.process_time(); count = len(open_mask(sys.argv[1]).areas)\n"
        "print(count, time.process_time() - start, rss() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "m.png"], capture_output=True, text=True, check=True)
    count, seconds, memory = (float(word) for word in done.stdout.split())
    assert count == 6 and seconds < 5 and memory < 300  # about 1 s on a free core


def test_invalid_mask_files_raise_mask_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    for name in ("text.png", "photo.png", "missing.png"):
        with pytest.raises(MaskError, match=name):
            read_mask(tmp_path / name)


def test_compressed_texts_in_a_mask_are_not_unpacked_without_limit(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", " " * 80_000_000, zip=True)
    Image.fromarray(WHITE).save(tmp_path / "m.png", pnginfo=texts)
    tracemalloc.start()
    try:
        assert list(open_mask(tmp_path / "m.png").areas) == [1]
    except MaskError as error:
        assert "cannot be read as an image" in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_run_lengths_decode_to_every_object() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), MASK.shape)
    for labels in (mask, MASK, np.zeros_like(MASK), np.full_like(MASK, 3)):
        run_lengths = encode_rle(labels)
        assert list(run_lengths) == [label for label in np.unique(labels).tolist() if label]
        for label, counts in run_lengths.items():
            assert np.array_equal(coco.decode({"size": list(labels.shape), "counts": counts}), labels == label)
            assert describe_rle(counts, MASK.shape)["area"] == np.count_nonzero(labels == label)


def test_overlay_changes_object_pixels_only() -> None:
    frame = np.full((40, 60, 3), 90, np.uint8)
    image = overlay(frame, MASK, OverlayStyle(numbers=False))
    far = cv2.dilate((MASK > 0).astype(np.uint8), np.ones((5, 5))) == 0  # a contour is two pixels wide
    assert np.array_equal(image[far], frame[far])
    assert (image[10, 15] != image[30, 50]).any() and (image[10, 15] != 90).any()
    assert (image[5, 5] == OBJECT_COLORS[0]).all()  # the contour is opaque
    assert not np.array_equal(overlay(frame, MASK), image)  # numbers are drawn
