"""Corrections of a mask: what else should change with the pixels that a stroke changes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mamp.interactive.guided_resize import guided_resize
from mamp.interactive.object_cut import ObjectCut
from mamp.interactive.surroundings import FrameValues, part_around, parts_with

Bool = NDArray[np.bool_]

_MARGIN = 0.5  # of the longer side of a stroke's extent: nothing changes further away
_MIN_MARGIN = 0.1  # of the short side of the frame: the same for short strokes
_CLICK = 0.03  # of the short side: strokes up to this extent say nothing about the size of the error
_CLICKED = 0.2  # of the short side: the extent that a click stands for
_REACH = 0.12  # of the longer side of the extent: how far from the stroke the error probably ends
_AREA = 25_000  # [pixels] of the image that is cut


def corrected(values: FrameValues, stroke: Bool, *, right: Bool, contrary: Bool, fixed: Bool) -> Bool:
    """The pixels that a stroke changes.

    The mask stays as it is, where the stroke does not ask for something else. So the stroke and all that has its label
    already is cut out of the pixels that may change.

    Args:
        values: Of the frame's pixels (H, W).
        stroke: Pixels whose label should change to the stroke's (H, W), at least one.
        right: Pixels that have this label already.
        contrary: Marks that ask for another label.
        fixed: Pixels of labels that the stroke does not touch.

    Returns:
        Pixels to change (H, W): the stroke, and connected to it those like it.
    """
    part, extent = part_around(stroke, _MARGIN, _MIN_MARGIN)
    short_side = min(values.size)
    if extent <= _CLICK * short_side:
        extent = math.ceil(_CLICKED * short_side)
    view = values.around(
        part, extent, _AREA, inside=stroke, outside=contrary | fixed, likely=stroke, known=right & ~contrary
    )
    mask, _ = ObjectCut(view).mask(_REACH)
    changed = np.zeros(values.size, bool)
    changed[part] = guided_resize(mask, view.colors, values.colors[part])
    return parts_with(stroke, (changed & ~(right | contrary | fixed)) | stroke)
