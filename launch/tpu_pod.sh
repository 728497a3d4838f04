#!/usr/bin/env bash
# Trains on a TPU VM or a pod of them, through the cloud's command line: creates it or uses the one of that name.
#
#   launch/tpu_pod.sh train --name=hc --zone=us-west4-a --type=v5litepod-256 -- --config=... --workdir=/mnt/hcflow/a
#   launch/tpu_pod.sh logs --name=hc --zone=us-west4-a           what every worker has said, into tpu_logs/
#   launch/tpu_pod.sh stop --name=hc --zone=us-west4-a           saves and ends; `train` goes on from there
#   launch/tpu_pod.sh delete --name=hc --zone=us-west4-a         gives the machines back, after asking
#
# Options, before --:
#   --name=NAME, --zone=ZONE      of the TPU; both are needed
#   --type=TYPE                   to create it: v5litepod-8, v5litepod-256, ... (without, it has to be there)
#   --version=VERSION             its software (default v2-alpha-tpuv5-lite, which is v5e's)
#   --spot                        create it as one that the cloud may take back
#   --project=PROJECT             other than gcloud's own
#   --nfs=SERVER:/SHARE           mounted at /mnt/hcflow on every worker, for workdir and images
#   --out=DIR                     where logs go (default tpu_logs)
#   --dry-run                     print what would be done, a command a line
# After --: arguments of hcflow_jax.main. The workdir lies on a file system that all workers share.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
source "$ROOT/launch/_launch.sh"

action="" name="" zone="" kind="" version=v2-alpha-tpuv5-lite nfs="" out=tpu_logs where=() create=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case "$1" in
    -h | --help) show_help "${BASH_SOURCE[0]}" ;;
    train | logs | stop | delete) action="$1" ;;
    --dry-run) dry=1 ;;
    --name=*) name="${1#*=}" ;;
    --zone=*) zone="${1#*=}" ;;
    --type=*) kind="${1#*=}" ;;
    --version=*) version="${1#*=}" ;;
    --nfs=*) nfs="${1#*=}" ;;
    --out=*) out="${1#*=}" ;;
    --project=?*) where+=("$1") ;;
    --spot) create+=(--spot) ;;
    *) refuse "$1: no such option of launch/tpu_pod.sh; arguments of hcflow_jax.main stand after --" ;;
  esac
  shift
done
[ -n "$action" ] || refuse "what is to be done? train, logs, stop or delete"
[ -n "$name" ] || refuse "--name=NAME is missing: which TPU?"
[ -n "$zone" ] || refuse "--zone=ZONE is missing: where is the TPU?"
plain_name "$name" --name
[[ "$nfs" =~ ^([^:\ ]+:/[^\ ]+)?$ ]] || refuse "--nfs=$nfs: expected SERVER:/SHARE"
[ "$action" != train ] || take_training "" "${@:2}"
needs gcloud
where+=("--zone=$zone")

# everywhere COMMAND: a shell's line on all workers at once.
everywhere() { act gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all "--command=$1"; }

copy() {
  local archive
  archive="${TMPDIR:-/tmp}/hcflow_jax-$name.tar.gz"
  act tar -C "$ROOT" --exclude=__pycache__ -czf "$archive" pyproject.toml LICENSE hcflow_jax configs launch
  act gcloud compute tpus tpu-vm scp "$archive" "$name:hcflow_jax.tar.gz" "${where[@]}" --worker=all
  everywhere "mkdir -p hcflow_jax && tar -xzf hcflow_jax.tar.gz -C hcflow_jax"
}

# The machines' own Python is 3.10; uv brings a newer one.
install() {
  everywhere "python3 -m pip install --quiet --user uv && ~/.local/bin/uv python install 3.12 && cd hcflow_jax && \
source launch/_env.sh && PYTHON=\"\$(~/.local/bin/uv python find --system 3.12)\" ensure_env tpu"
}

mount_nfs() {
  everywhere "mountpoint -q /mnt/hcflow || { sudo apt-get install -qq -y nfs-common && sudo mkdir -p /mnt/hcflow && \
sudo mount -t nfs $nfs /mnt/hcflow && sudo chmod 1777 /mnt/hcflow; }"
}

case "$action" in
  train)
    if [ -n "$kind" ]; then
      act_unless gcloud compute tpus tpu-vm describe "$name" "${where[@]}" -- gcloud compute tpus tpu-vm create "$name" "${where[@]}" \
        "--accelerator-type=$kind" "--version=$version" ${create[@]+"${create[@]}"}
    fi
    copy
    install
    [ -z "$nfs" ] || mount_nfs
    everywhere "cd hcflow_jax && bash launch/_worker.sh start $(quoted "${training[@]}")"
    ;;
  logs)
    act mkdir -p "$out"
    act gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all "--output-directory=$out" \
      "--command=cat hcflow_jax/train.log"
    ;;
  stop) everywhere "cd hcflow_jax && bash launch/_worker.sh stop" ;;
  delete) act gcloud compute tpus tpu-vm delete "$name" "${where[@]}" ;;
esac
