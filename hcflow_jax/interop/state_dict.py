"""Reads a file of named tensors: in PyTorch's older format, its zip format, or safetensors."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax.errors import InputError
from hcflow_jax.files import refuse_special
from hcflow_jax.unpickle import Source, Stream, Tensor, UnpickleError, read_archive, read_stream
from hcflow_jax.unpickle.archive import is_archive
from hcflow_jax.unpickle.source import shown

_HEADER = 8  # bytes: the size of the number at the start of a safetensors file, the length of its JSON


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name. The content of the file shows its format; nothing in it is run.

    Args:
      path: the path of a state_dict that `torch.save` wrote, or of a safetensors file.

    Returns:
      name -> array, in the order of the file. For PyTorch's formats the arrays are read-only views of the file.

    Raises:
      InputError: the file is missing, cut short or damaged, or does not contain named tensors; the message names it.
    """
    path = Path(path)
    try:
        refuse_special(os.stat(path))
        with open(path, "rb") as file:
            start = file.read(_HEADER + 1)
        if start[_HEADER:] == b"{":
            return _safetensors(path)
        stream = read_archive(path) if is_archive(start) else read_stream(Source(path))
        return _tensors(stream)
    except UnpickleError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype that numpy does not have
        raise UnpickleError(f"it is not a complete safetensors file ({shown(str(error))})") from None


def _tensors(stream: Stream) -> dict[str, np.ndarray]:
    root: Any = stream.object
    for key in ("state_dict", "model", "graph"):  # some projects store it as one entry of a training state
        if isinstance(root, Mapping) and isinstance(root.get(key), Mapping):
            root = root[key]
            break
    if not isinstance(root, Mapping):
        raise UnpickleError(f"it contains a {shown(root)}, expected a state_dict: names and tensors")
    found = {name: value for name, value in root.items() if isinstance(value, Tensor)}
    if not found:
        raise UnpickleError("it contains no named tensor, expected a state_dict: names and tensors")
    return {str(name): stream.array(tensor) for name, tensor in found.items()}
