"""Source: a TensorFlow Datasets set, prepared as array_record. Reading one does not need TensorFlow."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data import images
from hcflow_jax.data.source import DataError, Source, Split, split_off_end

_HELD_OUT = ("validation", "test")  # in order of preference


class TfdsSource:
    """One split of a set. The encoded picture is taken from its record and decoded as a folder's is."""

    def __init__(self, records: Any, feature: str, resolution: int, name: str) -> None:
        """Wraps a random-access split whose `feature` holds encoded pictures."""
        self._records, self._feature, self._resolution, self.name = records, feature, resolution, name
        self.identity = f"tfds {name} {len(self)} {resolution}"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        try:
            record = self._records[index][self._feature]
        except RuntimeError as error:
            raise DataError(f"{self.name}: image {index} is damaged ({error}); prepare it again") from error
        return images.load(bytes(record), self._resolution, f"{self.name}, image {index}")


def open_tfds(data: ConfigDict, split: Split) -> Source:
    """`data.name` under `data.path`.

    The held-out images are those of the set's validation or test split; a set without one gives the last
    `data.eval_images` of its train split.

    Raises:
      ConfigError: for a name that is no set, or a set without a train split or pictures.
      DataError: for a set that is not prepared, or not as array_record.
    """
    import tensorflow_datasets as tfds

    if not data.name:
        raise ConfigError("data.name is empty: data.source = 'tfds' needs a set, for example celeb_a_hq/256")
    directory = str(Path(data.path).expanduser()) if data.path else None
    try:
        builder: Any = tfds.builder(data.name, data_dir=directory)
    except tfds.core.DatasetNotFoundError as error:
        raise ConfigError(
            f"data.name is {data.name!r}: TensorFlow Datasets knows no such set, and data.path "
            f"({data.path or 'its default'}) holds none prepared"
        ) from error
    except (ImportError, ValueError, RuntimeError, AssertionError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ConfigError(f"data.name is {data.name!r}: cannot be opened ({reason})") from error
    how = (
        f'prepare it where TensorFlow is installed: tfds.builder("{data.name}", data_dir=..., '
        "file_format=\"array_record\").download_and_prepare(), or use data.source = 'folder'"
    )
    if not Path(builder.data_path).is_dir():
        raise DataError(f"{builder.data_path}: {data.name} is not prepared there (data.path); {how}")
    if "train" not in builder.info.splits:
        raise ConfigError(f"data.name is {data.name!r}: the set has no train split")
    features = dict(builder.info.features or {})
    pictures = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    if not pictures:
        raise ConfigError(f"data.name is {data.name!r}: the set has no picture among {', '.join(features)}")
    held_out = next((name for name in _HELD_OUT if name in builder.info.splits), None)
    chosen = held_out if split == "eval" and held_out else "train"
    try:
        records = builder.as_data_source(split=chosen, decoders={key: tfds.decode.SkipDecoding() for key in pictures})
    except NotImplementedError as error:
        raise DataError(
            f"{builder.data_path}: prepared as {_format(builder)}, which has no random access; {how}"
        ) from error
    feature = "image" if "image" in pictures else pictures[0]
    source = TfdsSource(records, feature, data.resolution, f"tfds {data.name} ({chosen})")
    if len(source) == 0:
        raise DataError(f"{builder.data_path}: its {chosen} split is empty")
    return source if held_out else split_off_end(source, split, data)


def _format(builder: Any) -> str:
    return getattr(builder.info.file_format, "value", str(builder.info.file_format))
