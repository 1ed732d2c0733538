"""Hidden components with what the browser itself has to do: name the session in the page's address, scroll, ask for
frames of the result, take every kind of clip and show a still of one that it cannot play, and tell the language and when
the visitor comes back."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.javascript import ASK_FRAME, CHECK_EVENTS, CLIP_FILES, LANGUAGE, SCROLL, SHOW_ADDRESS, STILL


@dataclass(frozen=True)
class BrowserSection:
    """Components of the section.

    Attributes:
        address: The name of the session; a reload of the page finds the work again.
        scroll: The part of the page to bring into view, see ``webapp.html.scroll_to``.
        wanted_frame: The frame of the result that the visitor looks at, and whether the video plays.
        check: Gets an input when the page should check whether its clip is still there.
    """

    address: gr.HTML
    scroll: gr.HTML
    wanted_frame: gr.HTML
    check: gr.HTML


def browser_section() -> BrowserSection:
    """Builds the section."""
    for script in (LANGUAGE, STILL, CLIP_FILES):
        gr.HTML(None, visible="hidden", js_on_load=script)
    address = gr.HTML(None, visible="hidden", js_on_load=SHOW_ADDRESS)
    scroll = gr.HTML(None, visible="hidden", js_on_load=SCROLL)
    wanted_frame = gr.HTML(None, visible="hidden", js_on_load=ASK_FRAME)
    check = gr.HTML(None, visible="hidden", js_on_load=CHECK_EVENTS)
    return BrowserSection(address, scroll, wanted_frame, check)
