"""The figure of an explanation, its colors of flow, and the subcommand that writes it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mamp import read_mask
from mamp.cli.main import main
from mamp.explanation.explanation import Decision, Explanation, LabelScore, MemoryTerm, MemoryView, Vote
from mamp.explanation.figure import draw_explanation
from mamp.explanation.flow_colors import flow_colors, flow_legend
from mamp.masks.palette import color_of
from tests.explanation.test_explain import finished_run

HEIGHT, WIDTH = 96, 128


def explanation(*memory: MemoryView) -> Explanation:
    """An explanation of the pixel 40, 48 of a gray frame."""
    gray = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    scores = [LabelScore(0, "background", 0.2, 0.2, 0.1, None), LabelScore(1, "naïve dog", 0.8, 0.8, 0.9, 0.7)]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    return Explanation(8, (40, 48), 1, Decision.VOTES, (40.0, 48.0), memory, scores, "A sentence.", gray, mask)


def view(frame: int, votes: list[Vote], motion: tuple[float, float] | None = None) -> MemoryView:
    gray = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    target = (40.0, 48.0) if motion is None else (40 + motion[0], 48 + motion[1])
    flow = (
        None if motion is None else np.full((2, HEIGHT // 4, WIDTH // 4), 1, np.float32) * np.reshape(motion, (2, 1, 1))
    )
    return MemoryView(frame, MemoryTerm.SHORT, target, motion, (50.0, 50.0), votes, votes, True, False, gray, flow)


def area_of(figure: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(figure.astype(int) - color).max(axis=2) < 8).sum())


def test_the_area_of_a_dot_is_its_weight_and_its_color_the_label() -> None:
    blank = draw_explanation(explanation(view(7, [])))
    figure = draw_explanation(explanation(view(7, [Vote(7, (20, 20), 1, 9.0, 0.8), Vote(7, (90, 60), 0, 8.0, 0.2)])))
    assert figure.shape == blank.shape and figure.dtype == np.uint8
    dot, background = (area_of(figure, color) - area_of(blank, color) for color in (color_of(1), (128, 128, 128)))
    assert 2.5 < dot / background < 6


def test_every_memory_frame_is_drawn_and_motion_as_an_arrow_and_in_colors() -> None:
    still = draw_explanation(explanation(view(7, []), view(8, [])))
    moved = draw_explanation(explanation(view(7, [], (30.0, 0.0)), view(8, [], (-30.0, 0.0))))
    assert moved.shape[0] > still.shape[0] + HEIGHT
    # Motion to the right is red, to the left blue.
    assert area_of(moved, (255, 0, 0)) > 10_000 and area_of(still, (255, 0, 0)) < 100
    left = tuple(flow_colors(np.float32([[[-1]], [[0]]]), 1.0)[0, 0].tolist())
    assert area_of(moved, left) > 10_000
    many = draw_explanation(explanation(*(view(number, []) for number in range(9))))
    assert many.shape[0] > 2 * still.shape[0] - 600
    assert draw_explanation(explanation()).shape[1] == many.shape[1]


def test_flow_colors_follow_the_usual_wheel() -> None:
    flow = np.array([[(0, 1, -1, 0, 0, 3)], [(0, 0, 0, 1, -1, 0)]], np.float32)
    still, right, left, down, up, beyond = flow_colors(flow, 1.0)[0].astype(int).tolist()
    assert still == [255, 255, 255] and right == [255, 0, 0] and beyond == [191, 0, 0]
    assert left[0] == 0 and left[2] == 255  # cyan to blue
    assert down[0] == 255 and down[1] > 200 and down[2] == 0  # yellow
    assert up[2] == 255 and up[1] == 0  # violet
    legend = flow_legend(65)
    assert legend[32, 64].tolist() == [255, 0, 0] and legend[0, 0].tolist() == [255, 255, 255]


def test_the_subcommand_prints_tables_and_writes_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, clip = finished_run(tmp_path)
    figure = tmp_path / "why.png"
    arguments = ["explain", str(clip), "--result", str(run), "--frame", "8"]
    assert main([*arguments, "--at", "52,60", "--out", str(figure)]) == 0
    printed = capsys.readouterr().out
    assert "label 1, by votes" in printed and "Eq. 1 and 2" in printed and "disk" in printed
    assert cv2.imread(str(figure)).shape[1] > 1500
    mask = (run / "masks" / "00008.png").read_bytes()
    for at, out in (("500,1", figure), ("1,1", run / "masks" / "00008.png"), ("1,1", tmp_path / "why.jpg")):
        assert main([*arguments, "--at", at, "--out", str(out)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert (run / "masks" / "00008.png").read_bytes() == mask and read_mask(run / "masks" / "00008.png").any()
