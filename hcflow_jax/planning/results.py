"""Finds the result for a target: one that is kept, or a new one from the compiler."""

from collections.abc import Callable

from ml_collections import ConfigDict

from hcflow_jax.errors import MissingExtraError
from hcflow_jax.planning import compiler, kept
from hcflow_jax.planning.result import Result, check_batch, for_target
from hcflow_jax.planning.targets import Target

# What was seen where a whole configuration was compiled for TPUs (docs/performance.md).
_LARGE = (
    "compiling configuration A for a v5e took 29 minutes of processor time and 18 GB of memory; your config may need "
    "as much"
)


def of(
    config: ConfigDict,
    target: Target,
    batch: int,
    *,
    precision: str | None = None,
    again: bool = False,
    tell: Callable[[str], object],
) -> Result | str:
    """The result for a config on a target, or why there is none, in one line.

    Args:
      config: the config of the user.
      target: the devices.
      batch: the images of a device.
      precision: `execution.dtype`; None: that of the config.
      again: whether to compile even if a result is kept.
      tell: called with lines of progress.

    Raises:
      ConfigError: a value of the config, or the batch, is not allowed.
    """
    wanted = for_target(config, target, batch, precision)
    check_batch(config, target, batch)
    found = None if again else kept.find(wanted, target, batch)
    if found:
        return found
    if not target.is_gpu and not compiler.missing(target):
        tell(f"{target.name}: {_LARGE}")
    try:
        made = compiler.run(wanted, target, batch, tell)
    except MissingExtraError as error:
        have = ", ".join(kept.known(wanted)) or "none for this config"
        return f"no result is kept (there are: {have}), and {error}"
    except compiler.CompileError as error:
        return str(error)
    kept.keep(wanted, made)
    return made
