"""The authors' own release from a clone that the user has: loaded by path, timed as it is."""
# pyright: reportMissingImports=false

import importlib.machinery
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import torch
from ml_collections import ConfigDict

from benchmarks.torch_twin import training
from hcflow_jax import models
from hcflow_jax.interop.names import Names
from hcflow_jax.training import groups

MICRO_BATCH = 4  # the release's "Batch size Var(X)", over which it takes its noise's scale


class Settings(dict):
    """A dict whose entries are attributes too, with keys in lower case at every depth."""

    def __init__(self, entries: Mapping[str, Any]):
        super().__init__({key.lower(): _lowered(value) for key, value in entries.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the settings have no {name!r}") from None


def _lowered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Settings(value)
    return [_lowered(each) for each in value] if isinstance(value, list) else value


def load_network(clone: Path) -> Any:
    """The module hflow/network.py of a clone, without running hflow/__init__.py, which wants more than it needs.

    Raises:
      SystemExit: where there is no such file.
    """
    file = clone / "hflow" / "network.py"
    if not file.is_file():
        raise SystemExit(f"--hflow: {file} does not exist")
    package = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("hflow", None, is_package=True))
    package.__path__ = [str(file.parent)]
    sys.modules["hflow"] = package
    spec = importlib.util.spec_from_file_location("hflow.network", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hflow.network"] = module
    spec.loader.exec_module(module)
    return module


def build(clone: Path, preset: Path) -> Any:
    """MultiStep of the preset's MODEL_PARAMETERS.

    Raises:
      SystemExit: where the preset has none.
    """
    settings = json.loads(preset.read_text())
    if "MODEL_PARAMETERS" not in settings:
        raise SystemExit(f"--preset: {preset} has no MODEL_PARAMETERS")
    return load_network(clone).MultiStep(**Settings(settings["MODEL_PARAMETERS"]))


def groups_of(network: Any, config: ConfigDict) -> dict[str, str]:
    """The learning-rate group of every parameter of theirs: our own of the same name, else "flows", as with them."""
    names, found = Names(config), {}
    model = models.build(config)
    labels = groups.labels(model.shapes(), model.rate_groups)
    for keys, group in jax.tree_util.tree_leaves_with_path(labels):
        found |= dict.fromkeys(names.theirs(tuple(key.key for key in keys)), group)
    return {name: found.get(name, "flows") for name, _ in network.named_parameters()}


def prepare(
    config: ConfigDict, what: str, precision: str, how: Mapping[str, Any], device: torch.device
) -> Callable[[], Any]:
    """What is timed of the release, as a function of nothing.

    A batch goes through the loss in micro-batches of 4, as in their training.

    Raises:
      SystemExit: where the batch is no multiple of 4.
    """
    batch, images = config.train.batch_size, training.random_images(config)
    if batch % MICRO_BATCH:
        raise SystemExit(f"--batch must be a multiple of {MICRO_BATCH} with --hflow, not {batch}")
    network = build(how["hflow"], how["preset"]).to(device)
    x = training.channels_first(images).to(device) / 256 - 0.5
    network.train()
    network.set_noise_active(True)
    network.loss(x[:MICRO_BATCH])  # initialises its actnorms
    loss = torch.compile(network.loss) if how["torch"] == "compile" else network.loss

    def backward(x: torch.Tensor) -> None:
        for part in x.split(MICRO_BATCH):
            with training.autocast(device, precision):
                mean = loss(part).mean() * (MICRO_BATCH / batch)
            mean.backward()

    if what == "sample":
        network.eval()
        network.set_noise_active(False)

        def sample() -> Any:
            with torch.no_grad(), training.autocast(device, precision):
                return network.sample_normalized(batch, config.sample.sigma)

        return sample
    if what == "gradient":

        def gradient() -> None:
            network.zero_grad(set_to_none=True)
            backward(x)

        return gradient
    step = training.Trainer(network, groups_of(network, config), backward, config)
    return lambda: step(images)
