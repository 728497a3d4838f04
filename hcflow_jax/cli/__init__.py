"""The `hcflow` command: using a trained model without Python. One file for each subcommand.

Importing this package imports neither jax nor numpy, so `hcflow --help` is fast.
"""

from hcflow_jax.cli.command import main

__all__ = ["main"]
