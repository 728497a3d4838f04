"""Trains and measures a run of the study; what is done already is not done again."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.study import claims, sheets
from benchmarks.study.plan import Run
from hcflow_jax import api, checkpoint
from hcflow_jax.batches import cut
from hcflow_jax.data import open_source
from hcflow_jax.evaluation import comparison, extractors, metrics, protocols, real_features, tuning
from hcflow_jax.evaluation.comparison import Side
from hcflow_jax.files import write
from hcflow_jax.layout import HISTORY

RESULTS = Path(__file__).parents[1] / "results" / "study"
ROOT = Path(__file__).parents[2]
LOG = "training.log"
CHEAP_AND_DEAR = (None, "efficientnet-lite0")  # extractors; None: the set's attribute classifier
TUNING_SAMPLES = 2_000
DIVERGED = "steps in a row were skipped"  # what training says as it ends for that reason
KEPT = ("step", "kind", "seconds", "bits_per_dim", "standard_error", "loss", "grad_norm", "skipped")
Tell = Callable[[str], object]


def result(run: Run) -> dict[str, Any]:
    """What is known of a run; {} if nothing is.

    Raises:
      SystemExit: the run's file is damaged.
    """
    path = _file(run)
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        if not isinstance(found, dict) or (found and "history" not in (found.get("training") or {})):
            raise ValueError("it has no training with a history")
    except ValueError as error:
        advice = "restore it from git, or move it away to repeat the run"
        raise SystemExit(f"{path}: is damaged ({error}); {advice}") from error
    return found


def keep(run: Run, **found: Any) -> None:
    """Adds to what is known of a run."""
    text = json.dumps({**result(run), **found}, indent=1) + "\n"
    write(_file(run), lambda file: file.write(text.encode()))


def _file(run: Run) -> Path:
    return RESULTS / f"{run.name}.json"


def is_finished(run: Run, found: dict[str, Any]) -> bool:
    """Whether all is known of a run that the plan asks for; a run that diverged has nothing to measure.

    Args:
      run: of the plan.
      found: what is known of it.
    """
    if "training" not in found:
        return False
    return bool(found["training"]["diverged"]) or not _missing(run, found)


def _missing(run: Run, found: dict[str, Any]) -> list[str]:
    return [name for name, is_wanted in _STAGES.items() if is_wanted(run) and name not in found]


def do(run: Run, folder: Path, tell: Tell = print) -> None:
    """Trains a run and measures it, whatever of it is missing.

    Args:
      run: of the plan.
      folder: has the runs' workdirs; a run goes on from its newest checkpoint there.
      tell: is given a line now and again.
    """
    workdir = folder / run.name
    if "training" not in result(run):
        keep(run, training=train(run, workdir, tell))
    known = result(run)
    if known["training"]["diverged"]:
        tell(f"{run.name}: diverged")
        return
    missing = _missing(run, known)
    if missing and not workdir.is_dir():
        tell(
            f"{run.name}: its workdir is gone, so it is trained and measured again ({', '.join(missing)} is missing)"
        )
        _file(run).unlink()  # first, so that a file never has numbers of two models
        do(run, folder, tell)
        return
    for name in missing:
        keep(run, **_measured(name, run, workdir, tell))


_STAGES: dict[str, Callable[[Run], bool]] = {
    "distances": lambda run: run.samples > 0,
    "claims": lambda run: run.claims,
    "tuned": lambda run: run.tuned,
}


def _measured(name: str, run: Run, workdir: Path, tell: Tell) -> dict[str, Any]:
    if name == "claims":
        return {"claims": claims.of_workdir(workdir, tell)}
    return {"tuned": measure_tuned(run, workdir, tell)} if name == "tuned" else measure(run, workdir, tell)


def train(run: Run, workdir: Path, tell: Tell) -> dict[str, Any]:
    """Runs the training command, as a user would, and gives its history.

    Raises:
      SystemExit: training ended with an error that is not a divergence.
    """
    command = [sys.executable, "-m", "hcflow_jax.main", *run.arguments, f"--workdir={workdir}"]
    tell(f"{run.name}: training, {run.resolved().train.num_steps} steps; {workdir / LOG}")
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / LOG).open("a") as log:
        status = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
    said = (workdir / LOG).read_text().splitlines()[-1:]
    diverged = status != 0 and DIVERGED in "".join(said)
    if status and not diverged:
        raise SystemExit(f"{run.name}: training ended with status {status}: {''.join(said)}; see {workdir / LOG}")
    rows = [json.loads(line) for line in (workdir / HISTORY).read_text().splitlines()]
    return {
        "command": " ".join(["python -m hcflow_jax.main", *run.arguments, "--workdir=DIR"]),
        "diverged": said[0] if diverged else None,
        "versions": dict(checkpoint.load(workdir).metadata["versions"]) if not diverged else None,
        "history": [kept(row) for row in rows if row["kind"] != "watch"],
    }


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row of a run's history is kept: five digits, since the rest is noise."""
    if row["kind"] == "measure":
        return {name: _short(value) for name, value in row.items()}
    levels = [name for name in row if name.startswith("bits/")] if row["kind"] == "eval" else []
    return {name: _short(row[name]) for name in (*KEPT, *levels) if name in row}


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def measure(run: Run, workdir: Path, tell: Tell, tuned: Any = None) -> dict[str, Any]:
    """Compares samples with all held-out images, by both extractors, and says how fast they were drawn.

    Args:
      run: of the plan.
      workdir: has its checkpoint.
      tell: is given a line now and again.
      tuned: standard deviations of the latents by level; None: the config's, for samples that are kept.
    """
    model = api.load(workdir)
    config = model.config
    sigma, denoise = tuned or float(config.sample.sigma), bool(config.eval.denoise)
    list(model.sample_batches(model.batch_size, 0, sigma, 0, denoise))  # compiles
    start = time.perf_counter()
    drawn = model.sample_batches(run.samples, 0, sigma, 0, denoise)
    samples = np.concatenate(list(drawn))
    seconds = time.perf_counter() - start
    tell(f"{run.name}: {run.samples:,} samples, {run.samples / seconds:.1f} a second")
    if tuned is None:
        write(workdir / "samples.npz", lambda file: np.savez(file, arr_0=samples))
        sheets.keep(run.name, model)
    reals = open_source(config, "eval")
    how = {"sigma": sigma, "seed": 0, "count": run.samples, "dtype": model.dtype, "denoised": denoise}
    distances = {}
    for name in CHEAP_AND_DEAR:
        extractor = extractors.load(name or config.eval.extractor, None)
        distances[extractor.name] = compared(samples, reals, model, extractor, how)
        tell("\n".join(metrics.table(distances[extractor.name], extractor.metric)))
    return {
        "sampling": {
            "images_per_second": run.samples / seconds,
            "batch": model.batch_size,
            "not_finite": drawn.not_finite,
        },
        "parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(model.params)),
        "distances": distances,
    }


