"""Segmenters of the frames in visitors' editors: made in the background, a few at a time, as long as they are used."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from threading import Lock

from mamp import StrokeSegmenter, frame_with_motion
from webapp.session import Session, reader_of, when_ended

_KEPT = 4  # one of 480x854 pixels takes 15 MB
_Key = tuple[str, int]  # session folder and frame number

_segmenters: OrderedDict[_Key, Future[StrokeSegmenter]] = OrderedDict()  # least recently used first
_builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segmenter")
_lock = Lock()


def prepare_segmenter(session: Session) -> None:
    """Starts to make the segmenter of the frame in the editor, in the background."""
    key = session["folder"], session["frame"]
    with _lock:
        if key not in _segmenters:
            _keep(key, _builder.submit(_build, session["clip"], session["frame"]))


def segmenter_of(session: Session, index: int) -> StrokeSegmenter:
    """The segmenter of a frame; waits until it is made."""
    key = session["folder"], index
    with _lock:
        future = _segmenters.get(key)
        # Not one that waits behind others, or has failed.
        builds = future is None or future.cancel() or (future.done() and future.exception() is not None)
        if future is None or builds:
            future = Future()
            future.set_running_or_notify_cancel()  # from here on, nobody can cancel it
        _keep(key, future)
    if builds:
        try:
            future.set_result(_build(session["clip"], index))
        except Exception as error:
            future.set_exception(error)
    return future.result()


def _keep(key: _Key, future: Future[StrokeSegmenter]) -> None:
    """Keeps a segmenter as the last one used, and forgets the oldest."""
    _segmenters[key] = future
    _segmenters.move_to_end(key)
    for oldest in list(_segmenters)[:-_KEPT]:
        _segmenters.pop(oldest).cancel()


def _forget_session(folder: str) -> None:
    with _lock:
        for key in [key for key in _segmenters if key[0] == folder]:
            _segmenters.pop(key).cancel()


when_ended.append(_forget_session)


def _build(clip: str, index: int) -> StrokeSegmenter:
    """Later frames show what moves; at the end of the clip, earlier ones."""
    reader = reader_of(clip)
    later = reader.forwards(index + 1) if index + 1 < reader.count() else ()
    earlier = reader.backwards(index - 1) if index else ()
    frame = reader.frame(index).image
    others = (other.image for other in chain(later, earlier))
    return StrokeSegmenter(frame, frame_with_motion(frame, others))
