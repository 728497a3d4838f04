"""Loading a trained model, by where it lies, or by its name if it is one of those in the box."""

from pathlib import Path

import jax

from hcflow_jax import box, checkpoint
from hcflow_jax.api.model import Model
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.models import factory

BOXED = box.NAMES


def load(path: str | Path | None = None, *, dtype: str = "float32") -> Model:
    """A model with the EMA's parameters.

    Args:
      path: a workdir (its newest step that can be read), one step in its `checkpoints/`, a weights file, or the name
        of a model in the box, one of `BOXED`. None: the first of those.
      dtype: of the networks' arithmetic in sampling: "float32", or "bfloat16", which is faster on accelerators and
        decodes latents to nearly the same images.

    Raises:
      CheckpointError: there is none, or it is damaged.
      ConfigError: its config is not of this version.
      ValueError: for another dtype.
    """
    where = box.find(path or BOXED[0])
    found = checkpoint.load(where)
    if where.parent != box.weights(BOXED[0]).parent:  # tracing all of the model takes seconds; the box is tested
        _check(where, factory.build(found.config).shapes(), found.arrays["ema"])
    return Model(found.config, found.arrays["ema"], dtype)


def _check(where: Path, expected: object, params: object) -> None:
    """Raises CheckpointError for the first parameter that is not there, not known, or of another shape."""

    def shapes(tree: object) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf.shape for p, leaf in leaves}

    here, there = shapes(params), shapes(expected)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise CheckpointError(
                f"{where} does not fit its own config: {name} is {here.get(name, 'missing')} there, and the config "
                f"makes it {there.get(name, 'nothing')}"
            )
