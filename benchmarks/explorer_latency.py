"""How long the explorer takes from a change to its image: medians by level, on one machine, warm.

    python -m benchmarks.explorer_latency                              # the bundled model portraits64
    python -m benchmarks.explorer_latency --checkpoint=portraits       # 32 px
    python -m benchmarks.explorer_latency --config=celebahq_a          # any preset, with fresh parameters

A change is a new sigma of one level of a sample, or a new weight of a blend. What each level adds has been decoded
before, as on the page. The time ends when the PNG is there. It is printed by level, and for all of them in turn.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax

from hcflow_jax import api, models
from hcflow_jax.config import presets
from hcflow_jax.explorer import Drawn, Visit
from hcflow_jax.explorer.visit import as_png


def fresh(preset: str) -> api.Model:
    """A model of a config, its parameters not trained."""
    config = presets.config(preset)
    return api.Model(config, models.build(config).create(jax.random.key(0)))


def milliseconds(visit: Visit, change: Callable[[int], None], count: int) -> list[float]:
    """Times of changes, each after what each level adds was decoded."""
    times = []
    for i in range(count):
        change(i)
        start = time.perf_counter()
        as_png(visit.image())
        times.append(1000 * (time.perf_counter() - start))
        for level in range(len(visit.model.level_names)):
            visit.first_levels(level)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="of the model; default: the first bundled one")
    parser.add_argument("--config", help="a preset instead, such as celebahq_a, with fresh parameters")
    parser.add_argument("--count", type=int, default=20, help="changes; default %(default)s")
    values = parser.parse_args()
    model = fresh(values.config) if values.config else api.load(values.checkpoint)
    visit, names = Visit(model, "benchmark"), model.level_names
    visit.choose_second(Drawn(1))

    def of(level: str) -> Callable[[int], None]:
        return lambda i: visit.sigma(level, 0.5 + i / (4 * values.count))

    visit.image()
    for level in names:  # compiles everything
        milliseconds(visit, of(level), 2)
    print(f"{model.resolution} px, {jax.default_backend()}, medians of {values.count} changes")
    for level in names:
        print(f"level {level}: {statistics.median(milliseconds(visit, of(level), values.count)):.0f} ms")
    turns = milliseconds(visit, lambda i: visit.sigma(names[i % len(names)], 0.8 + i / 100), values.count)
    print(f"all levels in turn: {statistics.median(turns):.0f} ms, {max(turns):.0f} ms at most")
    blends = milliseconds(visit, lambda i: visit.blend((i + 1) / (values.count + 1)), values.count)
    print(f"blend: {statistics.median(blends):.0f} ms")


if __name__ == "__main__":
    main()
