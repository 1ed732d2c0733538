"""A quick part of ``scripts/soak fuzz``."""

from pathlib import Path

from tools.fuzz import MEMORY, PATIENCE, fuzz

# Detection once: an index that cannot be sought in, and a zip that claims to be encrypted.
FOUND = (1326, 2937)


def test_damaged_files_end_in_a_result_or_a_sentence(tmp_path: Path) -> None:
    findings = fuzz(tmp_path, [*FOUND, *range(130)])
    assert not findings.faults, "\n".join(findings.faults)
    assert findings.ends.total() == 132 and findings.ends["read"] > 20 and findings.ends["refused"] > 20
    assert findings.slowest < PATIENCE and findings.memory < MEMORY
