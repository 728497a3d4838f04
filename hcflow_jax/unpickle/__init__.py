"""Reads PyTorch's two file formats without PyTorch: tensors and plain values. No code in a file is run.

A pickle is a program. First its instructions are checked, and then Python's unpickler executes it (`restricted`), but
it can make only plain and inert values (`values`): nothing that a file names is imported or called. All lengths,
numbers of elements and positions that a file states are checked against its size.
"""

from hcflow_jax.unpickle.archive import read_archive
from hcflow_jax.unpickle.source import Source, UnpickleError
from hcflow_jax.unpickle.stream import Stream, read_stream
from hcflow_jax.unpickle.values import Module, Tensor

__all__ = ["Module", "Source", "Stream", "Tensor", "UnpickleError", "read_archive", "read_stream"]
