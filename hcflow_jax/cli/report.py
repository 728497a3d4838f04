"""What a trained model does, in pictures and figures.

    hcflow report --workdir runs/mine          (or python -m hcflow_jax.cli.report)

Writes to WORKDIR/report/: samples, reconstructions beside originals, the cumulative zeroing of a real picture's
levels, and the loss curve (of a run; it takes the extra `pictures`); prints the bound before and after training and
the worst error of encode -> decode.
"""

import argparse
import sys
from collections.abc import Sequence

from hcflow_jax.cli import command
from hcflow_jax.commands import as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("--workdir", required=True, type=as_path, help="of a run that saved a checkpoint")


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    from hcflow_jax import api
    from hcflow_jax.analysis.report import Report
    from hcflow_jax.checkpoint import CheckpointError
    from hcflow_jax.cli.arguments import UsageError
    from hcflow_jax.compiling import enable_compilation_cache

    enable_compilation_cache()
    try:
        model = api.load(values.workdir)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    Report(values.workdir, model).write()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The same as `hcflow report`; returns the exit status."""
    return command.main(["report", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
