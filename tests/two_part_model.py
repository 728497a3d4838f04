"""An image model of two levels and plain arithmetic, of another family than the package's: "red", then "rest".

x's first channel is a level of its own; the others are scaled, and shifted by it. Images of a unit of two share the
standard deviation of their red channel, by which noise is scaled.
"""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from hcflow_jax.models import ImageModel, Objective

SIZE, DIMS = 8, 8 * 8 * 3


def config() -> ml_collections.ConfigDict:
    """What the model and `api` read."""
    return ml_collections.ConfigDict(
        dict(
            data=dict(resolution=SIZE, bits=8, noise_std=0.005, flip=True, source="folder", path="/absent"),
            eval=dict(seed=1),
            sample=dict(sigma=0.7),
            execution=dict(dtype="float32"),
        )
    )


def params() -> dict[str, Any]:
    """Some."""
    return {"scale": np.float32(1.5), "shift": np.float32(0.3)}


def images(count: int) -> np.ndarray:
    """Uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


class TwoParts(ImageModel):
    """See above."""

    image_shape = (SIZE, SIZE, 3)
    level_names = ("red", "rest")
    latent_shapes = {"red": (SIZE, SIZE, 1), "rest": (SIZE, SIZE, 2)}
    scaled_levels = ("rest",)
    batch_unit = 2
    likelihood = "bound"

    def create(self, key: Any) -> Any:
        """Two numbers."""
        return params()

    def shapes(self) -> Any:
        """Of two numbers."""
        return jax.eval_shape(params)

    def batch_statistics(self, params: Any, x: Any) -> Any:
        """Mean over units of their red channels' standard deviation."""
        return {"red": jnp.mean(self._spread(x))}

    def objective(self, params: Any, x: Any, keys: Any, statistics: Any = None) -> Objective:
        """Gaussian latents; noise on red."""
        noise = jax.vmap(lambda key: jax.random.normal(key, self.latent_shapes["red"]))(keys)
        own = jnp.repeat(self._spread(x), self.batch_unit) if statistics is None else statistics["red"]
        noisy = x.at[..., :1].add(0.1 * noise * jnp.reshape(own, (-1, 1, 1, 1)))
        z, log_dets = self.encode(params, noisy)
        by_level = {
            n: -(jnp.sum(-0.5 * a**2 - 0.5 * jnp.log(2 * jnp.pi), (1, 2, 3)) + log_dets[n]) / (jnp.log(2.0) * DIMS)
            for n, a in z.items()
        }
        bits = by_level["red"] + by_level["rest"] + 8
        return Objective(loss=DIMS * by_level["rest"], bits_per_dim=bits, bits_by_level=by_level)

    def encode(self, params: Any, x: Any) -> Any:
        """Exact."""
        red, rest = x[..., :1], x[..., 1:]
        log_det = jnp.full(len(x), 2 * SIZE**2 * jnp.log(params["scale"]))
        z = {"red": red, "rest": rest * params["scale"] + params["shift"] * red}
        return z, {"red": jnp.zeros(len(x)), "rest": log_det}

    def decode_coarse(self, params: Any, z: Any, level: str) -> Any:
        """Red is its own state."""
        return {"red": z["red"]} if level == "rest" else {}

    def decode_from(self, params: Any, state: Any, z: Any, level: str) -> Any:
        """Undoes `encode`."""
        red = state["red"] if level == "rest" else z["red"]
        return jnp.concatenate([red, (z["rest"] - params["shift"] * red) / params["scale"]], -1)

    def draw(self, key: Any, count: int, sigma: Any = 1.0) -> Any:
        """Normal."""
        sigma = sigma if isinstance(sigma, dict) else {"rest": sigma}
        keys = dict(zip(self.level_names, jax.random.split(key), strict=True))
        return {
            n: 0.2 * sigma.get(n, 1.0) * jax.random.normal(keys[n], (count, *self.latent_shapes[n])) for n in keys
        }

    def finest_score(self, params: Any, x: Any, state: Any) -> Any:
        """Not asked for here."""
        raise AssertionError

    def _spread(self, x: Any) -> Any:
        return jnp.std(x[..., 0].reshape(-1, self.batch_unit * SIZE**2), -1)
