"""Decides what can be compared between two runs: how their configs differ, and which quantities mean the same."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from hcflow_jax import config as schema
from hcflow_jax.analysis.points import TRAIN, Run
from hcflow_jax.config import fields
from hcflow_jax.data import identity

_UNIT = ("data.noise_std", "data.bits", "data.resolution")  # bits/dim depends on these data fields
_MEASURING = ("data.resolution", "eval.protocol", "eval.denoise", "sample.sigma")  # distances depend on these fields
_HELD_OUT = ("data.eval_path", "data.eval_images", "data.eval_fraction", "eval.images", "eval.draws")  # held-out bits
_IMAGES = ("data.source", "data.path", "data.name", "data.style", "data.train_images")  # these choose the images


def differences(run: Run, reference: Run) -> dict[str, tuple[Any, Any]]:
    """The fields that differ and affect what is learned. The seed and paths do not count.

    These are the fields that may not change when a run resumes, `train.init_from`, and `train.num_steps` if the
    learning rates decay at the end of one of the runs. If the training images of both runs are known, the entry
    "training images" replaces the fields that choose them.

    Returns:
      {field: (value of `run`, value of `reference`)}.
    """
    a, b = run.config, reference.config
    found = schema.differences(a, b)
    families = "model.family" in found  # the fields of different families cannot be compared
    own = ("model.", "train.learning_rate.", "train.decay.")

    def counts(path: str) -> bool:
        if families and path.startswith(own):
            return path == "model.family"
        if path == "train.num_steps":
            return max(a.train.final_decay, b.train.final_decay) > 0
        return path == "train.init_from" or not (path == "seed" or schema.may_change(a, path))

    kept = {path: pair for path, pair in found.items() if counts(path)}
    if run.images is None or reference.images is None:
        return kept | {path: found[path] for path in _IMAGES if path in found}
    if not identity.same(run.images, reference.images):
        kept["training images"] = (run.images["name"], reference.images["name"])
    return kept


def joined(runs: Sequence[Run]) -> list[Run]:
    """Joins runs of the same config to one run with several seeds.

    Two runs have the same config if `differences` finds nothing. Runs with averaged rows are not joined.
    """
    groups: list[list[Run]] = []
    for run in runs:
        same = [group for group in groups if not run.edges and not group[0].edges and not differences(run, group[0])]
        if same:
            same[0].append(run)
        else:
            groups.append([run])
    made = []
    for group in groups:
        others = f" and {len(group) - 1} more" if len(group) > 1 else ""
        seeds = tuple(seed for run in group for seed in run.seeds)
        made.append(dataclasses.replace(group[0], name=f"{group[0].name}{others}", seeds=seeds))
    return made


def batches(run: Run, reference: Run) -> tuple[int, int]:
    """The batch sizes, by which steps of two runs become images; (1, 1) if steps are compared as they are.

    They are if the batch sizes are the same, and if one of the runs changed its batch size: then the history does not
    say how many images a step had.
    """
    if run.changed_batch or reference.changed_batch or run.batch_size == reference.batch_size:
        return 1, 1
    return run.batch_size, reference.batch_size


def measured_differently(run: Run, reference: Run) -> dict[str, tuple[Any, Any]]:
    """The fields that differ and affect how held-out bits/dim are measured: {field: (of `run`, of `reference`)}."""
    found = schema.differences(run.config, reference.config)
    return {path: found[path] for path in _HELD_OUT if path in found}


def has(run: Run, name: str) -> bool:
    """Whether any seed of the run has points of the quantity `name`."""
    return any(len(seed.points.get(name, ())) for seed in run.seeds)


def bound(run: Run, reference: Run) -> str:
    """The quantity of the curves: "bits_per_dim", or "loss" if bits/dim is undefined for one of the runs."""
    both = all(has(each, f"{TRAIN}/bits_per_dim") for each in (run, reference))
    return "bits_per_dim" if both else "loss"


def _differing(run: Run, reference: Run, paths: Sequence[str]) -> tuple[str, Any, Any] | None:
    for path in paths:
        pair = (fields.value(run.config, path), fields.value(reference.config, path))
        if pair[0] != pair[1]:
            return path, *pair
    return None


def refuse_bound(run: Run, reference: Run, bound: str) -> str | None:
    """The reason why the curves of two runs cannot be compared, in one line; None if they can.

    Args:
      run, reference: the runs.
      bound: the quantity of the curves, from `bound`.
    """
    what = "bits/dim" if bound == "bits_per_dim" else "loss"
    found = _differing(run, reference, _UNIT)
    if bound == "loss" and not found:
        other = [path for path in schema.differences(run.config, reference.config) if path.startswith("model.")]
        found = _differing(run, reference, ["model.family", *other])
        what = "bits/dim is not defined for both, and loss"
    if found is None:
        return None
    path, mine, theirs = found
    return f"{what} cannot be compared: {path} is {mine} here and {theirs} in {reference.name}"


def refuse_distances(run: Run, reference: Run) -> str | None:
    """The reason why the distances of two runs cannot be compared, in one line; None if they can."""
    found = _differing(run, reference, _MEASURING)
    if found is None and run.images and reference.images and not identity.same(run.images, reference.images):
        found = "the training set", run.images["name"], reference.images["name"]
    if found is None:
        mine, theirs = _networks(run), _networks(reference)
        if not (mine and theirs):
            found = _differing(run, reference, ["eval.extractor"])
        elif not mine & theirs:
            found = "the network of the features", ", ".join(sorted(mine)), ", ".join(sorted(theirs))
    if found is None:
        return None
    path, mine, theirs = found
    return f"distances cannot be compared: {path} is {mine} here and {theirs} in {reference.name}"


def _networks(run: Run) -> set[str]:
    """The networks whose features the run's Frechet distances compare, as the quantities call them."""
    names = [name.partition("/")[2].partition(" of ")[0] for seed in run.seeds for name in seed.points]
    return {name.removeprefix("frechet_") for name in names if name.startswith(("frechet_", "fid"))}
