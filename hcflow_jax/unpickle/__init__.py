"""PyTorch's two file formats, read without PyTorch: tensors and plain values, nothing run.

A pickle is a program. Its instructions are checked first, then Python's unpickler runs it (`restricted`) and makes
plain and inert values alone (`values`): nothing that a file names is imported or called. What a file claims is held
against what it has: lengths, numbers of elements, places in a storage.
"""

from hcflow_jax.unpickle.archive import read_archive
from hcflow_jax.unpickle.source import Source, UnpickleError
from hcflow_jax.unpickle.stream import Stream, read_stream
from hcflow_jax.unpickle.values import Module, Tensor

__all__ = ["Module", "Source", "Stream", "Tensor", "UnpickleError", "read_archive", "read_stream"]
