"""Trains or evaluates a model: `python -m hcflow_jax.main --config=configs/demo.py --workdir=runs/demo`.

Any field of the config can be set on the command line: `--config.train.num_steps=1000`.
"""

import os
import re
import sys
from collections.abc import Sequence
from unittest import mock

from absl import flags
from ml_collections import config_flags

from hcflow_jax import paths, stopping
from hcflow_jax.commands import fail, run_main
from hcflow_jax.config import ConfigError, check_paths, presets
from hcflow_jax.errors import HcflowError

_STOPPED = "stopped; what was saved before is whole"


def _with_presets(argv: Sequence[str]) -> list[str]:
    """The arguments, with the path of the preset where --config names one: demo, or configs/demo.py elsewhere."""
    made = list(argv)
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config") and equals:
            made[i] = f"{flag}={presets.resolve(value)}"
        elif flag in ("--config", "-config") and i + 1 < len(argv):
            made[i + 1] = presets.resolve(argv[i + 1])
    return made


def _parse(argv: Sequence[str]) -> flags.FlagValues:
    argv = _with_presets(argv)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        f"A config file, or one of {', '.join(presets.names())}; --config.FIELD=VALUE, after it, overrides a field.",
        flag_values=values,
        sys_argv=argv,
    )
    flags.DEFINE_string("workdir", None, "Where checkpoints, samples and metrics go.", flag_values=values)
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "eval"],
        "train: from the newest checkpoint in the workdir, if there is one. eval: the held-out bound of it.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "profile",
        None,
        "FIRST:LAST: trace these steps, counted from 1, into profile/ of the workdir.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "allow_config_change",
        False,
        "Train on from a checkpoint of a config that differs in more than may (see docs/training.md).",
        flag_values=values,
    )
    several = "For several processes, where no cluster is detected: "
    flags.DEFINE_string("coordinator_address", None, f"{several}HOST:PORT of process 0.", flag_values=values)
    flags.DEFINE_integer("num_processes", None, f"{several}how many there are.", flag_values=values)
    flags.DEFINE_integer("process_id", None, f"{several}which this is, from 0.", flag_values=values)
    flags.DEFINE_integer(
        "heartbeat_seconds",
        60,
        "Of several processes: without a sign of life for so long one counts as dead, and the others end.",
        flag_values=values,
    )
    flags.DEFINE_bool("help", False, "Show this and stop.", flag_values=values)
    rest = values(argv)[1:]
    if rest:
        raise flags.UnrecognizedFlagError(rest[0])
    if values.help:
        return values
    if values.workdir is None:
        raise ConfigError("--workdir is missing: where are checkpoints, samples and metrics to go?")
    if values.config is None and values.mode == "train":
        raise ConfigError("--config is missing: name a file of configs/")
    if values.profile is not None and values.mode == "eval":
        raise ConfigError("--profile traces steps of training; --mode=eval takes none")
    paths.local(values.workdir, "--workdir")
    if values.config is not None:
        check_paths(values.config)  # here a config file that is not there says so, too
    return values


def _one_line(error: BaseException, argv: Sequence[str]) -> str:
    """What a person needs of an error of the flags or of the config file."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = text.replace("\\n", "\n").replace("\\'", "'")
    meant = re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text)
    if meant:
        right, wrong = meant.groups()
        given = [arg.split("=")[0] for arg in argv if re.search(rf"\.{wrong}\b", arg)]
        where = given[0] if given else "the config file"
        return f"{where}: no field {wrong!r} in the config; did you mean {right!r}?"
    if "Traceback" in text:  # of a config file: its last line says what went wrong
        where = text.split(":", 1)[0] if text.startswith("flag ") else "the config file"
        return f"{where}: {text.strip().splitlines()[-1]}"
    return " ".join(text.split())[:300]


def _run(argv: Sequence[str]) -> int:
    argv = ["hcflow_jax.main", *argv]
    try:
        values = _parse(argv)
    except (flags.Error, AttributeError, KeyError, HcflowError, OSError) as error:
        if stopping.came():
            raise
        return fail(_one_line(error, argv))
    if values.help:
        print(f"{__doc__ or ''}\n{_help(values)}")
        return 0
    return _act(values)


def _help(values: flags.FlagValues) -> str:
    """The text for --help; at absl's own width where COLUMNS is too small for its indents."""
    try:
        return values.get_help()
    except ValueError:
        with mock.patch.dict(os.environ):
            del os.environ["COLUMNS"]
            return values.get_help()


def _act(values: flags.FlagValues) -> int:
    """Trains or evaluates; returns the exit status."""
    # Imported here: a misspelt flag should not wait for jax.
    from jax.errors import JaxRuntimeError

    from hcflow_jax.compiling import enable_compilation_cache
    from hcflow_jax.training import distributed, evaluate, loop
    from hcflow_jax.training.trace import parse_steps

    enable_compilation_cache()
    try:
        distributed.start(
            values.coordinator_address, values.num_processes, values.process_id, values.heartbeat_seconds
        )
        if values.mode == "train":
            loop.train(
                values.config,
                values.workdir,
                profile=parse_steps(values.profile),
                allow_config_change=values.allow_config_change,
            )
        else:
            evaluate.evaluate(values.workdir, values.config)
    except distributed.AloneError as error:
        distributed.leave(fail(error))
    except HcflowError:  # some of them are ValueErrors
        raise
    except (JaxRuntimeError, ValueError) as error:  # jax raises either, as a collective is waited for or dispatched
        if stopping.came() or (said := distributed.lost(error)) is None:
            raise
        distributed.leave(fail(said))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags and runs the mode.

    Args:
      argv: the command line, its first element being the program's name; None for the process's own.

    Returns:
      The process's exit status (see `commands.run_main`).
    """
    return run_main(_run, None if argv is None else argv[1:], stopped=_STOPPED)


if __name__ == "__main__":
    sys.exit(main())
