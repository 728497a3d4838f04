"""Bundles a trained model with the package: its weights file, and a model card with numbers and pictures.

    python -m benchmarks.box --workdir=runs/portraits --name=portraits --notes=NOTES.md

NOTES.md says in words what a person saw in the samples; it becomes a section of the card. Without --workdir the model
that is in the box is measured again, and its card written anew.
"""

import argparse
import contextlib
import io
import json
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from benchmarks import box_card, box_runs
from benchmarks.round_trip import all_round_trips
from hcflow_jax import api, box, checkpoint, cli, data, pictures
from hcflow_jax.analysis.zeroing import cumulative_zeroing
from hcflow_jax.api import sampling_file
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.config import config_from_plain, config_to_plain, default
from hcflow_jax.evaluation.nearest import nearest

ROUND_TRIPS = 1_000  # held-out pictures
SAMPLES = 5_000  # for the distances
SHOWN = 64  # the size of an image on sheets, screen pixels


def shipped_config(config: ConfigDict) -> ConfigDict:
    """The config as another machine should have it: no paths of this one, no choices of how it was computed."""
    plain = config_to_plain(config)
    plain["data"]["path"] = plain["train"]["init_from"] = ""
    plain["execution"] = config_to_plain(default())["execution"]
    return config_from_plain(plain)


def put(workdir: Path, name: str) -> None:
    """Writes the weights file, in half precision, with the sigma that the workdir stores."""
    found = checkpoint.load(workdir)
    metadata = {
        "step": found.step,
        "runs": box_runs.runs(workdir, name),
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
        "versions": dict(found.metadata["versions"]),
    }
    if (sigma := sampling_file.read(workdir)) is not None:
        metadata["sigma"] = sigma
    config = shipped_config(found.config)
    checkpoint.save_file(box.weights(name), found.arrays["ema"], config, metadata, dtype=np.float16)


def store_statistics(name: str) -> dict[str, float]:
    """Stores with a model what its single images take in the likelihood, measured on its held-out pictures.

    Its tensors stay as they are, byte for byte.
    """
    statistics = api.load(name).measure_statistics()
    checkpoint.amend_file(box.weights(name), {"statistics": statistics})
    return statistics


def measure(name: str, workdir: Path | None) -> dict[str, Any]:
    """Every figure of the card."""
    model = api.load(name)
    config = model.config
    train, shown = data.open_source(config, "train"), api.held_out(config, config.data.eval_images)
    seen = np.stack([train[i] for i in range(min(len(shown), len(train)))])
    results: dict[str, Any] = {
        "name": name,
        "bytes": box.weights(name).stat().st_size,
        "metadata": dict(checkpoint.load(box.weights(name)).metadata),
        "sigma": float(config.sample.sigma) if model.sigma is None else model.sigma,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
        "pictures": len(shown),
        "held_out": _bits(model, shown),
        "training": _bits(model, seen),
    }
    if workdir is not None:
        whole = checkpoint.load(workdir)
        results["held_out_float32"] = _bits(api.Model(whole.config, whole.arrays["ema"]), shown)
    results["round_trips"] = all_round_trips(model, shown[:ROUND_TRIPS])
    results["evaluated"] = evaluate(name, config.data.style, SAMPLES)
    return results


def evaluate(name: str, style: str, samples: int) -> dict[str, str]:
    """What `hcflow evaluate` prints for a bundled model, by command.

    Args:
      name: the model.
      style: the style of its pictures, which is also the name of the extractor that reads their drawing options.
      samples: the number of samples for the distances.

    Raises:
      SystemExit: a command failed.
    """
    said = {}
    for metrics, extractor in (
        ("bits,fid,kid,prc,nearest,exactness", style),
        ("fid,kid,prc", "efficientnet-lite0"),
    ):
        arguments = ["evaluate", "--checkpoint", name, "--metrics", metrics, "--extractor", extractor]
        arguments += ["--samples", str(samples)]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = cli.main(arguments)
        command = " ".join(("hcflow", *arguments))
        if status:
            raise SystemExit(f"{command}: status {status}")
        said[command] = out.getvalue()
    return said


def _bits(model: api.Model, images: np.ndarray) -> dict[str, float]:
    bits = model.bits_per_dim(images)
    error = float(bits["total"].std(ddof=1) / len(images) ** 0.5)
    return {name: float(values.mean()) for name, values in bits.items()} | {"standard_error": error}


def draw(name: str, folder: Path) -> None:
    """The card's pictures: samples, samples beside their nearest training pictures, cumulative zeroing."""
    model = api.load(name)
    scale = max(1, SHOWN // model.resolution)
    samples = model.sample(64, seed=0)
    pictures.save_png(folder / f"{name}_samples.png", pictures.grid(samples, 16, scale=scale))
    source = data.open_source(model.config, "train")
    some = samples[:16]
    with tqdm(total=len(source), desc="nearest training pictures", unit=" pictures") as bar:
        found, _, _ = nearest(some, source, tell=lambda done: bar.update(done - bar.n))
    real = api.held_out(model.config, 16)
    pictures.save_png(
        folder / f"{name}_nearest.png", pictures.rows([some, found], ["sample", "nearest\nin training"], scale=scale)
    )
    rows, labels = [real], ["original"]
    for label, images in cumulative_zeroing(model, model.encode(real)):
        labels.append(label)
        rows.append(images)
    pictures.save_png(folder / f"{name}_zeroing.png", pictures.rows(rows, labels, scale=scale))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, help="of the run that made the model")
    parser.add_argument("--name", choices=box.NAMES, default=box.NAMES[0])
    parser.add_argument("--pictures", type=Path, default=Path("docs/pictures"), help="folder of the card's pictures")
    parser.add_argument("--notes", type=Path, required=True, help="what a person saw in the samples")
    arguments = parser.parse_args()
    enable_compilation_cache()
    if arguments.workdir:
        put(arguments.workdir, arguments.name)
    store_statistics(arguments.name)
    results = measure(arguments.name, arguments.workdir)
    draw(arguments.name, arguments.pictures)
    print(json.dumps(results, indent=1))
    text = box_card.write(results, api.load(arguments.name).config, arguments.notes.read_text().strip())
    box.card(arguments.name).write_text(text)


if __name__ == "__main__":
    main()
