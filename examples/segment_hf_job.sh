#!/bin/bash
# Segments a list of clips in a job of Hugging Face; docs/BATCH.md shows how to start it:
# segment_hf_job.sh CLIPS MASKS hf://buckets/YOU/OUT [options of "python -m mamp segment"]
set -euo pipefail
bucket="$3"
cp -r "$(dirname "$0")/.." mamp # the Space is mounted read-only, and pip writes beside what it builds
python -m pip install ./mamp
mkdir -p out
hf buckets sync "$bucket" out # results of an earlier job
while sleep "${SYNC_SECONDS:-300}"; do hf buckets sync out "$bucket"; done & # a job at its time limit is killed
trap "kill $!; hf buckets sync out $bucket" EXIT
torchrun --standalone --nproc-per-node auto --max-restarts 3 -m mamp segment "$1" --masks "$2" --out out "${@:4}"
