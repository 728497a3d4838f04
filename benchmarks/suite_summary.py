"""The summary of `gpu_suite.sh`: one JSON file, whole after every item, whatever ends the suite.

python -m benchmarks.suite_summary start SUMMARY BUDGET
python -m benchmarks.suite_summary add SUMMARY NAME SECONDS EXIT_STATUS LOG
python -m benchmarks.suite_summary skip SUMMARY NAME REASON
"""

import importlib.metadata
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

NEEDED = ("jax", "jaxlib", "flax", "optax", "ml-collections", "jaxtyping", "absl-py", "clu", "numpy", "pillow")
OF_SOME_ITEMS = ("pytest", "torch", "distrax", "flowjax")
TIMED_OUT = (124, 137)  # of `timeout`: ended as told, and killed


def start(budget: int) -> dict[str, Any]:
    """A summary without items: which packages the suite finds."""
    versions = {}
    for name in (*NEEDED, *OF_SOME_ITEMS):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "budget_seconds": budget,
        "packages": {name: version for name, version in versions.items() if version},
        "missing": [name for name, version in versions.items() if not version],
        "items": [],
    }


def outcome(name: str, seconds: float, exit_status: int, log: str) -> dict[str, Any]:
    """An item that ran; `log` is what it printed."""
    if exit_status == 0:
        status, why = "passed", None
    elif exit_status in TIMED_OUT:
        status, why = "over its limit", f"ended after {seconds:g} s; the last line: {_last(log)}"
    else:
        status, why = "failed", _error(log)
    return {"name": name, "status": status, "seconds": seconds, "exit_status": exit_status, "error": why}


def _error(log: str) -> str:
    """The last line that names an exception, since JAX adds remarks after it; else the last line."""
    named = re.findall(r"^(?:E +)?[\w.]*(?:Error|Exception|Exit|Interrupt)\b.*", log, re.M)
    return (named[-1] if named else _last(log)).strip()[:300]


def _last(log: str) -> str:
    return next((line.strip()[:300] for line in reversed(log.splitlines()) if line.strip()), "nothing was printed")


def main(argv: list[str]) -> None:
    """Does one of the three."""
    command, path, *rest = argv
    file = Path(path)
    if command == "start":
        summary = start(int(rest[0]))
        if summary["missing"]:
            print(f"not installed here: {', '.join(summary['missing'])}", file=sys.stderr)
    else:
        summary = json.loads(file.read_text())
        if command == "add":
            name, seconds, exit_status, log = rest
            text = Path(log).read_text(errors="replace")
            item = outcome(name, float(seconds), int(exit_status), text)
        else:
            name, reason = rest
            item = {"name": name, "status": "not run", "seconds": 0.0, "exit_status": None, "error": reason}
        summary["items"].append(item)
        print(f"{item['name']}: {item['status']}, {item['seconds']:g} s {item['error'] or ''}", file=sys.stderr)
    whole = file.with_suffix(".part")
    whole.write_text(json.dumps(summary, indent=2) + "\n")
    whole.replace(file)


if __name__ == "__main__":
    main(sys.argv[1:])
