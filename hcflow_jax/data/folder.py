"""Source: any folder of pictures."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data import images
from hcflow_jax.data.source import DataError, Source, Split, split_off_end

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class Folder:
    """The PNG, JPEG and WebP pictures below a folder, ordered by their relative paths.

    Names that begin with a dot are left out. A picture is decoded each time it is read (`images.load`).
    """

    def __init__(self, path: Path, resolution: int) -> None:
        """Lists the folder.

        Raises:
          DataError: if it is missing, unreadable or without pictures, naming it.
        """
        self.path, self.resolution, self.name = path, resolution, f"folder {path}"
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; data.path names the folder of images")
        self.files = _list(path)
        if not self.files:
            raise DataError(f"{path}: holds no picture ({', '.join(SUFFIXES)}), in its subfolders neither")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        path = self.path / self.files[index]
        return images.load(path, self.resolution, str(path))


def _list(root: Path) -> list[str]:
    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    found = []
    for directory, subdirectories, files in os.walk(root, onerror=fail):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        found += [
            Path(directory, name).relative_to(root).as_posix()
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def open_folder(data: ConfigDict, split: Split) -> Source:
    """`data.path` as a source; the last `data.eval_images` pictures are held out."""
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'folder' needs the folder of images")
    return split_off_end(Folder(Path(data.path).expanduser(), data.resolution), split, data.eval_images)
