#!/usr/bin/env bash
# Trains on a TPU: one host, a pod, or several slices. It asks the cloud for the machines as a queued resource.
#
#   launch/tpu_pod.sh train --name=hc --zone=us-west4-a --type=v5litepod-256 -- --config=... --workdir=/mnt/hcflow/a
#   launch/tpu_pod.sh status --name=hc --zone=us-west4-a         the state of the request, and of training on each worker
#   launch/tpu_pod.sh logs --name=hc --zone=us-west4-a           the output of every worker, into tpu_logs/
#   launch/tpu_pod.sh stop --name=hc --zone=us-west4-a           saves and ends; `train` continues from there
#   launch/tpu_pod.sh delete --name=hc --zone=us-west4-a         gives the machines back, after asking
#
# `train` requests the TPU unless it is there, waits for it, copies the code, installs, and starts one process on each
# worker. Then it returns, and training goes on. With --spot it stays instead: when the cloud takes the machines back,
# it requests new ones, and training continues from its last checkpoint. Repeat the command if it was stopped. Where
# training runs already, `train` copies nothing; it starts the workers that do not run.
#
# Options, before --:
#   --name=NAME, --zone=ZONE      of the request, and of the TPU; both are needed
#   --type=TYPE                   to request it: v5litepod-8, v5p-16, v6e-64, ... (without, it has to be there)
#   --slices=N                    so many TPUs of that type in one run
#   --version=VERSION             the software of its machines (default: the one for the type)
#   --spot                        machines that the cloud may take back, at a lower price
#   --project=PROJECT             other than gcloud's own
#   --nfs=SERVER:/SHARE           mounted at /mnt/hcflow on every worker, for workdir, images and compiled programs
#   --bucket=gs://BUCKET[/NAME]   instead of --nfs: a relative workdir is below it, and so are compiled programs
#   --shared                      the workdir is on a file system that you mounted on all workers yourself
#   --wait=HOURS                  how long to wait in the queue, or for a cloud that does not answer (default 24)
#   --out=DIR                     where logs go (default tpu_logs); with several slices, each has a folder there
#   --dry-run                     print what would be done, a command a line
# After --: arguments of hcflow_jax.main. The workdir is below /mnt/hcflow (--nfs), in gs://, or yours (--shared).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"
source "$ROOT/launch/_tpu.sh"
source "$ROOT/launch/_queue.sh"

POLL="${HCFLOW_POLL_SECONDS:-30}" # seconds between two questions to the cloud
TRIES=3                           # of a step that fails on a worker: its ssh server may not be up yet

name="" zone="" kind="" version="" nfs="" bucket="" buckets=1 mounted="" compiled="" out=tpu_logs slices=1 spot="" hours=24 where=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  once "$1"
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    train | status | logs | stop | delete) take_action "$1" ;;
    --dry-run) dry=1 ;;
    --name=*) name="${1#*=}" ;;
    --zone=*) zone="${1#*=}" ;;
    --type=*) kind="${1#*=}" ;;
    --slices=*) slices="${1#*=}" ;;
    --version=*) version="${1#*=}" ;;
    --nfs=*) nfs="${1#*=}" ;;
    --bucket=*) bucket="${1#*=}" ;;
    --shared) mounted=1 ;;
    --wait=*) hours="${1#*=}" ;;
    --out=*) out="${1#*=}" ;;
    --project=?*) where+=("$1") ;;
    --spot) spot=1 ;;
    *) refuse "$1: no such option of launch/tpu_pod.sh; arguments of hcflow_jax.main stand after --" ;;
  esac
  shift
done
[ -n "$action" ] || refuse "what is to be done? train, status, logs, stop or delete"
[ -n "$name" ] || refuse "--name=NAME is missing: which TPU?"
[ -n "$zone" ] || refuse "--zone=ZONE is missing: where is the TPU?"
plain_name "$name" --name
[[ "$zone" =~ ^[a-z]+-[a-z]+[0-9]+-[a-z0-9]+$ ]] || refuse "--zone=$zone: expected a zone of a region, such as us-west4-a"
whole "$slices" --slices
whole "$hours" --wait
[[ "$nfs" =~ ^([A-Za-z0-9][A-Za-z0-9._-]*:/[A-Za-z0-9._/-]*)?$ ]] || refuse "--nfs=$nfs: expected SERVER:/SHARE, of letters, digits, ., _, - and /"
[ -z "$nfs" ] || [ -z "$bucket" ] \
  || refuse "--nfs, --bucket=$bucket: give one of them; with --nfs, write the whole path of a workdir in a bucket"
