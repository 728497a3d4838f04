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
# it requests new ones, and training continues from its last checkpoint. Repeat the command if it was stopped.
#
# Options, before --:
#   --name=NAME, --zone=ZONE      of the request, and of the TPU; both are needed
#   --type=TYPE                   to request it: v5litepod-8, v5p-16, v6e-64, ... (without, it has to be there)
#   --slices=N                    so many TPUs of that type in one run
#   --version=VERSION             the software of its machines (default: the one for the type)
#   --spot                        machines that the cloud may take back, at a lower price
#   --project=PROJECT             other than gcloud's own
#   --nfs=SERVER:/SHARE           mounted at /mnt/hcflow on every worker, for workdir and images
#   --bucket=gs://BUCKET[/NAME]   instead: a workdir that is no absolute path is below it, and so are compiled programs
#   --wait=HOURS                  how long to wait in the queue (default 24)
#   --out=DIR                     where logs go (default tpu_logs)
#   --dry-run                     print what would be done, a command a line
# After --: arguments of hcflow_jax.main. The workdir is on a file system that all workers share, or in gs://.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"

POLL="${HCFLOW_POLL_SECONDS:-30}" # seconds between two questions to the cloud
TRIES=3                           # of a step that fails on a worker: its ssh server may not be up yet

action="" name="" zone="" kind="" version="" nfs="" bucket="" buckets=1 extra=tpu compiled="" out=tpu_logs slices=1 spot="" hours=24 where=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    train | status | logs | stop | delete) action="$1" ;;
    --dry-run) dry=1 ;;
    --name=*) name="${1#*=}" ;;
    --zone=*) zone="${1#*=}" ;;
    --type=*) kind="${1#*=}" ;;
    --slices=*) slices="${1#*=}" ;;
    --version=*) version="${1#*=}" ;;
    --nfs=*) nfs="${1#*=}" ;;
    --bucket=*) bucket="${1#*=}" ;;
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
whole "$slices" --slices
whole "$hours" --wait
[[ "$nfs" =~ ^([^:\ ]+:/[^\ ]+)?$ ]] || refuse "--nfs=$nfs: expected SERVER:/SHARE"
[ -z "$bucket" ] || bucket_path "$bucket" --bucket
bucket="${bucket%/}"
if [ "$action" = train ]; then
  take_training "$bucket" "${@:2}"
  # A preempted run comes back on new machines, so what was compiled has to lie in the bucket, too.
  if [[ "$workdir" = gs://* ]]; then
    extra=tpu,gcs
    compiled="JAX_COMPILATION_CACHE_DIR=${bucket:+$bucket/.xla}"
    [ -n "$bucket" ] || compiled="$compiled$(beside "$workdir")"
  fi
fi

# Prints the software that the machines of a type run.
software() {
  case "$1" in
    v4-*) echo v2-alpha-tpuv4 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
  esac
}

if [ -n "$kind" ]; then
  fitting="$(software "$kind")"
  [[ "$kind" =~ ^[a-z0-9]+-[1-9][0-9]*$ ]] && [ -n "$fitting" ] || refuse "--type=$kind: expected v4-, v5litepod-, v5p- or v6e- and a number, \
such as v5litepod-8; other generations need Kubernetes (launch/kubernetes.sh)"
  version="${version:-$fitting}"
  # A newer release of the same software has more letters behind: v2-alpha-tpuv5-lite-foo. v5p's is a prefix of v5e's.
  if [[ "$version" != "$fitting"* ]] || [[ "$version" = *-lite* && "$fitting" != *-lite ]]; then
    refuse "--version=$version: machines of the type $kind run $fitting"
  fi
elif [ -n "$spot" ] && [ "$action" = train ]; then
  refuse "--spot needs --type=TYPE: what is requested again when the cloud takes the machines back?"
fi
needs gcloud
where+=("--zone=$zone")

requests=(gcloud compute tpus queued-resources)
machines=(gcloud compute tpus tpu-vm)

# The TPUs of the request.
nodes=("$name")
if [ "$slices" -gt 1 ]; then
  nodes=()
  for ((i = 0; i < slices; i++)); do nodes+=("$name-$i"); done
fi

request() {
  local what=("--accelerator-type=$kind" "--runtime-version=$version")
  if [ "$slices" -gt 1 ]; then what+=("--node-count=$slices" "--node-prefix=$name"); else what+=("--node-id=$name"); fi
  [ -z "$spot" ] || what+=(--spot)
  act "${requests[@]}" create "$name" "${where[@]}" "${what[@]}" "--valid-until-duration=${hours}h"
}

describe=("${requests[@]}" describe "$name" "${where[@]}" "--format=value(state.state)")

# Prints the state of the request in the cloud's words: NONE if there is no request, UNKNOWN if the cloud does not say.
state() {
  local said
  if said="$("${describe[@]}" 2>&1)"; then
    tail -n 1 <<<"$said"
  elif [[ "$said" == *NOT_FOUND* ]]; then
    echo NONE
  else
    echo UNKNOWN
  fi
}

# Requests the TPU unless that is done, and waits until it is there.
obtain() {
  local before="" now asked=""
  if [ -n "$dry" ]; then
    printf '%s || %s\n' "$(quoted "${describe[@]}")" "$(request)"
    # shellcheck disable=SC2016 # the printed script expands it
    printf 'until [ "$(%s)" = ACTIVE ]; do sleep %s; done\n' "$(quoted "${describe[@]}")" "$POLL"
    return
  fi
  while :; do
    now="$(state)"
    [ "$now" = "$before" ] || say "the request $name: $now"
    before="$now"
    case "$now" in
      ACTIVE) return ;;
      FAILED)
        [ -z "$asked" ] || refuse "the cloud did not fill the request $name: $("${describe[@]/state.state/state}" 2>&1 | tail -n 1)"
        "${requests[@]}" delete "$name" "${where[@]}" --force --quiet
        ;;
      SUSPENDED) "${requests[@]}" delete "$name" "${where[@]}" --force --quiet ;; # its machines were taken back
      NONE)
        request
        asked=1
        ;;
      *) sleep "$POLL" ;; # WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDING, DELETING, ...
    esac
  done
}

