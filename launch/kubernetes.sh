#!/usr/bin/env bash
# Trains on several hosts of a Kubernetes cluster that has JobSet installed, on GPUs or TPUs.
#
#   launch/kubernetes.sh train --image=IMAGE --claim=runs --hosts=2 --gpus=8 -- --config=... --workdir=/runs/a
#   launch/kubernetes.sh train --image=IMAGE --claim=runs --hosts=64 --tpu=tpu-v5-lite-podslice:16x16 --chips=4 -- ...
#   launch/kubernetes.sh logs                what the first process says, as it says it
#   launch/kubernetes.sh delete              SIGTERM to all, which saves; `train` goes on from there
#
# Options, before --:
#   --name=NAME              of the JobSet (default hcflow)
#   --namespace=NAMESPACE    other than kubectl's own
#   --image=IMAGE            with the repository installed in /hcflow_jax: launch/Dockerfile makes it
#   --claim=CLAIM            a claim of a volume that all hosts can write (ReadWriteMany), mounted at /runs
#   --bucket=gs://BUCKET[/NAME]  a relative workdir is below it, and so are compiled programs; needs no --claim
#   --hosts=N                hosts (default 1), one process each
#   --gpus=N                 GPUs a host (default 8)
#   --tpu=TYPE:TOPOLOGY      TPUs instead of GPUs, as GKE names them; HOSTS times CHIPS make up the topology
#   --chips=N                TPU chips a host (default 4)
#   --slices=N               so many TPUs of that topology in one run (default 1), each on a node pool of its own
#   --queue=NAME             a LocalQueue of Kueue, which starts the run when its quota allows it
#   --restarts=N             how often a lost process is made up for (default 20; 0: never)
#   --dry-run                print what would be done, a command a line
# After --: arguments of hcflow_jax.main; paths as the image has them, the workdir below /runs or in gs://.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"
source "$ROOT/launch/_tpu.sh"

name=hcflow image="" claim="" bucket="" buckets=1 compiled=/runs/.xla hosts=1 gpus="" tpu="" chips=4 slices=1 queue="" restarts=20 where=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  once "$1"
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    train | logs | delete) take_action "$1" ;;
    --dry-run) dry=1 ;;
    --name=*) name="${1#*=}" ;;
    --namespace=?*) where+=("$1") ;;
    --image=*) image="${1#*=}" ;;
    --claim=*) claim="${1#*=}" ;;
    --bucket=*) bucket="${1#*=}" ;;
    --hosts=*) hosts="${1#*=}" ;;
    --gpus=*) gpus="${1#*=}" ;;
    --tpu=*) tpu="${1#*=}" ;;
    --chips=*) chips="${1#*=}" ;;
    --slices=*) slices="${1#*=}" ;;
    --queue=?*) queue="${1#*=}" ;;
    --restarts=*) restarts="${1#*=}" ;;
    *) refuse "$1: no such option of launch/kubernetes.sh; arguments of hcflow_jax.main stand after --" ;;
  esac
  shift
done
[ -n "$action" ] || refuse "what is to be done? train, logs or delete"
plain_name "$name" --name

