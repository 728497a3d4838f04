#!/usr/bin/env bash
# Measures everything on a machine with one GPU, in one call of under 10 minutes, the most important first.
#
#   bash benchmarks/gpu_suite.sh                                       results in benchmarks/results/DATE-gpu/
#   ITEMS="levels_16 sample_16" bash benchmarks/gpu_suite.sh              only those, in the order below
#   SMALL=1 CONFIG=tests/golden/tiny_a/config.json JAX_PLATFORMS=cpu bash benchmarks/gpu_suite.sh
#                                                                      the same on a CPU, with little of everything
#
# Set if you like: OUT, where results go; BUDGET, seconds in all, after which nothing is started and what runs is
# ended; CONFIG, the model; BATCHES, images of a step, the larger one first; PYTHON. Nothing is installed or fetched:
# it runs with .venv or python3 and the packages there. OUT/summary.json says of every item whether it passed, its
# seconds and its error in a line; an item's numbers are in OUT/NAME.json, what it printed in OUT/NAME.log.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch/_env.sh"
cd "$ROOT" || exit 1
case "${1:-}" in -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;; esac

SMALL="${SMALL:-}"
CONFIG="${CONFIG:-configs/celebahq_a.py}"
BUDGET="${BUDGET:-$([ -n "$SMALL" ] && echo 170 || echo 560)}"
OUT="${OUT:-benchmarks/results/$(date +%F)-gpu}"
read -r LARGE MIDDLE _ <<<"${BATCHES:-$([ -n "$SMALL" ] && echo 8 4 || echo 64 16)} "
MIDDLE="${MIDDLE:-$LARGE}"
[ -n "${PYTHON:-}" ] && PY="$PYTHON"
[ -x "$PY" ] || command -v "$PY" >/dev/null 2>&1 || PY=python3
# JAX on a GPU that does not work would go on with the CPU, and the tests choose the CPU unless told.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda,cpu}"
export XLA_FLAGS="${XLA_FLAGS:-}" PYTHONUNBUFFERED=1
# Three quarters of the card, JAX's own choice, may not hold a step of the larger batch.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}"
keep_compiled
quick_on_cpu
mkdir -p "$OUT" || exit 1
SUMMARY="$OUT/summary.json"
"$PY" -m benchmarks.suite_summary start "$SUMMARY" "$BUDGET" || exit 1

wanted() { [ -z "${ITEMS:-}" ] || [[ " $ITEMS " == *" $1 "* ]]; }

skip() { "$PY" -m benchmarks.suite_summary skip "$SUMMARY" "$1" "$2"; }

# item NAME LIMIT COMMAND...: runs it under its own limit of seconds, or what the budget leaves of it.
item() {
  local name="$1" limit="$2" left=$((BUDGET - SECONDS)) begin status
  shift 2
  wanted "$name" || return 0
  if [ "$left" -lt 10 ]; then skip "$name" "not started: the budget of $BUDGET s is spent"; return; fi
  begin="$(date +%s.%N)"
  timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$OUT/$name.log" 2>&1 </dev/null
  status=$?
  "$PY" -m benchmarks.suite_summary add "$SUMMARY" "$name" \
    "$("$PY" -c "import time; print(round(time.time() - $begin, 1))")" "$status" "$OUT/$name.log"
}

# timed NAME LIMIT FLAGS...: an item of benchmarks.train_step, in bfloat16; buffered: with convolutions in CUDA graphs.
timed() { of_ours "$XLA_FLAGS" "$@"; }
buffered() { of_ours "$XLA_FLAGS --xla_gpu_enable_command_buffer=+CONVOLUTION" "$@"; }
of_ours() {
  local flags="$1" name="$2" limit="$3"
  shift 3
  item "$name" "$limit" env XLA_FLAGS="$flags" "$PY" -m benchmarks.train_step --config="$CONFIG" \
    --precision=bfloat16 --repeats="$REPEATS" --out="$OUT/$name.json" ${quick[@]+"${quick[@]}"} "$@"
}

