"""Ours, as `compare_pytorch` times it: the programs that `train_step` times."""

import time
from pathlib import Path
from typing import Any

import jax

from benchmarks import train_step
from hcflow_jax.compiling import compile_options
from hcflow_jax.models.hierarchy import build


class Ours:
    """A compiled program, run a block of calls at a time."""

    def __init__(self, config: Path, batch: int | None, what: str, calls: int, precision: str, **theirs: Any):
        """Traces, compiles and runs it once.

        Raises:
          SystemExit: for TF32 where there is no GPU.
        """
        del theirs
        own = train_step.with_adam(train_step.load_config(config))
        own.train.batch_size = batch or own.train.batch_size
        own.execution.dtype = "bfloat16" if precision == "bfloat16" else "float32"
        if precision == "tf32" and jax.default_backend() != "gpu":
            raise SystemExit("--precision=tf32 needs a GPU")
        if precision == "float32":  # the default precision of a GPU's float32 products is TF32
            jax.config.update("jax_default_matmul_precision", "highest")
        self._what, self._calls = what, calls
        function, *self._arguments = train_step.prepare(own, what)
        start = time.perf_counter()
        lowered = function.lower(*self._arguments)
        traced = time.perf_counter()
        self._run = lowered.compile(compiler_options=compile_options())
        compiled = time.perf_counter()
        self._call()
        first = time.perf_counter()
        self.block()
        self.about = {
            "name": "hcflow_jax",
            "version": jax.__version__,
            **build.resolve_execution(own.execution),
            "device": jax.devices()[0].device_kind,
            "threads": "XLA's own, one a core",
            "batch": own.train.batch_size,
            "trace_seconds": traced - start,
            "compile_seconds": compiled - traced,
            "first_call_seconds": first - compiled,
        }

    def block(self) -> float:
        """Seconds a call, over a block that ends when its last result is there."""
        start = time.perf_counter()
        for _ in range(self._calls):
            self._call(wait=False)
        jax.block_until_ready(self._last)
        return (time.perf_counter() - start) / self._calls

    def finish(self) -> dict[str, Any]:
        return {"peak_memory_bytes": train_step.peak_memory()}

    def _call(self, wait: bool = True) -> None:
        self._last = self._run(*self._arguments)
        if self._what == "step":  # the state was donated: the next step goes on from the new one
            self._arguments[0] = self._last[0]
        if wait:
            jax.block_until_ready(self._last)
