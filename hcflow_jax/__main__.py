"""The command `hcflow`, also if its script is not installed: `python -m hcflow_jax sample --count 16`."""

import sys

from hcflow_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
