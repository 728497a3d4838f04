"""Brings in a checkpoint of the authors': `python -m hcflow_jax.interop.import_torch MODEL.bin --out CHECKPOINT`.

CHECKPOINT becomes a workdir that evaluation, the report and `hcflow_jax.checkpoint.load` use as they do a run's: its
step 0 holds the weights, with the config that the file's settings make. A file is read, never run; PyTorch is not
needed. --config says where the images are; for a file without settings it says what the model is, too.

With --family glow the file is a Glow model: a state_dict of the public PyTorch implementation (.pt or .safetensors),
or OpenAI's TensorFlow variables (.npz); see docs/glow.md. It needs --resolution R, the images' size in pixels.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from hcflow_jax import paths
from hcflow_jax.commands import Parser, as_path, run_main
from hcflow_jax.config import ConfigError
from hcflow_jax.errors import InputError
from hcflow_jax.interop import release, settings
from hcflow_jax.interop.release import Release

# What imports jax is imported where it is used: a variable that jax does not take ends that import, and `run_main`
# says so.

LARGE = 64 * 2**20  # bytes from which on progress is shown

_OF_THE_MODEL = ("resolution", "bits", "noise_std")  # fields of `data` that the settings say


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m hcflow_jax.interop.import_torch", __doc__)
    parser.add_argument("file", metavar="MODEL.bin", type=as_path, help="what the authors' Network.save wrote")
    parser.add_argument("--out", metavar="CHECKPOINT", type=as_path, required=True, help="the workdir to make")
    parser.add_argument("--config", metavar="FILE.py", type=as_path, help="a config file, as of configs/")
    what = "the family of the model: hierarchy, the authors' (the default), or glow"
    parser.add_argument("--family", choices=("hierarchy", "glow"), default="hierarchy", help=what)
    parser.add_argument(
        "--resolution", metavar="R", type=int, help="only with --family glow: the images' size, pixels"
    )
    values = parser.parse_args(argv)
    if (values.family == "glow") != (values.resolution is not None):
        wrong = "is needed with --family glow" if values.family == "glow" else "is only for --family glow"
        parser.error(f"--resolution {wrong}")
    return values


def load_config(file: Path) -> ConfigDict:
    """The config of a file like those of `configs/`.

    Raises:
      ConfigError: it is not there, or does not make one.
    """
    spec = importlib.util.spec_from_file_location("hcflow_jax_given_config", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError(f"--config {file}: no such config file; name one like those of configs/")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return module.get_config()
    except Exception as error:  # whatever a file of the user's raises
        raise ConfigError(f"--config {file}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def config_of(found: Release, given: ConfigDict | None) -> ConfigDict:
    """The config of a file's model.

    Args:
      found: the file.
      given: for a file without settings, the config; for one with, where its images are and how it is computed.

    Raises:
      ConfigError: there are no settings and no config, or the settings are not the release's.
    """
    if found.settings is None:
        if given is None:
            raise ConfigError("it has no settings of its own: name its config with --config=configs/NAME.py")
        return given
    config = settings.to_config(found.settings)
    if given is not None:
        config.data.update({name: value for name, value in given.data.items() if name not in _OF_THE_MODEL})
        config.execution.update(given.execution)
        config.sample.update(given.sample)
        config.eval.images, config.eval.seed = given.eval.images, given.eval.seed
    return config


def to_params(found: Release, config: ConfigDict, show: bool = False) -> Any:
    """A file's weights as our parameter tree; nothing in it is left out unsaid.

    Args:
      found: the file.
      config: of its model.
      show: progress, on stderr.

    Raises:
      ConfigError: the config makes no model.
      InputError: a weight is not finite, is missing, unknown or of another shape, or a mask or kernel is another.
    """
    import jax

    from hcflow_jax.interop import arrays, constants

    total = sum(array.nbytes for array in found.flat.values())
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, leave=False, disable=not show) as bar:
        for name, array in found.flat.items():
            if not np.isfinite(array).all():
                raise InputError(f"{name} has a value that is not finite: the network is of no use")
            bar.update(array.nbytes)
    try:
        tree = arrays.from_torch(found.flat, config)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"the config makes no model ({' '.join(str(error).split())[:200]})") from error
    tree = jax.tree.map(lambda leaf: np.require(leaf, requirements=("C", "A")), tree)
    learnt = arrays.to_torch(tree, config)
    known = learnt.keys() | constants.without_effect(learnt, config).keys()
    for name, made in constants.constants(config):
        known.add(name)
        theirs = found.flat.get(name, made)
        if theirs.shape != made.shape or not np.allclose(theirs, made, rtol=1e-6, atol=0):
            raise InputError(f"{name} is not what the config makes: the config is another model's")
    if left := sorted(found.flat.keys() - known):
        raise InputError(f"the state_dict has {len(left)} unknown entries, the first {left[0]!r}")
    return tree


def import_torch(file: Path, out: Path, config_file: Path | None = None) -> list[str]:
    """Makes a workdir of a file.

    Returns:
      Lines that say what was brought in.

    Raises:
      ConfigError: `config_file` is missing or wrong.
      CheckpointError: `out` is there already, or cannot be written.
      InputError: of `file`, named.
      EnvironmentSettingError: JAX cannot start as the environment says.
    """
    from hcflow_jax import checkpoint, devices
    from hcflow_jax.settings import own

    checkpoint.check_new(out)
    file = paths.local(file)
    devices.start()
    given = None if config_file is None else load_config(config_file)
    try:
        found = release.read(file)
        config = config_of(found, given)
        with own():
            tree = to_params(found, config, show=found.bytes >= LARGE)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{file} cannot be read ({reason}): name a file of the authors'") from error
    except InputError as error:
        raise type(error)(f"{file}: {error}") from error
    about = {"imported": {"file": file.name, "bytes": found.bytes, "module": found.module}}
    step = checkpoint.save_weights(out, tree, config, about)
    return [f"{file}: {_contents(tree, config)}", f"saved as {step}, config and all"]


def _contents(tree: Any, config: ConfigDict) -> str:
    import jax

    from hcflow_jax.models.hierarchy.build import level_rows

    counts = {group: sum(leaf.size for leaf in jax.tree.leaves(part)) for group, part in tree.items()}
    parts = ", ".join(f"{group} {count:,}" for group, count in counts.items())
    rows = ", ".join(str(resolution) for resolution in level_rows(config))
    return f"{sum(counts.values()):,} parameters ({parts}) of levels {rows} and the top"


def _run(argv: Sequence[str]) -> int:
    values = _parse(argv)
    if values.family == "glow":
        from hcflow_jax.interop import glow

        given = None if values.config is None else load_config(values.config)
        lines = glow.import_file(values.file, values.out, values.resolution, given)
    else:
        lines = import_torch(values.file, values.out, values.config)
    for line in lines:
        print(line)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status (see `commands.run_main`)."""
    return run_main(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