def measure_tuned(run: Run, workdir: Path, tell: Tell) -> dict[str, Any]:
    """Finds the temperatures at which samples are nearest to training images, and measures samples drawn at them."""
    model = api.load(workdir)
    config = model.config
    extractor = extractors.load(config.eval.extractor, None)
    few = protocols.Protocol("tuning", TUNING_SAMPLES, reals="random")
    real = real_features.real_side(open_source(config, "train"), few, config, extractor)
    found = tuning.tune(
        model,
        real,
        extractor,
        tuning.Kept(workdir / "tuning.json", {"model": model.fingerprint, "real": real.about}),
        samples=TUNING_SAMPLES,
        denoise=bool(config.eval.denoise),
    )
    tell(f"{run.name}: temperatures {found.sigma}, {found.distance:.3f} (before: {found.start_distance:.3f})")
    about = {"sigma": found.sigma, "distance": found.distance, "before": found.start_distance}
    return {**about, "tried": len(found.tried), **measure(run, workdir, tell, found.sigma)}


def compared(samples: Any, reals: Any, model: api.Model, extractor: Any, how: dict[str, Any]) -> dict[str, Any]:
    """All distances between samples and the reals, with the floor: what two halves of the reals have."""
    real = real_features.real_side(reals, protocols.PLAIN, model.config, extractor)
    features = comparison.extract_batches("the samples", len(samples), cut([samples], 250), extractor)
    generated = Side("samples", features, comparison.moments(features), {**extractor.about(), **how})
    values = comparison.compare(generated, real)
    values["protocol"] |= protocols.PLAIN.about(len(samples))
    floor = real_features.floor(real, len(samples))
    assert floor is not None
    return without_values(values) | {f"{extractor.metric}_floor": floor["frechet"], "floor_count": floor["count"]}


def without_values(compared: dict[str, Any]) -> dict[str, Any]:
    """Distances without the share of every value of every attribute, which are too long to keep for each run."""
    for attribute in compared.get("attributes", {}).get("by_attribute", {}).values():
        del attribute["generated"], attribute["real"]
    return compared
