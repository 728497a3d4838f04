#!/usr/bin/env bash
# Trains on several nodes of a SLURM cluster: makes a job script and submits it.
#
#   launch/slurm.sh --nodes=4 --gpus=8 --time=24:00:00 -- --config=configs/celebahq_a.py --workdir=/shared/runs/a
#
# Before --:
#   --nodes=N           nodes (default 1)
#   --gpus=N            GPUs a node (default 8); one process a node drives them all. 0: trains on the CPUs
#   --cpus=N            processor cores a node (default: what the cluster gives)
#   --time=HH:MM:SS     the limit, in one of sbatch's forms; five minutes before it the run saves and ends
#   --partition=, --account=, --qos=, --constraint=, --reservation=, --mem=, --exclusive, --mail-user=, --mail-type=
#                       as sbatch has them
#   --name=NAME         of the job (default hcflow)
#   --requeue           submit it again where it reached its limit or was preempted
#   --extra=NAME        what to install into .venv, here, before submitting: cuda12, cuda13, or demo for CPUs
#                       (default: cuda12, without GPUs demo)
#   --dry-run           print what would be done, a command a line
# After it: arguments of hcflow_jax.main. --config= is a preset, or a file: from the repository's root, or from here.
# All nodes must share the file system of the repository, of the config and of the workdir, which cannot be in a bucket.
set -euo pipefail
here="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"

# The forms of sbatch. Without days, two numbers are minutes and seconds.
check_limit() {
  local number='([0-9]{1,6})' sixty='([0-5][0-9])' days=0 hours=0 minutes=0 seconds=0
  if [[ "$limit" =~ ^$number-$number(:$sixty(:$sixty)?)?$ ]]; then
    days="${BASH_REMATCH[1]}" hours="${BASH_REMATCH[2]}" minutes="${BASH_REMATCH[4]:-0}" seconds="${BASH_REMATCH[6]:-0}"
  elif [[ "$limit" =~ ^$number:$sixty:$sixty$ ]]; then
    hours="${BASH_REMATCH[1]}" minutes="${BASH_REMATCH[2]}" seconds="${BASH_REMATCH[3]}"
  elif [[ "$limit" =~ ^$number(:$sixty)?$ ]]; then
    minutes="${BASH_REMATCH[1]}" seconds="${BASH_REMATCH[3]:-0}"
  else
    refuse "--time=$limit: expected MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES or \
DAYS-HOURS:MINUTES:SECONDS; what stands after a colon has two digits, at most 59"
  fi
  [ $((((10#$days * 24 + 10#$hours) * 60 + 10#$minutes) * 60 + 10#$seconds)) -gt 300 ] \
    || refuse "--time=$limit: expected more than 5 minutes; the run saves and ends 5 minutes before its limit"
  [[ ! "$limit" =~ ^[0-9]+:[0-9]+$ ]] || say "--time=$limit: that is $((10#$minutes)) minutes, not hours"
}

nodes=1 gpus=8 cpus="" extra="" name=hcflow requeue="" limit="" headers=() shared=1
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  once "$1"
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    --dry-run) dry=1 ;;
    --nodes=*) nodes="${1#*=}" ;;
    --gpus=*) gpus="${1#*=}" ;;
    --cpus=*) cpus="${1#*=}" ;;
    --time=*) limit="${1#*=}" ;;
    --name=*) name="${1#*=}" ;;
    --extra=*) extra="${1#*=}" ;;
    --requeue) requeue=1 ;;
    --partition=?* | --account=?* | --qos=?* | --constraint=?* | --reservation=?*) headers+=("$1") ;;
    --mem=?* | --exclusive | --mail-user=?* | --mail-type=?*) headers+=("$1") ;;
    *) refuse "$1: no such option of launch/slurm.sh; arguments of hcflow_jax.main stand after --" ;;
  esac
  shift
done
whole "$nodes" --nodes
[ "$gpus" = 0 ] || whole "$gpus" --gpus
[ -z "$cpus" ] || whole "$cpus" --cpus
plain_name "$name" --name
[ -z "$limit" ] || check_limit
platforms=cuda,cpu
if [ "$gpus" = 0 ]; then platforms=cpu extra="${extra:-demo}"; else extra="${extra:-cuda12}"; fi
[[ "$extra" =~ ^(cuda12|cuda13|demo)$ ]] || refuse "--extra=$extra: expected cuda12, cuda13 or demo"
take_training "$here" "${@:2}"
needs sbatch

[ -z "$cpus" ] || headers+=("--cpus-per-task=$cpus")
[ -z "$limit" ] || headers+=("--time=$limit")
[ -z "$requeue" ] || headers+=(--requeue)

job() {
  local header gpu_header=()
  [ "$gpus" = 0 ] || gpu_header=("--gpus-per-node=$gpus")
  echo "#!/usr/bin/env bash"
  for header in "--job-name=$name" "--nodes=$nodes" --ntasks-per-node=1 ${gpu_header[@]+"${gpu_header[@]}"} \
    ${headers[@]+"${headers[@]}"} --signal=TERM@300 "--output=$workdir/slurm-%j.log" --open-mode=append; do
    echo "#SBATCH $(quoted "$header")"
  done
  quoted cd "$ROOT"
  quoted export "JAX_PLATFORMS=$platforms" XLA_PYTHON_CLIENT_MEM_FRACTION=0.92
  quoted export "JAX_COMPILATION_CACHE_DIR=$workdir/.xla"
  echo "status=0"
  printf '%s || status=$?\n' "$(quoted srun ${cpus:+"--cpus-per-task=$cpus"} --kill-on-bad-exit=1 "$PY" -m hcflow_jax.main "${training[@]}")"
  # shellcheck disable=SC2016  # the job's own variables
  [ -z "$requeue" ] || echo '[ "$status" -ne 143 ] || scontrol requeue "$SLURM_JOB_ID"'
  # shellcheck disable=SC2016
  echo 'exit "$status"'
}

act cd "$ROOT"
act bash -c "source launch/_env.sh && ensure_env $extra$stores"
act mkdir -p "$workdir"
job | feed sbatch