[ -z "$bucket" ] || bucket_path "$bucket" --bucket
bucket="${bucket%/}"
if [ -n "$kind" ]; then
  slice_type "$kind"
  version="$(software "$kind" "$version")"
elif [ -n "$version" ]; then
  refuse "--version=$version needs --type=TYPE: without it, nothing is requested"
elif [ -n "$spot" ] && [ "$action" = train ]; then
  refuse "--spot needs --type=TYPE: what is requested again when the cloud takes the machines back?"
fi
if [ "$action" = train ]; then
  take_training "$bucket" "${@:2}"
  # A preempted run comes back on new machines, so what was compiled has to lie in the bucket, too.
  if [[ "$workdir" = gs://* ]]; then
    compiled="JAX_COMPILATION_CACHE_DIR=${bucket:+$bucket/.xla}"
    [ -n "$bucket" ] || compiled="$compiled$(beside "$workdir")"
  elif [ -z "$mounted" ]; then
    { [ -n "$nfs" ] && below /mnt/hcflow "$workdir"; } || refuse "--workdir=$workdir: all workers must share it: \
a folder below /mnt/hcflow with --nfs, or gs://BUCKET/NAME; give --shared if you mounted it on all workers yourself"
    compiled=JAX_COMPILATION_CACHE_DIR=/mnt/hcflow/.xla
  elif [ -n "$spot" ]; then
    refuse "--shared: new machines do not have what you mounted, so --spot needs --nfs, or a workdir in gs://"
  fi
else
  no_training "$@"
fi
needs gcloud
where+=("--zone=$zone")

requests=(gcloud compute tpus queued-resources)
machines=(gcloud compute tpus tpu-vm)
describe=("${requests[@]}" describe "$name" "${where[@]}" "--format=value(state.state)")

# The TPUs of the request.
nodes=("$name")
if [ "$slices" -gt 1 ]; then
  nodes=()
  for ((i = 0; i < slices; i++)); do nodes+=("$name-$i"); done
fi

# retried COMMAND...: tries a step again; status 1 if it fails because the cloud took the machines back.
retried() {
  local try
  if [ -n "$dry" ]; then act "$@"; return; fi
  for ((try = 1; try <= TRIES; try++)); do
    "$@" && return
    ! gone || return 1
    sleep "$POLL"
  done
  refuse "a worker of $name did not do its part, $TRIES times: $(quoted "$@")"
}

# everywhere COMMAND: a shell's line on all workers at once.
everywhere() {
  local node
  for node in "${nodes[@]}"; do
    retried "${machines[@]}" ssh "$node" "${where[@]}" --worker=all "--command=$1" || return 1
  done
}

copy() {
  local archive node
  archive="${TMPDIR:-/tmp}/hcflow_jax-$name.tar.gz"
  act tar -C "$ROOT" --exclude=__pycache__ -czf "$archive" pyproject.toml LICENSE hcflow_jax configs launch \
    || refuse "$archive: the code could not be packed"
  for node in "${nodes[@]}"; do
    retried "${machines[@]}" scp "$archive" "$node:hcflow_jax.tar.gz" "${where[@]}" --worker=all || return 1
  done
  everywhere "mkdir -p hcflow_jax && tar -xzf hcflow_jax.tar.gz -C hcflow_jax"
}

# The machines' own Python is 3.10; uv brings a newer one.
install() {
  everywhere "python3 -m pip install --quiet --user uv && ~/.local/bin/uv python install 3.12 && cd hcflow_jax && \
source launch/_env.sh && PYTHON=\"\$(~/.local/bin/uv python find --system 3.12)\" ensure_env tpu$stores"
}

mount_nfs() {
  [ -z "$nfs" ] || everywhere "mountpoint -q /mnt/hcflow || { sudo apt-get install -qq -y nfs-common && sudo mkdir -p /mnt/hcflow && \
sudo mount -t nfs $(quoted "$nfs") /mnt/hcflow && sudo chmod 1777 /mnt/hcflow; }"
}

stop() { everywhere "if [ -d hcflow_jax ]; then cd hcflow_jax && bash launch/_worker.sh stop; fi"; }

start() { everywhere "cd hcflow_jax && ${compiled:+$compiled }bash launch/_worker.sh start $(quoted "${training[@]}")"; }

# Prints what `_worker.sh status` prints on the first worker; the code may not be there yet.
progress() {
  act "${machines[@]}" ssh "${nodes[0]}" "${where[@]}" --worker=0 "--command=if [ ! -d hcflow_jax ]; then echo not started; else \
cd hcflow_jax && bash launch/_worker.sh status $(quoted "${training[@]}"); fi"
}

# Sets `said` to the progress. A worker that does not answer is asked again.
ask() {
  local try
  for ((try = 1; try <= TRIES; try++)); do
    said="$(progress | tail -n 1)" && return
    ! gone || return 1
    sleep "$POLL"
  done
  refuse "the first worker of $name did not answer, $TRIES times"
}

# Waits for the end of training. Status 1 if it has to start again: the cloud took the machines back, or one rebooted.
watch() {
  local said ended=0 lost=0 ran=""
  while sleep "$POLL"; do
    ! gone || return 1
    said="$(progress 2>/dev/null | tail -n 1)" || said=""
    case "$said" in
      "ended 0") return ;;
      # Before the cloud takes the machines back, the workers are told to end. Its own state follows later.
      "ended "*) ((++ended < TRIES)) || refuse "training ended with status ${said#ended }: launch/tpu_pod.sh logs shows why" ;;
      "not started")
        ((++lost < TRIES)) && continue
        [ -n "$ran" ] || refuse "training did not stay on the first worker of $name: launch/tpu_pod.sh logs shows why"
        stop || true # what runs on the other workers
        return 1
        ;;
      *)
        ended=0 lost=0
        [ -z "$said" ] || ran=1
        ;;
    esac
  done
}

