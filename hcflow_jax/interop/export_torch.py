"""Exports a checkpoint for the authors' network: `python -m hcflow_jax.interop.export_torch CHECKPOINT --out FILE`.

FILE ends in .safetensors, or in .pt for PyTorch's own format (`torch.load` reads it with weights_only=True; it is
written without PyTorch). It contains a state_dict of the averaged weights (EMA), with the authors' names. All learned
parameters are exact. Masks and resampling kernels are those that their network makes, and parameters without effect
are zero. A Glow model gets the names of the public PyTorch implementation of Glow.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import save_file

from hcflow_jax import checkpoint, paths
from hcflow_jax.commands import Parser, as_path, as_place, run_main
from hcflow_jax.config import ConfigError, family_of
from hcflow_jax.files import replacing
from hcflow_jax.interop import arrays, glow, torch_zip
from hcflow_jax.interop.constants import constants, without_effect


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m hcflow_jax.interop.export_torch", __doc__)
    what = "a workdir, one step in its checkpoints/, or a weights file"
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=as_place, help=what)
    parser.add_argument("--out", metavar="FILE", type=as_path, required=True, help="FILE.safetensors or FILE.pt")
    return parser.parse_args(argv)


def state_dict(tree: Any, config: ConfigDict) -> dict[str, np.ndarray]:
    """The state_dict of the authors' network: float32 arrays by name, sorted and contiguous.

    For a Glow model it is that of the public PyTorch implementation (see `glow`).

    Args:
      tree: the parameters.
      config: the config of the same model.

    Raises:
      ConfigError: the other implementation cannot represent this Glow model.
    """
    if family_of(config) == glow.family.NAME:
        flat = glow.state_dict_of(tree, config)
    else:
        learnt = arrays.to_torch(tree, config)
        flat = {**learnt, **without_effect(learnt, config), **dict(constants(config))}
    return {name: np.ascontiguousarray(flat[name], np.float32) for name in sorted(flat)}


def _writer(file: Path) -> Any:
    if file.suffix == ".pt":
        return torch_zip.write
    if file.suffix == ".safetensors":
        return lambda path, flat: save_file(flat, path, {"format": "pt"})
    raise ConfigError(f"--out {file}: expected a name that ends in .safetensors or .pt")


def export_torch(path: str | Path, file: Path) -> str:
    """Writes the averaged weights of a checkpoint to a file.

    Args:
      path: the checkpoint.
      file: the file to write, .safetensors or .pt.

    Returns:
      A line that describes the file.

    Raises:
      CheckpointError: the checkpoint does not exist.
      ConfigError: the file exists, or cannot be written.
    """
    write, file = _writer(file), paths.local(file)
    if file.exists():
        raise ConfigError(f"--out {file}: exists already and is not overwritten; name another")
    if not file.parent.is_dir():
        raise ConfigError(f"--out {file}: {file.parent} is not a directory; make it, or name another")
    found = checkpoint.load(path)
    flat = state_dict(found.arrays["ema"], found.config)
    try:
        with replacing(file) as partial:
            write(partial, flat)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"--out {file} cannot be written ({error}); check the disk") from error
    numbers = sum(array.size for array in flat.values())
    return f"{file}: {len(flat)} tensors of {numbers:,} numbers, of step {found.step}"


def _run(argv: Sequence[str]) -> int:
    values = _parse(argv)
    print(export_torch(values.checkpoint, values.out))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status (see `commands.run_main`)."""
    return run_main(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
