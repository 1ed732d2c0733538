"""Label Studio: a task for each clip, with a box for each object on each frame; it has no masks on videos.

The format: https://labelstud.io/templates/video_object_detector and https://labelstud.io/tags/videorectangle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mamp.batch.exports.tracked_clip import ObjectTrack, TrackedClip
from mamp.files import write_atomically

_LOCAL_FILES = "/data/local-files/?d="  # how Label Studio addresses files below its document root


def write_label_studio(clips: Iterable[TrackedClip], folder: Path) -> None:
    """Writes ``tasks.json``, with addresses below the folder of the clips, and the labeling interface ``interface.xml``."""
    folder.mkdir(exist_ok=True)
    names: dict[str, None] = {}
    tasks: list[tuple[Path, dict[str, Any]]] = []
    for clip in clips:
        names |= dict.fromkeys(track.name for track in clip.objects)
        boxes = [_boxes(clip, track) for track in clip.objects if track.masks]
        predictions = [{"model_version": "MAMP", "result": boxes}]
        tasks.append((clip.path.resolve(), {"data": {"fps": float(clip.fps)}, "predictions": predictions}))
    root = os.path.commonpath([path.parent for path, _ in tasks]) if tasks else ""
    for path, task in tasks:
        task["data"]["video"] = _LOCAL_FILES + quote(Path(os.path.relpath(path, root)).as_posix())
    write_atomically(folder / "tasks.json", json.dumps([task for _, task in tasks]))
    labels = "".join(f'<Label value="{escape(name)}"/>' for name in names)
    write_atomically(folder / "interface.xml", _INTERFACE.replace("{labels}", labels))


def _boxes(clip: TrackedClip, track: ObjectTrack) -> dict[str, Any]:
    """The boxes of an object: frames count from 1, lengths are percentages, and ``enabled`` reaches to the next box."""
    frames = {seen.frame for seen in track.masks}
    sequence = []
    for seen in track.masks:
        x, y, width, height = seen.box
        box = {"x": x / clip.width, "y": y / clip.height, "width": width / clip.width, "height": height / clip.height}
        percent = {name: round(100 * share, 4) for name, share in box.items()}
        following = seen.frame + 1 in frames
        sequence.append({"frame": seen.frame + 1, "time": seen.time, "enabled": following, "rotation": 0, **percent})
    duration = round(float(len(clip.files) / clip.fps), 6)
    return {
        "id": f"object{track.label}",
        "type": "videorectangle",
        "from_name": "box",
        "to_name": "video",
        "value": {
            "framesCount": len(clip.files),
            "duration": duration,
            "labels": [track.name],
            "sequence": sequence,
        },
    }


_INTERFACE = """<View>
  <Labels name="label" toName="video">{labels}</Labels>
  <Video name="video" value="$video" frameRate="$fps"/>
  <VideoRectangle name="box" toName="video"/>
</View>
"""
