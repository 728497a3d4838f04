#!/usr/bin/env bash
# Checks the code and runs the tests on the CPU.
#
#   launch/test.sh                        the fast tier: what to run while working; at most 10 minutes on 2 cores
#   launch/test.sh --full                 what continuous integration runs after it: tests that are slow (marker
#                                         `slow`), start processes, need PyTorch or a browser (marker `full`); about half an hour
#                                         on 2 cores
#   launch/test.sh --all                  what fits into neither: tests that take minutes (marker `all`); the fast tier
#                                         and the slow tests on Python 3.12 and 3.13, and with 64 bits enabled those
#                                         of flows, of the API and of training steps; over an hour
#   launch/test.sh tests/test_x.py -k y   other arguments go to pytest (paths from the repository's root)
#
# A tier's test files are spread over as many processes as there are cores, at most 4; with arguments of your own one
# process runs them, so that --pdb and -s work (-n 2 spreads them again). The first start makes .venv and installs
# what the tests need; --all makes .venv-3.12 and .venv-3.13 too. `.ci/run` runs the first two tiers in a new copy.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

FAST="not slow and not full and not all"
FULL="(slow or full) and not all"
ELSEWHERE="not full and not all"
RELEASES=(3.12 3.13)
# What must hold where JAX_ENABLE_X64=1 is set, too.
WIDE=(tests/test_bijectors*.py tests/test_flows*.py tests/test_api.py tests/test_noise.py tests/test_data_preprocessing.py
  tests/test_training_step.py tests/test_training_model.py tests/test_training_loop.py tests/test_training_optimizer.py
  tests/test_training_stored.py tests/test_training_schedule.py)
tier=fast
arguments=()
for argument in "$@"; do
  case "$argument" in
    --full) tier=full ;;
    --all) tier=all ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) arguments+=("$argument") ;;
  esac
done
[ ${#arguments[@]} -gt 0 ] || arguments=(-n logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder)

# Runs pytest on what a marker expression selects; more arguments go to pytest.
tests() {
  "$PY" -m pytest --durations=15 -m "$@" "${arguments[@]}"
}

# Runs a command that may fail, and says so at once and in the end.
failed=()
attempt() {
  local name="$1"
  shift
  say "$name"
  "$@" || { failed+=("$name"); say "FAILED: $name"; }
}

# The tests that start no processes, on another Python, in an environment of its own.
rerun_on() {
  local python
  python="$(find_release "$1")" || { say "no Python $1 on PATH or in pyenv"; return 1; }
  (
    use_venv ".venv-$1"
    export PYTHON="$python"
    ensure_env dev
    tests "$ELSEWHERE"
  )
}

ensure_env dev
case "$tier" in
  full) ensure_env peers,browser,docs,pictures,gcs,s3 ;;
  all) ensure_env stores ;;
esac
keep_compiled
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
quick_on_cpu
cd "$ROOT"

case "$tier" in
  fast)
    attempt "checks" bash launch/checks.sh
    attempt "tests of the fast tier" tests "$FAST"
    ;;
  full)
    attempt "Chromium for the tests of the explorer" ensure_browser
    attempt "types, PyTorch's too" bash launch/checks.sh pyright
    attempt "tests marked slow or full" tests "$FULL"
    ;;
  all)
    attempt "SLURM for the test of a cluster" ensure_slurm
    attempt "tests marked all" tests all
    JAX_ENABLE_X64=1 attempt "tests with 64 bits enabled" tests "$ELSEWHERE" "${WIDE[@]}"
    for release in "${RELEASES[@]}"; do attempt "tests on Python $release" rerun_on "$release"; done
    ;;
esac

if [ ${#failed[@]} -eq 0 ]; then verdict="all passed"; else verdict="FAILED"; fi
say "$verdict in $((SECONDS / 60)) min $((SECONDS % 60)) s"
for name in ${failed[@]+"${failed[@]}"}; do say "FAILED: $name"; done
[ ${#failed[@]} -eq 0 ]
