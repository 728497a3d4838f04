"""What the two commands share of the command line: errors of one line."""

import argparse
from typing import NoReturn

from hcflow_jax.config import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse's, whose errors are raised, and which knows options by their whole names alone."""

    def __init__(self, module: str, about: str | None):
        """Args:
        module: of this package, "import_torch".
        about: shown by --help.
        """
        raw = argparse.RawDescriptionHelpFormatter
        prog = f"python -m hcflow_jax.interop.{module}"
        super().__init__(prog=prog, description=about, formatter_class=raw, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(message)
