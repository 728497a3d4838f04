"""A model of a few numbers with the real one's methods and tree: tests of training compile in a second."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from hcflow_jax import config as schema
from hcflow_jax.models import ImageModel, Objective
from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS

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


class Model(ImageModel):
    """x ~ N(mean, 1) with a mean of all parameters: a loss in which everything learns."""

    image_shape = (SIZE, SIZE, 3)
    likelihood = "bound"
    level_names = ("prior", "8")
    latent_shapes = {"prior": (1,), "8": (SIZE, SIZE, 3)}
    scaled_levels = ("8",)
    batch_unit = 4
    rate_groups = RATE_GROUPS
    frozen_group = "encoder"

    def create(self, key: Any) -> Any:
        """Fresh parameters."""
        w = jax.random.normal(key, (3,), jnp.float32)
        return {
            "encoder": {"stage_0": {"kernel": 0.1 * w}},
            "decoder": {"8": {"conv": {"kernel": 0.1 * w}, "to_condition": {"bias": jnp.zeros(3, jnp.float32)}}},
            "style": {"layer": {"bias": jnp.zeros(3, jnp.float32)}},
            "flows": {"8": {"b": jnp.zeros(3, jnp.float32)}},
        }

    def calibrate(self, params: Any, x: Any, keys: Any) -> Any:
        """Parameters whose `flows` start at the images' mean."""
        return {**params, "flows": {"8": {"b": jnp.mean(x + self.noise(keys), (0, 1, 2))}}}

    def noise(self, keys: Any) -> Any:
        """Noise of every image."""
        return jax.vmap(lambda key: 0.1 * jax.random.normal(key, (SIZE, SIZE, 3), jnp.float32))(keys)

    def objective(self, params: Any, x: Any, keys: Any, statistics: Any = None) -> Objective:
        """The loss, ten times the bound."""
        square = jnp.mean(jnp.square(x + self.noise(keys) - self.mean(params)), (1, 2, 3))
        return Objective(10 * square, square, {"prior": 0.25 * square, "8": 0.75 * square})

    def shapes(self) -> Any:
        """Shapes of the parameters."""
        return jax.eval_shape(self.create, jax.random.key(0))

    def flow_params(self, prepared: Any) -> Any:
        """Those of the only flow."""
        return prepared["flows"]

    def mean(self, params: Any) -> Any:
        """The mean, (3,)."""
        return sum(jax.tree.leaves(params), jnp.zeros(3, jnp.float32))

    def draw(self, key: Any, count: int, sigma: float) -> Any:
        """Latents."""
        return {"8": sigma * jax.random.normal(key, (count, SIZE, SIZE, 3), jnp.float32)}

    def encode(self, params: Any, x: Any) -> Any:
        """Latents."""
        z = {"prior": jnp.zeros((x.shape[0], 1), x.dtype), "8": 10 * (x - self.mean(params))}
        return z, dict.fromkeys(self.level_names, jnp.zeros(x.shape[0], x.dtype))

    def decode_coarse(self, params: Any, z: Any, level: str) -> Any:
        """Nothing."""
        return {}

    def decode_from(self, params: Any, state: Any, z: Any, level: str) -> Any:
        """Images."""
        return 0.1 * z["8"] + self.mean(params)

    def finest_score(self, params: Any, x: Any, state: Any) -> Any:
        """Of N(mean, 0.1^2)."""
        return 100 * (self.mean(params) - x)


def install(setattr_: Callable[[Any, str, Any], None] = setattr, model: type[Model] = Model) -> None:
    """Puts the model in the real one's place, with a monkeypatch's setattr or for good."""
    from hcflow_jax.training import check, evaluate, loop

    for module in (loop, evaluate, check):
        setattr_(module, "models", types.SimpleNamespace(build=lambda config: model()))
