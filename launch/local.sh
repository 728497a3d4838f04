#!/usr/bin/env bash
# Trains on this host with everything it has: one process drives all its GPUs or TPUs, or the CPU if it has neither.
#
#   launch/local.sh -- --config=configs/celebahq_a.py --workdir=runs/a
#   launch/local.sh --devices=0,1 -- --config=... --workdir=...
#
# Before --:
#   --devices=0,1,...   only these GPUs (default: all)
#   --extra=NAME        what to install: cuda12 (default with an NVIDIA GPU), cuda13, tpu (default with a TPU), or
#                       demo (default without either: trains on the CPU)
#   --memory=0.92       the fraction of a GPU's memory that JAX takes at the start
#   --dry-run           print what would be done, a command a line
# After it: arguments of hcflow_jax.main. --config= is a preset, or a file: from the repository's root, or from here.
# train.batch_size is of all devices together.
# Ctrl-C or SIGTERM saves and ends it; the same command goes on from there.
set -euo pipefail
here="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"
buckets=1 shared=1

# Whether this host has a TPU: its chips are device files of one of these names, by generation.
has_tpu() { [ -e "${DEVICE_FILES:-/dev}/accel0" ] || [ -e "${DEVICE_FILES:-/dev}/vfio/0" ]; }

devices="" memory=0.92
if command -v nvidia-smi >/dev/null 2>&1; then extra=cuda12; elif has_tpu; then extra=tpu; else extra=demo; fi
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  once "$1"
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    --dry-run) dry=1 ;;
    --devices=*) devices="${1#*=}" ;;
    --extra=*) extra="${1#*=}" ;;
    --memory=*) memory="${1#*=}" ;;
    *) refuse "$1: no such option of launch/local.sh; arguments of hcflow_jax.main stand after --" ;;
  esac
  shift
done
[[ "$devices" =~ ^([0-9]+(,[0-9]+)*)?$ ]] || refuse "--devices=$devices: expected numbers of GPUs, such as 0,1"
[[ "$memory" =~ ^(1|1\.0+|0?\.[0-9]*[1-9][0-9]*)$ ]] || refuse "--memory=$memory: expected a fraction above 0, at most 1"
[[ "$extra" =~ ^(cuda12|cuda13|tpu|demo)$ ]] || refuse "--extra=$extra: expected cuda12, cuda13, tpu or demo"
take_training "$here" "${@:2}"

environment=()
case "$extra" in
  # Named, since JAX would train on the CPU where its GPU does not start.
  cuda*) environment+=("JAX_PLATFORMS=cuda,cpu" "XLA_PYTHON_CLIENT_MEM_FRACTION=$memory") ;;
  demo) environment+=(JAX_PLATFORMS=cpu) ;;
esac
[ -z "$devices" ] || environment+=(CUDA_VISIBLE_DEVICES="$devices")

keep_compiled
[ "$extra" != demo ] || quick_on_cpu
act cd "$ROOT"
[[ "$JAX_COMPILATION_CACHE_DIR" != gs://* || "$stores" = *,gcs* ]] || stores=",gcs$stores"
act bash -c "source launch/_env.sh && ensure_env $extra$stores"
[ -n "$dry" ] || exec env ${environment[@]+"${environment[@]}"} "$PY" -m hcflow_jax.main "${training[@]}"
act env ${environment[@]+"${environment[@]}"} "$PY" -m hcflow_jax.main "${training[@]}"
