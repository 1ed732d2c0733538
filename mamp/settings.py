"""The settings of the method: the only list of them.

Each field of ``Settings`` carries its label, help text and range. The command line, the page, the HTTP API, project files
and receipts are made from these fields, and a value out of range is refused here and nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

FINE_SCALE = 1.5  # processing size with fine detail, relative to that with normal detail
MAX_REFERENCES = 16  # frame numbers or ages in one of the two memories
ACCEPTED = {  # the range of a number in words, by the kind of the setting
    "int": "a whole number from {minimum} to {maximum}",
    "float": "a number from {minimum} to {maximum}",
    "ints": "at most {count} whole numbers from {minimum} to {maximum}",
}


class SettingsError(ValueError):
    """A value out of its range; the message is one sentence for the user.

    Attributes:
        setting: Name of the field.
        value: The value, as text of at most 40 characters.
    """

    def __init__(self, setting: str, value: object) -> None:
        super().__init__(setting, value)
        self.setting, self.value = setting, f"{value!s:.40}"

    def __str__(self) -> str:
        return f"{self.setting} must be {SETTINGS_INFO[self.setting].accepted}, not {self.value}"


@dataclass(frozen=True)
class SettingInfo:
    """Everything about one field of ``Settings`` but its value.

    Attributes:
        label: Short name for people.
        help: One sentence that explains the choice.
        kind: Type of a value: "int", "float", "text", or "ints" for a list of integers.
        minimum: Smallest number accepted.
        maximum: Largest number accepted.
        choices: Texts accepted, each with a label; any text if not given.
        menu: Values that the page offers, each with a label, where it offers a menu.
        special: One more value that is accepted, 0 or ``None``.
        special_meaning: Meaning of ``special``.
        of_tracker: Whether this is a keyword of ``MaskTracker``.
        on_page: Whether visitors of the page may change it.
    """

    label: str
    help: str
    kind: str = "text"
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: Mapping[str, str] | None = None
    menu: Mapping[Any, str] | None = None
    special: int | None = None
    special_meaning: str = ""
    of_tracker: bool = False
    on_page: bool = True

    @property
    def accepted(self) -> str:
        """The range in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind == "text":
            return "a text"
        words = ACCEPTED[self.kind].format(**self.limits)
        return f"{words}, or {self.special_meaning}" if self.special_meaning else words

    @property
    def limits(self) -> dict[str, str]:
        """What the placeholders of ``ACCEPTED`` stand for."""
        return {"minimum": f"{self.minimum:g}", "maximum": f"{self.maximum:g}", "count": str(MAX_REFERENCES)}


def _setting(default: Any, label: str, help: str, **about: Any) -> Any:
    return field(default=default, metadata={"info": SettingInfo(label, help, **about)})


