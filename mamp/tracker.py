"""The tracker (Fig. 2): images and label maps on the outside, tensors and the memory bank on the inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamp.flow.optical_flow import FlowFunction, ParallelDisFlow, dis_flow
from mamp.masks.label_map import MaskError, as_label_map, merge_input_mask, resize_mask
from mamp.model.encoder import EncoderFunction, device_of, half_precision
from mamp.prefetch import worker_threads
from mamp.propagation.alignment import to_cells
from mamp.propagation.dense_reader import DenseReader, label_tensor
from mamp.propagation.device_frames import DeviceFrames, image_tensor
from mamp.propagation.frame_answer import cells_of_mask, mean_margins, pack_answer, unpack_answer, winning_labels
from mamp.propagation.memory_readout import MemoryReader, Query
from mamp.propagation.parallel_motion import ParallelMotion
from mamp.propagation.redetection import Redetection, Redetector, change_numbers
from mamp.propagation.reference_motion import ReferenceMotion
from mamp.propagation.upsampling import BilinearUpsampler, GuidedUpsampler, ScoreUpsampler, argmax_labels, label_margins
from mamp.settings import Settings
from mamp.timing import StageTimer
from mamp.tracker_memory import TrackerMemory, width_x_height

Frame = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_DEFAULTS = Settings()
_FLOW_THREADS = 4  # beside a GPU: the flow to the previous frame takes as long as four fast ones


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
        execution: "asynchronous" queues a fixed amount of work for the device and reads one answer a frame, for GPUs.
        device: Device of the computation; that of the encoder if not given.
        timer: Counts the stages "encode", "match" and "read-out", and the wait for flows within "match" as ``FLOW_WAIT``.

    Attributes:
        memory: The frames that later ones are compared with, and what else is needed to resume.
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
        execution: str = _DEFAULTS.execution,
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
            execution=execution,
        )
        self.encoder = encoder
        self.chained = flow is not None and motion == "chained"
        self.upsampling = upsampling
        self.discriminant_weight = discriminant_weight
        self.device = torch.device(device or device_of(encoder))
        self._timer = timer or StageTimer()
        self._asynchronous = execution == "asynchronous"
        self._frames = DeviceFrames(self.device, asynchronous=self._asynchronous)
        self._reader = (DenseReader if self._asynchronous else MemoryReader)(
            radius=radius, top_k=top_k, discriminant_weight=discriminant_weight, logit_adjustment=logit_adjustment
        )
        self._redetector = Redetector(self._reader)
        workers = worker_threads(1 if self.device.type == "cpu" else _FLOW_THREADS)
        reference_motion: ReferenceMotion | None = None
        if flow is not None:
            recent = max(short_term, default=0)
            kind: Callable[..., ReferenceMotion] = partial(ReferenceMotion, flow)
            if self._asynchronous and isinstance(flow, ParallelDisFlow):
                kind = partial(ParallelMotion, self._frames)
            reference_motion = kind(
                chained=self.chained, recent=recent, device=self.device, workers=workers, timer=self._timer
            )
        self.memory = TrackerMemory(
            half_precision(encoder) if self._asynchronous and self.device.type == "cuda" else encoder,
            reference_motion,
            self._reader,
            self.mask_to_cells,
            self._frames,
            workers,
            long_term=long_term,
            short_term=short_term,
            radius=radius,
            with_discriminants=discriminant_weight > 0,
            asynchronous=self._asynchronous,
            device=self.device,
            timer=self._timer,
        )
        self.confidence: dict[int, float] = {}

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
        self.memory.reset()
        self.confidence = {}

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
            next_frame: The frame of the next step, if it is known: in other threads its flow is computed meanwhile, and on
                a CPU its features. That saves time on a GPU, and on a CPU if PyTorch leaves cores free, see
                ``torch.set_num_threads``. The array must not change before its step. ``encoder`` and ``flow`` are called in
                other threads then, also while this one calls them.

        Returns:
            Label map (H, W) uint8.

        Raises:
            MaskError: The mask has another size or is no label map, or the first mask is missing or empty. It is a
                ``ValueError``; a frame that is refused leaves the tracker as it was.
            ValueError: The frame has a wrong size or type.
        """
        processed = (frame.shape[0], frame.shape[1])
        size = output_size or processed
        self.memory.check_frame(frame)
        small = None
        if mask is not None:
            mask = as_label_map(mask)
            if mask.shape not in (processed, tuple(size)):
                raise MaskError(f"The mask is {width_x_height(mask.shape)}, but must be {width_x_height(processed)}.")
            small = resize_mask(mask, processed)
        if self.memory.t == 0 and (small is None or not small.any()):
            raise MaskError("The first frame needs a mask that contains at least one object.")
        with self._timer.stage("match"):
            self.memory.add_motion(frame)
        if next_frame is not None:
            self.memory.prefetch(frame, next_frame)
        key, colors = self.memory.encode(frame)
        value = None
        if self.memory.t == 0:
            assert mask is not None
            result, self.confidence = resize_mask(mask, size), {}
        else:
            result, self.confidence, value = self._propagate(frame, key, colors, size)
            if mask is not None:
                result, value = merge_input_mask(result, resize_mask(mask, size)), None
        if small is not None:
            self.confidence |= {int(label): 1.0 for label in np.unique(small) if label}
        self.memory.remember(frame, key, colors, result, small, value=value)
        self.memory.t += 1
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
        self.memory.check_frame(frame)
        if not len(self.memory):
            raise ValueError("there is no frame in memory to compare with")
        self.memory.add_motion(frame)
        query = self.memory.query(frame, *self.memory.encode(frame))
        return query, self._redetect(query, self._reader(query))

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
        return to_cells(image_tensor(mask, self.device))

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
        answer = argmax_labels(scores, labels, self._upsampler(frame, size))
        return np.asarray(answer.cpu().numpy(), np.uint8)

    def _upsampler(self, frame: Frame, size: tuple[int, int]) -> ScoreUpsampler:
        if self.upsampling == "guided":
            return GuidedUpsampler(self._frames.rgb(frame).permute(2, 0, 1) / 255, size)
        return BilinearUpsampler((frame.shape[0], frame.shape[1]), size)

    def _backwards(self, frames: list[Frame], mask: Mask) -> list[Mask]:
        """Masks of all frames but the last, which has the input mask."""
        answers = [self.step(frame, mask if age == 0 else None) for age, frame in enumerate(reversed(frames))]
        return answers[:0:-1]

    def _propagate(
        self, frame: Frame, key: Tensor, colors: Tensor, size: tuple[int, int]
    ) -> tuple[Mask, dict[int, float], Tensor | None]:
        """The mask of the newest frame (H, W) uint8, at a size (H, W), the confidence in each object, and cells.

        These are the labels of the mask at the cells (h, w), if they are on the device.
        """
        with self._timer.stage("match"):
            query = self.memory.query(frame, key, colors)
            scores = self._reader(query)
        if self._asynchronous and len(query.labels) > 1:
            with self._timer.stage("read-out"):
                packed, value = self._queue_answer(query, scores, frame, size)
                answer = unpack_answer(packed, size, query.labels)
            if answer.change is None or not answer.change.needs_search:
                return answer.mask, answer.margins, value
        with self._timer.stage("match"):
            found = self._redetect(query, scores)
            margins = label_margins(found.scores, self.memory.labels)
        # After a shot change a detection may be another object.
        confidence = {label: margin * (1 - found.shot_change) for label, margin in margins.items()}
        with self._timer.stage("read-out"):
            return self.scores_to_mask(found.scores, self.memory.labels, frame, size), confidence, None

    def _queue_answer(self, query: Query, scores: Tensor, frame: Frame, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The answer for a frame in which no object was lost, see ``pack_answer``, and its labels at the cells (h, w)."""
        labels = label_tensor(tuple(query.labels), self.device)
        mask = winning_labels(scores, labels, self._upsampler(frame, size))
        change, previous = None, self.memory.previous
        if self.discriminant_weight and previous is not None:
            change = change_numbers(scores.argmax(dim=0), query.key, previous, self.memory.flow_to_previous, labels)
        processed = (frame.shape[0], frame.shape[1])
        return pack_answer(mask, mean_margins(scores), change), cells_of_mask(mask, processed)

    def _redetect(self, query: Query, scores: Tensor) -> Redetection:
        """The scores of the newest frame (K, h, w) after the search for lost objects."""
        if not self.discriminant_weight:
            return Redetection(scores)
        return self._redetector(
            scores, query, previous=self.memory.previous, flow_to_previous=self.memory.flow_to_previous
        )
