"""Deinterlacing of decoded frames, through FFmpeg's filter bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

Stamped = tuple[int | None, VideoFrame]


class Deinterlacer:
    """Replaces interlaced frames by progressive ones of the same number and times, and leaves others as they are.

    Each frame is made from its first field, and from the frames before and after it.

    Attributes:
        found: Whether an interlaced frame was seen. From then on every frame passes the filter, so that its
            neighbors are the same wherever decoding starts.
    """

    def __init__(self) -> None:
        self.found = False

    def __call__(self, frames: Iterator[Stamped]) -> Iterator[Stamped]:
        """The frames with their time stamps [ticks]."""
        graph: Graph | None = None
        shape: tuple[int, int, str] | None = None
        waiting: deque[tuple[int | None, int]] = deque()
        for stamp, frame in frames:
            self.found = self.found or frame.interlaced_frame
            if not self.found:
                yield stamp, frame
                continue
            if graph is None or shape != (frame.width, frame.height, frame.format.name):
                if graph is not None:
                    yield from _filtered(graph, None, waiting)
                graph, shape = _graph(frame), (frame.width, frame.height, frame.format.name)
            waiting.append((stamp, frame.duration or 0))
            yield from _filtered(graph, frame, waiting)
        if graph is not None:
            yield from _filtered(graph, None, waiting)


def _graph(frame: VideoFrame) -> Graph:
    graph = Graph()
    unit = frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=unit)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _filtered(graph: Graph, frame: VideoFrame | None, waiting: deque[tuple[int | None, int]]) -> Iterator[Stamped]:
    """Pushes a frame, or the end, and pulls what is ready."""
    graph.vpush(frame)
    while True:
        try:
            ready = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        stamp, ready.duration = waiting.popleft()
        yield stamp, ready
