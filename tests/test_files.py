"""Files that several threads write, and memory kept by the process."""

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mamp.files import atomic_path, write_atomically

FAULTS = """
import resource, sys
import numpy as np
from mamp.files import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
def work():
    held = [np.ones(20 << 17) for _ in range(3)]  # 20 MB each
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of another C library")
def test_freed_memory_is_kept_for_later_allocations() -> None:
    returned, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, *keep], check=True, capture_output=True, text=True).stdout)
        for keep in ([], ["keep"])
    )
    assert kept < returned / 10


def test_threads_that_write_the_same_file_do_not_share_its_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "project.zip"
    with ThreadPoolExecutor(1) as thread, atomic_path(path) as partial:
        partial.write_text("first")
        thread.submit(write_atomically, path, "second").result()
        assert path.read_text() == "second"
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
