"""The page's texts in every language."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from gradio.context import LocalContext
from gradio.i18n import I18nData

from mamp import Settings
from webapp import run_handler
from webapp.background import start_job, watch_job
from webapp.clips import open_clip
from webapp.html import duration_text
from webapp.job_queue import Job
from webapp.jobs import claim_job
from webapp.languages import LANGUAGES, TEXTS, label_translations, language_of
from webapp.mask_editing import select_frame
from webapp.session import close_session, request_job
from webapp.settings_controls import ON_PAGE

pytestmark = pytest.mark.usefixtures("loops")

SHOWN = ("label", "info", "placeholder", "value")  # properties of components that the page shows


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_placeholders(language: str) -> None:
    assert TEXTS[language].keys() == TEXTS["en"].keys()
    for key, text in TEXTS[language].items():
        assert text.strip() and placeholders(text) == placeholders(TEXTS["en"][key]), key
        assert not set('<>&"\\') & set(text), f"{key} goes into HTML and scripts as it is"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("zh-CN", "zh"),
        ("zh-HK,zh;q=0.9", "en"),  # Gradio's own texts are English there
        ("fr-FR,fr;q=0.9,de;q=0.8", "en"),  # as the layout: Gradio knows French
        ("es;q=0.9", "es"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_the_first_language_of_a_browser_decides(header: str, language: str) -> None:
    assert language_of(header) == language


@contextmanager
def visitor(accept_language: str) -> Iterator[None]:
    """Handles events of a visitor whose browser prefers a language."""
    request = SimpleNamespace(headers={"accept-language": accept_language})
    token = LocalContext.request.set(gr.Request(cast(Any, request)))
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def test_handlers_answer_in_the_language_of_the_visitor(clip: Path) -> None:
    with visitor("zh-CN,zh;q=0.9"):
        assert "请先选择视频片段" in claim_job({}, "run")["status"]
    with visitor("de-DE"):
        session = open_clip({}, str(clip))["session"]
        assert "12 Bilder, 128x96" in session["opened"] and duration_text(185) == "3 min 5 s"
        assert select_frame(session, None, 3)["editor"]["note"].startswith("Bild 3: Kritzeln")
    with visitor("es-ES"):
        job = start_requested(session)
        *_, last = watch_job(session, job)
        assert "Pinte antes al menos un objeto" in last["status"], "the thread of a run does not know its visitor"
    assert "Choose a clip first" in claim_job({}, "run")["status"]
    close_session(session, keep=str(clip))


def start_requested(session: dict[str, Any]) -> Job:
    """Starts a run of a session on which nothing is painted."""
    request_job(session, "run")
    job = start_job(session, "run", 0, lambda: run_handler._run(session, 0.4, [], settings_values(), ""))
    assert job is not None
    return job


def settings_values() -> list[Any]:
    return [None if name == "weights" else value for name, value in Settings().to_dict().items() if name in ON_PAGE]


def layout_texts(node: dict[str, Any], components: dict[int, dict[str, Any]]) -> list[str]:
    """The texts of the components of a layout; its hidden rows are for programs."""
    component = components.get(node["id"], {"type": "", "props": {}})
    props = component["props"]
    if component["type"] == "row" and props["visible"] is False:
        return []
    texts = [str(props[name]) for name in SHOWN if isinstance(props.get(name), str | I18nData)]
    texts += [str(name) for name, _ in props.get("choices") or ()]
    return texts + [text for child in node.get("children", []) for text in layout_texts(child, components)]


def test_every_text_of_the_layout_is_in_the_table(built_page: gr.Blocks) -> None:
    components = {component["id"]: component for component in built_page.config["components"]}
    texts = layout_texts(built_page.config["layout"], components)
    assert sum("__i18n__" in text for text in texts) > 80
    others = [text for text in texts if "__i18n__" not in text]
    assert all(re.fullmatch("[a-z0-9, ]*", text) for text in others), others  # names and numbers of settings
    translations = label_translations().translations
    assert translations.keys() == set(LANGUAGES)
    assert all("{" not in text for table in translations.values() for text in table.values())