# against NAME LIMIT FLAGS...: an item of benchmarks.compare_pytorch.
against() {
  local name="$1" limit="$2"
  shift 2
  item "$name" "$limit" "$PY" -m benchmarks.compare_pytorch --config="$CONFIG" --batch="$MIDDLE" \
    --pairs="$PAIRS" --calls="$CALLS" --out="$OUT/$name.json" "$@"
}

has() { "$PY" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }

if [ -n "$SMALL" ]; then
  REPEATS=2 PAIRS=2 CALLS=1 tf32=float32
  vectors=(tests/test_units.py -k "fir or bilinear or dense or masks or mixing")
  card=(--megabytes=64 --size=512)
  quick=(--xla-option=xla_backend_optimization_level=0)  # to compile: nothing here is for its numbers
  memory=(--length 2 4 --repeats=1)
  pieces=(--length 1 --resolution=8 --batch=2 --repeats=1)
else
  REPEATS=10 PAIRS=5 CALLS=4 tf32=tf32
  vectors=(tests/test_golden.py tests/test_units.py)
  card=()
  quick=()
  memory=()
  pieces=(--length 1 16)
fi
# What the tests say to XLA is for quick compiling on a CPU: here its kernels are to be those in use.
[[ "$JAX_PLATFORMS" == cpu* ]] && tests="$XLA_FLAGS" || tests="$XLA_FLAGS --xla_backend_optimization_level=3"

item vectors 100 env JAX_DEFAULT_MATMUL_PRECISION=highest XLA_FLAGS="$tests" \
  "$PY" -m pytest -q -W ignore -p no:cacheprovider "${vectors[@]}"
item card 40 "$PY" -m benchmarks.card --out="$OUT/card.json" ${card[@]+"${card[@]}"}
timed "step_$LARGE" 270 --batch="$LARGE"
timed "step_$MIDDLE" 200 --batch="$MIDDLE" --profile="$OUT/profile"
timed "sample_$MIDDLE" 100 --batch="$MIDDLE" --what=sample
against pytorch_step_tf32 120 --what=step --precision="$tf32"
timed "levels_$MIDDLE" 150 --batch="$MIDDLE" --what=levels
timed "step_${MIDDLE}_conv_fusion" 100 --batch="$MIDDLE" --xla-option=xla_gpu_experimental_enable_conv_fusion=true
timed "step_${MIDDLE}_padded" 100 --batch="$MIDDLE" --set=conv=padded
timed "step_${MIDDLE}_scan" 100 --batch="$MIDDLE" --set=loop=scan
buffered "step_${MIDDLE}_command_buffer" 100 --batch="$MIDDLE"
timed "step_${LARGE}_recompute" 150 --batch="$LARGE" --set=backward=recompute
timed "step_${LARGE}_reversible" 150 --batch="$LARGE" --set=backward=reversible
timed "encode_$MIDDLE" 80 --batch="$MIDDLE" --what=encode
timed "decode_$MIDDLE" 80 --batch="$MIDDLE" --what=decode
against pytorch_sample 100 --what=sample --precision="$tf32"
if [ "$MIDDLE" != 4 ]; then
  timed step_4 100 --batch=4
  buffered step_4_command_buffer 100 --batch=4
fi
item memory 90 "$PY" -m benchmarks.memory --out="$OUT/memory.json" ${memory[@]+"${memory[@]}"}
peers=()
for library in distrax flowjax; do has "$library" && peers+=("$library"); done
if [ "${#peers[@]}" -gt 0 ]; then
  item flow_pieces 90 "$PY" -m benchmarks.flow_pieces --libraries "${peers[@]}" --out="$OUT/flow_pieces.json" "${pieces[@]}"
elif wanted flow_pieces; then
  skip flow_pieces "neither distrax nor flowjax is installed"
fi
# Last: PyTorch's compiler alone may take minutes.
against pytorch_step_compiled 280 --what=step --precision=bfloat16 --torch=compile

say "done in $SECONDS s: $SUMMARY"
