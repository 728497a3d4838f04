"""Times a step of the flow, and a chain of 16, against the same job done with distrax and with flowjax.

    pip install -e '.[peers]'
    python -m benchmarks.flow_pieces --out=pieces.json

`benchmarks/pieces/job.py` says what a step does; its other files say how each library does it. All get the same
weights and images, in float32 with products at the highest precision; before anything is timed their outputs,
log-dets and gradients are compared with ours, and a library that disagrees ends the run. Within each repeat the
libraries take turns, so that a shared machine's noise falls on all, and ratios are between neighbours in time.

Besides ours, distrax and flowjax, --libraries takes variants that tell what a difference is made of:
  ours-xla        ours with XLA's own gradients of convolutions, as the others have them
  ours-unrolled   that, and straight-line code instead of a loop, as distrax has it
  distrax-lu      distrax with its LU mixing instead of a free-form matrix
  flowjax-chain   flowjax with straight-line code instead of its loop
"""

import argparse
import importlib
import importlib.metadata
import json
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.pieces.job import Job, Work, log_likelihood, weights
from hcflow_jax.models.hierarchy.build import PRESETS

# What each name builds: a file of benchmarks/pieces, and what its `build` is told.
LIBRARIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ours": ("with_ours", {}),
    "distrax": ("with_distrax", {}),
    "flowjax": ("with_flowjax", {}),
    "ours-xla": ("with_ours", {"conv": "xla"}),
    "ours-unrolled": ("with_ours", {"conv": "xla", "loop": "unroll"}),
    "distrax-lu": ("with_distrax", {"lu": True}),
    "flowjax-chain": ("with_flowjax", {"scan": False}),
}
PROGRAMS = ("forward", "inverse", "gradient")
# Errors relative to the largest value; a chain of 16 in float32 stays an order of magnitude below them.
TOLERANCES = {"round_trip": 1e-4, "z": 1e-4, "log_det": 1e-4, "inverse_log_det": 1e-4, "gradient": 1e-3}


