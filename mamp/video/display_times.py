"""Time stamps of frames whose file has no presentation times, as AVI and an mp4 without ctts; and frames out of order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise

from av.packet import Packet
from av.video.stream import VideoStream


class DisplayTimes:
    """Gives the n-th frame that is shown the time of the n-th packet that is decoded.

    If a codec reorders frames, but its packets have the times of the decoding order only, the frames come out with these
    times in disorder. The set of times is right, though: they are those of the packets in ascending order.
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._delay: int | None = None

    def add(self, packet: Packet[VideoStream]) -> None:
        """Adds the time of the next packet."""
        if packet.pts is None or packet.is_discard:
            return
        if self._delay is None:  # FFmpeg guesses presentation times from the depth of reordering
            self._delay = 0 if packet.dts is None else packet.pts - packet.dts
        self._waiting.append(packet.pts - self._delay)

    def drop(self) -> None:
        """Removes the time of the last packet, which cannot be decoded."""
        if self._waiting:
            self._waiting.pop()

    def take(self) -> int | None:
        """The time of the next frame [ticks]; ``None`` if there is no packet for it."""
        return self._waiting.popleft() if self._waiting else None


class LateFrames:
    """Finds the frames that a decoder returns too late after damage, between frames that are shown after them.

    Attributes:
        damaged: Whether damage was found; before it, no frame is late.
    """

    def __init__(self) -> None:
        self.damaged = False
        self._shown: int | None = None
        self._decoded: int | None = None

    def add(self, packet: Packet[VideoStream]) -> None:
        """Adds the next packet: where decoding times step back, the clock of a recording restarts."""
        if packet.dts is not None:
            if self._decoded is not None and packet.dts < self._decoded:
                self._shown = None
            self._decoded = packet.dts

    def is_late(self, pts: int | None) -> bool:
        """Whether the next frame, with its time [ticks], is late; it counts as shown if not."""
        if pts is None:
            return False
        if self.damaged and self._shown is not None and pts <= self._shown:
            return True
        self._shown = pts
        return False


def ascending(stamps: Iterable[int | None]) -> bool:
    """Whether the known time stamps increase."""
    return all(a < b for a, b in pairwise(stamp for stamp in stamps if stamp is not None))
