#!/usr/bin/env bash
# Builds the documentation as a site, without a network. A warning is an error: a broken link, a page that no other
# page leads to, a docstring that Sphinx cannot read.
#
#   launch/docs.sh                 the site in docs/_build/html
#   launch/docs.sh -E              arguments go to sphinx-build; -E reads every page again
#
# The first start makes .venv and installs what is needed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"

case "${1:-}" in
  -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
ensure_env docs
cd "$ROOT"
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"  # the docstrings are read from the modules, which import JAX

"$PY" -m sphinx --fail-on-warning --keep-going -b html -c docs "$@" . docs/_build/html
say "the site: $ROOT/docs/_build/html/index.html"