def build(library: str, job: Job, given: dict[str, Any], preset: str) -> Work:
    """The job done by a library of `LIBRARIES`; `preset` of ours is an entry of `build.PRESETS`.

    Raises:
      SystemExit: naming the extra, if the library is not installed.
    """
    module, options = LIBRARIES[library]
    if module == "with_ours":
        options = {"execution": {**PRESETS[preset], **options}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # others' deprecations, while they import
        try:
            made_with = importlib.import_module(f"benchmarks.pieces.{module}")
        except ImportError as error:
            raise SystemExit(f"--libraries: {library}: {error}: pip install 'hcflow_jax[peers]'") from error
    return made_with.build(job, given, **options)


def programs(work: Work) -> dict[str, Any]:
    """What is timed, by name, jitted: (params, x or z, cond) -> results."""

    def gradient(params: Any, x: Any, cond: Any) -> Any:
        return jax.value_and_grad(lambda p: log_likelihood(work, p, x, cond))(params)

    return {"forward": jax.jit(work.forward), "inverse": jax.jit(work.inverse), "gradient": jax.jit(gradient)}


def outputs(work: Work, run: dict[str, Any], x: Any, cond: Any) -> dict[str, Any]:
    """What is compared: z, log-det, the way back, and the gradient of the parameters that all store alike."""
    z, log_det = run["forward"](work.params, x, cond)
    back, inverse_log_det = run["inverse"](work.params, z, cond)
    gradient = work.shared(run["gradient"](work.params, x, cond)[1])
    return {"z": z, "log_det": log_det, "x": back, "inverse_log_det": inverse_log_det, "gradient": gradient}


def errors(x: Any, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Largest errors, each relative to the largest value: of the round trip, and against ours."""

    def relative(wanted: Any, got: Any) -> float:
        return float(jnp.max(jnp.abs(wanted - got)) / jnp.max(jnp.abs(wanted)))

    by_leaf = {k: relative(v, theirs["gradient"][k]) for k, v in ours["gradient"].items()}
    return {
        "round_trip": relative(x, theirs["x"]),
        "z": relative(ours["z"], theirs["z"]),
        "log_det": relative(ours["log_det"], theirs["log_det"]),
        "inverse_log_det": relative(-theirs["log_det"], theirs["inverse_log_det"]),
        "gradient": max(by_leaf.values()),
    }


def disagreements(found: dict[str, float]) -> list[str]:
    """What is beyond its tolerance (or not a number), in words; empty where the same job was done."""
    return [f"{k} is off by {v:.1e}, over {TOLERANCES[k]:g}" for k, v in found.items() if not v <= TOLERANCES[k]]


def compile_all(work: Work, x: Any, cond: Any) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Compiled programs, and what tracing and compiling each took from empty caches.

    It is done once, so a shared machine's noise is in it.
    """
    compiled, costs = {}, {}
    for name, jitted in programs(work).items():
        jax.clear_caches()
        start, on_cpu = time.perf_counter(), time.process_time()
        compiled[name] = jitted.lower(work.params, x, cond).compile()
        costs[name] = {
            "compile_seconds": time.perf_counter() - start,
            "compile_cpu_seconds": time.process_time() - on_cpu,
        }
    return compiled, costs


def take_turns(runs: dict[str, Any], arguments: dict[str, tuple], repeats: int) -> dict[str, np.ndarray]:
    """Times each library's calls, one a repeat, there and back through the libraries; one more warms up.

    Returns:
      By library (repeats, 2): the clock's and the process's processor seconds of each call.
    """
    times = {library: [] for library in runs}
    for i in range(repeats + 1):
        for library in sorted(runs, key=list(runs).index, reverse=i % 2 == 1):
            start, on_cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(runs[library](*arguments[library]))
            times[library].append((time.perf_counter() - start, time.process_time() - on_cpu))
    return {library: np.asarray(each[1:]) for library, each in times.items()}


def measure(job: Job, libraries: list[str], repeats: int, preset: str) -> dict[str, Any]:
    """Checks that the libraries do the same job, then times it.

    Returns:
      By library: its errors, and by program the seconds of compiling, the median seconds a call, and the median
      over repeats of their ratio to ours; each by the clock and of the processor ("cpu"), which other processes
      on the machine disturb less, and which say nothing where an accelerator does the work.

    Raises:
      SystemExit: naming the library that does not agree with ours.
    """
    x, cond = map(jnp.asarray, job.data())
    given = weights(job)
    works = {library: build(library, job, given, preset) for library in libraries}
    compiled, costs, checked, z, reference = {}, {}, {}, {}, None
    for library, work in works.items():
        compiled[library], costs[library] = compile_all(work, x, cond)
        found = outputs(work, compiled[library], x, cond)
        reference = reference or found
        checked[library], z[library] = errors(x, reference, found), found["z"]
        if wrong := disagreements(checked[library]):
            raise SystemExit(f"{library} does not do the same job as ours: {'; '.join(wrong)}")
    report: dict[str, Any] = {library: {"errors": checked[library]} for library in libraries}
    for name in PROGRAMS:
        runs = {library: compiled[library][name] for library in libraries}
        inputs = z if name == "inverse" else dict.fromkeys(libraries, x)
        times = take_turns(runs, {k: (works[k].params, inputs[k], cond) for k in libraries}, repeats)
        for library in libraries:
            seconds, cpu_seconds = np.median(times[library], 0)
            ratio, cpu_ratio = np.median(times[library] / times["ours"], 0)
            report[library][name] = {
                **costs[library][name],
                "seconds": float(seconds),
                "cpu_seconds": float(cpu_seconds),
                "ratio_to_ours": float(ratio),
                "cpu_ratio_to_ours": float(cpu_ratio),
            }
    return report


def table(length: int, report: dict[str, Any]) -> str:
    """The report of one length as Markdown; a call's ms are the clock's, ratios to ours the clock's / processor's."""
    heads = [f"{length} step{'s' * (length > 1)}", "compiling, processor s", *(f"{name}, ms" for name in PROGRAMS)]
    rows = [heads, ["---"] * len(heads)]
    for library, found in report.items():
        programs = [found[name] for name in PROGRAMS]
        total = sum(p["compile_cpu_seconds"] for p in programs)
        calls = [
            f"{1e3 * p['seconds']:.1f} ({p['ratio_to_ours']:.2f} / {p['cpu_ratio_to_ours']:.2f})" for p in programs
        ]
        rows.append([library, f"{total:.1f}", *calls])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Prints a table a length, and writes everything as JSON where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, nargs="+", default=[1, 16], help="steps in the chain")
    parser.add_argument("--resolution", type=int, default=Job.resolution, help="pixels a side")
    parser.add_argument("--channels", type=int, default=Job.channels, help="even")
    parser.add_argument("--batch", type=int, default=Job.batch, help="images")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=["ours", "distrax", "flowjax"])
    parser.add_argument("--preset", choices=PRESETS, help="how ours is executed; the backend's by default")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    libraries = list(dict.fromkeys(["ours", *arguments.libraries]))
    preset = arguments.preset or (jax.default_backend() if jax.default_backend() in PRESETS else "gpu")
    names = ["jax", "jaxlib", *({library.split("-")[0] for library in libraries} - {"ours"})]
    lengths = {}
    for length in arguments.length:
        job = Job(length, arguments.resolution, arguments.channels, arguments.batch)
        with jax.default_matmul_precision("highest"):
            lengths[length] = measure(job, libraries, arguments.repeats, preset)
        print(table(length, lengths[length]), flush=True)
    result = {
        "resolution": arguments.resolution,
        "channels": arguments.channels,
        "batch": arguments.batch,
        "condition": Job.condition,
        "hidden": Job.hidden,
        "repeats": arguments.repeats,
        "preset": {**PRESETS[preset], "dtype": "float32"},
        "device": jax.devices()[0].device_kind,
        "machine": platform.processor() or platform.machine(),
        "versions": {name: importlib.metadata.version(name) for name in sorted(names)},
        "lengths": lengths,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # a program found there would not be compiled
    main()
