"""Memory and time of a flow's gradient against its length, for every `execution.backward`; JSON, a table, a picture.

    python -m benchmarks.memory --picture=docs/pictures/memory_by_length.png

The flow is channel-coupling steps with conditioning at 32 px, batch 8. Memory is the compiled program's temporaries:
what it needs beside its arguments (parameters, data) and its results (the gradients). Another script may compile
`gradient_program` for a device that is not there: it holds shapes only.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hcflow_jax import flows, parameters, pictures
from hcflow_jax.compiling import compile_options
from hcflow_jax.flows.reversible import BACKWARD
from hcflow_jax.models.hierarchy.build import PRESETS
from hcflow_jax.nets.coupling_nets import ConvConditioner
from hcflow_jax.nets.layers import Execution

LENGTHS = (8, 16, 32, 64)
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a flow of any length is made of; channels of x, of the conditioning and of the networks."""

    batch: int = 8
    resolution: int = 32
    channels: int = 4
    condition: int = 8
    hidden: int = 16
    dtype: str = "float32"
    conv: str = "xla"


def setting_here() -> Setting:
    """The default one, with the convolution that this backend's preset has."""
    return Setting(conv=PRESETS.get(jax.default_backend(), PRESETS["gpu"])["conv"])


def gradient_program(length: int, backward: str, setting: Setting | None = None) -> tuple[Callable[..., Any], Any]:
    """The gradient of a flow's mean negative log-likelihood, and the shapes it takes; nothing is allocated.

    Args:
      length: number of steps, as one `Repeat`.
      backward: one of `BACKWARD`.
      setting: `setting_here()` unless said.

    Returns:
      function: (params, x, cond) -> loss in nats, and its gradients by params and cond: what a level of the model
        hands back in training. Not jitted.
      arguments: its three arguments as trees of `jax.ShapeDtypeStruct`.
    """
    setting = setting or setting_here()
    network = ConvConditioner(setting.hidden, Execution(jnp.dtype(setting.dtype), setting.conv))
    coupling = flows.Coupling(network, flows.ChannelSplit())
    step = flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=flows.Mixing())
    flow = flows.Repeat((step,) * length, backward=backward)
    square = (setting.batch, setting.resolution, setting.resolution)
    x, cond = (jax.ShapeDtypeStruct((*square, c), jnp.float32) for c in (setting.channels, setting.condition))
    params = parameters.unbox(jax.eval_shape(flow.create, jax.random.key(0), x, cond))

    def loss(params: Any, x: Any, cond: Any) -> Any:
        z, log_det = flow.forward(params, x, cond)
        return jnp.mean(jnp.sum(z**2, (1, 2, 3)) / 2 - log_det)

    return jax.value_and_grad(loss, (0, 2)), (params, x, cond)


def measure(lengths: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Compiles every gradient for this backend, then times them on random numbers.

    They take turns, so that what else a machine does falls on all alike.
    """
    rows, runs = [], []
    for length, backward in itertools.product(lengths, BACKWARD):
        function, shapes = gradient_program(length, backward)
        start = time.perf_counter()
        compiled = jax.jit(function).lower(*shapes).compile(compiler_options=compile_options())
        seconds = time.perf_counter() - start
        runs.append(functools.partial(compiled, *_arguments(shapes)))
        memory: Any = compiled.memory_analysis()
        rows.append(
            {
                "length": length,
                "backward": backward,
                "temporary_bytes": memory.temp_size_in_bytes,
                "argument_bytes": memory.argument_size_in_bytes,
                "output_bytes": memory.output_size_in_bytes,
                "compile_seconds": round(seconds, 2),
            }
        )
    rounds = [[_seconds(run) for run in runs] for _ in range(repeats + 1)][1:]
    for row, times in zip(rows, zip(*rounds, strict=True), strict=True):
        for name, each in zip(("seconds", "processor_seconds"), zip(*times, strict=True), strict=True):
            row[name] = {"median": float(np.median(each)), "min": min(each), "max": max(each), "calls": repeats}
    return rows


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """On the wall, and of this process on all cores: other processes lengthen the first far more."""
    wall, processor = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
    return time.perf_counter() - wall, time.process_time() - processor


def _arguments(shapes: Any) -> Any:
    """Small numbers for parameters and a unit matrix for mixings, so that 64 steps stay finite."""
    rng = np.random.default_rng(0)

    def number(path: Any, leaf: Any) -> np.ndarray:
        if jax.tree_util.keystr(path[-1:], simple=True) == "kernel":
            return np.broadcast_to(np.eye(leaf.shape[-1], dtype=np.float32) / 0.3, leaf.shape)
        return 0.1 * rng.normal(size=leaf.shape).astype(np.float32)

    return jax.device_put(jax.tree_util.tree_map_with_path(number, shapes))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: MiB of temporaries, least seconds and processor seconds of a call, a column a length."""
    lengths = sorted({row["length"] for row in rows})
    lines = ["| MiB; s; processor s | " + " | ".join(f"{n} steps" for n in lengths) + " |"]
    lines.append("|---" * (len(lengths) + 1) + "|")
    for backward in BACKWARD:
        own = {row["length"]: row for row in rows if row["backward"] == backward}
        cells = [
            f"{row['temporary_bytes'] / MIB:.1f}; {row['seconds']['min']:.2f}; {row['processor_seconds']['min']:.2f}"
            for row in (own[n] for n in lengths)
        ]
        lines.append(f"| `{backward}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    """The curve of memory against length."""
    series = {}
    for backward in BACKWARD:
        own = [row for row in rows if row["backward"] == backward]
        series[backward] = [row["length"] for row in own], [row["temporary_bytes"] / MIB for row in own]
    pictures.curve(path, series, title, "steps of the flow", "temporaries of the gradient [MiB]")


def main() -> None:
    """Prints the table and the JSON; writes the JSON and the picture where --out and --picture say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, nargs="+", default=LENGTHS, help="steps of the flow")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    rows = measure(tuple(arguments.length), arguments.repeats)
    setting = setting_here()
    device = jax.devices()[0].device_kind
    result = {
        **dataclasses.asdict(setting),
        "device": device,
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
        "rows": rows,
    }
    text = json.dumps(result, indent=2)
    print(text, table(rows), sep="\n\n")
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if arguments.picture:
        size = f"{setting.resolution} px, batch {setting.batch}, {setting.hidden} hidden channels, {device}"
        draw(arguments.picture, rows, f"Memory of a flow's gradient ({size})")


if __name__ == "__main__":
    main()
