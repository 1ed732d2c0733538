"""JavaScript that runs in the visitor's browser: the editor, clicks on frame numbers, and the choice of a pixel."""

from __future__ import annotations

from pathlib import Path

_STATIC = Path(__file__).parent / "static"
_MODULES = ("label_map", "mask_canvas", "view", "gestures", "editor")  # each uses those before it

EDITOR_HTML = (_STATIC / "editor.html").read_text()
EDITOR_CSS = (_STATIC / "editor.css").read_text()
EDITOR_SCRIPT = "\n".join((_STATIC / f"{name}.js").read_text() for name in _MODULES)
EDITOR = f"{EDITOR_SCRIPT}\nmountEditor(element, trigger, props, watch);"

CHOOSE_PIXEL = (_STATIC / "choose_pixel.js").read_text()

# A click on an element with a frame number, or on the chart, selects that frame; an edited name field submits the name.
FRAME_AND_NAME_EVENTS = """
element.addEventListener('click', (event) => {
    const named = event.target.closest('[data-frame]'), chart = event.target.closest('svg');
    if (named) trigger('select', {frame: Number(named.dataset.frame)});
    else if (chart) {
        const box = chart.getBoundingClientRect(), {first, last, left, right} = chart.dataset;
        const share = ((event.clientX - box.left) / box.width - left) / (right - left);
        const frame = Math.round(Number(first) + Math.min(1, Math.max(0, share)) * (last - first));
        trigger('select', {frame});
    }
});
element.addEventListener('change', (event) => {
    if (event.target.dataset.object)
        trigger('submit', {object: Number(event.target.dataset.object), name: event.target.value});
});
"""

# Start and Prepare are off, and Stop is on, from the click on.
SHOW_JOB = """
() => [false, false, true].map((interactive) => ({__type__: 'update', interactive}))
"""
