"""Shows what a trained model does, in pictures and numbers.

    hcflow report --workdir runs/mine          (or python -m hcflow_jax.cli.report)

Writes to WORKDIR/report/: samples, reconstructions beside originals, real pictures with more and more levels set to
zero, and the loss curve of a run (only if the extra `pictures` is installed). Prints the bound before and after
training, and the worst error of encoding and decoding. To continue a report that was stopped, repeat it: pictures of
the same checkpoint are kept.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hcflow_jax.cli import command
from hcflow_jax.commands import as_place
from hcflow_jax.layout import REPORT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument(
        "--workdir", required=True, type=as_place, help="the workdir of a run that saved a checkpoint"
    )


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    from hcflow_jax import api, buckets, paths
    from hcflow_jax.analysis.report import Report
    from hcflow_jax.checkpoint import CheckpointError
    from hcflow_jax.cli.arguments import UsageError
    from hcflow_jax.compiling import enable_compilation_cache

    enable_compilation_cache()
    try:
        model = api.load(values.workdir)
    except CheckpointError as error:
        raise UsageError(str(error)) from error
    where = values.workdir / REPORT
    if isinstance(where, Path):
        Report(values.workdir, model, where).write()
        return 0
    with tempfile.TemporaryDirectory(prefix="hcflow-") as folder:
        paths.stands_in(Path(folder), where)
        Report(values.workdir, model, Path(folder)).write()
        for file in sorted(Path(folder).iterdir()):
            buckets.upload(file, where / file.name)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The same as `hcflow report`; returns the exit status."""
    return command.main(["report", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
