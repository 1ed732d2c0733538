"""Sequences distributed over processes, and the results gathered from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist

from mamp.evaluation.score_tables import Scores
from mamp.evaluation.vos_datasets import VosSequence


@dataclass
class EvaluationResults:
    """Scores by method and sequence, and error messages by sequence."""

    scores: dict[str, dict[str, Scores]]
    failures: dict[str, str]

    def add(self, other: EvaluationResults) -> None:
        """Adds the results of another process."""
        self.failures |= other.failures
        for name, by_sequence in other.scores.items():
            self.scores[name] |= by_sequence

    def sort(self, order: list[str]) -> None:
        """Sorts the sequences into the order of the data set."""
        for name, by_sequence in self.scores.items():
            self.scores[name] = {sequence: by_sequence[sequence] for sequence in order if sequence in by_sequence}


def shard_sequences(sequences: list[VosSequence], world: int) -> list[list[VosSequence]]:
    """Distributes sequences over processes: the longest first, each to the process with the fewest frames."""
    shards: list[list[VosSequence]] = [[] for _ in range(world)]
    for sequence in sorted(sequences, key=len, reverse=True) if world > 1 else sequences:
        min(shards, key=lambda shard: sum(map(len, shard))).append(sequence)
    return shards


def gather_results(results: EvaluationResults, world: int) -> None:
    """Adds the results of all other processes to those of this one."""
    if world == 1:
        return
    gathered: list[EvaluationResults] = [results] * world
    dist.all_gather_object(gathered, results)
    for other in gathered:
        results.add(other)
