"""JavaScript that runs in the visitor's browser: clicks on frame numbers, and workarounds for the image editor."""

from __future__ import annotations

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

# The editor (gradio 6.31) drops layers that arrive together with a frame, and does not always report that a frame has
# loaded. So the promise of its loading function is stored, and strokes are sent only after that promise has resolved.
STORE_LOADING_PROMISE = """
() => {
    const editor = window.editor, load = editor.add_image_from_url;
    editor.add_image_from_url = (...args) => (editor.loading = load.apply(editor, args));
}
"""
# The editor also computes a wrong zoom while it becomes visible: fit the frame again.
WAIT_FOR_FRAME = """
async (...args) => {
    const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
    await pause(50);
    await window.editor.loading;
    await pause(50);
    window.editor.tools.get('zoom').set_zoom('fit');
    return args;
}
"""

# Start and Prepare are off, and Stop is on, from the click on.
SHOW_JOB = """
() => [false, false, true].map((interactive) => ({__type__: 'update', interactive}))
"""
