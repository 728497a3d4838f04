# shellcheck shell=bash
# Sourced by the launchers of TPUs, after _launch.sh: which TPUs the cloud has.
#
#   slice_type TYPE          refuses a --type that is no slice: v5litepod-63
#   software TYPE VERSION    prints the software for the machines of a type: the version, which has to fit, if not empty
#   slice_topology TPU       refuses a --tpu that GKE does not have: tpu-v6e-slice:4x4x4

software() {
  local fitting
  case "$1" in
    v4-*) fitting=v2-alpha-tpuv4 ;;
    v5litepod-*) fitting=v2-alpha-tpuv5-lite ;;
    v5p-*) fitting=v2-alpha-tpuv5 ;;
    v6e-*) fitting=v2-alpha-tpuv6e ;;
  esac
  # A newer release of the same software has more letters behind: v2-alpha-tpuv5-lite-foo. v5p's is a prefix of v5e's.
  if [[ "${2:-$fitting}" != "$fitting"* ]] || [[ "$2" = *-lite* && "$fitting" != *-lite ]]; then
    refuse "--version=$2: machines of the type $1 run $fitting"
  fi
  printf '%s\n' "${2:-$fitting}"
}

# The number of v5litepod and v6e is that of chips, in a rectangle. That of v4 and v5p is that of cores, two a chip; from
# 64 chips on, a slice is made of cubes of 4x4x4 chips.
slice_type() {
  local most
  [[ "$1" =~ ^(v4|v5litepod|v5p|v6e)-[1-9][0-9]*$ ]] || refuse "--type=$1: expected v4-, v5litepod-, v5p- or v6e- and a number, \
such as v5litepod-8; other generations need Kubernetes (launch/kubernetes.sh)"
  case "$1" in
    v5litepod-* | v6e-*)
      [[ "${1#*-}" =~ ^(1|4|8|16|32|64|128|256)$ ]] || refuse "--type=$1: ${1%-*} has slices of 1, 4, 8, 16, 32, 64, 128 and 256 chips"
      ;;
    *)
      if [[ "$1" = v4-* ]]; then most=8192; else most=17920; fi
      [[ "${1#*-}" =~ ^(8|16|32|64)$ ]] || { [[ "${1#*-}" =~ ^[0-9]{3,5}$ ]] && [ "${1#*-}" -le $most ] && [ $((${1#*-} % 128)) = 0 ]; } \
        || refuse "--type=$1: ${1%-*} has slices of 8, 16, 32, 64 cores, and of multiples of 128 up to $most"
      ;;
  esac
}

slice_topology() {
  local side='[1-9][0-9]{0,2}' axes
  [[ "$1" =~ ^[a-z0-9-]+:$side(x$side){1,2}$ ]] || refuse "--tpu=$1: expected TYPE:TOPOLOGY, such as tpu-v5-lite-podslice:4x4"
  case "${1%:*}" in
    tpu-v3-device | tpu-v3-slice | tpu-v5-lite-device | tpu-v5-lite-podslice | tpu-v6e-slice) axes=2 ;;
    tpu-v4-podslice | tpu-v5p-slice | tpu7x) axes=3 ;;
    *) refuse "--tpu=$1: expected tpu-v4-podslice, tpu-v5-lite-podslice, tpu-v5p-slice, tpu-v6e-slice or tpu7x before the topology" ;;
  esac
  [[ "$1" =~ :$side(x$side){$((axes - 1))}$ ]] || refuse "--tpu=$1: a topology of ${1%:*} has $axes numbers"
}
