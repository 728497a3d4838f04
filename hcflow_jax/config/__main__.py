"""Prints the table of every field: `python -m hcflow_jax.config > docs/config.md`."""

from hcflow_jax.config import table

print(table.markdown(), end="")
