"""Imports a checkpoint of the authors' code: `python -m hcflow_jax.interop.import_torch MODEL.bin --out CHECKPOINT`.

CHECKPOINT becomes a workdir. Evaluation, the report and `hcflow_jax.checkpoint.load` use it like the workdir of a
run. Its step 0 contains the weights, and a config that is made from the settings in the file. Nothing in the file is
run, and PyTorch is not needed. --config says where the images are. If the file has no settings, --config also defines
the model.

With --family glow the file is a Glow model: a state_dict of the public PyTorch implementation (.pt or .safetensors),
or OpenAI's TensorFlow variables (.npz); see docs/glow.md. Give the size of its images in pixels with --resolution R.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from hcflow_jax import paths
from hcflow_jax.commands import Parser, as_path, as_place, run_main
from hcflow_jax.config import ConfigError, presets
from hcflow_jax.errors import InputError
from hcflow_jax.interop import release, settings
from hcflow_jax.interop.release import Release
from hcflow_jax.paths import Place

# Modules that import jax are imported where they are used. If an environment variable makes that import fail,
# `run_main` reports it.

LARGE = 64 * 2**20  # bytes; progress is shown for files of at least this size

_OF_THE_MODEL = ("resolution", "bits", "noise_std")  # fields of `data` that come from the settings


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m hcflow_jax.interop.import_torch", __doc__)
    parser.add_argument("file", metavar="MODEL.bin", type=as_path, help="a file that the authors' Network.save wrote")
    parser.add_argument("--out", metavar="CHECKPOINT", type=as_place, required=True, help="the workdir to make")
    named = "a config file, or the name of a preset"
    parser.add_argument("--config", metavar="FILE.py", type=as_path, help=named)
    what = "family of the model: hierarchy (the authors' model, the default) or glow"
    parser.add_argument("--family", choices=("hierarchy", "glow"), default="hierarchy", help=what)
    parser.add_argument(
        "--resolution", metavar="R", type=int, help="only with --family glow: size of the images, pixels"
    )
    values = parser.parse_args(argv)
    if (values.family == "glow") != (values.resolution is not None):
        wrong = "is needed with --family glow" if values.family == "glow" else "is only for --family glow"
        parser.error(f"--resolution {wrong}")
    return values


def config_of(found: Release, given: ConfigDict | None) -> ConfigDict:
    """The config of a file's model.

    Args:
      found: the file.
      given: the whole config, if the file has no settings. Otherwise only some of its fields are used: those of
        `data` that do not define the model, `execution`, `sample`, `eval.images` and `eval.seed`.

    Raises:
      ConfigError: there are no settings and no config, or the settings are not those of the release.
    """
    if found.settings is None:
        if given is None:
            raise ConfigError("the file has no settings; give its config with --config=configs/NAME.py")
        return given
    config = settings.to_config(found.settings)
    if given is not None:
        config.data.update({name: value for name, value in given.data.items() if name not in _OF_THE_MODEL})
        config.execution.update(given.execution)
        config.sample.update(given.sample)
        config.eval.images, config.eval.seed = given.eval.images, given.eval.seed
    return config


def to_params(found: Release, config: ConfigDict, show: bool = False) -> Any:
    """Converts the weights of a file to our parameter tree. Every entry must be known.

    Args:
      found: the file.
      config: the config of its model.
      show: whether to show progress on stderr.

    Raises:
      ConfigError: no model can be made from the config.
      InputError: a weight is not finite, missing, unknown or of another shape, or a mask or kernel differs.
    """
    import jax

    from hcflow_jax.interop import arrays, constants

    total = sum(array.nbytes for array in found.flat.values())
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, leave=False, disable=not show) as bar:
        for name, array in found.flat.items():
            if not np.isfinite(array).all():
                raise InputError(f"{name} has a value that is not finite, so the network cannot be used")
            bar.update(array.nbytes)
    try:
        tree = arrays.from_torch(found.flat, config)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"no model can be made from the config ({' '.join(str(error).split())[:200]})") from error
    tree = jax.tree.map(lambda leaf: np.require(leaf, requirements=("C", "A")), tree)
    learnt = arrays.to_torch(tree, config)
    known = learnt.keys() | constants.without_effect(learnt, config).keys()
    for name, made in constants.constants(config):
        known.add(name)
        theirs = found.flat.get(name, made)
        if theirs.shape != made.shape or not np.allclose(theirs, made, rtol=1e-6, atol=0):
            raise InputError(f"{name} differs from what the config makes; the config is that of another model")
    if left := sorted(found.flat.keys() - known):
        raise InputError(f"the state_dict has {len(left)} unknown entries, the first {left[0]!r}")
    return tree


def import_torch(file: Path, out: Place, config_file: str | Path | None = None) -> list[str]:
    """Makes a workdir from a file of the authors' code.

    Args:
      file: the file.
      out: the workdir to make.
      config_file: a config file, see `config_of`.

    Returns:
      Lines that say what was imported.

    Raises:
      ConfigError: `config_file` is missing or wrong.
      CheckpointError: `out` exists, or cannot be written.
      InputError: `file` is wrong; the message names it.
      EnvironmentSettingError: JAX cannot start with these environment variables.
    """
    from hcflow_jax import checkpoint, devices
    from hcflow_jax.settings import own

    checkpoint.check_new(out)
    file = paths.local(file)
    devices.start()
    given = None if config_file is None else presets.read(str(config_file))
    try:
        found = release.read(file)
        config = config_of(found, given)
        with own():
            tree = to_params(found, config, show=found.bytes >= LARGE)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{file} cannot be read ({reason}); give a file of the authors' code") from error
    except InputError as error:
        raise type(error)(f"{file}: {error}") from error
    about = {"imported": {"file": file.name, "bytes": found.bytes, "module": found.module}}
    step = checkpoint.save_weights(out, tree, config, about)
    return [f"{file}: {_contents(tree, config)}", f"saved as {step}, with its config"]


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

        given = None if values.config is None else presets.read(str(values.config))
        lines = glow.import_file(values.file, values.out, values.resolution, given)
    else:
        lines = import_torch(values.file, values.out, values.config)
    for line in lines:
        print(line)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status (see `commands.run_main`)."""
    return run_main(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
