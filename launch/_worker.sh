#!/usr/bin/env bash
# On a machine of a pod: trains in the background, so that it outlives the connection that started it.
#
#   launch/_worker.sh start ARGUMENT...    of hcflow_jax.main; its output goes to train.log, beside launch/. If the same
#                                          command runs already, it only says so
#   launch/_worker.sh status               "running", "ended STATUS", or "not started"
#   launch/_worker.sh status ARGUMENT...   likewise; "running with other arguments" if these did not start it
#   launch/_worker.sh stop                 SIGTERM, and waits until it has saved and ended
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
cd "$ROOT"

# After a reboot, another process may have the number.
running() { [ -s train.pid ] && grep -aqsF hcflow_jax.main "/proc/$(cat train.pid)/cmdline"; }

# Whether these arguments started what runs.
same() { [ ! -e train.command ] || [ "$(cat train.command)" = "$(printf '%q ' "$@")" ]; }

case "${1:-}" in
  start)
    shift
    if running && same "$@"; then say "training runs already, as process $(cat train.pid)"; exit 0; fi
    if running; then fail "training runs already, as process $(cat train.pid), with other arguments: stop it first"; fi
    keep_compiled
    rm -f train.pid train.status
    printf '%q ' "$@" >train.command
    # shellcheck disable=SC2016 # the inner shell expands them
    nohup bash -c '"$@" & echo $! >train.pid; wait $!; echo $? >train.status' _ "$PY" -m hcflow_jax.main "$@" \
      >>train.log 2>&1 </dev/null &
    until [ -s train.pid ]; do sleep 0.1; done
    say "training, as process $(cat train.pid); $ROOT/train.log has its output"
    ;;
  status)
    shift
    if running && [ $# -gt 0 ] && ! same "$@"; then
      echo "running with other arguments"
    elif running; then
      echo running
    elif [ -s train.status ]; then
      echo "ended $(cat train.status)"
    else
      echo "not started"
    fi
    ;;
  stop)
    if ! running; then say "no training runs here"; exit 0; fi
    kill -TERM "$(cat train.pid)"
    while running; do sleep 1; done
    rm -f train.pid
    tail -n 1 train.log
    ;;
  *) printf 'error: expected start, status or stop\n' >&2; exit 2 ;;
esac
