"""The numbers from outside (`golden/`, computed with the authors' network): reading and comparing them."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parent / "golden"

LOG_DET = dict(relative=1e-4, absolute=1e-2)  # nats; a sum of thousands of terms


@functools.cache
def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of golden/<name>.npz; read once, not to be written to."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@functools.cache
def settings() -> dict[str, Any]:
    """tiny_a's settings in the release's format; not to be written to."""
    return json.loads((GOLDEN / "tiny_a" / "config.json").read_text())


def group(data: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Entries under `prefix`, without it.

    Raises:
      KeyError: where there is none.
    """
    found = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    if not found:
        raise KeyError(f"no entry starts with {prefix!r}")
    return found


def nhwc(array: np.ndarray) -> Any:  # numpy, which JAX takes but its annotations do not
    """(b, c, h, w) -> (b, h, w, c), and what is 1x1 or flat already -> (b, c)."""
    if array.ndim == 4 and array.shape[2:] != (1, 1):
        return array.transpose(0, 2, 3, 1)
    return array.reshape(array.shape[0], -1)


def assert_close(ours: Any, theirs: Any, what: str = "", *, relative: float = 1e-4, absolute: float = 0.0) -> None:
    """max|ours - theirs| <= relative * max|theirs| + absolute, and the same shape."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, not {theirs.shape}"
    error, allowed = np.abs(ours - theirs).max(), relative * np.abs(theirs).max() + absolute
    assert error <= allowed, f"{what}: off by {error:.3g}, allowed {allowed:.3g}"
