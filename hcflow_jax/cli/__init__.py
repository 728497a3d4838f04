"""The `hcflow` command: what a trained model does, without a line of Python. One file a subcommand.

Importing this imports neither jax nor numpy, so that `hcflow --help` is there at once.
"""

from hcflow_jax.cli.command import main

__all__ = ["main"]
