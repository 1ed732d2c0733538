"""The tracker (Fig. 2): images and label maps on the outside, tensors and the memory bank on the inside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamp.flow.optical_flow import FlowFunction, dis_flow
from mamp.flow.warp import gather_by_flow
from mamp.masks.label_map import MaskError, as_label_map, merge_input_mask, resize_mask
from mamp.model.color import rgb_to_lab
from mamp.model.encoder import EncoderFunction, device_of, has_bfloat16
from mamp.propagation.alignment import pad_to_stride, to_cells
from mamp.propagation.cell_features import color_features, independent_motion
from mamp.propagation.memory_bank import MemoryBank, MemoryFrame, frames_to_keep, reference_frames
from mamp.propagation.memory_readout import MemoryReader, Query, Reference
from mamp.propagation.object_discriminant import class_statistics
from mamp.propagation.redetection import Redetection, Redetector
from mamp.propagation.reference_motion import ReferenceMotion
from mamp.propagation.stored_memory import StoredFrame, StoredMemory
from mamp.propagation.upsampling import BilinearUpsampler, GuidedUpsampler, ScoreUpsampler, argmax_labels, label_margins
from mamp.settings import Settings
from mamp.timing import StageTimer

Frame = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_DEFAULTS = Settings()


class MaskTracker:
    """Propagates masks from frame to frame with a memory of earlier frames (Sec. 3.2, Fig. 2).

    The defaults are those of ``Settings()``; ``from_settings(Settings.paper(), encoder, flow)`` has the paper's. Each
    ablation of the paper is one keyword: ``flow=None`` (Table 5), ``top_k`` (Table 6), ``long_term=()`` or
    ``short_term=()`` (Table 4).

    Args:
        encoder: Lab (B, 3, H, W) -> features (B, C, H / 4, W / 4); see ``load_encoder``.
        flow: (query, reference) -> displacement [pixels]: a plain function of two frames, or a ``FlowEstimator`` like
            ``dis_flow``, which also gets an initial flow and the frame gap. ``None`` matches without motion.
        radius: Window radius of local matching [cells of 4 pixels].
        top_k: Number of matches that vote for a cell; ``None`` for all.
        long_term: Numbers of the frames that stay in the memory bank.
        short_term: Ages of the recent frames in the memory bank [frames].
        motion: "chained" composes the flows between neighboring frames into the motion to each reference; beyond the
            short term it also computes a direct flow, and selects the better one at each cell. "direct" computes
            one flow to each reference, as the paper does.
        upsampling: "guided" aligns object borders with the edges of the image; "bilinear" interpolates the scores, as the
            paper does.
        discriminant_weight: Weight of the object discriminants in matching, relative to the similarity of a feature with
            itself; see ``Discriminants``. 0 matches by similarity alone, as the paper does, and also leaves out
            re-detection; see ``Redetector``.
        logit_adjustment: Exponent of the number of cells of a label in the window, by which its score is divided; 0 in the
            paper. See ``logit_adjusted``.
        device: Device of the computation; that of the encoder if not given.
        timer: Counts the stages "encode", "match" and "read-out", and the wait for flows within "match" as ``FLOW_WAIT``.

    Attributes:
        confidence: Confidence in each object on the last frame, by label [0, 1]: the mean margin of its cells over the
            second label, reduced on a shot change; 0 where the object was not found, 1 where its mask was given.

    Raises:
        ValueError: A setting is out of its range.
    """

    def __init__(
        self,
        encoder: EncoderFunction,
        *,
        flow: FlowFunction | None = dis_flow,
        radius: int = _DEFAULTS.radius,
        top_k: int | None = _DEFAULTS.top_k,
        long_term: Sequence[int] = _DEFAULTS.long_term,
        short_term: Sequence[int] = _DEFAULTS.short_term,
        motion: str = _DEFAULTS.motion,
        upsampling: str = _DEFAULTS.upsampling,
        discriminant_weight: float = _DEFAULTS.discriminant_weight,
        logit_adjustment: float = _DEFAULTS.logit_adjustment,
        device: str | torch.device | None = None,
        timer: StageTimer | None = None,
    ) -> None:
        Settings(  # checks the ranges
            radius=radius,
            top_k=top_k,
            long_term=tuple(long_term),
            short_term=tuple(short_term),
            motion=motion,
            upsampling=upsampling,
            discriminant_weight=discriminant_weight,
            logit_adjustment=logit_adjustment,
        )
        self.encoder = encoder
        self.radius = radius
        self.chained = flow is not None and motion == "chained"
        self.upsampling = upsampling
        self.discriminant_weight = discriminant_weight
        self.device = torch.device(device or device_of(encoder))
        self._timer = timer or StageTimer()
        self._reader = MemoryReader(
            radius=radius, top_k=top_k, discriminant_weight=discriminant_weight, logit_adjustment=logit_adjustment
        )
        self._redetector = Redetector(self._reader)
        self._long_term, self._short_term = tuple(long_term), tuple(short_term)
        self._motion: ReferenceMotion | None = None
        if flow is not None:
            recent = max(self._short_term, default=0)
            self._motion = ReferenceMotion(
                flow, chained=self.chained, recent=recent, device=self.device, timer=self._timer
            )
        self.reset()

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        encoder: EncoderFunction,
        flow: FlowFunction | None,
        *,
        timer: StageTimer | None = None,
    ) -> MaskTracker:
        """A tracker with the given settings; encoder and flow are passed, since several trackers may share them."""
        return cls(encoder, flow=flow, timer=timer, **settings.tracker_kwargs())

    @property
    def short_of_memory(self) -> bool:
        """Whether the device ran out of memory in matching; since then matching uses smaller blocks."""
        return self._reader.short_of_memory

    def reset(self) -> None:
        """Clears the memory: the next frame is a first frame."""
        self._bank = MemoryBank(long_term=self._long_term, short_term=self._short_term)
        self._labels: list[int] = [0]
        self._size: tuple[int, int] | None = None
        if self._motion is not None:
            self._motion.reset()
        self._t = 0
        self.confidence: dict[int, float] = {}

    @torch.inference_mode()
    def step(
        self,
        frame: Frame,
        mask: Mask | None = None,
        *,
        output_size: tuple[int, int] | None = None,
        next_frame: Frame | None = None,
    ) -> Mask:
        """Propagates the masks to the next frame.

        Args:
            frame: RGB (H, W, 3) uint8, of the same size as the previous frames.
            mask: Label map of the frame's size or of ``output_size``, see ``as_label_map``; 0 = background. The first
                frame needs one. On a later frame it adds or corrects objects: it replaces the mask of each object that
                it contains, and leaves all others.
            output_size: Size (H, W) of the returned mask, if it is not the frame's. The scores are interpolated, so borders
                are smoother than those of an enlarged mask.
            next_frame: The frame of the next step, if it is known: on a GPU its flow is computed meanwhile, in a thread.

        Returns:
            Label map (H, W) uint8.

        Raises:
            MaskError: The mask has another size or is no label map, or the first mask is missing or empty. It is a
                ``ValueError``; a frame that is refused leaves the tracker as it was.
            ValueError: The frame has a wrong size or type.
        """
        processed = (frame.shape[0], frame.shape[1])
        size = output_size or processed
        self._check_frame(frame)
        small = None
        if mask is not None:
            mask = as_label_map(mask)
            if mask.shape not in (processed, tuple(size)):
                raise MaskError(f"The mask is {_by(mask.shape)}, but must be {_by(processed)}.")
            small = resize_mask(mask, processed)
        if self._t == 0 and (small is None or not small.any()):
            raise MaskError("The first frame needs a mask that contains at least one object.")
        self._size = processed
        with self._timer.stage("match"):
            self._update_motion(frame)
        if next_frame is not None and self._motion is not None:
            self._motion.prefetch(self._t, frame, next_frame, self._bank)
        with self._timer.stage("encode"):
            key, colors = self._encode(frame)
        if self._t == 0:
            assert mask is not None
            result, self.confidence = resize_mask(mask, size), {}
        else:
            result, self.confidence = self._propagate(frame, key, colors, size)
            if mask is not None:
                result = merge_input_mask(result, resize_mask(mask, size))
        if small is not None:
            self.confidence |= {int(label): 1.0 for label in np.unique(small) if label}
        self._remember(frame, key, colors, result, small)
        self._t += 1
        return result

    @torch.inference_mode()
    def inspect(self, frame: Frame) -> tuple[Query, Redetection]:
        """What ``step`` would compute for the next frame: to explain it. The tracker cannot go on from there.

        Args:
            frame: RGB (H, W, 3) uint8. A mask in memory is required.

        Returns:
            The frame as a query, with its references and the motion to them, and its scores.

        Raises:
            ValueError: The frame has a wrong size or type, or there is no frame in memory.
        """
        self._check_frame(frame)
        if not len(self._bank):
            raise ValueError("there is no frame in memory to compare with")
        self._size = (frame.shape[0], frame.shape[1])
        self._update_motion(frame)
        key, colors = self._encode(frame)
        cues = self._auxiliary_features(colors, self._warped_previous_mask(colors))
        query = self._query(frame, key.float(), cues)
        return query, self._match(query)

    @torch.inference_mode()
    def restore_frame(self, t: int, frame: Frame, mask: Mask | None, *, input_mask: Mask | None = None) -> None:
        """Adds a frame with a known mask to the memory, without tracking it: to resume in the middle of a clip.

        Restore, in order, the frames that ``frames_to_restore`` names, with their masks from ``step`` and their input
        masks; then ``step`` continues with frame ``t`` + 1, as if it had tracked all frames. Where motion is chained,
        pass the frames between them too, from frame 0 on, without a mask.

        Args:
            t: Number of the frame, counted from the first tracked frame.
            frame: RGB (H, W, 3) uint8.
            mask: Label map uint8 of any size, as ``step`` returned it; ``None`` for a frame that only serves the chain of
                flows.
            input_mask: Input mask of the frame, as passed to ``step``.

        Raises:
            ValueError: As ``step``.
        """
        processed = (frame.shape[0], frame.shape[1])
        self._check_frame(frame)
        small = None if input_mask is None else resize_mask(as_label_map(input_mask), processed)
        self._size = processed
        self._t = t
        self._update_motion(frame)
        if mask is not None:
            key, colors = self._encode(frame)
            self._remember(frame, key, colors, mask, small)
        self._t += 1

    @torch.inference_mode()
    def stored_memory(self) -> StoredMemory:
        """The memory of the tracker, from which ``restore_memory`` continues in another one."""
        frames = {
            number: StoredFrame(
                value=memory.value.cpu().numpy(),
                motion_cue=memory.cues[-1:].cpu().numpy(),
                motion=None if memory.motion is None else memory.motion.cpu().numpy(),
                given=memory.given,
            )
            for number, memory in sorted(self._bank.all().items())
        }
        return StoredMemory(self._t, list(self._labels), frames)

    @torch.inference_mode()
    def restore_memory(self, memory: StoredMemory, frames: Mapping[int, Frame]) -> None:
        """Continues from a stored memory: ``step``, or ``restore_frame``, goes on with frame ``memory.t``.

        Args:
            memory: The memory of a tracker with the same settings and encoder.
            frames: RGB (H, W, 3) uint8 by frame number: those in memory, and the one before ``memory.t``.

        Raises:
            ValueError: As ``step``.
        """
        self.reset()
        for number, stored in memory.frames.items():
            self._check_frame(frames[number])
            self._size = (frames[number].shape[0], frames[number].shape[1])
            key, colors = self._encode(frames[number])
            restored = MemoryFrame(
                image=frames[number],
                key=key,
                cues=torch.cat((colors, torch.from_numpy(stored.motion_cue).to(self.device))),
                value=torch.from_numpy(stored.value).to(self.device),
                given=stored.given,
                motion=None if stored.motion is None else torch.from_numpy(stored.motion).to(self.device),
            )
            self._bank.add(number, self._with_statistics(restored))
        if self._motion is not None:
            self._motion.resume(frames[memory.t - 1])
        self._labels, self._t = list(memory.labels), memory.t

    def frames_to_restore(self, t: int, given: Collection[int] = (), *, to_inspect: bool = False) -> list[int]:
        """The frames before ``t`` from which its memory follows, ascending.

        These are the first and the previous frame, those in memory, those with an input mask, and those that were in memory
        then: a correction changes what the memory holds of them.

        Args:
            t: Number of the next frame.
            given: Numbers of the frames with input masks.
            to_inspect: Leave out frames that only later frames reference, since ``inspect`` follows.
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

    def track(self, frames: Iterable[Frame], masks: Mapping[int, Mask]) -> Iterator[Mask]:
        """Tracks objects through a whole clip.

        Frames before the first input mask are buffered, and tracked backwards from it; for a long clip provide an early
        mask, or use ``segment_video``, which reads the file backwards instead.

        Args:
            frames: RGB (H, W, 3) uint8 each.
            masks: Input masks, label maps (H, W) uint8 by frame number, at least one; see ``step``.

        Yields:
            A label map (H, W) uint8 for each frame, in order.

        Raises:
            ValueError: There is no mask, or one for a frame that does not exist; or as ``step``.
        """
        if not masks:
            raise ValueError("at least one frame needs a mask")
        first = min(masks)
        buffered: list[Frame] = []
        self.reset()
        t = -1
        for t, frame in enumerate(frames):
            if t < first:
                buffered.append(frame)
                continue
            if t == first and buffered:
                yield from self._backwards([*buffered, frame], masks[first])
                buffered.clear()
                self.reset()
            yield self.step(frame, masks.get(t))
        beyond = sorted(number for number in masks if number > t or number < 0)
        if beyond:
            raise ValueError(f"a mask is given for frame {beyond[0]}, but the clip has frames 0 to {t}")

    def mask_to_cells(self, mask: Mask) -> Tensor:
        """The labels of a mask at the cells (h, w); with ``scores_to_mask`` the size-aware alignment (Sec. 3.3)."""
        return to_cells(self._tensor(mask))

    def scores_to_mask(self, scores: Tensor, labels: Sequence[int], frame: Frame, size: tuple[int, int]) -> Mask:
        """The label with the highest score at every pixel.

        Args:
            scores: Scores of the labels at the cells (K, h, w).
            labels: K labels.
            frame: The frame, RGB (H, W, 3) uint8.
            size: (H, W) of the mask.

        Returns:
            Label map (H, W) uint8.
        """
        processed = (frame.shape[0], frame.shape[1])
        upsampler: ScoreUpsampler = BilinearUpsampler(processed, size)
        if self.upsampling == "guided":
            upsampler = GuidedUpsampler(self._tensor(frame).permute(2, 0, 1) / 255, size)
        return np.asarray(argmax_labels(scores, labels, upsampler).cpu().numpy(), np.uint8)

    def _backwards(self, frames: list[Frame], mask: Mask) -> list[Mask]:
        """Masks of all frames but the last, which has the input mask."""
        answers = [self.step(frame, mask if age == 0 else None) for age, frame in enumerate(reversed(frames))]
        return answers[:0:-1]

    def _update_motion(self, frame: Frame) -> None:
        """Updates the motion from the new frame to the frames in memory."""
        if self._motion is None:
            return
        self._motion.update(self._t, frame, self._bank)
        first = self._bank.all().get(0)
        if self.chained and self.discriminant_weight and self._t == 1 and first is not None:
            flow = self._motion.first_frame_motion(frame, first)
            cues = torch.cat((first.cues[:-1], independent_motion(flow, first.value > 0)))
            self._bank.replace(0, self._with_statistics(replace(first, cues=cues)))

    @property
    def _flow_to_previous(self) -> Tensor | None:
        """Displacement from the newest frame to the previous one (2, h, w) [cells], if it is tracked."""
        return None if self._motion is None else self._motion.flow_to_previous

    @property
    def _previous_memory(self) -> MemoryFrame | None:
        """The frame before the newest one, if it is kept."""
        return self._bank.all().get(self._t - 1)

    def _check_frame(self, frame: Frame) -> None:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"a frame must be RGB uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        if self._size is not None and frame.shape[:2] != self._size:
            raise ValueError(f"the frame is {_by(frame.shape)}, but the frames before it are {_by(self._size)}")

    def _encode(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Features (C, h, w) in the encoder's precision, and color features (D, h, w) float, D = 0 if they are not used."""
        lab = pad_to_stride(rgb_to_lab(self._tensor(frame)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bfloat16(self.device)):
            key = self.encoder(lab[None])[0]
        return key, color_features(lab) if self.discriminant_weight else key[:0].float()

    def _auxiliary_features(self, colors: Tensor, objects: Tensor) -> Tensor:
        """Color features and, given estimated object cells (h, w) bool, the independent motion (D, h, w)."""
        if not self.discriminant_weight:
            return colors
        if self._flow_to_previous is None:
            return torch.cat((colors, colors.new_zeros(1, *colors.shape[1:])))
        return torch.cat((colors, independent_motion(self._flow_to_previous, objects)))

    def _warped_previous_mask(self, colors: Tensor) -> Tensor:
        """Object cells of the previous frame, warped to the newest (h, w) bool; none if it is not in memory."""
        previous = self._previous_memory
        if previous is None or self._flow_to_previous is None:
            return colors.new_zeros(colors.shape[1:], dtype=torch.bool)
        return gather_by_flow(self._flow_to_previous.round(), previous.value[None])[0][0][0] > 0

    def _remember(self, frame: Frame, key: Tensor, colors: Tensor, mask: Mask, input_mask: Mask | None) -> None:
        """Adds the newest frame to the memory, and its input mask to the frames there.

        Args:
            frame: RGB (H, W, 3) uint8.
            key: Its features (C, h, w).
            colors: Its color features (D, h, w).
            mask: Its label map uint8 of any size.
            input_mask: Input mask (H, W) uint8, if it has one.
        """
        # From the mask, not from the scores: a run that resumes has only its masks.
        value = self.mask_to_cells(resize_mask(mask, (frame.shape[0], frame.shape[1])))
        cues = self._auxiliary_features(colors, value > 0)
        memory = MemoryFrame(image=frame, key=key, cues=cues, value=value, given=input_mask is not None)
        if input_mask is not None:
            self._labels = sorted({*self._labels, *np.unique(input_mask).tolist()})
            if self._t > 0:
                corrected = replace(memory, value=self.mask_to_cells(input_mask))
                self._backpropagate_correction(self._with_statistics(corrected))
        with self._timer.stage("match"):
            self._bank.add(self._t, self._with_statistics(memory))

    def _backpropagate_correction(self, corrected: MemoryFrame) -> None:
        """Propagates an input mask back to the frames in memory.

        They were labeled without it, and together would outweigh it at the next frame. In short-term frames the labels of
        the mask are replaced everywhere; older ones are too far away to remove anything.
        """
        labels = torch.tensor(self._labels, device=self.device)
        recent = self._t - max(self._short_term, default=0)
        for t, memory in self._bank.all().items():
            key = memory.key.float()
            references = self._references(memory.image, key, t, {self._t: corrected})
            scores = self._reader(self._reader.query(key, memory.cues, references, self._labels))
            propagated = labels[scores.argmax(dim=0)].to(torch.uint8)
            outdated = torch.isin(memory.value, corrected.value) & (t >= recent)
            value = torch.where(propagated > 0, propagated, memory.value.masked_fill(outdated, 0))
            self._bank.replace(t, self._with_statistics(replace(memory, value=value)))

    def _with_statistics(self, memory: MemoryFrame) -> MemoryFrame:
        """A memory frame with the statistics of its labels, if they are used."""
        if not self.discriminant_weight:
            return memory
        return replace(
            memory, class_statistics=class_statistics(memory.key, memory.cues, memory.value, radius=self.radius)
        )

    def _tensor(self, image: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.require(image, requirements=["C", "W"])).to(self.device)

    def _propagate(
        self, frame: Frame, key: Tensor, colors: Tensor, size: tuple[int, int]
    ) -> tuple[Mask, dict[int, float]]:
        """The mask of the newest frame (H, W) uint8, at a size (H, W), and the confidence in each object."""
        cues = self._auxiliary_features(colors, self._warped_previous_mask(colors))
        with self._timer.stage("match"):
            found = self._match(self._query(frame, key.float(), cues))
            margins = label_margins(found.scores, self._labels)
        # After a shot change a detection may be another object.
        confidence = {label: margin * (1 - found.shot_change) for label, margin in margins.items()}
        with self._timer.stage("read-out"):
            return self.scores_to_mask(found.scores, self._labels, frame, size), confidence

    def _query(self, frame: Frame, key: Tensor, cues: Tensor) -> Query:
        """The newest frame as a query, from its features (C, h, w) float and auxiliary features (D, h, w)."""
        references = self._references(frame, key, self._t, self._bank.references(self._t))
        return self._reader.query(key, cues, references, self._labels)

    def _match(self, query: Query) -> Redetection:
        """Scores of the labels for the newest frame (K, h, w), K = len(self._labels)."""
        scores = self._reader(query)
        if not self.discriminant_weight:
            return Redetection(scores)
        return self._redetector(scores, query, previous=self._previous_memory, flow_to_previous=self._flow_to_previous)

    def _references(self, frame: Frame, query: Tensor, t: int, memories: Mapping[int, MemoryFrame]) -> list[Reference]:
        """Frames in memory as references of frame ``t``, with the motion to them."""
        early = max(self._long_term, default=0)
        references = []
        for number, memory in memories.items():
            motion = None
            if self._motion is not None:
                motion = self._motion.motion_to(self._t, frame, query, abs(t - number), memory)
            # Masks soon after the first input mask are mostly right.
            references.append(Reference(memory, motion, reliable=memory.given or number <= early, number=number))
        return references


def _by(shape: Sequence[int]) -> str:
    """A size as width x height."""
    return "x".join(str(side) for side in reversed(shape[:2]))
