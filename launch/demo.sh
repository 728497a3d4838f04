#!/usr/bin/env bash
# Trains a small model on illustrated portraits, on whatever this machine has, and makes a report of what it learnt:
# about 10 minutes on 2 idle CPU cores, nothing downloaded but the packages.
#
#   launch/demo.sh                                        results in demo_out/
#   WORKDIR=/tmp/mine launch/demo.sh                      results elsewhere
#   launch/demo.sh --config.train.num_steps=200           arguments go to hcflow_jax.main
#
# You can stop it at any time: the next start continues from the last checkpoint. A finished run only reports.
set -euo pipefail
here="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

workdir="${WORKDIR:-$ROOT/demo_out}"
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --workdir=*) workdir="${1#*=}" ;;
    --workdir) [ $# -gt 1 ] || fail "--workdir needs a directory"; workdir="$2"; shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
case "$workdir" in
  /*) ;;
  *://*) fail "--workdir=$workdir: not on this machine's file systems; mount the bucket and name its folder" ;;
  \~ | \~/*) workdir="$HOME${workdir#\~}" ;;
  *) workdir="$here/$workdir" ;;
esac

say "demo: trains a small model on illustrated portraits, then reports; about 10 minutes on 2 idle CPU cores"
say "results: $workdir (start again to go on after an interruption)"
ensure_env demo
keep_compiled
quick_on_cpu
cd "$ROOT"

"$PY" -m hcflow_jax.main --config=configs/demo.py --workdir="$workdir" ${arguments[@]+"${arguments[@]}"}
"$PY" -m hcflow_jax report --workdir="$workdir"
say "and samples of the bundled pretrained model, which trained longer (hcflow_jax/box/portraits64.md):"
"$PY" -m hcflow_jax sample --count=64 --out="$workdir/report/box.png"
say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s; results: $workdir"
