"""Source: a TensorFlow Datasets set, prepared as array_record. Reading one does not need TensorFlow."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.data import reading
from hcflow_jax.data.encoded import Pictures
from hcflow_jax.data.left_out import LeftOut
from hcflow_jax.data.source import DataError, Source, Split, split_off_end

_HELD_OUT = ("validation", "test")  # in order of preference
_INSTALL = "pip install 'hcflow_jax[tfds]'"


class Tfds:
    """One split of a set: the encoded pictures of its records, named "0", "1", ... in their order."""

    def __init__(self, path: str, name: str, split: str, builder: Any = None) -> None:
        """Opens a split; another process opens its own: pickled, a set is its path, name and split.

        Args:
          path: the data_dir ("": the user's own); the prepared builder's own directory where `name` is "".
          name: the builder, for example celeb_a_hq/256.
          split: one of the builder's splits.
          builder: where it is open already.

        Raises:
          ConfigError: for a name that is no set, or a set without that split or pictures.
          DataError: for a split that is not prepared, or not as array_record.
        """
        import tensorflow_datasets as tfds

        builder = builder or open_builder(path, name)
        self._path, self._name, self._split, self.left_out = path, name, split, LeftOut()
        field = _field(path, name)
        if split not in builder.info.splits:
            raise ConfigError(f"{field}: the set has no {split} split")
        features = dict(builder.info.features or {})
        pictures = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
        if not pictures:
            raise ConfigError(f"{field}: the set has no picture among {', '.join(features)}")
        self._feature = "image" if "image" in pictures else pictures[0]
        self.name = f"tfds {builder.info.full_name} ({split})"
        decoders = {key: tfds.decode.SkipDecoding() for key in pictures}
        with reading.naming(str(builder.data_path), "cannot be read", "prepare it again"):
            try:
                self._records: Any = builder.as_data_source(split=split, decoders=decoders)
                self._count = len(self._records)
            except NotImplementedError as error:
                written = getattr(builder.info.file_format, "value", str(builder.info.file_format))
                raise DataError(
                    f"{builder.data_path}: prepared as {written}, which has no random access; {_how(name)}"
                ) from error
        if not self._count:
            raise DataError(f"{builder.data_path}: its {split} split is empty")

    def __reduce__(self) -> tuple[type["Tfds"], tuple[str, str, str]]:
        return Tfds, (self._path, self._name, self._split)

    def names(self) -> Iterator[str]:
        """See `Encoded`."""
        return map(str, range(self._count))

    def read(self, name: str) -> bytes:
        """See `Encoded`."""
        with reading.naming(self.label(name), "damaged", "prepare the set again"):
            return bytes(self._records[int(name)][self._feature])

    def label(self, name: str) -> str:
        """See `Encoded`."""
        return f"{self.name}, image {name}"

    def describe(self) -> dict[str, Any]:
        """See `Encoded`."""
        path = os.path.abspath(paths.local(self._path, "data.path")) if self._path else ""
        return {"kind": "tfds", "path": path, "name": self._name, "split": self._split}


def open_builder(path: str, name: str) -> Any:
    """The builder of a set that is prepared: `name` under the data_dir `path`, or the directory `path` itself.

    Raises:
      ConfigError: for a name that is no set, or a directory that is no builder's.
      DataError: for a set that is not prepared.
    """
    import tensorflow_datasets as tfds

    directory = paths.local(path, "data.path") if path else None
    directory = str(paths.plain(directory) if directory.is_dir() else directory) if directory else None
    field = _field(path, name)
    try:
        if name:
            builder: Any = tfds.builder(name, data_dir=directory)
        elif directory and (Path(directory) / "dataset_info.json").is_file():
            builder = tfds.builder_from_directory(directory)
        else:
            raise ConfigError(
                "data.name is empty: data.source = 'tfds' needs a set, for example celeb_a_hq/256, or as data.path "
                "the directory of a prepared one, with dataset_info.json inside"
            )
    except tfds.core.DatasetNotFoundError as error:
        raise ConfigError(
            f"{field}: TensorFlow Datasets has no such set, and data.path ({path or 'its default'}) holds none "
            "prepared"
        ) from error
    except ImportError as error:
        raise ConfigError(f"{field}: needs {error.name or _first_line(error)}; {_INSTALL}") from error
    except (OSError, ValueError, RuntimeError, AssertionError, LookupError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{field}: cannot be opened ({_first_line(error)})") from error
    if not Path(builder.data_path).is_dir():
        where = paths.own_names(str(builder.data_path))
        raise DataError(f"{where}: {name} is not prepared there (data.path); {_how(name)}")
    return builder


def open_tfds(data: ConfigDict, split: Split) -> Source:
    """`data.name` under `data.path`, or the prepared builder that lies at `data.path` itself.

    The held-out images are those of the set's validation or test split; a set without one gives the end of its
    train split (`split_off_end`).

    Raises:
      ConfigError, DataError: see `Tfds` and `open_builder`.
    """
    builder = open_builder(data.path, data.name)
    held_out = next((name for name in _HELD_OUT if name in builder.info.splits), None)
    chosen = held_out if split == "eval" and held_out else "train"
    source = Pictures(Tfds(data.path, data.name, chosen, builder), data.resolution)
    # Names that are numbers tell nothing; a builder's version and split do.
    source.identity = f"tfds {builder.info.full_name} {chosen} {len(source)} {data.resolution}"
    return source if held_out else split_off_end(source, split, data)


def _field(path: str, name: str) -> str:
    return f"data.name is {name!r}" if name else f"data.path is {path!r}"


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _how(name: str) -> str:
    call = f'tfds.builder("{name}", data_dir=..., file_format="array_record").download_and_prepare()'
    if name.partition("/")[0] == "lsun":
        return f"use data.source = 'lsun' with LSUN's own files, or {_INSTALL} tensorflow-io and prepare it: {call}"
    return f"{_INSTALL} and prepare it: {call}, or use data.source = 'folder'"
