"""Recipes for clusters and clouds: the SLURM script under a stand-in srun, and the command lines of the document."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from mamp.runs.results import Result
from tests.batch.shoot import make_shoot
from tests.conftest import ROOT

SRUN = """#!/bin/bash
# Starts the tasks of a job step, as srun does, and ends with the highest exit code.
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task "$@" >"$LOGS/$task.txt" 2>&1 &
done
code=0
for job in $(jobs -p); do
    wait "$job" || { ended=$?; ((ended > code)) && code=$ended; }
done
exit "$code"
"""


def test_the_tasks_of_slurm_share_the_clips(tmp_path: Path) -> None:
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    make_shoot(tmp_path, dict.fromkeys(("a", "b", "c"), 4), clips="the clips", broken=True)
    options = ["--short-side", "64", "--flow", "none", "--radius", "3", "--weights", "patch", "--export", "coco"]
    out = tmp_path / "out"
    environment = {
        **os.environ,
        "PATH": f"{srun.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOGS": str(tmp_path),
        "SLURM_NTASKS": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_ID": "17",
    }
    command = [
        "bash",
        str(ROOT / "examples/segment.sbatch"),
        str(tmp_path / "the clips"),
        str(tmp_path / "masks"),
        str(out),
    ]
    assert subprocess.run([*command, *options], env=environment, cwd=ROOT).returncode == 3, "a clip is broken"
    receipts = [Result(out / name).receipt for name in ("a", "b", "c")]
    assert all(receipt["masks_written"] == 4 and receipt["masks_reused"] == 0 for receipt in receipts)
    assert json.loads((out / "broken/clip.json").read_text())["attempt"] == "slurm-17-0"
    first, second = ((tmp_path / f"{task}.txt").read_text() for task in range(2))
    assert "3 of 4 clips segmented" in first and "coco.json written" in first and first.count("broken.mp4") == 1
    assert second == ""


def test_the_options_of_the_script_are_those_of_sbatch() -> None:
    script = (ROOT / "examples/segment.sbatch").read_text()
    options = re.findall(r"^#SBATCH (--[\w-]+)", script, re.M)
    assert options == ["--job-name", "--ntasks", "--cpus-per-task", "--time", "--requeue"]


def test_hf_accepts_the_command_that_starts_the_job() -> None:
    (block,) = re.findall(r"```bash\nhf buckets.*?(hf jobs run .*?)```", (ROOT / "docs/BATCH.md").read_text(), re.S)
    words = shlex.split(block.replace("hf jobs run", "hf jobs run --dry-run"))
    hf = str(Path(sys.executable).with_name("hf"))
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([hf, *words[1:]], capture_output=True, text=True, env=offline, check=True)
    assert "Job not submitted" in done.stdout + done.stderr
    assert words[words.index("bash") + 1] == "/source/examples/segment_hf_job.sh"


def test_a_job_begins_with_the_results_of_an_earlier_one_and_brings_its_own_back(tmp_path: Path) -> None:
    for name, script in {
        "hf": 'echo "hf $*" >>"$LOG"',
        "python": 'echo "python $*" >>"$LOG"; test -e mamp/pyproject.toml',
        "torchrun": 'echo "torchrun $*" >>"$LOG"; while ! grep -q "sync out" "$LOG"; do sleep 0.1; done; exit 3',
    }.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "source/examples").mkdir(parents=True)
    (tmp_path / "source/pyproject.toml").touch()
    job = shutil.copy(ROOT / "examples/segment_hf_job.sh", tmp_path / "source/examples")
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    environment["SYNC_SECONDS"] = "0.1"
    command = ["bash", job, "my clips", "masks", "hf://buckets/me/out", "--export", "coco"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, timeout=60).returncode == 3
    install, download, *others = (tmp_path / "log").read_text().splitlines()
    (torchrun,) = (line for line in others if line.startswith("torchrun"))  # on a busy machine an upload may come first
    uploads = [line for line in others if line != torchrun]
    assert install == "python -m pip install ./mamp" and download == "hf buckets sync hf://buckets/me/out out"
    assert torchrun.endswith("-m mamp segment my clips --masks masks --out out --export coco")
    assert len(uploads) >= 2 and set(uploads) == {"hf buckets sync out hf://buckets/me/out"}


def test_the_container_holds_what_the_package_needs() -> None:
    """``scripts/check_package`` runs the steps; here, what they copy exists and is sent to Docker."""
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    files = [name for line in copied for name in line.split()]
    sent = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert sorted(files) == sorted(sent) and all((ROOT / name).exists() for name in files)
