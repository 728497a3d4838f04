"""Recomputes the deterministic figures of `baseline.json` and names what got worse by more than 2 %.

    python -m benchmarks.check                      all of it; minutes, most of them for the TPU
    python -m benchmarks.check --only h200-sample   one entry
    python -m benchmarks.check --write              make what it finds the new baseline

Every figure is of a program compiled for a device that is not here (`compile_for`), so it is the same on every
machine with the same jax. In all of them less is better.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.02

GPU = (
    "roofline.ms_per_image",
    "roofline.kernels",
    "roofline.by_kind.convolution.kernels",
    "memory_gigabytes.temporaries",
)
TPU = ("cycles_per_image",)

# Flags of compile_for, and the figures kept of its report. All are of configuration A in bfloat16.
ENTRIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "h200-coupling-128-checker": ("--target h200 --part coupling:128:checker --batch 64", GPU),
    "h200-sample": ("--target h200 --mode sample --batch 16", GPU),
    "h200-train": ("--target h200 --mode train --batch 64", GPU),
    "h200-frozen": ("--target h200 --mode frozen --batch 64", GPU),
    "v5e-coupling-128-checker": ("--target v5e:2x2 --part coupling:128:checker --batch 64", TPU),
    "v5e-coupling-128-channel": ("--target v5e:2x2 --part coupling:128:channel --batch 64", TPU),
}


def measure(name: str) -> dict[str, Any]:
    """Runs an entry: its figures, and the jax they were made with."""
    flags, figures = ENTRIES[name]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "benchmarks.compile_for", *flags.split(), "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=BASELINE.parents[1])
        report = json.loads(out.read_text())
    return {"flags": flags, "jax": report["jax"], "figures": {figure: _at(report, figure) for figure in figures}}


def _at(report: Any, path: str) -> float:
    for key in path.split("."):
        report = report[key]
    return round(float(report), 6)


def worse(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What got worse by more than the tolerance, a line each."""
    lines = []
    for figure, was in old["figures"].items():
        now = new["figures"].get(figure)
        if now is None or now > was * (1 + TOLERANCE):
            change = (
                "missing"
                if now is None
                else f"{was:g} -> {now:g}, {100 * (now / was - 1):+.1f} %"
                if was
                else f"0 -> {now:g}"
            )
            lines.append(f"{figure}: {change}")
    return lines


def main() -> None:
    """Exits with 1 where something got worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=ENTRIES, action="append", help="an entry; all of them by default")
    parser.add_argument("--write", action="store_true", help="make what is found the new baseline")
    arguments = parser.parse_args()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    failed = False
    for name in arguments.only or ENTRIES:
        print(f"{name}: compiling ...", flush=True)
        found = measure(name)
        print(
            f"{name}: " + ", ".join(f"{figure} {value:g}" for figure, value in found["figures"].items()), flush=True
        )
        if name in baseline and found["jax"] != baseline[name]["jax"]:
            print(f"{name}: made with jax {found['jax']}, the baseline with {baseline[name]['jax']}")
        for line in worse(baseline[name], found) if name in baseline else ():
            print(f"{name}: WORSE {line}")
            failed = True
        if arguments.write:
            baseline[name] = found
            BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
    sys.exit(1 if failed and not arguments.write else 0)


if __name__ == "__main__":
    main()
