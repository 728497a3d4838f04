"""Times ours and the same network in PyTorch alternately, pair by pair, and says how they compare, as JSON.

    python -m benchmarks.compare_pytorch --config=configs/demo.py --batch=8 --what=step --pairs=7
    python -m benchmarks.compare_pytorch --config=configs/celebahq_a.py --batch=16 --precision=tf32 --torch=compile
    python -m benchmarks.compare_pytorch --config=preset.json --hflow=PATH --preset=preset.json --batch=16

Theirs is `benchmarks.torch_twin`, or with --hflow the authors' own release from a clone. Each side is a process
of its own, so that neither's threads disturb the other, with the environment below unless it says otherwise; they
run one block of calls in turn, and in every second pair the other one first. A ratio is ours / theirs, in seconds.
PyTorch is installed by `pip install -e '.[peers]'`.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What a run on a CPU wants of the machine's libraries, as launch/_env.sh says; and JAX takes a GPU's memory as it
# needs it, not three quarters at once, since two share the GPU.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
SIDES = ("ours", "theirs")


class Side:
    """A contestant in a process of its own."""

    def __init__(self, name: str, options: dict[str, Any]):
        """Starts it: it builds, compiles and warms up, and says what it is."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, options, other), daemon=True)
        self._process.start()
        other.close()
        self.about = self._receive()

    def seconds(self) -> float:
        """Has it run one block; seconds a call."""
        self._connection.send("block")
        return self._receive()

    def finish(self) -> dict[str, Any]:
        """Ends it; what it knows only now."""
        self._connection.send("end")
        last = self._receive()
        self._process.join()
        return last

    def _receive(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError:
            self._process.join()
            raise SystemExit(f"a contestant's process ended with status {self._process.exitcode}") from None
        if kind == "error":
            raise SystemExit(value)
        return value


def _serve(name: str, options: dict[str, Any], connection: Connection) -> None:
    """What a contestant's process does: makes itself ready, then runs blocks until it is told to end."""
    try:
        # Only here: each process imports its own framework, and the parent neither.
        if name == "ours":
            from benchmarks.contestant_ours import Ours as Contestant
        else:
            from benchmarks.contestant_torch import Theirs as Contestant
        contestant = Contestant(**options)
        connection.send(("ready", contestant.about))
        while connection.recv() == "block":
            connection.send(("seconds", contestant.block()))
        connection.send(("end", contestant.finish()))
    except SystemExit as error:
        connection.send(("error", str(error)))
    except Exception:
        connection.send(("error", traceback.format_exc()))


def compare(options: dict[str, Any], pairs: int) -> dict[str, Any]:
    """Runs both; a row a pair, the median ratio, and what each side is."""
    sides = {name: Side(name, options) for name in SIDES}
    rows = []
    for i in range(pairs):
        order = SIDES if i % 2 == 0 else SIDES[::-1]
        taken = {name: sides[name].seconds() for name in order}
        rows.append({**{name: taken[name] for name in SIDES}, "ratio": taken["ours"] / taken["theirs"]})
    ratios = [row["ratio"] for row in rows]
    abouts = {name: {**side.about, **side.finish()} for name, side in sides.items()}
    return {
        "pairs": rows,
        "median_ratio": statistics.median(ratios),
        "least_and_greatest_ratio": [min(ratios), max(ratios)],
        "median_seconds": {name: statistics.median(row[name] for row in rows) for name in SIDES},
        **abouts,
    }


def main(arguments: list[str] | None = None) -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, required=True, help="a config file of ours, or a preset of the authors'"
    )
    parser.add_argument("--batch", type=int, help="images; the config's by default")
    parser.add_argument("--what", choices=("step", "gradient", "sample"), default="step")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--calls", type=int, default=1, help="calls a block; the clock is read once a block")
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default="float32")
    parser.add_argument("--torch", choices=("eager", "compile"), default="eager")
    parser.add_argument("--onednn", choices=("auto", "on", "off"), default="auto", help="on a CPU; auto: the quicker")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw", help="of the twin's images in memory")
    parser.add_argument("--hflow", type=Path, help="clone of the authors' release, to be timed instead of the twin")
    glow = "clone of y0ast's Glow-PyTorch, to be timed instead of the twin of a config of Glow"
    parser.add_argument("--glow", type=Path, help=glow)
    parser.add_argument("--preset", type=Path, help="with --hflow: the settings JSON of the same model")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args(arguments)
    if (chosen.hflow is None) != (chosen.preset is None):
        parser.error("--hflow and --preset go together")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    names = ("config", "batch", "what", "calls", "precision", "torch", "layout", "onednn", "hflow", "glow", "preset")
    options = {name: getattr(chosen, name) for name in names}
    shown = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    result = {
        **shown,
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT},
        **compare(options, chosen.pairs),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
