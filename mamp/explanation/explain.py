"""Why a pixel of a finished run got its label, computed for its frame alone from the files of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mamp.explanation.cell_grid import CellGrid
from mamp.explanation.explanation import Decision, Explanation, LabelScore, MemoryView, Vote
from mamp.explanation.votes import Cell, CellReadout, read_cell
from mamp.explanation.wording import describe
from mamp.masks.label_map import Mask, merge_input_mask
from mamp.model.encoder import EncoderFunction
from mamp.propagation.memory_readout import Query
from mamp.propagation.redetection import Redetection
from mamp.runs.finished import open_trackers
from mamp.runs.request import RunRequest
from mamp.runs.results import Result
from mamp.runs.resume import TrackerFactory
from mamp.video.images import resize_frame


def explain(
    result: str | Path, clip: str | Path, frame: int, x: int, y: int, *, encoder: EncoderFunction | None = None
) -> Explanation:
    """Explains the label of a pixel of a finished run.

    The memory of the frame is restored from the masks of the run. With chained motion this costs one optical flow for each
    frame from the first input mask on; else only the memory frames are read.

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
    trackers = open_trackers(Result(Path(result)), clip, encoder)
    request = trackers.request
    height, width = request.size
    if not 0 <= frame < request.frames_total:
        raise ValueError(f"There is no frame {frame}; the clip has frames 0 to {request.frames_total - 1}.")
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"There is no pixel {x},{y}; the clip is {width}x{height}.")
    grid = CellGrid(request.size, request.processing_size)
    cell, mask = grid.at(x, y), trackers.store.mask(frame)
    explanation = Explanation(
        frame=frame,
        pixel=(x, y),
        label=int(mask[y, x]),
        decision=Decision.INPUT_MASK,
        center=grid.center(cell),
        memory=(),
        scores=(),
        text="",
        image=resize_frame(request.reader.frame(frame).image, request.processing_size),
        mask=mask,
    )
    if frame != request.first:
        explanation = _with_memory(explanation, trackers, grid, cell)
    return replace(explanation, text=describe(explanation))


def _with_memory(explanation: Explanation, trackers: TrackerFactory, grid: CellGrid, cell: Cell) -> Explanation:
    """Adds what was read from memory for the cell of the pixel."""
    request = trackers.request
    direction = 1 if explanation.frame > request.first else -1
    tracker = trackers.tracker_at(explanation.frame, direction)
    query, found = tracker.inspect(explanation.image)
    flow_references = len(query.references)
    if found.rematched is not None and found.cells is not None and found.cells[cell]:
        query = found.rematched
    readout = read_cell(query, cell, request.settings)
    predicted = tracker.scores_to_mask(found.scores, query.labels, explanation.image, request.size)
    views = []
    for index, reference in enumerate(query.references):
        number = request.first + direction * reference.number
        flow = None if reference.motion is None else grid.in_pixels(reference.motion)
        source = int(reference.sources[0][cell])
        views.append(
            MemoryView(
                frame=number,
                target=grid.center(divmod(source, query.key.shape[2])),
                motion=None if flow is None else (float(flow[(0, *cell)]), float(flow[(1, *cell)])),
                votes=[
                    Vote(number, grid.center(vote.cell), vote.label, vote.similarity, vote.weight)
                    for vote in readout.votes
                    if vote.reference == index
                ],
                reliable=reference.reliable,
                redetected=index >= flow_references,
                image=reference.memory.image,
                flow=flow,
            )
        )
    return replace(
        explanation,
        decision=_decision(
            explanation, request.input_masks.get(explanation.frame), predicted, query, found, readout, cell
        ),
        memory=views,
        scores=_label_scores(query, found, readout, cell, request),
    )


def _label_scores(
    query: Query, found: Redetection, readout: CellReadout, cell: Cell, request: RunRequest
) -> list[LabelScore]:
    """Votes, score and discriminant of each label at a cell."""
    scores = []
    for index, label in enumerate(query.labels):
        name = request.names.get(label, f"object {label}") if label else "background"
        discriminant = None
        if query.discriminants and label:
            discriminant = float(query.discriminant_scores[(index - 1, *cell)])
        votes, score = float(readout.vote_sums[index]), float(found.scores[(index, *cell)])
        scores.append(LabelScore(label, name, votes, score, discriminant))
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
