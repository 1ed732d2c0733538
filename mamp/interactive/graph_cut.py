"""The cheapest cut between an object and its background (Boykov and Jolly, ICCV 2001), computed by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Scores = NDArray[np.float32]

_WEIGHT = 2.0  # of the log-odds, relative to OpenCV's weight of an edge
_LEVELS = 4.0  # gray levels per unit of the log-odds
_CLEAR = 16.0  # log-odds beyond which nothing changes; the densities of GrabCut would vanish
_CONTRAST = 40  # gray levels per usual deviation of a color
_MIDDLE = 128  # gray level of log-odds of 0, and of the mean color


def cut(log_odds: Scores, colors: Scores, inside: Bool, outside: Bool) -> Bool:
    """Cuts an object out along the edges of an image.

    OpenCV cuts for GrabCut only, whose costs come from mixtures of Gaussians over three channels. The log-odds are the
    first channel here, and one Gaussian for each side turns it into the same log-odds again. The two main colors are
    the others, where a cut along an edge is cheap.

    Args:
        log_odds: Of each pixel to belong to the object (h, w).
        colors: (h, w, 3), in units of their usual deviation.
        inside: Pixels of the object (h, w).
        outside: Other pixels, of the background (h, w).

    Returns:
        Mask (h, w).
    """
    likely = np.where(log_odds > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    classes = np.where(inside, cv2.GC_FGD, np.where(outside, cv2.GC_BGD, likely)).astype(np.uint8)
    objects = _objects(classes)
    if objects.all() or not objects.any():
        return objects
    channels = np.dstack((_LEVELS * log_odds.clip(-_CLEAR, _CLEAR), _CONTRAST * _main_colors(colors)))
    image = (_MIDDLE + channels).clip(0, 255).astype(np.uint8)
    models = _gaussian(_MIDDLE - 1), _gaussian(_MIDDLE + 1)
    cv2.grabCut(image, classes, (0, 0, 0, 0), *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return _objects(classes)


def _objects(classes: NDArray[np.uint8]) -> Bool:
    return np.asarray((classes == cv2.GC_FGD) | (classes == cv2.GC_PR_FGD))


def _main_colors(colors: Scores) -> Scores:
    """The first two principal components of colors (h, w, 3): (h, w, 2)."""
    rows = colors.reshape(-1, 3) - colors.reshape(-1, 3).mean(axis=0)
    _, directions = np.linalg.eigh(rows.T @ rows)
    return np.asarray(rows @ directions[:, 1:], np.float32).reshape(*colors.shape[:2], 2)


def _gaussian(mean: float) -> NDArray[np.float64]:
    """A model of GrabCut: one Gaussian over the first channel alone.

    Two of them at a distance of 2 have log-odds that rise by 2 / variance with each gray level.
    """
    model = np.zeros((1, 65))  # weights, means and covariances of five Gaussians
    model[0, 0] = 1
    model[0, 5:8] = mean, _MIDDLE, _MIDDLE
    model[0, 20:29] = np.diag((2 * _LEVELS / _WEIGHT, 1e6, 1e6)).ravel()
    return model
