"""A short part of ``scripts/soak fuzz``."""

from pathlib import Path

from tools.clip_fuzz import check_clip_case, clip_seeds
from tools.fuzz import MEMORY, TIME_LIMIT, fuzz
from tools.mask_fuzz import check_mask_case

# Failures of the past: an index that cannot be sought in, and a zip that claims to be encrypted.
PAST_FAILURES = (1326, 2937)


def test_damaged_files_end_in_a_result_or_a_clear_error(tmp_path: Path) -> None:
    findings = fuzz(tmp_path, [*PAST_FAILURES, *range(130)])
    assert not findings.faults, "\n".join(findings.faults)
    assert findings.ends.total() == 132 and findings.ends["read"] > 20 and findings.ends["refused"] > 20
    assert findings.slowest < TIME_LIMIT and findings.memory < MEMORY


def test_masks_of_other_programs_are_read_as_their_shapes(tmp_path: Path) -> None:
    faults = [fault for number in range(150) if (fault := check_mask_case(tmp_path, number))]
    assert len(faults) <= 3, "\n".join(faults)


def test_damaged_files_of_every_container_end_in_a_result_or_a_clear_error(tmp_path: Path) -> None:
    findings = fuzz(tmp_path, range(100), clip_seeds)
    assert not findings.faults, "\n".join(findings.faults)
    assert findings.ends.total() == 100 and findings.ends["read"] > 20 and findings.ends["refused"] > 5
    assert findings.slowest < TIME_LIMIT and findings.memory < MEMORY


def test_clips_of_other_programs_are_read_as_they_are(tmp_path: Path) -> None:
    faults = [fault for number in range(100) if (fault := check_clip_case(tmp_path, number))]
    assert not faults, "\n".join(faults)
