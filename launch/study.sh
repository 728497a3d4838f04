#!/usr/bin/env bash
# Trains and measures the runs of docs/study.md, about 30 minutes each on 2 CPU cores, and keeps what came out.
#
#   launch/study.sh list                  the runs, and how far each is
#   launch/study.sh costs                 times a training step and a batch of samples of each model
#   launch/study.sh costs trials          times a step of the trials of `recipes`
#   launch/study.sh run                   whatever is missing
#   launch/study.sh run portraits_a       all seeds of a model; also a single run, or how names begin
#   launch/study.sh recipes               the short runs that look for better rates, schedules and optimizers
#   launch/study.sh reals                 compares the real images with one another, as samples of a perfect model
#   launch/study.sh page                  makes the tables and pictures of docs/study.md anew
#   launch/study.sh references            makes the references of `hcflow compare` anew of the study's runs
#   launch/study.sh run --folder=DIR      the runs' workdirs; runs/study by default
#
# Stop it whenever you like: the next start goes on from the last checkpoint, and does nothing twice.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

case "${1:-}" in
  "" | -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
ensure_env dev
keep_compiled
quick_on_cpu
cd "$ROOT"
exec "$PY" -m benchmarks.study "$@"
