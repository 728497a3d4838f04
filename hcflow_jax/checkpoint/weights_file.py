"""A weights file: the parameters of the EMA and the config in one safetensors file, for sharing a model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hcflow_jax import paths
from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.config import ConfigError, config_from_plain, config_to_plain
from hcflow_jax.errors import InputError
from hcflow_jax.files import replacing

SUFFIX = ".safetensors"
_KEYS = ("config", "metadata", "empty")


def save_file(
    path: str | Path, params: Any, config: ConfigDict, metadata: Mapping[str, Any], dtype: Any = np.float32
) -> None:
    """Writes a weights file, completely or not at all.

    Args:
      path: the path of the file, ending in .safetensors.
      params: the parameters, nested dicts of arrays.
      config: the whole config.
      metadata: plain values: `step`, and other facts about the model.
      dtype: the dtype of the stored values. float16 halves the file and keeps 11 bits of each value.

    Raises:
      InputError: a parameter is not finite, or not finite in `dtype`.
      OSError: the file cannot be written.
    """
    import jax  # imported here, because commands that read no weights should not wait for it

    path = paths.local(path)
    tensors, empty = {}, []
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_empty):
        name = jax.tree_util.keystr(keys, simple=True, separator="/")
        if isinstance(leaf, dict):
            empty.append(name)  # a bijector without parameters: it is part of the tree, but has no tensor
            continue
        with np.errstate(over="ignore"):
            tensors[name] = np.ascontiguousarray(np.asarray(leaf).astype(dtype))
        if not np.isfinite(tensors[name]).all():
            raise InputError(f"{path}: {name} is not finite as {np.dtype(dtype).name}")
    values = dict(config=config_to_plain(config), metadata=dict(metadata), empty=empty)
    texts = {key: json.dumps(value) for key, value in values.items()}
    with replacing(path) as partial:
        partial.write_bytes(save(tensors, texts))


def amend_file(path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Adds entries to the metadata of a weights file, completely or not at all. The tensors do not change.

    Args:
      path: the path of the file.
      metadata: plain values by name. They replace entries of the same names.

    Raises:
      CheckpointError: the file was not written by `save_file`.
      OSError: the file cannot be written.
    """
    path = paths.local(path)
    before = read_file(path)[2]
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"]["metadata"] = json.dumps({**before, **metadata})
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    with replacing(path) as partial:
        partial.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def read_file(path: Path) -> tuple[ConfigDict, Any, Mapping[str, Any]]:
    """Reads a weights file.

    Returns:
      The config, the parameters as nested dicts of float32 numpy arrays, and the metadata.

    Raises:
      CheckpointError: the file cannot be read, or was not written by `save_file`.
      ConfigError: the family of models is not registered.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            if missing := [key for key in _KEYS if key not in texts]:
                raise CheckpointError(
                    f"{path} does not contain {missing[0]}, so it is not a weights file of this package"
                )
            config, metadata = config_from_plain(json.loads(texts["config"])), json.loads(texts["metadata"])
            flat: dict[str, Any] = {name: {} for name in json.loads(texts["empty"])}
            flat |= {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
    except ConfigError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read as a weights file: get it again ({error})") from error
    params: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split("/")
        holder = params
        for group in groups:
            holder = holder.setdefault(group, {})
        holder[leaf] = value
    return config, params, metadata


def _is_empty(node: Any) -> bool:
    return isinstance(node, dict) and not node
