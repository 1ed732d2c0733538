"""A short part of ``scripts/soak fuzz``."""

from pathlib import Path

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
