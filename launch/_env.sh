# shellcheck shell=bash
# Sourced by the scripts beside it: gives them `.venv` with what they need, and starts quickly once it is there.
#
#   ensure_env EXTRA       makes .venv if need be and installs hcflow_jax[EXTRA]; sets PY to its Python
#   use_venv NAME          the directory in the repository that holds the environment, instead of .venv
#   find_release X.Y       prints a Python of that release, on PATH or pyenv's; its status is 1 where there is none
#   ensure_browser         finds Chromium for tests, or installs Debian's where it may; its status is 1 without
#   ensure_slurm           likewise SLURM's programs, for the test of a cluster
#   quick_on_cpu           settles threads and memory for a run on the CPU
#   keep_compiled          lets JAX keep compiled programs between runs
#
# One stamp per extra, written last, says what was installed: a second start installs nothing, and extras add up
# in the same environment. PYTHON chooses the Python that it is made from.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

use_venv() {
  VENV_NAME="$1"
  VENV="$ROOT/$VENV_NAME"
  PY="$VENV/bin/python"
}
use_venv .venv

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Prints the Python to make .venv from; ends the script where there is none.
find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    is_new_enough "$PYTHON" && { echo "$PYTHON"; return; }
    fail "PYTHON=$PYTHON is $(describe "$PYTHON"); hcflow_jax needs Python 3.11 or newer"
  fi
  for candidate in python3 python3.12 python3.11; do
    is_new_enough "$candidate" && { echo "$candidate"; return; }
  done
  fail "python3 is $(describe python3); hcflow_jax needs Python 3.11 or newer: install one, or set PYTHON=/path/to/python3.11"
}

describe() { "$1" -c 'import platform; print("Python", platform.python_version())' 2>/dev/null || echo "not a Python that runs"; }

find_release() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    "$candidate" -c "import sys; sys.exit(sys.version_info[:2] != tuple(map(int, '$1'.split('.'))))" >/dev/null 2>&1 \
      && { echo "$candidate"; return; }
  done
  return 1
}

# What an installation depends on: the project's tables (not the tools' settings), the Python and the place.
fingerprint() {
  "$PY" - "$1" "$ROOT" <<'PYTHON'
import hashlib, json, pathlib, sys, tomllib

extra, root = sys.argv[1:]
tables = tomllib.loads(pathlib.Path(root, "pyproject.toml").read_text(encoding="utf-8"))
about = [extra, root, sys.version, tables["build-system"], tables["project"]]
print(hashlib.sha256(json.dumps(about).encode()).hexdigest())
PYTHON
}

# Runs a command with its output in a log; shows the end of the log if the command fails.
logged() {
  if ! "$@" >>"$VENV/install.log" 2>&1; then
    tail -n 25 "$VENV/install.log" >&2
    return 1
  fi
}

make_venv() {
  local python
  python="$(find_python)" || exit 1
  say "making $VENV_NAME with $(describe "$python")"
  find "$VENV" -mindepth 1 -maxdepth 1 ! -name .install-lock -exec rm -rf {} +
  logged "$python" -m venv "$VENV" || fail "$python could not make $VENV_NAME (on Debian and Ubuntu: apt install python3-venv)"
}

install_extra() {
  local extra="$1" stamp="$VENV/.installed-$1" wanted started
  # A pip that was killed may leave half a package behind, which the next pip would take for a whole one.
  if [ -e "$VENV/.installing" ]; then
    say "the last installation was interrupted: starting $VENV_NAME afresh"
    make_venv
  elif ! "$PY" -c '' >/dev/null 2>&1; then
    make_venv
  elif ! is_new_enough "$PY"; then
    fail "$VENV_NAME holds $(describe "$PY"); hcflow_jax needs Python 3.11 or newer: remove $VENV and start again"
  elif ! "$PY" -m pip --version >/dev/null 2>&1; then
    logged "$PY" -m ensurepip || make_venv
  fi
  wanted="$(fingerprint "$extra")" || fail "cannot read $ROOT/pyproject.toml"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    say "hcflow_jax[$extra] is installed in $VENV_NAME: nothing to install"
    return
  fi
  started=$SECONDS
  say "installing hcflow_jax[$extra] into $VENV_NAME (a minute or two the first time, about 1 GB)"
  : >"$VENV/.installing"
  : >"$VENV/install.log"
  if ! { command -v uv >/dev/null 2>&1 && uv pip install --python "$PY" -e "${ROOT}[$extra]" >>"$VENV/install.log" 2>&1; }; then
    if ! logged "$PY" -m pip install --disable-pip-version-check -e "${ROOT}[$extra]"; then
      rm -f "$VENV/.installing"
      fail "could not install hcflow_jax[$extra]; the whole log is $VENV/install.log"
    fi
  fi
  rm -f "$VENV/.installing"
  printf '%s\n' "$wanted" >"$stamp"
  say "installed in $((SECONDS - started)) s"
}

ensure_env() {
  mkdir -p "$VENV"
  # In a subshell, so that the lock (where the system has flock) is given back when it ends. Not `.lock`: uv
  # locks that one itself, and would wait for us.
  (
    if command -v flock >/dev/null 2>&1; then
      flock -n 9 || { say "waiting for another installation into $VENV_NAME"; flock 9; }
    fi
    install_extra "$1"
  ) 9>"$VENV/.install-lock" || exit 1
}

# Playwright's own browser would be a download from elsewhere; the system's package is as good.
ensure_browser() {
  from_debian find_browser chromium && return
  say "no browser: install chromium (on Debian: apt install chromium)"
  return 1
}

ensure_slurm() {
  from_debian find_slurm slurm-wlm munge && return
  say "no SLURM: install slurm-wlm and munge (on Debian: apt install slurm-wlm munge), and run as root"
  return 1
}

# from_debian FIND PACKAGE...: whether FIND succeeds, after installing the packages if need be and if this may.
from_debian() {
  local find="$1"
  shift
  "$find" && return
  { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; } || return 1
  say "installing $*"
  logged apt-get update
  logged env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"
  "$find"
}

find_slurm() { PATH="$PATH:/usr/sbin" command -v slurmctld >/dev/null 2>&1 && PATH="$PATH:/usr/sbin" command -v munged >/dev/null 2>&1; }

find_browser() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; }

# What a run on the CPU wants of the machine's libraries; without effect elsewhere.
quick_on_cpu() {
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"        # idle OpenMP threads would otherwise spin
  export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"    # so would OpenBLAS's, and no matrix here is worth them
  # Huge pages: a step's activations are fresh memory every time, a fifth of its time in page faults without them.
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
}

keep_compiled() {
  export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/hcflow_jax/xla}"
  export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-0}"
  export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="${JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES:--1}"
}