@dataclass(frozen=True)
class Settings:
    """How a clip is processed. The defaults are the product's: the best on the sequences tested (docs/ABLATIONS.md).

    ``short_side`` decides the cost: twice the size takes four times as long. Each ablation of the paper is one field:
    ``flow="none"`` (Table 5), ``top_k`` (Table 6), ``long_term=()`` or ``short_term=()`` (Table 4).

    Raises:
        SettingsError: A value is out of its range; the message names the field, the range and the value.
    """

    short_side: int = _setting(
        480,
        "Processing size",
        "Short side at which frames are matched [pixels]. Twice the size takes about four times as long.",
        kind="int",
        minimum=16,
        maximum=4320,
        menu={
            192: "192 pixels: fastest",
            240: "240 pixels: fast",
            360: "360 pixels",
            480: "480 pixels (paper)",
            0: "Size of the clip",
        },
        special=0,
        special_meaning="0 for the size of the clip",
    )
    detail: str = _setting(
        "normal",
        "Detail",
        "Fine processes frames at 1.5 times the size, enlarged if need be: thin objects may gain, others may lose. It takes"
        " 2.25 times as long.",
        choices={"normal": "Normal", "fine": "Fine"},
    )
    flow: str = _setting(
        "dis",
        "Optical flow",
        "Aligns earlier frames with the current one. None is faster but loses fast objects.",
        choices={"dis": "DIS: fast", "raft": "RAFT (paper): slow", "none": "None"},
    )
    motion: str = _setting(
        "chained",
        "Motion",
        "The flow is chained from frame to frame, or computed for each reference frame.",
        choices={"chained": "Chained", "direct": "Direct (paper)"},
        of_tracker=True,
    )
    upsampling: str = _setting(
        "guided",
        "Upsampling",
        "From feature cells to pixels: guided by the colors of the image, or bilinear interpolation.",
        choices={"guided": "Guided", "bilinear": "Bilinear (paper)"},
        of_tracker=True,
    )
    discriminant_weight: float = _setting(
        0.2,
        "Discriminant weight",
        "Weight of features that discriminate the objects of the clip; 0 in the paper.",
        kind="float",
        minimum=0,
        maximum=1,
        of_tracker=True,
    )
    logit_adjustment: float = _setting(
        0.1,
        "Logit adjustment",
        "Favors small objects over large ones; 0 in the paper.",
        kind="float",
        minimum=0,
        maximum=1,
        of_tracker=True,
    )
    top_k: int | None = _setting(
        9,
        "Top-k matches",
        "Best matches that vote for each cell; 36 in the paper.",
        kind="int",
        minimum=1,
        maximum=200,
        special=None,
        special_meaning="all",
        of_tracker=True,
    )
    radius: int = _setting(
        12,
        "Search radius",
        "In steps of 4 pixels, around the motion-compensated position. Twice the radius takes four times as long.",
        kind="int",
        minimum=1,
        maximum=24,
        of_tracker=True,
    )
    long_term: tuple[int, ...] = _setting(
        (0, 5, 10, 20),
        "Long-term memory",
        "Numbers of the reference frames that stay in memory; 0,5 in the paper.",
        kind="ints",
        minimum=0,
        maximum=100_000,
        of_tracker=True,
    )
    short_term: tuple[int, ...] = _setting(
        (1, 3, 5),
        "Short-term memory",
        "Ages of the recent reference frames: 1 is the previous frame.",
        kind="ints",
        minimum=1,
        maximum=100,
        of_tracker=True,
    )
    weights: str | None = _setting(
        None,
        "Features",
        "Small encoder, the same trained by the paper's loss, the larger one of Table 1, or color patches: untrained.",
        menu={
            "": "Small encoder",
            "paper": "Small, paper's loss",
            "table1": "Table 1 (larger)",
            "patch": "Color patches",
        },
        special=None,
        special_meaning="the shipped weights of the small encoder",
    )
    raft_weights: str = _setting(
        "LibreYOLO/LibreRAFTl-flow-sintel",
        "RAFT weights",
        "File or Hugging Face Hub id of RAFT's weights.",
        on_page=False,
    )
    device: str = _setting("auto", "Device", "cpu, cuda, cuda:N, or auto: CUDA if available.", on_page=False)
    execution: str = _setting(
        "synchronous",
        "Execution",
        "Synchronous: the host reads results and skips what a frame does not need. Asynchronous: the device gets a fixed"
        " amount of work; made for GPUs, but none has run it yet.",
        choices={"synchronous": "Synchronous", "asynchronous": "Asynchronous"},
        of_tracker=True,
        on_page=False,
    )

    def __post_init__(self) -> None:
        for name in SETTINGS_INFO:
            _check(name, getattr(self, name))

    @classmethod
    def paper(cls) -> Settings:
        """The paper's settings (Sec. 4), but for the flow: DIS needs no weights. With ``flow="raft"`` it is the paper's."""
        return cls(
            motion="direct",
            upsampling="bilinear",
            discriminant_weight=0.0,
            logit_adjustment=0.0,
            top_k=36,
            long_term=(0, 5),
            weights="table1",
        )

    @classmethod
    def fast(cls) -> Settings:
        """Settings for speed: a small frame and four reference frames instead of seven."""
        return cls(short_side=192, long_term=(0, 10), short_term=(1, 3))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from JSON, a form or a command line: numbers may be texts, and lists stand for tuples.

        Args:
            values: By field name; a missing field has its default, and other names are ignored.

        Raises:
            SettingsError: A value is of another type or out of its range.
        """
        return cls(**{name: parse_setting(name, values[name]) for name in SETTINGS_INFO if name in values})

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON has them, for receipts and project files: a file of weights by its name, without folders."""
        values: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        for name in ("weights", "raft_weights"):
            if values[name] and Path(values[name]).is_file():
                values[name] = Path(values[name]).name
        return values

    def tracker_kwargs(self) -> dict[str, Any]:
        """The fields that are keywords of ``MaskTracker``."""
        return {name: getattr(self, name) for name, info in SETTINGS_INFO.items() if info.of_tracker}

    def with_short_warmup(self) -> tuple[Settings, int]:
        """Settings with the same cost a frame, to measure it, and the frame from which on the memory is full."""
        first = tuple(range(len(self.long_term)))
        return replace(self, long_term=first), len(first) + max(self.short_term, default=0)

    def processing_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (H, W) at which frames of a size (H, W) are matched [pixels]; only fine detail enlarges frames."""
        scale = min(1.0, self.short_side / min(size)) if self.short_side else 1.0
        if self.detail == "fine":
            scale *= FINE_SCALE
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


SETTINGS_INFO: dict[str, SettingInfo] = {field.name: field.metadata["info"] for field in fields(Settings)}


def parse_setting(name: str, value: Any) -> Any:
    """Converts a value of a field of ``Settings`` from a text, a form or JSON, and checks its range.

    Raises:
        ValueError: The value is of another type or out of its range.
    """
    info = SETTINGS_INFO[name]
    if info.special_meaning and value in ("", "0", "all", 0, None):
        return info.special
    try:
        if isinstance(value, bool):
            raise TypeError
        if info.kind == "int":
            number = float(value)
            value = int(number) if number.is_integer() else number
        elif info.kind == "float":
            value = float(value)
        elif info.kind == "ints":
            parts = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
            value = tuple(int(part) for part in parts if part != "")
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(name, value) from None
    _check(name, value)
    return value


def _check(name: str, value: Any) -> None:
    """Raises ``SettingsError`` if a value is of another type or out of its range."""
    info = SETTINGS_INFO[name]
    if info.special_meaning and value is info.special:
        return
    numbers: tuple[Any, ...] = ()
    if info.kind == "text":
        fits = isinstance(value, str) and (info.choices is None or value in info.choices)
    elif info.kind == "ints":
        fits = isinstance(value, tuple) and len(value) <= MAX_REFERENCES
        numbers = value if fits else ()
    else:
        fits, numbers = True, (value,)
    types = (int,) if info.kind in ("int", "ints") else (int, float)
    for number in numbers:
        fits &= isinstance(number, types) and not isinstance(number, bool) and info.minimum <= number <= info.maximum
    if not fits:
        raise SettingsError(name, value)
