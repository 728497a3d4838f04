"""`hcflow_jax.main` on the model of a few numbers, in a process of its own that may stand still or meet bad numbers.

    python command.py IMAGES POINT STEP --workdir=... ARGUMENTS_OF_MAIN...

POINT is "accumulating": amid the micro-batches of STEP, counted by this process, it says "held" and waits;
"lingering": likewise, for two seconds; "initialising": it waits before anything is trained; "loss" or "gradient": not
finite for image 5, which is white; "reading": no image can be read once STEP were. A callback may change how a
program is compiled: runs that are to be compared have the same POINT, with another STEP.
"""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import test_training_skipped as skipped

from hcflow_jax import main
from hcflow_jax.data import DataError, encoded
from hcflow_jax.training import initialise
from hcflow_jax.training import step as steps

CONFIG = """
from pathlib import Path
import training_fakes as fakes
from PIL import Image

def get_config():
    folder = Path({images!r})
    config = fakes.config(folder, batch_size=16, accumulate=2, eval_every=0, checkpoint_every=2, keep_checkpoints=2)
    config.eval.batch_size = 8
    config.data.update(dict(flip=False, noise_std=0.0))
    if {white}:
        Image.new("RGB", (8, 8), "white").save(folder / "05.png")
    return config
"""


def hold(seconds: float = 3600) -> None:
    sys.stdout.write("\nheld\n")  # in one piece, whatever another thread prints
    sys.stdout.flush()
    time.sleep(seconds)


def hold_amid(step: int, seconds: float) -> None:
    """Between the first and the second of a step's micro-batches."""
    inner, seen = steps.mean_over_runs, []

    def count(number: Any) -> None:
        if int(number) > 0:
            seen.append(number)
            if len(seen) == step:
                hold(seconds)

    def mean_over_runs(compute: Any, batch: Any, runs: int) -> Any:
        def counted(first: Any, run: Any) -> Any:
            jax.debug.callback(count, first)
            return compute(first, run)

        return inner(counted, batch, runs)

    steps.mean_over_runs = mean_over_runs


def fail_after(images: int) -> None:
    """Every later look at an image."""
    inner, seen = encoded.Pictures.__getitem__, []

    def read(self: Any, index: int) -> Any:
        seen.append(index)
        if len(seen) > images:
            raise DataError(f"{index}: gone")
        return inner(self, index)

    encoded.Pictures.__getitem__ = read


def command(images: str, point: str, step: str, *arguments: str) -> int:
    """See the top."""
    bad = skipped.white if point in ("loss", "gradient") else lambda x: jnp.zeros(x.shape[0], bool)
    skipped.install(setattr, bad=bad, gradient_only=point == "gradient")
    if point in ("accumulating", "lingering"):
        hold_amid(int(step), 2 if point == "lingering" else 3600)
    elif point == "initialising":
        initialise.initialise = lambda *args: hold()
    elif point == "reading":
        fail_after(int(step))
    file = Path(f"{images}.{point}.py")
    file.write_text(CONFIG.format(images=images, white=point in ("loss", "gradient")))
    sys.argv = ["hcflow_jax.main", f"--config={file}", *arguments]
    return main.main()


if __name__ == "__main__":
    sys.exit(command(*sys.argv[1:]))