# New code must not come over code that runs.
train() {
  local said=""
  [ -z "$kind" ] || obtain
  if [ -n "$dry" ]; then
    # shellcheck disable=SC2016 # the printed script expands it
    printf 'if [ "$(%s | tail -n 1)" != running ]; then\n' "$(progress)"
    copy && install && mount_nfs
    echo "fi"
    start
    return
  fi
  ask || return 1
  case "$said" in
    running) say "training runs already on $name; launch/tpu_pod.sh logs shows its output" ;;
    running*) refuse "training runs already on $name, with other arguments after --: launch/tpu_pod.sh stop ends it" ;;
    *) { copy && install && mount_nfs; } || return 1 ;;
  esac
  start || return 1
  [ -z "$spot" ] || watch
}

case "$action" in
  train)
    until train; do
      case "$now" in
        UNKNOWN) ;;
        ACTIVE) say "training does not run on the first worker of $name any more; starting it again, from the last checkpoint" ;;
        *) say "the cloud took the machines back; requesting others, to continue from the last checkpoint" ;;
      esac
    done
    ;;
  status)
    act "${requests[@]}" describe "$name" "${where[@]}"
    everywhere "cd hcflow_jax && bash launch/_worker.sh status"
    ;;
  logs)
    for node in "${nodes[@]}"; do
      folder="$out"
      [ "$slices" -eq 1 ] || folder="$out/$node"
      act mkdir -p "$folder"
      act "${machines[@]}" ssh "$node" "${where[@]}" --worker=all "--output-directory=$folder" "--command=cat hcflow_jax/train.log"
    done
    ;;
  stop) stop ;;
  delete) act_either "${describe[@]}" -- "${requests[@]}" delete "$name" "${where[@]}" --force -- "${machines[@]}" delete "$name" "${where[@]}" ;;
esac
