"""The settings that visitors may change: one control for each field of ``Settings`` that is meant for the page."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import gradio as gr

from mamp import Settings
from mamp.settings import SETTINGS_INFO, SettingInfo, SettingsError
from webapp.languages import label, message
from webapp.updates import SettingsUpdates

WEIGHTS = os.environ.get("MAMP_WEIGHTS") or None
RAFT = os.environ.get("MAMP_RAFT_WEIGHTS") or Settings().raft_weights

ON_PAGE = {name: info for name, info in SETTINGS_INFO.items() if info.on_page}
NAMED_WEIGHTS = tuple(filter(None, ON_PAGE["weights"].menu or ()))  # to choose instead of the server's own
PRESETS = {"Default": Settings(), "Fast": Settings.fast(), "Paper": Settings.paper()}
START = PRESETS["Default"]


Control = gr.Dropdown | gr.Textbox | gr.Slider


def settings_control(name: str) -> Control:
    """The control of one setting: a menu, a slider or a text field, with the label and help of the setting."""
    info, value = ON_PAGE[name], _control_value(name, START.to_dict()[name])
    name_shown, help = label(f"settings.{name}.label"), label(f"settings.{name}.help")
    if menu := info.menu or info.choices:
        offers = [(label(f"settings.{name}.menu.{offer}"), offer) for offer in menu]
        return gr.Dropdown(offers, value=value, label=name_shown, info=help)
    if info.kind == "ints":
        return gr.Textbox(value, max_lines=1, label=name_shown, info=help)
    step = 1 if info.kind == "int" else 0.05
    return gr.Slider(
        _slider_minimum(info), info.maximum, value=value, step=step, label=name_shown, info=help, buttons=[]
    )


def _slider_minimum(info: SettingInfo) -> float:
    return 0 if info.special_meaning else info.minimum


def change_event(control: Control) -> Any:
    """The event of a finished change: not of every step of a slider or letter of a text."""
    if isinstance(control, gr.Slider):
        return control.release
    return control.blur if isinstance(control, gr.Textbox) else control.change


def control_values(settings: Settings) -> dict[str, Any]:
    """Settings as the controls show them, by name; a size that the menu lacks leaves the menu as it is."""
    return {name: _control_value(name, value) for name, value in settings.to_dict().items() if name in ON_PAGE}


def choose_preset(name: str) -> SettingsUpdates:
    """Sets all controls to one of ``PRESETS``."""
    return {"settings": control_values(PRESETS[name])}


def _control_value(name: str, value: Any) -> Any:
    if name == "weights":
        return value if value in NAMED_WEIGHTS else ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    menu = ON_PAGE[name].menu
    if menu and value not in menu:
        return gr.skip()
    return 0 if value is None else value


def settings_of(*values: Any) -> Settings:
    """The settings that the controls show.

    Raises:
        ValueError: A value is out of its range.
    """
    return with_own_weights(Settings.from_dict(dict(zip(ON_PAGE, values, strict=True))))


def settings_error_text(error: SettingsError) -> str:
    """The message of a value out of its range in the language of the visitor, with the label of its control."""
    info = ON_PAGE.get(error.setting)
    if info is None or info.kind == "text":  # the page has menus of these
        return str(error)
    accepted = message(f"accepted.{info.kind}", **info.limits | {"minimum": f"{_slider_minimum(info):g}"})
    name = message(f"settings.{error.setting}.label")
    return message("accepted.sentence", setting=name, accepted=accepted, value=error.value)


def with_own_weights(settings: Settings) -> Settings:
    """Settings from outside, with the server's own weights, device and execution in place of those they name."""
    weights = settings.weights if settings.weights in NAMED_WEIGHTS else WEIGHTS
    return replace(settings, weights=weights, raft_weights=RAFT, device="auto", execution=START.execution)
