#!/usr/bin/env bash
# On a machine of a pod: trains in the background, so that it outlives the connection that started it.
#
#   launch/_worker.sh start ARGUMENT...    of hcflow_jax.main; its output goes to train.log, beside launch/
#   launch/_worker.sh stop                 SIGTERM, and waits until it has saved and ended
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"

running() { [ -s train.pid ] && kill -0 "$(cat train.pid)" 2>/dev/null; }

case "${1:-}" in
  start)
    shift
    if running; then fail "training runs already, as process $(cat train.pid): stop it first"; fi
    keep_compiled
    nohup "$PY" -m hcflow_jax.main "$@" >>train.log 2>&1 </dev/null &
    echo $! >train.pid
    say "training, as process $!; $ROOT/train.log has its output"
    ;;
  stop)
    if ! running; then say "no training runs here"; exit 0; fi
    kill -TERM "$(cat train.pid)"
    while running; do sleep 1; done
    rm -f train.pid
    tail -n 1 train.log
    ;;
  *) printf 'error: expected start or stop\n' >&2; exit 2 ;;
esac
