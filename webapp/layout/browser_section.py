"""Hidden components with what the browser itself has to do: name the session in the page's address, scroll, and
show a still of a clip that it cannot play."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from webapp.javascript import SCROLL, SHOW_ADDRESS, STILL, TITLE


@dataclass(frozen=True)
class BrowserSection:
    """Components of the section.

    Attributes:
        address: The name of the session; a reload of the page finds the work again.
        scroll: The part of the page to bring into view, see ``webapp.html.scroll_to``.
    """

    address: gr.HTML
    scroll: gr.HTML


def browser_section() -> BrowserSection:
    """Builds the section."""
    for script in (TITLE, STILL):
        gr.HTML(None, visible="hidden", js_on_load=script)
    address = gr.HTML(None, visible="hidden", js_on_load=SHOW_ADDRESS)
    return BrowserSection(address, gr.HTML(None, visible="hidden", js_on_load=SCROLL))
