"""Reads files of features, statistics or images for a comparison. The content of a file decides its format.

    .npy                    features, (n, d)
    .npz with mu, sigma     statistics of a Gaussian: pytorch-fid, TTUR, clean-fid, EDM, ADM, and ours
    .npz with arr_0         images, (n, R, R, 3) uint8, or features, (n, d) floats
    .pkl                    statistics in EDM2's format: {"fid": {"mu", "sigma"}}

Projects resize images in different ways, and the statistics files of other projects do not state how. Ours do.
"""

import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hcflow_jax import files
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.moments import Statistics, as_statistics
from hcflow_jax.evaluation.statistics_pickle import read as read_pickle

Images = UInt8[np.ndarray, "n R R 3"]

# What NumPy and zipfile raise for damaged files. RuntimeError: an encrypted file, or an unknown compression.
_DAMAGED = (ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)


@dataclass(frozen=True)
class Reference:
    """The content of a file. One of the first three attributes is set.

    Attributes:
      features: (n, d), or None.
      statistics: mean and covariance, or None.
      images: (n, R, R, 3) uint8, or None.
      about: the description in our files, such as {"extractor", "resizing"}; empty or None for files of other
        projects.
    """

    features: Float[np.ndarray, "n d"] | None = None
    statistics: Statistics | None = None
    images: Images | None = None
    about: Mapping[str, Any] | None = None


def read(path: str | Path) -> Reference:
    """Reads a file.

    Raises:
      InputError: the file cannot be read, or has none of the formats above; the message names it.
    """
    path = Path(path)
    try:
        files.refuse_special(os.stat(path))
        with open(path, "rb") as file:
            start = file.read(8)
        if start[:6] == b"\x93NUMPY":
            made = _features(np.load(path, mmap_mode="r", allow_pickle=False))
            return Reference(features=made, about=_about(about_file(path)))
        if start[:4] == b"PK\x03\x04":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                return _from_npz(archive)
        if start[:1] == b"\x80":
            return Reference(statistics=read_pickle(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _DAMAGED as error:
        raise InputError(f"{path}: is damaged, or not a NumPy file ({error})") from None
    raise InputError(f"{path}: neither features (.npy), statistics nor images (.npz), nor EDM2's statistics (.pkl)")


def about_file(path: Path) -> Path:
    """The path of the JSON file that describes a file of features: NAME.json in the same folder."""
    return path.with_name(f"{path.name}.json")


def _about(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(
            f"{path.name} beside it is damaged ({error}); remove it, or make the features again"
        ) from None
    return found if isinstance(found, dict) else {}


def write_statistics(path: Path, statistics: Statistics, about: Mapping[str, Any]) -> None:
    """Writes statistics to a file that other evaluators can read too: `mu`, `sigma` and `about`.

    Args:
      path: the path of the .npz file.
      statistics: written in float64.
      about: what the statistics depend on, as plain values.

    Raises:
      OSError: the file cannot be written. No incomplete file is left.
    """
    said = json.dumps({**about, "count": statistics.count}, sort_keys=True)
    arrays = {"mu": statistics.mu, "sigma": statistics.sigma, "about": np.array(said)}
    files.write(path, lambda file: np.savez(file, **arrays))  # pyright: ignore[reportArgumentType]


def _from_npz(archive: Any) -> Reference:
    if {"mu", "sigma"} <= set(archive.files):
        about = _about_entry(archive)
        count = about.get("count")
        known = count if isinstance(count, int) else None
        return Reference(statistics=as_statistics(archive["mu"], archive["sigma"], known), about=about)
    if "mu" in archive.files or "sigma" in archive.files:
        raise InputError("holds only one of mu and sigma; a Frechet distance needs both")
    if "arr_0" not in archive.files:
        raise InputError(f"holds {', '.join(archive.files) or 'nothing'}; expected mu and sigma, or arr_0")
    array = archive["arr_0"]
    if array.ndim == 2 and array.dtype.kind == "f":
        return Reference(features=_features(array))
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or array.shape[1] != array.shape[2]:
        raise InputError(f"arr_0 is {array.dtype} of shape {array.shape}; expected images, uint8 (n, R, R, 3)")
    if not len(array):
        raise InputError("arr_0 contains no image")
    return Reference(images=array)


def _about_entry(archive: Any) -> dict[str, Any]:
    """The description in our statistics; {} if there is none, or if `about` is something of another program."""
    try:
        found = json.loads(str(archive["about"])) if "about" in archive.files else {}
    except ValueError:  # not JSON, or objects
        return {}
    return found if isinstance(found, dict) else {}


def _features(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(f"is {array.dtype} of shape {array.shape}; expected features, floats (n, d)")
    if len(array) < 2:
        raise InputError(f"holds {len(array)} features; at least 2 are needed")
    if not np.isfinite(array).all():
        raise InputError("has features that are not finite (NaN or infinite)")
    return array
