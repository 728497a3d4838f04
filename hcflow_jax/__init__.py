"""Invertible hierarchical generative model for images, in JAX: `docs/` and README.md say how to use it."""

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == __name__:
    # `python -m hcflow_jax...` is still looking for its module: from here on a signal ends the process with a line.
    import os
    import signal

    def _stop(number: int, _: object) -> None:
        os.write(2, b"stopped\n")
        os._exit(128 + number)

    for _number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(_number) != signal.SIG_IGN:
            signal.signal(_number, _stop)

    from hcflow_jax import stopping  # in its turn it imports a good part of the standard library

    stopping.begin()
