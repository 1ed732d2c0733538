"""The page of an index: the overlay of each clip with the frames to review. It opens from disk, without a server."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

_ENDS = {"killed": "in progress or killed"}  # a run under way has the receipt of a killed one


@dataclass(frozen=True)
class FrameToReview:
    """A frame to review: its number, its time [s], the label of the object, and why."""

    frame: int
    time: float
    object: int
    reason: str


@dataclass(frozen=True)
class ClipSection:
    """A clip on the page.

    Attributes:
        name: Name of the clip's folder of results.
        end: "complete", "stopped", "killed", "failed" or "not started".
        message: Why it failed; empty otherwise.
        frames: Number of frames with a mask.
        seconds: Time that the clip took [s].
        objects: Number of objects.
        mean_confidence: Mean over objects and frames [0, 1]; ``None`` without masks.
        size: Width and height of the overlay [pixels]; ``None`` if there is none.
        to_review: Frames to review, the most doubtful first.
    """

    name: str
    end: str
    message: str = ""
    frames: int = 0
    seconds: float = 0.0
    objects: int = 0
    mean_confidence: float | None = None
    size: tuple[int, int] | None = None
    to_review: Sequence[FrameToReview] = field(default_factory=list)


def index_page(sections: Sequence[ClipSection]) -> str:
    """The page as HTML; its videos are those in the folders beside it."""
    counts = Counter(section.end for section in sections)
    to_review = sum(bool(section.to_review) for section in sections)
    summary = [f"{counts.pop('complete', 0)} of {len(sections)} clips are complete"]
    summary += [f"{count} {_ENDS.get(end, end)}" for end, count in sorted(counts.items())]
    if to_review:
        summary.append(f"{to_review} with frames to review")
    return _PAGE.replace("{summary}", ", ".join(summary)).replace("{clips}", "\n".join(map(_section, sections)))


def _section(section: ClipSection) -> str:
    name, folder = html.escape(section.name), quote(section.name)
    parts = [f'<h2><a href="{folder}/">{name}</a></h2>' if section.frames else f"<h2>{name}</h2>"]
    if section.size is not None:
        width, height = section.size
        video = f'src="{folder}/overlay.mp4" width="{width}" height="{height}"'
        parts.append(f'<video {video} aria-label="{name}" controls muted loop playsinline preload="none"></video>')
    if section.message:
        parts.append(f'<p class="failed">{html.escape(section.message)}</p>')
    elif section.end != "complete":
        parts.append(f"<p>{_ENDS.get(section.end, section.end).capitalize()}</p>")
    if section.frames:
        parts.append(f"<p>{_figures(section)}</p>")
    if section.to_review:
        parts.append(f"<p>To review: {' '.join(map(_button, section.to_review))}</p>")
    confidence = 2 if section.mean_confidence is None else section.mean_confidence
    data = f'data-end="{section.end}" data-review="{len(section.to_review)}" data-confidence="{confidence:.4f}"'
    return f"<section {data}>{''.join(parts)}</section>"


def _figures(section: ClipSection) -> str:
    plural = "" if section.objects == 1 else "s"
    confidence = "" if section.mean_confidence is None else f", mean confidence {section.mean_confidence:.2f}"
    return f"{section.frames} frames, {section.objects} object{plural}, {section.seconds:.0f} s{confidence}"


def _button(entry: FrameToReview) -> str:
    reason = html.escape(f"Object {entry.object}: {entry.reason}")
    return f'<button data-time="{entry.time:.3f}" title="{reason}">frame {entry.frame}</button>'


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Segmented clips</title>
<style>
:root {color-scheme: light dark}
body {font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem}
main {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 1.5rem}
section[hidden] {display: none}
video {width: 100%; height: auto; background: #000}
h2 {font-size: 1.05rem; margin: 0 0 .4rem; overflow-wrap: anywhere}
section p {margin: .4rem 0}
button, select {font: inherit; min-height: 32px; cursor: pointer}
label {margin-right: 1rem; white-space: nowrap}
.failed {border-left: 4px solid #d55e00; padding-left: .6rem; overflow-wrap: anywhere}
</style>
<h1>Segmented clips</h1>
<p>{summary}. The same as a table: <a href="index.csv">index.csv</a>.</p>
<p>
<label>Show <select id="show">
<option value="all">all clips</option>
<option value="review">clips to review</option>
<option value="complete">complete clips</option>
<option value="incomplete">failed and incomplete clips</option>
</select></label>
<label>Sort by <select id="sort">
<option value="order">order of the list</option>
<option value="review">frames to review</option>
<option value="confidence">lowest confidence</option>
</select></label>
<span id="shown" role="status"></span>
</p>
<main>
{clips}
</main>
<script>
const main = document.querySelector('main'), sections = [...main.children];
const show = document.querySelector('#show'), sort = document.querySelector('#sort');
const shown = {
  all: () => true,
  review: clip => clip.review > 0,
  complete: clip => clip.end === 'complete',
  incomplete: clip => clip.end !== 'complete',
};
const orders = {
  order: () => 0,
  review: (one, other) => other.dataset.review - one.dataset.review,
  confidence: (one, other) => one.dataset.confidence - other.dataset.confidence,
};
const arrange = () => {
  for (const section of sections) section.hidden = !shown[show.value](section.dataset);
  main.append(...[...sections].sort(orders[sort.value]));
  const count = sections.filter(section => !section.hidden).length;
  document.querySelector('#shown').textContent = count === sections.length ? '' : `${count} of ${sections.length} clips`;
};
show.onchange = sort.onchange = arrange;
arrange();  // a reload keeps the choices
// Only the videos in view are read: there may be thousands.
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) entry.target.preload = 'metadata';
}, {rootMargin: '200px'});
for (const video of document.querySelectorAll('video')) seen.observe(video);
for (const button of document.querySelectorAll('button'))
  button.onclick = () => {
    const video = button.closest('section').querySelector('video');
    video.pause();
    video.currentTime = Number(button.dataset.time) + 0.001;
    video.scrollIntoView({block: 'nearest'});
  };
</script>
</html>
"""
