"""Compiling, when it is said: XLA's time is most of a short run's."""

from typing import Any

import jax

from hcflow_jax.compiling import compile_options
from hcflow_jax.training.metrics import Clock, say


class Programs:
    """Compiled programs by name, each compiled when it is first wanted, its time counted and said."""

    def __init__(self, clock: Clock):
        """Counts on `clock`, as "compiling"."""
        self._clock = clock
        if jax.config.values["jax_disable_jit"]:
            say("JAX_DISABLE_JIT is set: programs of a run are compiled all the same")
        self._compiled: dict[str, Any] = {}

    def __call__(self, name: str, jitted: Any, *args: Any, once: bool = False) -> Any:
        """Runs a jitted function through its one program, compiled even where JAX_DISABLE_JIT is set.

        Args:
          name: what it is, in words; the key it is kept under.
          jitted: from jax.jit; looked at the first time only.
          *args: always of the same shapes.
          once: it will run a single time: compile it quickly rather than well.
        """
        with jax.disable_jit(False):
            if name not in self._compiled:
                with self._clock.section("compiling"):
                    before = self._clock.seconds("compiling")
                    say(f"compiling {name} ...")
                    self._compiled[name] = jitted.lower(*args).compile(compiler_options=compile_options(once))
                    say(f"compiling {name} took {self._clock.seconds('compiling') - before:.0f} s")
            return self._compiled[name](*args)
