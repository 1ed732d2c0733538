"""The page's texts in every language."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from gradio.i18n import I18nData
from playwright.sync_api import Page, expect

from mamp import Settings
from tests.conftest import ROOT, browser
from webapp import run_handler
from webapp.background import start_job, watch_job
from webapp.clips import open_clip
from webapp.html import duration_text
from webapp.job_queue import Job
from webapp.jobs import claim_job
from webapp.languages import LANGUAGES, TEXTS, decimal, label_translations, language_of, text
from webapp.mask_editing import masks_html, select_frame
from webapp.session import close_session, project_of, request_job
from webapp.settings_controls import ON_PAGE

pytestmark = pytest.mark.usefixtures("loops")

SHOWN = ("label", "info", "placeholder", "value")  # properties of components that the page shows


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_placeholders(language: str) -> None:
    errors = {f"error.{kind}" for kind in kinds_of_errors()}  # mamp itself has these in English
    assert len(errors) > 10
    assert TEXTS[language].keys() == TEXTS["en"].keys() | (set() if language == "en" else errors)
    for key, shown in TEXTS[language].items():
        expected = placeholders(TEXTS["de" if key in errors else "en"][key])
        nouns = {name for name in expected if name.endswith("_noun")}  # another language may have no plural
        assert shown.strip() and expected - nouns <= placeholders(shown) <= expected, key
        assert not set('<>&"\\') & set(shown), f"{key} goes into HTML and scripts as it is"


def kinds_of_errors() -> set[str]:
    """The kinds of errors that the library raises."""
    sources = (path.read_text() for path in (ROOT / "mamp").rglob("*.py"))
    return {kind for source in sources for kind in re.findall(r'Error\(.*, "(\w+)"[,)]', source)}


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
def visitor(accept_language: str, cookie: str = "") -> Iterator[None]:
    """Handles events of a visitor whose browser prefers a language, and whose page may have a cookie."""
    request = SimpleNamespace(headers={"accept-language": accept_language, "cookie": cookie})
    token = LocalContext.request.set(gr.Request(cast(Any, request)))
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def test_handlers_answer_in_the_language_of_the_visitor(clip: Path, tmp_path: Path) -> None:
    with visitor("zh-CN,zh;q=0.9"):
        assert "请先选择视频片段" in claim_job({}, "run")["status"]
    with visitor("de-DE"):
        session = open_clip({}, str(clip))["session"]
        assert "12 Bilder, 128x96" in session["opened"] and duration_text(185) == "3 min 5 s"
        project_of(session).set_mask(0, np.pad(np.ones((16, 16), np.uint8), ((0, 80), (0, 112))))
        assert "2,1%" in masks_html(session) and decimal("-0.5") == "-0,5"
        assert select_frame(session, None, 3)["editor"]["note"].startswith("Bild 3: Kritzeln")
        project_of(session).set_mask(0, np.zeros((96, 128), np.uint8))
    with visitor("es-ES"):
        job = start_requested(session)
        *_, last = watch_job(session, job)
        assert "Pinte antes al menos un objeto" in last["status"], "the thread of a run does not know its visitor"
        (tmp_path / "broken.mp4").write_bytes(b"no video")
        refused = open_clip({}, str(tmp_path / "broken.mp4"))["status"]
        assert "No se puede leer broken.mp4: no es un vídeo" in refused
    assert "Choose a clip first" in claim_job({}, "run")["status"]
    close_session(session, keep=str(clip))


def test_the_language_that_was_chosen_on_the_page_decides() -> None:
    with visitor("de-DE", "other=1; mamp_language=es"):
        assert "Elija antes un clip" in claim_job({}, "run")["status"]
    with visitor("de-DE", "mamp_language=fr"):  # Gradio knows it, and shows English labels of this page
        assert "Choose a clip first" in claim_job({}, "run")["status"]
    with visitor("de-DE", "mamp_language="):
        assert "Wählen Sie zuerst einen Clip" in claim_job({}, "run")["status"]


def test_gradio_has_a_text_for_the_end_of_every_event() -> None:
    translations = label_translations().translations
    assert {table["common.complete"] for table in translations.values()} == {"Done", "Fertig", "Listo", "完成"}


def start_requested(session: dict[str, Any]) -> Job:
    """Starts a run of a session on which nothing is painted."""
    request_job(session, "run")
    job = start_job(session, "run", 0, lambda: run_handler._run(session, 0.4, [], settings_values()))
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


def test_the_page_speaks_the_language_of_the_browser(page_url: str, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with browser() as chromium:
        for locale, size in (("zh-CN", (1280, 900)), ("de-DE", (390, 844)), ("es-ES", (390, 844))):
            language = locale[:2]
            tab = chromium.new_context(
                locale=locale, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce"
            ).new_page()
            tab.goto(page_url)
            expect(tab).to_have_title(text("page.title", language), timeout=30_000)
            tab.locator("#clip input[type=file]").set_input_files(tmp_path / "broken.mp4")
            refused = text("error.unreadable", language, name="broken.mp4")
            expect(tab.get_by_text(refused).first).to_be_visible(timeout=30_000)
            tab.get_by_role("button", name=text("gallery.street", language), exact=True).click()
            expect(tab.get_by_text(text("gallery.finished", language))).to_be_visible(timeout=30_000)
            assert_speaks(
                tab, language, "panel.settings", "paint.frame", "review.correct", "review.flags", "editor.brush"
            )
            expect(tab.locator(".editor-note")).to_have_text(text("editor.painted", language, frame=0))
            expect(tab.locator(".plot-now")).to_have_text(re.compile(text("chart.frame", language, frame=r"\d+")))
            tab.get_by_role("button", name=text("run.start", language), exact=True).click()
            outcome = text("run.done", language)
            done = text("run.frames.other", language, outcome=outcome, done=38, count=38)
            expect(tab.get_by_text(done)).to_be_visible(timeout=180_000)
            assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), locale


def test_entries_of_menus_fit_into_their_boxes(page: Page) -> None:
    page.locator(".label-wrap", has_text="Settings").click()
    menus = [name for name, info in ON_PAGE.items() if info.menu or info.choices]
    assert len(menus) == 6
    for name in menus:
        box = page.get_by_label(TEXTS["en"][f"settings.{name}.label"])
        for language, table in TEXTS.items():
            offers = [offer for key, offer in table.items() if key.startswith(f"settings.{name}.menu.")]
            width, longest = box.evaluate(
                """(box, offers) => {
                    const pen = document.createElement('canvas').getContext('2d');
                    pen.font = getComputedStyle(box).font;
                    return [box.clientWidth, Math.max(...offers.map((offer) => pen.measureText(offer).width))];
                }""",
                offers,
            )
            assert 0 < longest < width, (language, offers)


def assert_speaks(tab: Page, language: str, *keys: str) -> None:
    for key in keys:
        expect(tab.get_by_text(text(key, language), exact=True).first).to_be_visible()


# Their texts are for programs, in code to copy, or parts of errors that no visitor reads.
WITHOUT_TEXTS = {"api", "archive", "code_snippets", "javascript", "label_runs", "project", "strokes", "wiring"}


def test_no_sentence_of_a_handler_is_outside_the_table() -> None:
    for path in (ROOT / "webapp").rglob("*.py"):
        tree = ast.parse(path.read_text())
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
        constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        texts = [value for value in constants if isinstance(value, str) and value not in docstrings]
        found = [value for value in texts if re.search("[A-Za-z]{2} [a-z]{2,} [a-z]{2}", value)]
        assert not found or path.stem in WITHOUT_TEXTS, f"{path.name}: {found}"
