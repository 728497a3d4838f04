"""Files that are never half there."""

import io
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hcflow_jax.pictures.sheets import Sheet


def save_png(path: str | Path, array: Sheet) -> None:
    """Writes a PNG at once (readers never see a half); makes the folders above it."""
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise ValueError(f"{path}: expected uint8 values, got {array.dtype}")
    write(Path(path), lambda file: Image.fromarray(array).save(file, "PNG"))


def write(path: Path, save: Callable[[io.BytesIO], object]) -> None:
    """Puts what `save` writes into its place at once; makes the folders above it."""
    buffer = io.BytesIO()
    save(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
