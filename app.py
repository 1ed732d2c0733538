"""The Space: paint objects on a frame of a clip, and track them through it. Builds the page and starts the server."""

from __future__ import annotations

import os
import signal
import time
from argparse import ArgumentParser
from contextlib import suppress
from importlib.util import find_spec
from threading import Thread

import gradio as gr
from starlette.middleware import Middleware

import webapp  # noqa: F401 (first: it imports spaces)
from webapp.downloads import ClipNames
from webapp.examples import intro_html
from webapp.image_formats import restrict_image_formats
from webapp.languages import browser_texts, label_translations, text
from webapp.layout.api_section import api_section
from webapp.layout.browser_section import browser_section
from webapp.layout.clip_section import clip_section
from webapp.layout.events import connect_events
from webapp.layout.paint_section import paint_section
from webapp.layout.review_section import review_section
from webapp.layout.run_section import run_section
from webapp.server_folder import server_folder
from webapp.session import KEEP_SECONDS, MAX_UPLOAD, end_unused_sessions, remove_unfinished_uploads
from webapp.theme import CSS, THEME

_USAGE = """Serves the page. There are no options: environment variables configure it, such as GRADIO_SERVER_NAME and
GRADIO_SERVER_PORT (address and port), GRADIO_TEMP_DIR (folder for uploads and results) and MAMP_MAX_FRAMES (longest
clip). docs/DEPLOYMENT.md lists all of them with their defaults."""


def build() -> gr.Blocks:
    """The page."""
    restrict_image_formats()
    page: gr.Blocks
    with gr.Blocks(
        title=text("page.title", "en"),  # until the browser has its own, see LANGUAGE
        delete_cache=(min(600, KEEP_SECONDS), KEEP_SECONDS),  # uploads that no session uses
        fill_width=False,
    ) as page:
        session = gr.State({})
        gr.HTML(html_template=intro_html(), texts=browser_texts("intro"))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                clip = clip_section()
            with gr.Column(scale=3, min_width=300):
                paint = paint_section()
                run = run_section(paint.below_editor)
        review = review_section()
        connect_events(page, session, browser_section(), clip, paint, run, review)
        api_section()
    return page


def main() -> None:
    """Serves the page until the process is told to end."""
    ArgumentParser(description=_USAGE).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Gradio closes its server on a keyboard interrupt
    with server_folder():
        space = build().queue(max_size=20)
        Thread(target=_clean_up, daemon=True).start()
        space.launch(
            theme=THEME,
            css=CSS,
            i18n=label_translations(),
            max_file_size=MAX_UPLOAD,
            footer_links=["api", "gradio", "settings"],
            app_kwargs={"middleware": [Middleware(ClipNames)]},
            mcp_server=_mcp_is_available(),
        )


def _mcp_is_available() -> bool:
    """Whether the endpoint is a tool for agents too: where ``gradio[mcp]`` is installed, as on Spaces, by default."""
    return find_spec("mcp") is not None and os.environ.get("GRADIO_MCP_SERVER", "True").lower() == "true"


def _clean_up() -> None:
    while True:
        time.sleep(min(60, KEEP_SECONDS / 10))
        with suppress(OSError):  # files change meanwhile; the rest is removed the next time
            end_unused_sessions()
            remove_unfinished_uploads()


if __name__ == "__main__":
    main()
