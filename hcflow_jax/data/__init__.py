"""Image input: sources, the prepared format, input that resumes, and preprocessing on the device.

Importing this package imports neither jax nor grain, so the processes that draw portraits start fast.
"""

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.config.schema import check_data_paths
from hcflow_jax.data.encoded import Encoded
from hcflow_jax.data.source import DataError, Source, Split, several
from hcflow_jax.errors import InputError

__all__ = ["DataError", "Encoded", "Source", "Split", "open_encoded", "open_source", "several"]


def open_source(config: ConfigDict, split: Split) -> Source:
    """Opens the training images or the held-out images of a config.

    Args:
      config: the whole config; its `data` group is read.
      split: "train" or "eval". The two share no image.

    Returns:
      A source of at least one image, square and of `data.resolution` pixels.

    Raises:
      ConfigError: for a field of `data` that cannot be, in one line that names it.
      DataError: for a file that is missing, damaged or not prepared, in one line that names it.
    """
    if split not in ("train", "eval"):
        raise InputError(f"split must be 'train' or 'eval', not {split!r}")
    if config.data.resolution < 1:
        raise ConfigError(f"data.resolution is {config.data.resolution}: expected pixels, at least 1")
    check_data_paths(config.data)
    match config.data.source:
        case "portraits":
            from hcflow_jax.data.portraits import open_portraits as opener
        case "prepared":
            from hcflow_jax.data.prepared import open_prepared as opener
        case "folder":
            from hcflow_jax.data.folder import open_folder as opener
        case "zip":
            from hcflow_jax.data.zip_source import open_zip as opener
        case "lsun":
            from hcflow_jax.data.lsun import open_lsun as opener
        case "tfds":
            from hcflow_jax.data.tfds_source import open_tfds as opener
        case other:
            raise ConfigError(f"data.source is {other!r}: expected portraits, prepared, folder, zip, lsun or tfds")
    return opener(config.data, split)


def open_encoded(kind: str, path: str, name: str = "", split: str = "train") -> Encoded:
    """Opens encoded pictures, to prepare them. `Encoded.describe` returns these arguments.

    Args:
      kind: "folder", "zip", "lsun" or "tfds".
      path: the folder, the zip file, LSUN's directory, or the data_dir of tfds ("": the user's own).
      name: tfds: the builder; "": the prepared builder's directory is `path`.
      split: tfds: which of the builder's splits.

    Raises:
      ConfigError: for another kind, or a `name` or `split` that cannot be.
      DataError: for a file that is missing or damaged, naming it.
    """
    if kind == "tfds":
        from hcflow_jax.data.tfds_source import Tfds

        return Tfds(path, name, split)
    place = paths.local(path, f"{kind}:")
    match kind:
        case "folder":
            from hcflow_jax.data.folder import Folder

            return Folder(place)
        case "zip":
            from hcflow_jax.data.zip_source import Zip

            return Zip(place)
        case "lsun":
            from hcflow_jax.data.lsun import Lsun

            return Lsun(place)
    raise ConfigError(f"{kind!r} is not a kind of set; expected folder, zip, lsun or tfds")