gone() { [ -n "$kind" ] && [ "$(state)" != ACTIVE ]; }

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
source launch/_env.sh && PYTHON=\"\$(~/.local/bin/uv python find --system 3.12)\" ensure_env $extra"
}

mount_nfs() {
  [ -z "$nfs" ] || everywhere "mountpoint -q /mnt/hcflow || { sudo apt-get install -qq -y nfs-common && sudo mkdir -p /mnt/hcflow && \
sudo mount -t nfs $nfs /mnt/hcflow && sudo chmod 1777 /mnt/hcflow; }"
}

start() { everywhere "cd hcflow_jax && ${compiled:+$compiled }bash launch/_worker.sh start $(quoted "${training[@]}")"; }

# Prints "running", "ended STATUS", or something else, of the first worker.
progress() {
  "${machines[@]}" ssh "${nodes[0]}" "${where[@]}" --worker=0 "--command=cd hcflow_jax && bash launch/_worker.sh status" 2>/dev/null \
    | tail -n 1 || true
}

# Waits for the end of training. Status 1 if the cloud took the machines back before.
watch() {
  local said ended=0
  while sleep "$POLL"; do
    ! gone || return 1
    said="$(progress)"
    case "$said" in
      "ended 0") return ;;
      # Before the cloud takes the machines back, the workers are told to end. Its own state follows later.
      "ended "*) ((++ended < TRIES)) || refuse "training ended with status ${said#ended }: launch/tpu_pod.sh logs shows why" ;;
      *) ended=0 ;;
    esac
  done
}

train() {
  [ -z "$kind" ] || obtain
  if [ -z "$spot" ] || [ -n "$dry" ]; then
    copy && install && mount_nfs && start
  else
    [ "$(progress)" = running ] || { copy && install && mount_nfs && start; } || return 1
    watch
  fi
}

case "$action" in
  train)
    until train; do say "the cloud took the machines back; requesting others, to continue from the last checkpoint"; done
    ;;
  status)
    act "${requests[@]}" describe "$name" "${where[@]}"
    everywhere "cd hcflow_jax && bash launch/_worker.sh status"
    ;;
  logs)
    act mkdir -p "$out"
    for node in "${nodes[@]}"; do
      act "${machines[@]}" ssh "$node" "${where[@]}" --worker=all "--output-directory=$out" "--command=cat hcflow_jax/train.log"
    done
    ;;
  stop) everywhere "cd hcflow_jax && bash launch/_worker.sh stop" ;;
  delete) act_either "${describe[@]}" -- "${requests[@]}" delete "$name" "${where[@]}" --force -- "${machines[@]}" delete "$name" "${where[@]}" ;;
esac
