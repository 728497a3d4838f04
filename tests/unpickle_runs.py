"""What the tests of `hcflow_jax.unpickle` share: one pickle or one stream read from a file, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_file

from hcflow_jax.unpickle import Source, Stream, UnpickleError, read_stream, restricted


def load(content: bytes, folder: Path) -> Any:
    """The value of one pickle."""
    file = folder / "one.pickle"
    file.write_bytes(content)
    return restricted.load(Source(file))


def stream(value: Any, storages: dict[str, np.ndarray], folder: Path, **changes: bytes) -> Stream:
    """A stream of a value, read."""
    made = torch_file.Pieces(torch_file.stream("x", value, storages)).but(**changes)
    return read_stream(Source(made.write(folder / "one.stream")))


def refused(act: Any, *said: str) -> None:
    """Asserts that it is refused in one line that says so."""
    with pytest.raises(UnpickleError) as error:
        act()
    text = str(error.value)
    assert "\n" not in text and text.isascii() and len(text) < 400
    assert all(part in text for part in said), text
