"""Invertible hierarchical generative model for images, in JAX. README.md and `docs/` show how to use it."""

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == __name__:
    # This is `python -m hcflow_jax...`, which has not found its module yet. From here on, a signal ends the process
    # with one line.
    import os
    import signal

    def _stop(number: int, _: object) -> None:
        os.write(2, b"stopped\n")
        os._exit(128 + number)

    for _number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(_number) != signal.SIG_IGN:
            signal.signal(_number, _stop)

    from hcflow_jax import stopping  # imported after the handlers are set: it imports much of the standard library

    stopping.begin()
