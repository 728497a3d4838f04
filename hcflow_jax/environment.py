"""The environment of the process: the user's folders, and environment variables that JAX or XLA does not accept.

This module does not import jax, because a wrong environment variable makes that import fail.
"""

import functools
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hcflow_jax.errors import HcflowError

_PROBE = "from jaxlib import xla_client; xla_client.CompileOptions()"  # reads XLA_FLAGS


class EnvironmentSettingError(HcflowError):
    """An environment variable has a value that cannot be used; the message names the variable."""


def user_cache() -> Path | None:
    """The user's folder for caches: $XDG_CACHE_HOME, or .cache in the home directory. It is not created.

    Returns:
      An absolute path, or None if the user has no home directory.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the XDG standard says that relative values must be ignored
        return given
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".cache" if home.is_absolute() and home != Path(home.anchor) else None


def check_xla_flags() -> None:
    """Checks that XLA accepts XLA_FLAGS. Another process tries it, because XLA ends the process if it does not.

    Raises:
      EnvironmentSettingError: XLA does not accept it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if flags.strip() and (reason := _refusal(flags)):
        raise EnvironmentSettingError(f"XLA_FLAGS={flags}: {reason}; correct the variable or unset it")


@functools.cache
def _refusal(flags: str) -> str | None:
    """XLA's message about flags that it does not accept; None if it accepts them, or if the test cannot run."""
    try:
        environment = {**os.environ, "XLA_FLAGS": flags}
        tried = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = tried.stderr.decode(errors="replace").strip()
    if not tried.returncode or "XLA_FLAGS" not in said:
        return None
    return f"XLA does not take it ({said.split('] ', 1)[-1].splitlines()[0][:200]})"


def cannot_start(platforms: str, platform: str, error: BaseException) -> EnvironmentSettingError:
    """The error to raise if no backend of JAX starts.

    Args:
      platforms: JAX's setting `jax_platforms`, from the variable JAX_PLATFORMS.
      platform: JAX's setting `jax_platform_name`, from the variable JAX_PLATFORM_NAME.
      error: the error that JAX raised.
    """
    reason = " ".join(str(error).split()).split(" (set JAX_PLATFORMS", 1)[0].split(" (you may need", 1)[0][:200]
    reason = reason.rstrip(".") or "there is no such device"
    if "gloo/transport" in reason:  # the CPUs of several processes connect by the names of their machines
        return EnvironmentSettingError(
            f"this machine cannot resolve its own name, {socket.gethostname()}, which the CPUs of several processes "
            f"need: add the name to /etc/hosts ({reason})"
        )
    if not platforms and not platform:
        hint = "JAX_PLATFORMS=cpu computes on the CPU"
        if "'cpu'" in reason:
            hint = f"look at {', '.join(n for n in os.environ if n.startswith('JAX_')) or 'the installation of jax'}"
        return EnvironmentSettingError(f"JAX cannot start ({reason}); {hint}")
    setting = f"JAX_PLATFORMS={platforms}" if platforms else f"JAX_PLATFORM_NAME={platform}"
    wanted = {name.strip().lower() for name in (platforms or platform).split(",")}
    if wanted & {"cuda", "gpu"}:
        needs = "an NVIDIA GPU needs its driver and pip install 'hcflow_jax[cuda12]' (or cuda13)"
    elif "tpu" in wanted:
        needs = "a TPU needs pip install 'hcflow_jax[tpu]'"
    else:
        needs = "cpu, cuda and tpu are names that JAX knows"
    return EnvironmentSettingError(f"{setting}: JAX cannot start that ({reason}); {needs}; or unset the variable")


@contextmanager
def plugins_in_one_line() -> Iterator[None]:
    """Logs a plugin of JAX that cannot be used, such as one without its driver, in one line without a traceback."""

    def shorten(record: logging.LogRecord) -> bool:
        if record.exc_info:
            error = record.exc_info[1]
            reason = " ".join(str(error).split())
            record.msg, record.args = f"a plugin of JAX cannot be used: {type(error).__name__}: {reason}", ()
            record.exc_info = record.exc_text = None
        return True

    log = logging.getLogger("jax._src.xla_bridge")
    log.addFilter(shorten)
    try:
        yield
    finally:
        log.removeFilter(shorten)


def explain(error: BaseException) -> str | None:
    """One line that explains an error which the environment caused; None for any other error."""
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and "home directory" in text:
        return "this user has no home folder, which a path or a default needs: set HOME, or give whole paths"
    if isinstance(error, FloatingPointError) and re.match(r"invalid value \((nan|inf)\)", text):
        return f"{text.split('. ')[0][:200]}; JAX_DEBUG_NANS or JAX_DEBUG_INFS asks to stop there: unset it to go on"
    if isinstance(error, ValueError | TypeError | RuntimeError) and _was_importing_jax(error.__traceback__):
        named = [name.upper() for name in re.findall(r"jax_\w+", text, re.IGNORECASE)]
        given = [f"{name}={os.environ[name]}" for name in named if name in os.environ]
        given = given or [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
        return (
            f"{given[0] if len(given) == 1 else ' '.join(given) or 'jax'}: JAX does not start with it ({text[:200]})"
        )
    return None


def _was_importing_jax(trace: TracebackType | None) -> bool:
    """Whether the error occurred while jax was imported."""
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "jax" and trace.tb_frame.f_code.co_name == "<module>":
            return True
        trace = trace.tb_next
    return False
