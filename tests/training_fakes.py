"""A model of a few numbers with the real one's methods and tree: tests of training compile in a second."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from hcflow_jax import config as schema

SIZE = 8


def config(folder: Path, **train: Any) -> ConfigDict:
    """A config over a folder of 8-pixel images: 24 to train on, 4 held out."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(28):
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    result = schema.default()
    row = schema.level(channels=3, steps=("channel",), hidden=4, condition=4, encoder=4, decoder=4)
    result.model.levels = schema.levels({SIZE: row})
    result.data.update(dict(source="folder", path=str(folder), resolution=SIZE, eval_images=4))
    result.train.update(
        dict(batch_size=4, num_steps=6, init_images=4, log_every=1, checkpoint_every=3, freeze_epoch=0)
    )
    result.train.update(train)
    result.eval.update(dict(images=3, batch_size=4))
    result.sample.update(dict(count=3))
    return result


class Model:
    """x ~ N(mean, 1) with a mean of all parameters: a loss in which everything learns."""

    has_density = True
    level_names = ("prior", "8")

    def create(self, key: Any) -> Any:
        """Fresh parameters."""
        w = jax.random.normal(key, (3,))
        return {
            "encoder": {"stage_0": {"kernel": 0.1 * w}},
            "decoder": {"8": {"conv": {"kernel": 0.1 * w}, "to_condition": {"bias": jnp.zeros(3)}}},
            "style": {"layer": {"bias": jnp.zeros(3)}},
            "flows": {"8": {"b": jnp.zeros(3)}},
        }

    def calibrate(self, params: Any, x: Any, eps: Any) -> Any:
        """Parameters whose `flows` start at the images' mean."""
        return {**params, "flows": {"8": {"b": jnp.mean(x + eps, (0, 1, 2))}}}

    def shapes(self) -> Any:
        """Shapes of the parameters."""
        return jax.eval_shape(self.create, jax.random.key(0))

    def prepare(self, params: Any) -> Any:
        """The same."""
        return params

    def mean(self, params: Any) -> Any:
        """The mean, (3,)."""
        return sum(jax.tree.leaves(params), jnp.zeros(3))

    def draw(self, key: Any, count: int, sigma: float) -> Any:
        """Latents."""
        return {"8": sigma * jax.random.normal(key, (count, SIZE, SIZE, 3))}

    def decode(self, params: Any, z: Any) -> Any:
        """Images."""
        return 0.1 * z["8"] + self.mean(params)


class Result(NamedTuple):
    """What the objective gives, per sample."""

    loss: Any
    bits_per_dim: Any
    bits_by_level: dict[str, Any]


def _draw_noise(model: Model, keys: Any) -> Any:
    return jax.vmap(lambda key: 0.1 * jax.random.normal(key, (SIZE, SIZE, 3)))(keys)


def _objective(model: Model, params: Any, x: Any, noise: Any) -> Any:
    square = jnp.mean(jnp.square(x + noise - model.mean(params)), (1, 2, 3))
    bits = {"prior": 0.25 * square, "8": 0.75 * square}
    return Result(10 * square, square, bits)


OBJECTIVE = types.SimpleNamespace(objective=_objective, draw_noise=_draw_noise)


def install(setattr_: Callable[[Any, str, Any], None] = setattr) -> None:
    """Puts the model in the real one's place, with a monkeypatch's setattr or for good."""
    from hcflow_jax.api import bound
    from hcflow_jax.training import evaluate, initialise, loop, step

    for module in (initialise, step, bound):
        setattr_(module, "objective", OBJECTIVE)
    for module in (loop, evaluate):
        setattr_(module, "factory", types.SimpleNamespace(build=lambda config: Model()))
