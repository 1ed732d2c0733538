"""The memory of a tracker: frames with their masks, the motion to them, and how it is restored to resume a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamp.flow.warp import gather_by_flow
from mamp.masks.label_map import as_label_map, resize_mask
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import EncoderFunction, has_bfloat16
from mamp.propagation.alignment import pad_to_stride
from mamp.propagation.cell_features import color_features, independent_motion, without_sudden_changes
from mamp.propagation.dense_reader import label_tensor
from mamp.propagation.device_frames import DeviceFrames, image_tensor
from mamp.propagation.label_moments import label_moments
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame, frames_to_keep, reference_frames
from mamp.propagation.memory_readout import MemoryReader, Query, Reference
from mamp.propagation.object_discriminant import class_statistics
from mamp.propagation.principal_features import principal_directions, project
from mamp.propagation.reference_motion import ReferenceMotion
from mamp.propagation.stored_memory import StoredFrame, StoredMemory
from mamp.timing import StageTimer

Frame = NDArray[np.uint8]
Mask = NDArray[np.uint8]


class TrackerMemory:
    """Encodes frames and remembers them with their masks.

    For each frame call ``add_motion``, ``encode`` and ``remember``, and then increase ``t``.

    Args:
        encoder: See ``MaskTracker``.
        motion: Follows the motion to the frames in memory; ``None`` for none.
        reader: Labels the frames in memory from a correction, and builds queries.
        mask_to_cells: The labels of a mask (H, W) uint8 at the cells (h, w).
        frames: The frames on the device.
        workers: Threads for what is computed ahead.
        long_term: See ``MaskTracker``.
        short_term: See ``MaskTracker``.
        radius: See ``MaskTracker``.
        with_discriminants: Whether to remember what object discriminants need.
        asynchronous: Whether to compute all without waiting for the device; see ``Settings``.
        device: Device of the computation.
        timer: Counts the stage "encode", and the fitting of class statistics as "match".

    Attributes:
        t: Number of the newest frame, or of the next one between two frames.
        labels: Labels of the objects so far, with 0.
    """

    def __init__(
        self,
        encoder: EncoderFunction,
        motion: ReferenceMotion | None,
        reader: MemoryReader,
        mask_to_cells: Callable[[Mask], Tensor],
        frames: DeviceFrames,
        workers: ThreadPoolExecutor,
        *,
        long_term: Sequence[int],
        short_term: Sequence[int],
        radius: int,
        with_discriminants: bool,
        asynchronous: bool,
        device: torch.device,
        timer: StageTimer,
    ) -> None:
        self._encoder, self._motion, self._reader, self._mask_to_cells = encoder, motion, reader, mask_to_cells
        self._long_term, self._short_term = tuple(long_term), tuple(short_term)
        self._radius, self._with_discriminants = radius, with_discriminants
        self._device, self._timer = device, timer
        self._frames, self._workers, self._asynchronous = frames, workers, asynchronous
        self.reset()

    def __len__(self) -> int:
        return len(self._bank)

    def reset(self) -> None:
        """Forgets everything: the next frame is a first frame."""
        self._bank = MemoryBank(long_term=self._long_term, short_term=self._short_term)
        self._size: tuple[int, int] | None = None
        self._directions: Tensor | None = None  # see principal_features
        self._features_ahead: list[tuple[Frame, Future[tuple[Tensor, Tensor]]]] = []  # of this frame and the next
        self._motion_cue: Tensor | None = None  # independent motion of the previous frame, aligned with the newest
        self.labels: list[int] = [0]
        self.t = 0
        if self._motion is not None:
            self._motion.reset()

    @property
    def flow_to_previous(self) -> Tensor | None:
        """Displacement from the newest frame to the previous one (2, h, w) [cells], if it is tracked."""
        return None if self._motion is None else self._motion.flow_to_previous

    @property
    def previous(self) -> MemoryFrame | None:
        """The frame before the newest one, if it is kept."""
        return self._bank.all().get(self.t - 1)

    def check_frame(self, frame: Frame) -> None:
        """Checks the type and the size of a frame.

        Raises:
            ValueError: It is no RGB image, or its size is not that of the frames before it.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame must be RGB uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        if self._size is not None and frame.shape[:2] != self._size:
            raise ValueError(
                f"the frame is {width_x_height(frame.shape)}, but the frames before it are {width_x_height(self._size)}"
            )

    def add_motion(self, frame: Frame) -> None:
        """Updates the motion from a new frame, RGB (H, W, 3) uint8, to the frames in memory."""
        self._size = (frame.shape[0], frame.shape[1])
        self._frames.start_frame()
        if self._motion is None:
            return
        self._motion.update(self.t, frame, self._bank)
        first = self._bank.all().get(0)
        if self._motion.chained and self._with_discriminants and self.t == 1 and first is not None:
            flow = self._motion.first_frame_motion(frame, first)
            motion = independent_motion(flow, first.value > 0, on_device=self._asynchronous)
            self._keep_motion_cue(motion)
            self._bank.replace(0, self._with_statistics(replace(first, cues=torch.cat((first.cues[:-1], motion)))))
        if self._motion_cue is not None and self.flow_to_previous is not None:
            self._motion_cue = gather_by_flow(self.flow_to_previous.round(), self._motion_cue)[0][0]

    def prefetch(self, frame: Frame, next_frame: Frame) -> None:
        """Starts the flows of the newest and the next frame in threads, and on a CPU the encoding of the next one."""
        if self._motion is not None:
            self._motion.prefetch(self.t, frame, next_frame, self._bank)
        if self._device.type == "cpu" and not self._asynchronous:
            features = self._workers.submit(lambda: self._encode(image_tensor(next_frame, self._device)))
            self._features_ahead = [*self._features_ahead[-1:], (next_frame, features)]

    def encode(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Features (C, h, w) in the encoder's precision, and color features (D, h, w) float, D = 0 if they are not used.

        With discriminants, features are projected on their principal directions in the first frame.
        """
        ahead = next((features for image, features in self._features_ahead if image is frame), None)
        self._features_ahead = [pair for pair in self._features_ahead if pair[0] is not frame]
        key, colors = ahead.result() if ahead else self._encode(self._frames.rgb(frame))
        if not self._with_discriminants:
            return key, colors
        if self._directions is None:
            self._directions = principal_directions(key)
        return project(key, self._directions), colors

    @torch.inference_mode()
    def _encode(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Features, not projected, and color features of a frame (H, W, 3) uint8; see ``encode``. Runs in any thread."""
        with self._timer.stage("encode"):
            lab = pad_to_stride(rgb_to_lab(rgb))
            with self._bfloat16():
                key = self._encoder(lab[None])[0]
            return key, color_features(lab) if self._with_discriminants else key[:0].float()

    def _bfloat16(self) -> AbstractContextManager[object]:
        """Autocast where the device has bfloat16; in asynchronous execution the encoder has its own precision."""
        if self._asynchronous:
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16, enabled=has_bfloat16(self._device))

    def query(self, frame: Frame, key: Tensor, colors: Tensor) -> Query:
        """The newest frame as a query, from its features and color features, see ``encode``."""
        key = key.float()
        cues = self._auxiliary_features(colors, self._warped_previous_mask(colors), is_query=True)
        references = self._references(frame, key, self.t, self._bank.references(self.t))
        return self._reader.query(key, cues, references, self.labels)

    def remember(
        self,
        frame: Frame,
        key: Tensor,
        colors: Tensor,
        mask: Mask,
        input_mask: Mask | None,
        *,
        value: Tensor | None = None,
    ) -> None:
        """Adds the newest frame to the memory, and its input mask to the frames there.

        Args:
            frame: RGB (H, W, 3) uint8.
            key: Its features (C, h, w).
            colors: Its color features (D, h, w).
            mask: Its label map uint8 of any size.
            input_mask: Input mask (H, W) uint8, if it has one.
            value: The labels of the mask at the cells (h, w), if they are on the device.
        """
        if value is None:  # from the mask, not from the scores: a run that resumes has only its masks
            value = self._value_of(mask, frame)
        cues = self._auxiliary_features(colors, value)
        self._keep_motion_cue(cues[-1:])
        memory = MemoryFrame(image=frame, key=key, cues=cues, value=value, given=input_mask is not None)
        if input_mask is not None:
            self.labels = sorted({*self.labels, *np.unique(input_mask).tolist()})
            if self.t > 0:
                corrected = replace(memory, value=self._mask_to_cells(input_mask))
                self._backpropagate_correction(self._with_statistics(corrected))
        with self._timer.stage("match"):
            self._bank.add(self.t, self._with_statistics(memory))

    @torch.inference_mode()
    def restore_frame(
        self, t: int, frame: Frame, mask: Mask, *, input_mask: Mask | None = None, referenced: bool = True
    ) -> None:
        """Adds a frame with a known mask, without tracking it: to resume in the middle of a clip.

        Restore, in order, the frames that ``frames_to_restore`` names, with their masks from ``MaskTracker.step`` and
        their input masks; then ``step`` continues with frame ``t`` + 1, as if it had tracked all frames. Where motion is
        chained, pass the frames between them too, from frame 0 on, as not ``referenced``.

        Args:
            t: Number of the frame, counted from the first tracked frame.
            frame: RGB (H, W, 3) uint8.
            mask: Label map uint8 of any size, as ``step`` returned it.
            input_mask: Input mask of the frame, as passed to ``step``.
            referenced: Whether later frames will be compared with it; else it only serves the chain of motion.

        Raises:
            ValueError: As ``MaskTracker.step``.
        """
        self.check_frame(frame)
        small = None if input_mask is None else resize_mask(as_label_map(input_mask), (frame.shape[0], frame.shape[1]))
        self.t = t
        self.add_motion(frame)
        if referenced:
            key, colors = self.encode(frame)
            self.remember(frame, key, colors, mask, small)
        elif self.flow_to_previous is not None and self._with_discriminants:
            self._keep_motion_cue(self._steady_motion(self.flow_to_previous, self._value_of(mask, frame)))
        self.t += 1

    @torch.inference_mode()
    def stored(self) -> StoredMemory:
        """This memory, from which ``restore`` continues in another tracker."""
        frames = {
            number: StoredFrame(
                value=memory.value.cpu().numpy(),
                motion_cue=memory.cues[-1:].cpu().numpy(),
                motion=None if memory.motion is None else memory.motion.cpu().numpy(),
                given=memory.given,
            )
            for number, memory in sorted(self._bank.all().items())
        }
        directions = None if self._directions is None else self._directions.cpu().numpy()
        return StoredMemory(self.t, list(self.labels), frames, directions)

    @torch.inference_mode()
    def restore(self, memory: StoredMemory, frames: Mapping[int, Frame]) -> None:
        """Continues from a stored memory: ``MaskTracker.step``, or ``restore_frame``, goes on with frame ``memory.t``.

        Args:
            memory: The memory of a tracker with the same settings and encoder.
            frames: RGB (H, W, 3) uint8 by frame number: those in memory, and the one before ``memory.t``.

        Raises:
            ValueError: As ``MaskTracker.step``.
        """
        self.reset()
        self.labels, self.t = list(memory.labels), memory.t
        if memory.directions is not None:
            self._directions = torch.from_numpy(memory.directions).to(self._device)
        for number, stored in memory.frames.items():
            self.check_frame(frames[number])
            self._size = (frames[number].shape[0], frames[number].shape[1])
            key, colors = self.encode(frames[number])
            restored = MemoryFrame(
                image=frames[number],
                key=key,
                cues=torch.cat((colors, torch.from_numpy(stored.motion_cue).to(self._device))),
                value=torch.from_numpy(stored.value).to(self._device),
                given=stored.given,
                motion=None if stored.motion is None else torch.from_numpy(stored.motion).to(self._device),
            )
            self._bank.add(number, self._with_statistics(restored))
            if number == memory.t - 1:
                self._keep_motion_cue(restored.cues[-1:])
        if self._motion is not None:
            self._motion.resume(frames[memory.t - 1])

    def frames_to_restore(self, t: int, given: Collection[int] = (), *, to_inspect: bool = False) -> list[int]:
        """The frames before ``t`` from which its memory follows, ascending.

        These are the first and the previous frame, those in memory, those with an input mask, and those that were in memory
        then: a correction changes what the memory holds of them.

        Args:
            t: Number of the next frame.
            given: Numbers of the frames with input masks.
            to_inspect: Leave out frames that only later frames reference, since ``MaskTracker.inspect`` follows.
        """
        if t < 1:
            return []
        corrections = sorted(frame for frame in given if 0 < frame < t)
        if to_inspect:
            terms = {"long_term": self._long_term, "short_term": self._short_term}
            return sorted({0, t - 1, *corrections, *reference_frames(t, given=corrections, **terms)})
        needed = {0, t - 1, *corrections, *self._frames_in_memory(t, corrections)}
        for number, frame in enumerate(corrections):
            needed.update(self._frames_in_memory(frame, corrections[:number]))
        return sorted(needed)

    def _frames_in_memory(self, t: int, given: Collection[int]) -> list[int]:
        return frames_to_keep(t, long_term=self._long_term, short_term=self._short_term, given=given)

    def _value_of(self, mask: Mask, frame: Frame) -> Tensor:
        """The labels of a mask of any size at the cells of a frame (h, w) uint8."""
        return self._mask_to_cells(resize_mask(mask, (frame.shape[0], frame.shape[1])))

    def _auxiliary_features(self, colors: Tensor, value: Tensor, *, is_query: bool = False) -> Tensor:
        """Color features and, given estimated labels (h, w) uint8, the independent motion (D, h, w)."""
        if not self._with_discriminants:
            return colors
        if self.flow_to_previous is None:
            return torch.cat((colors, colors.new_zeros(1, *colors.shape[1:])))
        return torch.cat((colors, self._steady_motion(self.flow_to_previous, value, is_query=is_query)))

    def _steady_motion(self, flow: Tensor, value: Tensor, *, is_query: bool = False) -> Tensor:
        """Independent motion (1, h, w) ``without_sudden_changes``: of stops, and in a query also of starts."""
        motion = independent_motion(flow, value > 0, on_device=self._asynchronous)
        if self._motion_cue is None:
            return motion
        objects = label_tensor(tuple(self.labels), self._device)[1:]
        return without_sudden_changes(motion, self._motion_cue, value, objects, radius=self._radius, starts=is_query)

    def _keep_motion_cue(self, cue: Tensor) -> None:
        """Sets the independent motion of the newest frame (1, h, w), if the next one will find it in memory."""
        self._motion_cue = cue if self._short_term and self._with_discriminants else None

    def _warped_previous_mask(self, colors: Tensor) -> Tensor:
        """Labels of the previous frame, warped to the newest (h, w) uint8; background if it is not in memory."""
        if self.previous is None or self.flow_to_previous is None:
            return colors.new_zeros(colors.shape[1:], dtype=torch.uint8)
        return gather_by_flow(self.flow_to_previous.round(), self.previous.value[None])[0][0][0]

    def _references(self, frame: Frame, query: Tensor, t: int, memories: Mapping[int, MemoryFrame]) -> list[Reference]:
        """Frames in memory as references of frame ``t``, with the motion to them."""
        motions: Sequence[Tensor | None] = [None] * len(memories)
        if self._motion is not None:
            distances = [abs(t - number) for number in memories]
            motions = self._motion.motions_to(self.t, frame, query, distances, list(memories.values()))
        early = max(self._long_term, default=0)
        # Masks soon after the first input mask are mostly right.
        return [
            Reference(memory, motion, reliable=memory.given or number <= early, number=number)
            for (number, memory), motion in zip(memories.items(), motions, strict=True)
        ]

    def _backpropagate_correction(self, corrected: MemoryFrame) -> None:
        """Propagates an input mask back to the frames in memory.

        They were labeled without it, and together would outweigh it at the next frame. In short-term frames the labels of
        the mask are replaced everywhere; in older ones what looks like a part that the correction removes is removed.
        """
        recent = self.t - max(self._short_term, default=0)
        for t, memory in self._bank.all().items():
            (correction,) = self._references(memory.image, memory.key.float(), t, {self.t: corrected})
            propagated = self._labels_from(correction, memory, self.labels)
            outdated = torch.isin(memory.value, corrected.value)
            if t < recent:
                outdated &= self._is_removed(t, memory, correction)
            value = torch.where(propagated > 0, propagated, memory.value.masked_fill(outdated, 0))
            self._bank.replace(t, self._with_statistics(replace(memory, value=value)))

    def _is_removed(self, t: int, memory: MemoryFrame, correction: Reference) -> Tensor:
        """The cells of frame ``t`` in memory (h, w) bool that resemble what a correction removes.

        That is what this frame alone would label as an object in the corrected frame, where its input mask has none.
        """
        kept, removed = 1, 2
        corrected = correction.memory
        (itself,) = self._references(corrected.image, corrected.key.float(), self.t, {t: memory})
        alone = self._labels_from(itself, corrected, self.labels)
        wrong = torch.isin(alone, corrected.value) & (alone > 0) & (corrected.value == 0)
        parts = (corrected.value > 0).to(torch.uint8).masked_fill(wrong, removed)
        divided = self._with_statistics(replace(corrected, value=parts), (0, kept, removed))
        return self._labels_from(replace(correction, memory=divided), memory, (0, kept, removed)) == removed

    def _labels_from(self, reference: Reference, memory: MemoryFrame, labels: Sequence[int]) -> Tensor:
        """The labels of a frame (h, w) uint8, read from one reference."""
        scores = self._reader(self._reader.query(memory.key.float(), memory.cues, [reference], labels))
        return torch.tensor(labels, device=self._device)[scores.argmax(dim=0)].to(torch.uint8)

    def _with_statistics(self, memory: MemoryFrame, labels: Sequence[int] | None = None) -> MemoryFrame:
        """A memory frame with the statistics of its labels, if they are used; by default those of all objects."""
        if not self._with_discriminants:
            return memory
        features = (memory.key, memory.cues, memory.value)
        if not self._asynchronous:
            return replace(memory, class_statistics=class_statistics(*features, radius=self._radius))
        labels = self.labels if labels is None else labels
        on_device = label_tensor(tuple(labels), self._device)
        return replace(memory, class_statistics=label_moments(*features, labels, on_device, radius=self._radius))


def width_x_height(shape: Sequence[int]) -> str:
    """A size as width x height."""
    return "x".join(str(side) for side in reversed(shape[:2]))
