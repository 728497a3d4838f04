"""Compiles a program of ours for an accelerator that is not here, and says what it would cost there, as JSON.

    python -m benchmarks.compile_for --target h200 --config configs/celebahq_a.py --batch 64 --precision bfloat16
    python -m benchmarks.compile_for --target v5e:2x2 --config configs/celebahq_a.py --part coupling:128:checker

The program is the one that users run, sharded over all devices of the target; XLA's optimised result is the real one
for that device, and the same every time. GPUs: the kernel roofline (`hcflow_jax.planning.roofline`). TPUs: the
compiler's own estimated cycles, loops times trips.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax

from benchmarks import absent, absent_programs
from benchmarks.step_programs import assignments, load_config
from hcflow_jax.devices import in_a_row
from hcflow_jax.errors import InputError
from hcflow_jax.models.hierarchy.build import resolve_execution
from hcflow_jax.planning import programs
from hcflow_jax.planning.compiled import compile_for, report
from hcflow_jax.planning.targets import Target


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compiles what the flags say and reports it; writes the program's text where --hlo says."""
    target = Target(arguments.target)
    config = load_config(arguments.config)
    config.execution.preset, config.execution.dtype = target.preset, arguments.precision
    config.execution.update(assignments("--set", arguments.set))
    config.model.update(assignments("--model", arguments.model))
    devices = target.devices()
    mesh = in_a_row(devices)
    config.train.batch_size = arguments.batch * len(devices)
    build = absent_programs.part if arguments.part else programs.whole
    compiled = compile_for(target, build(config, arguments.part or arguments.mode, mesh), arguments.finish)
    if arguments.hlo:
        arguments.hlo.write_text(compiled.text)
    return {
        "target": arguments.target,
        "devices": len(devices),
        "config": str(arguments.config),
        "model": assignments("--model", arguments.model),
        "program": arguments.part or arguments.mode,
        "batch_per_device": arguments.batch,
        "execution": resolve_execution(config.execution),
        "jax": jax.__version__,
        "seconds": {name: round(seconds, 1) for name, seconds in compiled.seconds.items()},
        **report(target, compiled, arguments.batch),
    }


def main() -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="h200, h100, h200:16, v5e:16x16, v6e:16x16, ...")
    parser.add_argument("--config", type=Path, default=absent.ROOT / "configs" / "celebahq_a.py")
    parser.add_argument("--batch", type=int, default=64, help="images a device")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--mode", choices=programs.MODES, default="train")
    parser.add_argument("--part", help="instead of a mode: coupling:128:checker, step:32:channel, decoder:128, ...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of `execution`")
    parser.add_argument("--model", action="append", default=[], metavar="FIELD=VALUE", help="a field of `model`")
    parser.add_argument("--finish", action="store_true", help="GPU: compile to the end, to see how long it takes")
    parser.add_argument("--hlo", type=Path, help="where to write the optimised program's text")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    try:
        absent.enter(Target(arguments.target))
    except InputError as error:
        parser.error(f"--target: {error}")
    text = json.dumps(measure(arguments), indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    # A compiler that was left in the middle of its work is not to be waited for.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
