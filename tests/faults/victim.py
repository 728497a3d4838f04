"""A training run of a few numbers that can be told where to stand still, for someone else to kill it there.

    python victim.py WORKDIR IMAGES [POINT STEP] [FIELD_OF_TRAIN=NUMBER ...]

At POINT of STEP it says "held" on stdout and waits in whichever thread came there; the others go on.
"""

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import training_fakes as fakes
from orbax.checkpoint._src.path import atomicity

from hcflow_jax import compiling
from hcflow_jax.checkpoint import saving
from hcflow_jax.training import loop

Temporary = atomicity.AtomicRenameTemporaryPath  # a directory until it is complete
STEPS = 100
# Outside a save, and inside one: before its files are all there, before it gets its name, after it did but before it
# is sealed, while the seal is written, and while an older step is removed for it.
OUTSIDE = ("between steps", "while logging")
INSIDE = ("writing", "naming", "sealing", "seal half written", "removing")


def say_held() -> None:
    """In one piece: `print` writes the line's end by itself, and another thread's line may come before it."""
    sys.stdout.write("\nheld\n")
    sys.stdout.flush()


def hold() -> None:
    say_held()
    time.sleep(3600)


def terminate(now: bool) -> bool:
    if now:
        os.kill(os.getpid(), signal.SIGTERM)
    return False


def refuse(now: bool) -> bool:
    if now:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return False


def linger(now: bool) -> bool:
    if now:
        say_held()
        time.sleep(2)
    return False


def hold_at(point: str, step: int) -> None:
    """Puts the waiting in place."""

    def wrap(owner: Any, name: str, at: Any, after: bool = False) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **how: Any) -> Any:
            if at(*args, **how):
                if after:
                    inner(*args, **how)
                hold()
            return inner(*args, **how)

        setattr(owner, name, outer)

    if point == "between steps":
        wrap(loop._Run, "_read", lambda run, pending: run.done == step)
    elif point == "while logging":
        wrap(loop.Reporter, "train", lambda reporter, now, metrics: now == step, after=True)
    elif point == "writing":
        wrap(Temporary, "finalize", lambda p, *_, **__: f"/{step}.orbax" in str(p.get_final()))
    elif point == "naming":
        wrap(Temporary, "finalize", lambda p, *_, **__: p.get_final().name == str(step))
    elif point == "disk full":  # when that step is to be complete
        wrap(Temporary, "finalize", lambda p, *_, **__: refuse(p.get_final().name == str(step)))
    elif point == "told to end":  # SIGTERM comes in that step; the save that it asks for takes two seconds
        wrap(loop._Run, "_read", lambda run, pending: terminate(run.done == step))
        wrap(Temporary, "finalize", lambda p, *_, **__: linger(p.get_final().name.isdigit()))
    elif point == "sealing":
        wrap(saving, "_seal", lambda directory: directory.name == str(step))
    elif point == "seal half written":
        wrap(os, "replace", lambda old, new: Path(new) == Path(sys.argv[1]) / f"checkpoints/{step}/seal.json")
    elif point == "removing":
        wrap(shutil, "rmtree", lambda path, *_, **__: Path(path).name.isdigit())
    else:
        raise ValueError(point)


def config(images: Path) -> Any:
    """Saves every other step, and averages, decays and freezes on the way."""
    result = fakes.config(images, num_steps=STEPS, checkpoint_every=2, keep_checkpoints=2)
    result.train.update(dict(images_per_epoch=16, freeze_epoch=12, decay_after=2, sample_every=40, log_every=1))
    return result


def main(workdir: str, images: str, *rest: str) -> None:
    fakes.install()
    if "NO_START" in os.environ:  # of a run that has a checkpoint: nothing of it may be initialised again
        shapes = fakes.Model().shapes()
        fakes.Model.shapes = lambda self: shapes
        fakes.Model.create = fakes.Model.calibrate = None  # pyright: ignore
    compiling.enable_compilation_cache()
    given = config(Path(images))
    given.train.update({a.split("=")[0]: int(a.split("=")[1]) for a in rest if "=" in a})
    points = [a for a in rest if "=" not in a]
    if points:
        hold_at(points[0], int(points[1]))
    loop.train(given, workdir)


if __name__ == "__main__":
    main(*sys.argv[1:])