check_training() {
  [[ "$image" =~ ^[A-Za-z0-9][A-Za-z0-9._/:@-]*$ ]] || refuse "--image=$image: expected the name of an image, which launch/Dockerfile makes"
  if [[ "$workdir" = gs://* ]]; then
    compiled="${bucket:+$bucket/.xla}"
    compiled="${compiled:-$(beside "$workdir")}"
    [ -z "$claim" ] || plain_name "$claim" --claim
  else
    [ -n "$claim" ] || refuse "--claim=CLAIM is missing: of which volume is /runs? or give --bucket=gs://BUCKET"
    plain_name "$claim" --claim
  fi
  whole "$hosts" --hosts
  [ -z "$tpu" ] || [ -z "$gpus" ] || refuse "--gpus=$gpus, --tpu=$tpu: give one of them; a host has GPUs or TPUs"
  gpus="${gpus:-8}"
  whole "$gpus" --gpus
  whole "$chips" --chips
  whole "$slices" --slices
  [ "$restarts" = 0 ] || whole "$restarts" --restarts
  [ -z "$queue" ] || plain_name "$queue" --queue
  [ "$slices" -eq 1 ] || [ -n "$tpu" ] || refuse "--slices=$slices: only TPUs have slices; on GPUs, give more --hosts"
  [ -z "$tpu" ] || slice_topology "$tpu"
  topology="${tpu#*:}"
  if [ -n "$tpu" ] && [ "$((${topology//x/*}))" != "$((hosts * chips))" ]; then
    refuse "--tpu=$tpu: --hosts=$hosts of --chips=$chips are $((hosts * chips)) chips, not $topology"
  fi
  [[ "$workdir" = gs://* ]] || below /runs "$workdir" \
    || refuse "--workdir=$workdir: the volume is mounted at /runs, so name a directory below it"
}

if [ "$action" = train ]; then
  [ -z "$bucket" ] || bucket_path "$bucket" --bucket
  bucket="${bucket%/}"
  take_training "$bucket" "${@:2}"
  check_training
else
  no_training "$@"
fi
needs kubectl

# Arguments as a YAML list.
listed() {
  local word list=""
  for word in "$@"; do
    word="${word//\\/\\\\}"
    list="$list, \"${word//\"/\\\"}\""
  done
  printf '[%s]\n' "${list#, }"
}

# "0,1,2,3" of 4.
devices_of() { local i list=0; for ((i = 1; i < $1; i++)); do list="$list,$i"; done; printf '%s\n' "$list"; }

# On GPUs the pod's number is the process's, and with its devices named JAX asks the cluster for nothing. On TPUs it
# finds the others by itself.
manifest() {
  local command='exec python -m hcflow_jax.main \"$@\"' selector='{}' resource=nvidia.com/gpu each="$gpus" environment="" labels="{}" annotations="{}" text
  if [ -n "$tpu" ]; then
    selector="{cloud.google.com/gke-tpu-accelerator: ${tpu%:*}, cloud.google.com/gke-tpu-topology: $topology}"
    resource=google.com/tpu each="$chips"
  else
    command="$command --coordinator_address=$name-workers-0-0.$name:8476 --num_processes=$hosts --process_id=\$JOB_COMPLETION_INDEX"
    environment="                    - {name: JAX_LOCAL_DEVICE_IDS, value: \"$(devices_of "$gpus")\"}
                    - {name: JAX_PLATFORMS, value: \"cuda,cpu\"}
                    - {name: XLA_PYTHON_CLIENT_MEM_FRACTION, value: \"0.92\"}"
  fi
  [ -z "$queue" ] || labels="{kueue.x-k8s.io/queue-name: $queue}"
  [ "$slices" -eq 1 ] || annotations="{alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool}"
  text="$(grep -v '^#' "$ROOT/launch/jobset.yaml")"
  fill() { text=${text//"@$1@"/"$2"}; }
  fill NAME "$name"
  fill LABELS "$labels"
  fill ANNOTATIONS "$annotations"
  fill SLICES "$slices"
  fill RESTARTS "$restarts"
  fill HOSTS "$hosts"
  fill SELECTOR "$selector"
  fill IMAGE "$image"
  fill COMMAND "$command"
  fill ENVIRONMENT "$environment"
  fill RESOURCE "$resource"
  fill CHIPS "$each"
  fill COMPILED "$compiled"
  if [ -n "$claim" ]; then fill RUNS "persistentVolumeClaim: {claimName: \"$claim\"}"; else fill RUNS "emptyDir: {}"; fi
  fill ARGUMENTS "$(listed "${training[@]}")"
  printf '%s\n' "$text"
}

case "$action" in
  train)
    manifest | feed kubectl apply ${where[@]+"${where[@]}"} -f -
    ;;
  logs)
    act kubectl logs ${where[@]+"${where[@]}"} -f --selector="jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0"
    ;;
  delete) act kubectl delete jobset "$name" ${where[@]+"${where[@]}"} ;;
esac
