"""Explanations in words: who won, and by what, with the section of the paper."""

from __future__ import annotations

from collections.abc import Mapping

from mamp.explanation.explanation import Decision, Explanation, MemoryView

_MIN_MOTION = 1.0  # [pixels]; below it the text says that nothing moved
_DECIDED = 0.3  # discriminant score beyond which it speaks for or against an object

_MOST = "The largest share of the votes, {share}, is from frame {frame}"
_LOOKS = "The discriminant of {name} gives {value}, so this looks {looks} (object discriminants, not in the paper)."
SENTENCES = {
    "input_mask": "The input mask of frame {frame} gives this label.",
    "unknown": (
        "The mask of the run has label {label} here, but this machine computes another one: the run was made on another "
        "device, or its files were changed."
    ),
    "upsampling": (
        "{name} has only {score} of the score of the nearest cell, but the pixel lies at an edge, where the cells around "
        "it decide as well (Sec. 3.3, upsampling)."
    ),
    "redetection": (
        "{name} has {score} of the score, because the whole frame was searched for lost objects (re-detection, not in the "
        "paper)."
    ),
    "adjustment": (
        "{name} has {votes} of the votes, but {score} of the score: labels with few cells nearby are favored (logit "
        "adjustment, not in the paper)."
    ),
    "new": "No place in memory can be compared with this one, as it is newly visible: it is background (Sec. 3.2).",
    "votes": (
        "{name} has {votes} of the votes of the {places} most similar {place_noun} in {frames} memory {frame_noun} "
        "(Sec. 3.2, Eq. 1 and 2)."
    ),
    "still": f"{_MOST}, around the same place: no motion was used.",
    "redetected": f"{_MOST}, around the place where the object was detected again.",
    "hardly": f"{_MOST}, around the same place: there is hardly any motion (Sec. 3.2, motion-aware matching).",
    "moved": f"{_MOST}, where the motion leads {{way}} (Sec. 3.2, motion-aware matching).",
    "left": "{pixels} {pixel_noun} to the left",
    "right": "{pixels} {pixel_noun} to the right",
    "up": "{pixels} {pixel_noun} up",
    "down": "{pixels} {pixel_noun} down",
    "and": "{one} and {other}",
    "pixel": "pixel",
    "pixels": "pixels",
    "place": "place",
    "places": "places",
    "frame": "frame",
    "frames": "frames",
    "unlike": _LOOKS.replace("{looks}", "unlike it"),
    "like": _LOOKS.replace("{looks}", "like it"),
    "little": _LOOKS.replace("{looks}", "a little like it"),
}


def describe(explanation: Explanation, sentences: Mapping[str, str] = SENTENCES, *, decimal_mark: str = ".") -> str:
    """A few sentences on the decision, the motion and the discriminant.

    Args:
        explanation: The explanation.
        sentences: The keys of ``SENTENCES`` in any language. Placeholders may be left out.
        decimal_mark: The decimal mark of that language.
    """
    if explanation.decision is Decision.INPUT_MASK:
        return sentences["input_mask"].format(frame=explanation.frame)
    parts = [_winner(explanation, sentences)]
    if explanation.votes:
        parts.append(_motion(max(explanation.memory, key=lambda view: view.weight), sentences))
    parts += _discriminant(explanation, sentences, decimal_mark)
    return " ".join(parts)


def _winner(explanation: Explanation, sentences: Mapping[str, str]) -> str:
    if explanation.decision is Decision.UNKNOWN:
        return sentences["unknown"].format(label=explanation.label)
    best = next(each for each in explanation.scores if each.label == explanation.label)
    values = {"name": _capitalized(best.name), "votes": f"{best.votes:.0%}", "score": f"{best.score:.0%}"}
    if explanation.decision in (Decision.UPSAMPLING, Decision.REDETECTION, Decision.ADJUSTMENT):
        return sentences[explanation.decision.name.lower()].format(**values)
    if not explanation.votes:
        return sentences["new"]
    places, frames = len(explanation.votes), len({vote.frame for vote in explanation.votes})
    nouns = {"place_noun": _noun("place", places, sentences), "frame_noun": _noun("frame", frames, sentences)}
    return sentences["votes"].format(places=places, frames=frames, **nouns, **values)


def _motion(view: MemoryView, sentences: Mapping[str, str]) -> str:
    """Where the memory frame with the most votes was searched."""
    values = {"share": f"{view.weight:.0%}", "frame": view.frame}
    if view.motion is None:
        return sentences["still"].format(**values)
    if view.redetected:
        return sentences["redetected"].format(**values)
    x, y = view.motion
    ways = [
        sentences[keys[value > 0]].format(
            pixels=f"{abs(value):.0f}", pixel_noun=_noun("pixel", round(abs(value)), sentences)
        )
        for value, keys in ((x, ("left", "right")), (y, ("up", "down")))
        if abs(value) >= _MIN_MOTION
    ]
    if not ways:
        return sentences["hardly"].format(**values)
    way = ways[0] if len(ways) == 1 else sentences["and"].format(one=ways[0], other=ways[1])
    return sentences["moved"].format(way=way, **values)


def _discriminant(explanation: Explanation, sentences: Mapping[str, str], decimal_mark: str) -> list[str]:
    """What the discriminant of the label, or else the one with the highest score, says."""
    known = {each.label: each.discriminant for each in explanation.scores if each.discriminant is not None}
    if not known:
        return []
    label = explanation.label if explanation.label in known else max(known, key=lambda each: known[each])
    name = next(each.name for each in explanation.scores if each.label == label)
    looks = "unlike" if known[label] < -_DECIDED else "like" if known[label] > _DECIDED else "little"
    value = f"{known[label]:+.2f}".replace(".", decimal_mark)
    return [sentences[looks].format(name=name, value=value)]


def _noun(noun: str, count: int, sentences: Mapping[str, str]) -> str:
    return sentences[noun if count == 1 else f"{noun}s"]


def _capitalized(name: str) -> str:
    return name[:1].upper() + name[1:]
