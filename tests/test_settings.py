"""The one list of settings: defaults, ranges, and the forms in which they are stored."""

import json
from typing import Any

import pytest

from mamp.cli.main import main
from mamp.settings import SETTINGS_INFO, Settings


@pytest.mark.parametrize(
    "settings", [Settings(), Settings.paper(), Settings.fast(), Settings(top_k=None, long_term=())]
)
def test_settings_survive_json(settings: Settings) -> None:
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("short_side", -5),
        ("short_side", 15),
        ("short_side", "abc"),
        ("flow", "fast"),
        ("motion", None),
        ("top_k", 0.5),
        ("top_k", 201),
        ("radius", 0),
        ("radius", 2.5),
        ("radius", True),
        ("radius", float("inf")),
        ("discriminant_weight", float("nan")),
        ("logit_adjustment", "much"),
        ("long_term", (-1,)),
        ("long_term", 5),
        ("long_term", tuple(range(17))),
        ("short_term", (0,)),
        ("weights", 3),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_sentence(name: str, value: Any) -> None:
    expected = f"^{name} must be .*, not "
    with pytest.raises(ValueError, match=expected):
        Settings(**{name: value})
    with pytest.raises(ValueError, match=expected):
        Settings.from_dict({name: value})


def test_texts_stand_for_numbers_and_lists() -> None:
    read = Settings.from_dict(
        {"short_side": "240", "top_k": "all", "long_term": "0, 5", "short_term": "", "unknown": 1}
    )
    assert read == Settings(short_side=240, top_k=None, long_term=(0, 5), short_term=())


def test_every_setting_has_a_label_and_one_sentence_of_help() -> None:
    for info in SETTINGS_INFO.values():
        assert info.label and info.help.endswith(".")


def test_the_command_line_has_an_option_for_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in SETTINGS_INFO)
    with pytest.raises(SystemExit):
        main(["segment", "clip.mp4", "--mask", "m.png", "--out", "out", "--radius", "99"])
    assert "radius must be a whole number from 1 to 24, not 99" in capsys.readouterr().err


def test_fine_detail_enlarges_frames() -> None:
    assert Settings().processing_size((480, 854)) == (480, 854)
    assert Settings(detail="fine").processing_size((480, 854)) == (720, 1281)
    assert Settings(detail="fine", short_side=0).processing_size((100, 60)) == (150, 90)
    assert Settings(detail="fine").processing_size((1080, 1920)) == (720, 1280)
