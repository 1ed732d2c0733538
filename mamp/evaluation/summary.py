"""The printed tables of an evaluation: a row for each sequence, means, and methods side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mamp.evaluation.score_tables import BySequence, global_table, j_and_f, objects_of, seen_table

Categories = Mapping[str, Mapping[int, str | None]]


def print_header() -> None:
    """Prints the names of the columns."""
    _print_row("sequence", "masks by", "frames", ["J", "F", "J&F"], "frames/s")


def print_sequence(sequence: str, method: str, frames: int, objects: Iterable[tuple[float, ...]], rate: float) -> None:
    """Prints the scores of one method on one sequence."""
    _print_row(sequence, method, frames, _percentages(objects), f"{rate:.2f}")


def print_means(method: str, by_sequence: BySequence, categories: Categories, seen: set[str]) -> dict[str, float]:
    """Prints the means of one method.

    Args:
        method: Its name.
        by_sequence: Its scores.
        categories: Category of every object, by sequence and label.
        seen: Categories of the training set.

    Returns:
        The same means, by column [0, 1].
    """
    objects = objects_of(by_sequence)
    if objects:
        _print_row("mean over objects", method, "", _percentages(objects), "")
    if by_seen := seen_table(by_sequence, categories, seen):
        print("  ".join(f"{name} {100 * value:.1f}" for name, value in by_seen.items()))
    return (global_table(by_sequence) if objects else {}) | by_seen


def print_comparison(scores: Mapping[str, BySequence]) -> None:
    """Prints J&F of every sequence that all methods have scores of, a column for each method, and last minus first."""
    print(f"\n{'J&F':24}" + "".join(f"{name[:11]:>12}" for name in (*scores, "last-first")))
    methods = list(scores.values())
    shared = [name for name in methods[0] if all(by_sequence.get(name) for by_sequence in methods)]
    rows = {name: [list(by_sequence[name].values()) for by_sequence in methods] for name in shared}
    if shared:
        rows["mean over objects"] = [
            objects_of({name: by_sequence[name] for name in shared}) for by_sequence in methods
        ]
    for name, row in rows.items():
        means = [_percentages(objects)[2] for objects in row]
        print(f"{name:24}" + "".join(f"{mean:12.1f}" for mean in means) + f"{means[-1] - means[0]:+12.1f}")


def _percentages(objects: Iterable[tuple[float, ...]]) -> list[float]:
    objects = list(objects)
    return [100 * value for value in j_and_f(objects)] if objects else []


def _print_row(sequence: str, method: str, frames: int | str, means: list[float] | list[str], rate: str) -> None:
    cells = [f"{mean:.1f}" if isinstance(mean, float) else mean for mean in means or ["", "", ""]]
    columns = "".join(f"{cell:>8}" for cell in cells)
    print(f"{sequence:24}{method[:10]:>11}{frames:>8}{columns}{rate:>10}", flush=True)
