"""Trains or evaluates a model: `python -m hcflow_jax.main --config=configs/demo.py --workdir=runs/demo`.

Any field of the config can be set on the command line: `--config.train.num_steps=1000`.
"""

import os
import sys
from collections.abc import Sequence
from unittest import mock

from absl import flags
from ml_collections import config_flags

from hcflow_jax import mistakes, paths, stopping
from hcflow_jax.commands import fail, run_main
from hcflow_jax.config import ConfigError, check_paths, presets
from hcflow_jax.errors import HcflowError

_STOPPED = "stopped; everything that was saved is complete"


def _with_presets(argv: Sequence[str]) -> list[str]:
    """The arguments, with the names of presets replaced by their paths.

    --config=demo works in every folder, and so does --config=configs/demo.py.
    """
    made = list(argv)
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config") and equals:
            made[i] = f"{flag}={presets.file(value)}"
        elif flag in ("--config", "-config") and i + 1 < len(argv):
            made[i + 1] = presets.file(argv[i + 1])
    return made


def _parse(argv: Sequence[str]) -> flags.FlagValues:
    argv = _with_presets(argv)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        f"A config file, or one of {', '.join(presets.names())}. --config.FIELD=VALUE after it changes a field.",
        flag_values=values,
        sys_argv=argv,
    )
    flags.DEFINE_string(
        "workdir", None, "The folder for checkpoints, samples and metrics, or gs://BUCKET/NAME.", flag_values=values
    )
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "eval", "check"],
        "train: train, or continue from the newest checkpoint in the workdir. eval: measure the newest checkpoint. "
        "check: say what train would do, and find mistakes; nothing is compiled or written.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "profile",
        None,
        "FIRST:LAST: write a trace of these steps to profile/ in the workdir. Steps count from 1.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "allow_config_change",
        False,
        "Continue although fields differ from the checkpoint that may not change on resume (docs/training.md).",
        flag_values=values,
    )
    several = "For several processes, if no cluster is detected: "
    flags.DEFINE_string("coordinator_address", None, f"{several}HOST:PORT of process 0.", flag_values=values)
    flags.DEFINE_integer("num_processes", None, f"{several}the number of processes.", flag_values=values)
    flags.DEFINE_integer("process_id", None, f"{several}the number of this process, from 0.", flag_values=values)
    flags.DEFINE_integer(
        "heartbeat_seconds",
        60,
        "For several processes: if one is silent for this long, it counts as dead and the others end.",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "Show this text.", flag_values=values)
    rest = values(argv)[1:]
    if rest:
        raise ConfigError(f"{rest[0]!r} is no option: all begin with --, and --help lists them")
    if values.help:
        return values
    if values.workdir is None:
        raise ConfigError("--workdir is missing: name the folder for checkpoints, samples and metrics")
    if values.config is None and values.mode != "eval":
        raise ConfigError("--config is missing: name a file of configs/")
    if values.profile is not None and values.mode == "eval":
        raise ConfigError("--profile traces training steps, so it cannot be used with --mode=eval")
    paths.place(values.workdir, "--workdir")
    if values.config is not None:
        check_paths(values.config)  # this also reports a missing config file
    return values


def _run(argv: Sequence[str]) -> int:
    argv = ["hcflow_jax.main", *argv]
    try:
        values = _parse(argv)
    except Exception as error:  # the user's config file can raise anything
        if stopping.came():
            raise
        return fail(mistakes.one_line(error, argv))
    if values.help:
        print(f"{__doc__ or ''}\n{_help(values)}")
        return 0
    return _act(values)


def _help(values: flags.FlagValues) -> str:
    """The text for --help. If COLUMNS is too small for absl, absl's default width is used."""
    try:
        return values.get_help()
    except ValueError:
        with mock.patch.dict(os.environ):
            del os.environ["COLUMNS"]
            return values.get_help()


def _act(values: flags.FlagValues) -> int:
    """Trains or evaluates; returns the exit status."""
    # These are imported here, so that a misspelt flag is reported without importing jax.
    from jax.errors import JaxRuntimeError

    from hcflow_jax.compiling import enable_compilation_cache
    from hcflow_jax.training import check, distributed, evaluate, loop
    from hcflow_jax.training.trace import parse_steps

    if values.mode != "check":  # which writes nothing
        enable_compilation_cache()
    try:
        distributed.start(
            values.coordinator_address, values.num_processes, values.process_id, values.heartbeat_seconds
        )
        if values.mode == "eval":
            evaluate.evaluate(values.workdir, values.config)
        else:
            act = loop.train if values.mode == "train" else check.check
            profile, allow = parse_steps(values.profile), values.allow_config_change
            act(values.config, values.workdir, profile=profile, allow_config_change=allow)
    except distributed.AloneError as error:
        distributed.leave(fail(error))
    except HcflowError:  # some of them are ValueErrors
        raise
    except (JaxRuntimeError, ValueError) as error:  # jax raises one of these when a collective operation fails
        if stopping.came() or (said := distributed.lost(error)) is None:
            raise
        distributed.leave(fail(said))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, and trains or evaluates.

    Args:
      argv: the command line; its first element is the name of the program. None: that of the process.

    Returns:
      The exit status of the process (see `commands.run_main`).
    """
    return run_main(_run, None if argv is None else argv[1:], stopped=_STOPPED)


if __name__ == "__main__":
    sys.exit(main())
