"""JavaScript that runs in the visitor's browser: the editor, clicks on frame numbers, the playback of a result,
and the choice of a pixel."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mamp.video.decoder import VIDEO_SUFFIXES
from webapp.languages import LANGUAGE_COOKIE, browser_texts, template_text

_STATIC = Path(__file__).parent / "static"
_MODULES = ("texts", "label_map", "mask_canvas", "view", "gestures", "editor")  # each uses those before it

EDITOR_HTML = re.sub(r"\{(editor\.\w+)\}", lambda match: template_text(match[1]), (_STATIC / "editor.html").read_text())
EDITOR_CSS = (_STATIC / "editor.css").read_text()
SCROLL = (_STATIC / "scroll.js").read_text()
ASK_FRAME = (_STATIC / "ask_frame.js").read_text()
EDITOR_SCRIPT = "\n".join((_STATIC / f"{name}.js").read_text() for name in _MODULES)
EDITOR = f"{EDITOR_SCRIPT}\nmountEditor(element, trigger, props, watch);"


def _texts(part: str) -> str:
    """The texts of a script, for one that finds no properties: Gradio loses those of components that are hidden first."""
    texts = json.dumps(browser_texts(part), ensure_ascii=False)
    return f"const TEXTS = {texts};\n{(_STATIC / 'texts.js').read_text()}"


LANGUAGE = f"const LANGUAGE_COOKIE = '{LANGUAGE_COOKIE}';\n{_texts('page')}\n{(_STATIC / 'language.js').read_text()}"
CLIP_FILES = (
    f"const CLIP_KINDS = '{','.join(('video/*', *VIDEO_SUFFIXES))}';\n{(_STATIC / 'clip_files.js').read_text()}"
)
STILL = f"{_texts('clip')}\n{(_STATIC / 'still.js').read_text()}"
PLAYBACK = f"{_texts('chart')}\n{(_STATIC / 'playback.js').read_text()}"
CHOOSE_PIXEL = f"{_texts('why')}\n{(_STATIC / 'choose_pixel.js').read_text()}"

# A click on an element with a frame number selects that frame; an edited name field submits the name.
FRAME_AND_NAME_EVENTS = """
element.addEventListener('click', (event) => {
    const named = event.target.closest('[data-frame]'), removed = event.target.closest('[data-removed-frame]')?.dataset;
    if (event.target.closest('[data-undo]')) trigger('undo');
    if (removed) trigger('delete', {frame: Number(removed.removedFrame), object: Number(removed.removedObject)});
    if (named) trigger('select', {frame: Number(named.dataset.frame)});
});
element.addEventListener('change', (event) => {
    if (event.target.dataset.object)
        trigger('submit', {object: Number(event.target.dataset.object), name: event.target.value});
});
"""

# The address of the page names its session: in the fragment, which browsers do not send. Pages that embed a Space show
# the Space's fragment in their own address.
READ_ADDRESS = """
(session) => [session, /^#project=(\\w+)$/.exec(location.hash)?.[1] ?? '']
"""
SHOW_RESTORING = f"""
() => {{
    {_texts("clip")}
    if (!/^#project=\\w+$/.test(location.hash)) return {{__type__: 'update'}};
    return `<div class="status" role="status">${{textOf(TEXTS, 'clip.restoring')}}</div>`;
}}
"""
SHOW_ADDRESS = """
addEventListener('hashchange', () => location.reload()); // not by the line below, but by a visitor
watch('value', () => {
    const project = props.value?.project;
    if (project === undefined) return;
    const hash = project && `#project=${project}`;
    history.replaceState(history.state, '', location.pathname + location.search + hash);
    if (parent !== window) parent.postMessage({queryString: location.search, hash}, 'https://huggingface.co');
});
"""

# The clip may be gone when a visitor comes back to the page, and is if the server says so in answer to another event.
CHECK_EVENTS = """
addEventListener('focus', () => trigger('input'));
document.addEventListener('visibilitychange', () => document.hidden || trigger('input'));
watch('value', () => props.value && trigger('input'));
"""

# The button in the status brings a clip back.
STATUS_EVENTS = """
element.addEventListener('click', (event) => {
    const {session} = event.target.closest('[data-session]')?.dataset ?? {};
    if (session) trigger('undo', {session});
});
"""

EXAMPLE_EVENTS = """
element.addEventListener('click', (event) => {
    const example = event.target.closest('[data-example]');
    if (example) trigger('select', {name: example.dataset.example});
});
"""

# Start and Prepare are off, and Stop is on, from the click on.
SHOW_JOB = """
() => [false, false, true].map((interactive) => ({__type__: 'update', interactive}))
"""
