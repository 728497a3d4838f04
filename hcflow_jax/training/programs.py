"""Compiles the programs of a run and reports the time, because compiling takes most of a short run."""

from typing import Any

import jax

from hcflow_jax.compiling import compile_options
from hcflow_jax.training.metrics import Clock, say


class Programs:
    """Compiled programs by name. Each is compiled when it is first needed. The time is counted and printed."""

    def __init__(self, clock: Clock):
        """Args:
        clock: counts the time, as "compiling".
        """
        self._clock = clock
        if jax.config.values["jax_disable_jit"]:
            say("JAX_DISABLE_JIT is set: the programs of a run are compiled anyway")
        self._compiled: dict[str, Any] = {}

    def __call__(self, name: str, jitted: Any, *args: Any, once: bool = False) -> Any:
        """Runs a jitted function as one compiled program, even if JAX_DISABLE_JIT is set.

        Args:
          name: the name of the program, a description in words.
          jitted: a function from jax.jit. It is used only in the first call with this name.
          *args: the arguments, always of the same shapes.
          once: whether it runs only once, so that it should compile fast.
        """
        with jax.disable_jit(False):
            if name not in self._compiled:
                with self._clock.section("compiling"):
                    before = self._clock.seconds("compiling")
                    say(f"compiling {name} ...")
                    self._compiled[name] = jitted.lower(*args).compile(compiler_options=compile_options(once))
                    say(f"compiling {name} took {self._clock.seconds('compiling') - before:.0f} s")
            return self._compiled[name](*args)
