"""Prints docs/config.md, with the tables of all fields: `python -m hcflow_jax.config > docs/config.md`."""

import sys

from hcflow_jax import stopping
from hcflow_jax.config import table


def main() -> int:
    """Prints the page. Returns the exit status."""
    print(table.markdown(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main, owns=True))
