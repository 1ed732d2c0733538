"""The page's texts in the languages of its visitors: one table, with a file for each language in ``webapp/texts/``.

The first language of the browser decides, English where the table lacks it. The browser itself translates the layout:
Gradio the labels, and the templates and scripts of ``webapp.layout`` what is theirs. What handlers say is in the language
of the page, which ``static/language.js`` keeps in a cookie, since visitors may choose another one in Gradio's settings;
without the cookie, in the language that their request names.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData
from starlette.requests import cookie_parser

from mamp.explanation.wording import SENTENCES
from mamp.runs.review import REASONS
from mamp.settings import ACCEPTED, SETTINGS_INFO

LANGUAGES = ("en", "zh", "es", "de")
_CHINESE = ("zh-cn", "zh-tw")  # Gradio's layout is English for others, such as zh-HK
_WITH_COMMA = ("es", "de")  # as decimal mark
_FOLDER = Path(__file__).parent / "texts"


def _settings_texts() -> dict[str, str]:
    """English texts of the settings, which the command line shows as well."""
    texts: dict[str, str] = {}
    for name, info in SETTINGS_INFO.items():
        if not info.on_page:
            continue
        menu = info.menu or info.choices or {}
        has_zero = info.special_meaning and not menu
        texts[f"settings.{name}.label"] = info.label
        texts[f"settings.{name}.help"] = f"{info.help} 0: {info.special_meaning}." if has_zero else info.help
        texts |= {f"settings.{name}.menu.{value}": offer for value, offer in menu.items()}
    return texts


TEXTS: dict[str, dict[str, str]] = {
    language: json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES
}
TEXTS["en"] |= _settings_texts()
TEXTS["en"] |= {f"accepted.{kind}": words for kind, words in ACCEPTED.items()}
TEXTS["en"] |= {f"review.{kind}": reason for kind, reason in REASONS.items()}
TEXTS["en"] |= {f"explanation.{key}": sentence for key, sentence in SENTENCES.items()}

LANGUAGE_COOKIE = "mamp_language"
_OF_GRADIO = ("common.complete", "common.upload")  # Gradio's own tables lack them: buttons would show the keys
_labels: dict[str, dict[str, object]] = {}  # of the layout: the values of each text, by key


def text(key: str, language: str, /, **values: object) -> str:
    """A text of the page.

    Args:
        key: Its name in the table.
        language: One of ``LANGUAGES``.
        values: What its placeholders stand for.

    Raises:
        KeyError: The table lacks the text, or a placeholder has no value.
    """
    return TEXTS[language][key].format(**values) if values else TEXTS[language][key]


def message(key: str, /, **values: object) -> str:
    """A text in the language of the visitor whose event is handled; English without one, as in a program's request."""
    return text(key, visitor_language(), **values)


def decimal(number: str) -> str:
    """A number as text, with the decimal mark of the visitor's language."""
    return number.replace(".", ",") if visitor_language() in _WITH_COMMA else number


def count_message(key: str, count: int, /, **values: object) -> str:
    """A text with a number, in the visitor's language: the table has it as ``KEY.one`` and as ``KEY.other``."""
    return message(f"{key}.{'one' if count == 1 else 'other'}", count=count, **values)


def messages(part: str) -> dict[str, str]:
    """The texts of a part in the visitor's language, with their placeholders, by the rest of their keys."""
    table = TEXTS[visitor_language()]
    return {key.removeprefix(f"{part}."): value for key, value in table.items() if key.startswith(f"{part}.")}


def visitor_language() -> str:
    """The language of the visitor whose event is handled, one of ``LANGUAGES``."""
    request = LocalContext.request.get(None)
    if not isinstance(request, gr.Request):
        return "en"
    cookies = cookie_parser(request.headers.get("cookie", ""))
    return language_of(cookies.get(LANGUAGE_COOKIE) or request.headers.get("accept-language", ""))


def language_of(accept_language: str) -> str:
    """The language of a visitor, one of ``LANGUAGES``, from the code of a language or the header of a request."""
    first = accept_language.split(",")[0].split(";")[0].strip().lower()
    language = first.split("-")[0]
    if language not in LANGUAGES or (language == "zh" and first not in _CHINESE):
        return "en"
    return language


def label(key: str, /, **values: object) -> I18nData:
    """A text of a Gradio component, which the browser translates."""
    text(key, "en", **values)
    _labels[key] = values
    return I18nData(key)


def label_translations() -> gr.I18n:
    """The texts of all calls of ``label``, for the browser."""
    labels = _labels | {key: {} for key in _OF_GRADIO}
    return gr.I18n(
        **{language: {key: text(key, language, **values) for key, values in labels.items()} for language in LANGUAGES}
    )


def browser_texts(part: str) -> dict[str, dict[str, str]]:
    """The texts of a part of the page by language, for its template and its script: those whose keys begin with its name.

    Templates find them as the property ``texts`` of a ``gr.HTML``; ``static/texts.js`` reads them for scripts.
    """
    return {
        language: {key: value for key, value in table.items() if key.startswith(f"{part}.")}
        for language, table in TEXTS.items()
    }


def template_text(key: str) -> str:
    """A text in the template of a ``gr.HTML`` with the property ``texts``: the browser fills it in."""
    text(key, "en")
    return f"${{(texts[document.documentElement.lang.slice(0, 2)] ?? texts.en)['{key}']}}"
