"""Explanations in words: who won, and by what, with the section of the paper."""

from __future__ import annotations

from mamp.explanation.explanation import Decision, Explanation, MemoryView

_MIN_MOTION = 1.0  # [pixels]; below it the text says that nothing moved
_DECIDED = 0.3  # discriminant score beyond which it speaks for or against an object


def describe(explanation: Explanation) -> str:
    """A few sentences on the decision, the motion and the discriminant."""
    if explanation.decision is Decision.INPUT_MASK:
        return f"The input mask of frame {explanation.frame} gives this label."
    sentences = [_winner(explanation)]
    if explanation.votes:
        sentences.append(_motion(max(explanation.memory, key=lambda view: view.weight)))
    sentences += _discriminant(explanation)
    return " ".join(sentences)


def _winner(explanation: Explanation) -> str:
    if explanation.decision is Decision.UNKNOWN:
        return (
            f"The mask of the run has label {explanation.label} here, but this machine computes another one: the run was "
            "made on another device, or its files were changed."
        )
    best = next(each for each in explanation.scores if each.label == explanation.label)
    name, votes, score = _capitalized(best.name), f"{best.votes:.0%}", f"{best.score:.0%}"
    if explanation.decision is Decision.UPSAMPLING:
        return (
            f"{name} has only {score} of the score of the nearest cell, but the pixel lies at an edge, where the cells "
            "around it decide as well (Sec. 3.3, upsampling)."
        )
    if explanation.decision is Decision.REDETECTION:
        return (
            f"{name} has {score} of the score, because the whole frame was searched for lost objects (re-detection, "
            "not in the paper)."
        )
    if explanation.decision is Decision.ADJUSTMENT:
        return (
            f"{name} has {votes} of the votes, but {score} of the score: labels with few cells nearby are favored "
            "(logit adjustment, not in the paper)."
        )
    if not explanation.votes:
        return "No place in memory can be compared with this one, as it is newly visible: it is background (Sec. 3.2)."
    places, frames = len(explanation.votes), len({vote.frame for vote in explanation.votes})
    return (
        f"{name} has {votes} of the votes of the {places} most similar {_plural('place', places)} in {frames} memory "
        f"{_plural('frame', frames)} (Sec. 3.2, Eq. 1 and 2)."
    )


def _motion(view: MemoryView) -> str:
    """Where the memory frame with the most votes was searched."""
    most = f"The largest share of the votes, {view.weight:.0%}, is from frame {view.frame}"
    if view.motion is None:
        return f"{most}, around the same place: no motion was used."
    if view.redetected:
        return f"{most}, around the place where the object was detected again."
    x, y = view.motion
    parts = [
        f"{abs(value):.0f} {_plural('pixel', round(abs(value)))} {words[value > 0]}"
        for value, words in ((x, ("to the left", "to the right")), (y, ("up", "down")))
        if abs(value) >= _MIN_MOTION
    ]
    if not parts:
        return f"{most}, around the same place: there is hardly any motion (Sec. 3.2, motion-aware matching)."
    return f"{most}, where the motion leads {' and '.join(parts)} (Sec. 3.2, motion-aware matching)."


def _discriminant(explanation: Explanation) -> list[str]:
    """What the discriminant of the label, or else the one with the highest score, says."""
    known = {each.label: each.discriminant for each in explanation.scores if each.discriminant is not None}
    if not known:
        return []
    label = explanation.label if explanation.label in known else max(known, key=lambda each: known[each])
    name = next(each.name for each in explanation.scores if each.label == label)
    looks = "unlike it" if known[label] < -_DECIDED else "like it" if known[label] > _DECIDED else "a little like it"
    return [
        f"The discriminant of {name} gives {known[label]:+.2f}, so this looks {looks} (object discriminants, not in the "
        "paper)."
    ]


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _capitalized(name: str) -> str:
    return name[:1].upper() + name[1:]
