"""Compiles the training step of a config for a target: a process of its own, which `compiler` starts.

    python -m hcflow_jax.planning.compile_step REQUEST.json RESULT.json

The request has "config", "target", "batch" and "command". The result is a `Result`, or {"error": one line}. The
process is needed because a GPU's compiler is left in the middle of its work, and because JAX reads the environment
variables of the compilers when it starts.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from hcflow_jax.config import config_from_plain
from hcflow_jax.devices import in_a_row
from hcflow_jax.errors import HcflowError
from hcflow_jax.planning import programs, result
from hcflow_jax.planning.compiled import compile_for, report
from hcflow_jax.planning.targets import Target


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Compiles what a request asks for; the values of the result file."""
    try:
        config, target = config_from_plain(request["config"]), Target(request["target"])
        batch = request["batch"]
        compiled = compile_for(target, programs.whole(config, "train", in_a_row(target.devices())))
        found = report(target, compiled, batch)
        return dataclasses.asdict(result.from_report(config, target, batch, found, request["command"]))
    except HcflowError as error:
        return {"error": str(error)}


def main() -> None:
    """Reads the request and writes the result."""
    request, out = map(Path, sys.argv[1:])
    text = json.dumps(answer(json.loads(request.read_text())))
    unfinished = out.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(out)
    os._exit(0)  # does not wait for the compiler


if __name__ == "__main__":
    main()
