"""Why a pixel of a finished run got its label, computed for its frame alone from the files of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from mamp.explanation.cell_grid import CellGrid
from mamp.explanation.explanation import Decision, Explanation, LabelScore, MemoryTerm, MemoryView, Vote
from mamp.explanation.votes import Cell, CellReadout, read_cell
from mamp.explanation.wording import describe
from mamp.masks.label_map import Mask, merge_input_mask
from mamp.model.encoder import EncoderFunction
from mamp.propagation.memory_readout import MemoryReader, Query, Reference
from mamp.propagation.redetection import Redetection
from mamp.runs.finished import open_trackers
from mamp.runs.request import RunRequest
from mamp.runs.results import Result
from mamp.tracker import MaskTracker
from mamp.video.images import resize_frame


def explain(
    result: str | Path, clip: str | Path, frame: int, x: int, y: int, *, encoder: EncoderFunction | None = None
) -> Explanation:
    """Explains the label of a pixel of a finished run; for several pixels of a frame use one ``FrameExplainer``.

    Args:
        result: Folder of the run.
        clip: Its clip.
        frame: Frame number.
        x: Column of the pixel in the clip.
        y: Row of the pixel in the clip.
        encoder: Encoder of the run; needed only if the run had one from a file or from its caller.

    Raises:
        MaskError: The folder holds no run, the clip is another one, the weights are not those of the run, or the run has no
            mask of the frame.
        VideoError: The clip cannot be read.
        ValueError: The frame or the pixel does not exist.
    """
    return FrameExplainer(result, clip, frame, encoder=encoder).explain(x, y)


class FrameExplainer:
    """Explains pixels of one frame of a finished run.

    The first pixel takes nearly all the time: the memory of the frame is restored from the masks of the run, which
    encodes the frames in memory, and with chained motion computes a flow for each frame from the first input mask on, or
    from the last memory that the run stored (see ``segment_video``).
    Further pixels take milliseconds.

    Args:
        result: See ``explain``.
        clip: See ``explain``.
        frame: See ``explain``.
        encoder: See ``explain``.
        device: Device of the encoder and the flow, as "cpu"; CUDA if available by default.

    Raises:
        MaskError: See ``explain``.
        VideoError: See ``explain``.
        ValueError: See ``explain``.
    """

    def __init__(
        self,
        result: str | Path,
        clip: str | Path,
        frame: int,
        *,
        encoder: EncoderFunction | None = None,
        device: str = "auto",
    ) -> None:
        self._trackers = open_trackers(Result(Path(result)), clip, encoder, device)
        self._request, self._frame = self._trackers.request, frame
        if not 0 <= frame < self._request.frames_total:
            raise ValueError(f"There is no frame {frame}; the clip has frames 0 to {self._request.frames_total - 1}.")
        self._mask = self._trackers.store.mask(frame)
        self._image = resize_frame(self._request.reader.frame(frame).image, self._request.processing_size)
        self._grid = CellGrid(self._request.size, self._request.processing_size)
        self._direction = 1 if frame > self._request.first else -1

    def explain(self, x: int, y: int) -> Explanation:
        """Explains the label of the pixel in column ``x`` and row ``y`` of the clip.

        Raises:
            ValueError: The pixel does not exist.
        """
        height, width = self._request.size
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"There is no pixel {x},{y}; the clip is {width}x{height}.")
        cell = self._grid.at(x, y)
        explanation = Explanation(
            frame=self._frame,
            pixel=(x, y),
            label=int(self._mask[y, x]),
            decision=Decision.INPUT_MASK,
            center=self._grid.center(cell),
            memory=(),
            scores=(),
            text="",
            image=self._image,
            mask=self._mask,
        )
        if self._frame != self._request.first:
            explanation = self._with_memory(explanation, cell)
        return replace(explanation, text=describe(explanation))

    def prepare(self) -> None:
        """Does what the first pixel would take time for."""
        if self._frame != self._request.first:
            _ = self._read, self._unaligned_mask

    @cached_property
    def _tracker(self) -> MaskTracker:
        return self._trackers.tracker_at(self._frame, self._direction, to_inspect=True)

    @cached_property
    def _read(self) -> tuple[Query, Redetection, Mask]:
        """The frame as a query, its scores, and the mask that they predict (H, W) uint8."""
        query, found = self._tracker.inspect(self._image)
        return query, found, self._mask_of(found.scores, query)

    def _mask_of(self, scores: torch.Tensor, query: Query) -> Mask:
        return self._tracker.scores_to_mask(scores, query.labels, self._image, self._request.size)

    @cached_property
    def _unaligned_mask(self) -> Mask | None:
        """The mask by votes alone, with the windows at the same place in every frame (H, W) uint8."""
        query = self._read[0]
        if all(reference.motion is None for reference in query.references):
            return None
        settings = self._request.settings
        reader = MemoryReader(
            radius=settings.radius,
            top_k=settings.top_k,
            discriminant_weight=settings.discriminant_weight,
            logit_adjustment=settings.logit_adjustment,
        )
        with torch.inference_mode():
            return self._mask_of(reader(_unaligned(query)), query)

    def _with_memory(self, explanation: Explanation, cell: Cell) -> Explanation:
        """Adds what was read from memory for the cell of the pixel."""
        query, found, predicted = self._read
        flow_references = len(query.references)
        if found.rematched is not None and found.cells is not None and found.cells[cell]:
            query = found.rematched
        settings = self._request.settings
        readout, unaligned = read_cell(query, cell, settings), read_cell(_unaligned(query), cell, settings)
        views = [
            self._memory_view(index, reference, cell, (readout, unaligned), redetected=index >= flow_references)
            for index, reference in enumerate(query.references)
        ]
        input_mask = self._request.input_masks.get(self._frame)
        return replace(
            explanation,
            decision=_decision(explanation, input_mask, predicted, query, found, readout, cell),
            memory=views,
            scores=_label_scores(query, found, readout, unaligned, cell, self._request),
            unaligned_mask=self._unaligned_mask,
        )

    def _memory_view(
        self, index: int, reference: Reference, cell: Cell, readouts: Sequence[CellReadout], *, redetected: bool
    ) -> MemoryView:
        """A reference, the motion from a cell to it, and its votes with and without motion: those of its index."""
        number = self._request.first + self._direction * reference.number
        flow = None if reference.motion is None else self._grid.in_pixels(reference.motion)
        source = divmod(int(reference.sources[0][cell]), reference.memory.value.shape[1])
        votes, unaligned_votes = (
            [
                Vote(number, self._grid.center(vote.cell), vote.label, vote.similarity, vote.weight)
                for vote in readout.votes
                if vote.reference == index
            ]
            for readout in readouts
        )
        return MemoryView(
            frame=number,
            term=self._term(reference),
            target=self._grid.center(source),
            motion=None if flow is None else (float(flow[(0, *cell)]), float(flow[(1, *cell)])),
            reach=self._grid.reach(self._request.settings.radius),
            votes=votes,
            unaligned_votes=unaligned_votes,
            reliable=reference.reliable,
            redetected=redetected,
            image=reference.memory.image,
            flow=flow,
        )

    def _term(self, reference: Reference) -> MemoryTerm:
        if reference.number in self._request.settings.long_term:
            return MemoryTerm.LONG
        return MemoryTerm.INPUT_MASK if reference.memory.given else MemoryTerm.SHORT


def _unaligned(query: Query) -> Query:
    """The query without motion (Table 5)."""
    return replace(query, references=[replace(reference, motion=None) for reference in query.references])


def _label_scores(
    query: Query, found: Redetection, readout: CellReadout, unaligned: CellReadout, cell: Cell, request: RunRequest
) -> list[LabelScore]:
    """Votes, score and discriminant of each label at a cell."""
    scores = []
    for index, label in enumerate(query.labels):
        name = request.names.get(label, f"object {label}") if label else "background"
        discriminant = None
        if query.discriminants and label:
            discriminant = float(query.discriminant_scores[(index - 1, *cell)])
        shares = (readout.vote_sums[index], unaligned.vote_sums[index], found.scores[(index, *cell)])
        votes, without_motion, score = (max(0.0, float(share)) for share in shares)  # sums round to a bit below zero
        scores.append(LabelScore(label, name, votes, without_motion, score, discriminant))
    return scores


def _decision(
    explanation: Explanation,
    input_mask: Mask | None,
    predicted: Mask,
    query: Query,
    found: Redetection,
    readout: CellReadout,
    cell: Cell,
) -> Decision:
    """The last step that changed the label of the pixel, in the order of ``MaskTracker.step`` from its end."""
    x, y = explanation.pixel
    merged = predicted if input_mask is None else merge_input_mask(predicted, input_mask)
    if merged[y, x] != explanation.label:
        return Decision.UNKNOWN
    if merged[y, x] != predicted[y, x] or (input_mask is not None and input_mask[y, x]):
        return Decision.INPUT_MASK
    winner = int(found.scores[(slice(None), *cell)].argmax())
    if query.labels[winner] != explanation.label:
        return Decision.UPSAMPLING
    if query is found.rematched or int(readout.scores.argmax()) != winner:
        return Decision.REDETECTION
    return Decision.VOTES if int(readout.vote_sums.argmax()) == winner else Decision.ADJUSTMENT
