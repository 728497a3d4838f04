#!/usr/bin/env bash
# The checks of the code, as launch/test.sh and the pre-commit hooks run them.
#
#   launch/checks.sh           all of them
#   launch/checks.sh NAME...   some: ruff-check ruff-format pyright lint-imports shellcheck
#   launch/checks.sh fix       lets ruff mend what it can
#
# It expects .venv, which launch/test.sh makes. The exit status is 1 if any check fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
PY=.venv/bin/python
[ -x "$PY" ] || { echo "error: no .venv yet: run launch/test.sh once, it makes it" >&2; exit 1; }
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1  # do not ask the network for a newer pyright

check() {
  case "$1" in
    ruff-check) "$PY" -m ruff check --quiet . ;;
    ruff-format) "$PY" -m ruff format --quiet --diff . ;;
    pyright) "$PY" -m pyright ;;
    lint-imports) "$PY" -c 'from importlinter.cli import lint_imports_command as run; run()' ;;
    shellcheck) PATH="$PWD/.venv/bin:$PATH" shellcheck launch/*.sh benchmarks/*.sh ;;
    fix) "$PY" -m ruff check --quiet --fix . && "$PY" -m ruff format --quiet . ;;
    *) echo "error: no check is called '$1' (ruff-check ruff-format pyright lint-imports shellcheck fix)" >&2; return 1 ;;
  esac
}

[ $# -gt 0 ] || set -- ruff-check ruff-format pyright lint-imports shellcheck
status=0
for name in "$@"; do
  if output="$(check "$name" 2>&1)"; then
    printf '== %s: ok\n' "$name"
  else
    printf '%s\n== %s: FAILED\n' "$output" "$name"
    status=1
  fi
done
exit $status
