#!/usr/bin/env bash
# Checks the code and runs the tests on the CPU: under 10 minutes on 2 cores, with --full under 50.
#
#   launch/test.sh                        the fast tier: what to run while working
#   launch/test.sh --full                 everything, PyTorch's side of the comparisons too
#   launch/test.sh tests/test_x.py -k y   other arguments go to pytest (paths from the repository's root)
#
# The first start makes .venv and installs what the tests need.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

tier=(-m "not full")
extras=(dev)
arguments=()
for argument in "$@"; do
  case "$argument" in
    --full) tier=(); extras+=(peers) ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) arguments+=("$argument") ;;
  esac
done

for extra in "${extras[@]}"; do ensure_env "$extra"; done
keep_compiled
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
quick_on_cpu
cd "$ROOT"

status=0
bash launch/checks.sh || status=1
"$PY" -m pytest --durations=15 ${tier[@]+"${tier[@]}"} ${arguments[@]+"${arguments[@]}"} || status=$?

if [ "$status" -eq 0 ]; then verdict="all passed"; else verdict="FAILED"; fi
say "$verdict in $((SECONDS / 60)) min $((SECONDS % 60)) s"
exit "$status"
