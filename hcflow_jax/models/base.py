"""`ImageModel`: the interface of a model to everything that trains, measures or uses it.

A family of models is a module or package that makes a subclass of `ImageModel` from a config. Training, evaluation
and the API use only this class. All methods take and return images as x: about [-0.5, 0.5], (b, R, R, 3), float32.
Latents are dicts from level name to array (b, *shape).
"""

import abc
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from hcflow_jax.errors import InputError
from hcflow_jax.models.results import LevelMap, Objective

Params = Any  # a pytree of float arrays: nested dicts
State = Any  # a pytree of arrays (b, ...)
ByLevel = dict[str, Array]
Likelihood = Literal["exact", "bound", "undefined"]
Sigma = float | dict[str, float] | dict[str, Array]


class ImageModel(abc.ABC):
    """An invertible model of images. It holds no parameters: they are passed to its methods.

    Attributes:
      image_shape: (R, R, 3) of x.
      level_names: the levels of latents, coarse to fine.
      latent_shapes: the shape of each level's latents, without the batch.
      batch_unit: the size of a batch is a multiple of it. Images of one unit may influence each other's objective
        (the hierarchy's statistics group); 1 if no image influences another.
      likelihood: what `bits_per_dim` is: "exact", an upper "bound", or "undefined".
      rate_groups: rows of (group, regular expression). A parameter has the learning rate of the group whose regular
        expression matches its path ("a/b/c"). Every path matches exactly one row.
      frozen_group: the group that stops learning at the freeze epoch; None if there is no such group.
      noisy_encoder: whether the encoder has noise, so that `encode_noisy` is defined.
      scaled_levels: the levels whose standard deviation a single `sigma` sets in sampling; the others have 1.
      spaces: the spaces in which `interpolate` can interpolate: "z" (the latents), and those of `to_space`.
    """

    image_shape: tuple[int, ...]
    level_names: tuple[str, ...]
    latent_shapes: dict[str, tuple[int, ...]]
    batch_unit: int = 1
    likelihood: Likelihood = "exact"
    rate_groups: tuple[tuple[str, str], ...] = (("all", ""),)
    frozen_group: str | None = None
    noisy_encoder: bool = False
    scaled_levels: tuple[str, ...]
    spaces: tuple[str, ...] = ("z",)

    # Parameters

    @abc.abstractmethod
    def create(self, key: Key[Array, ""]) -> Params:
        """Fresh parameters that do not depend on data yet, as numpy arrays."""

    @abc.abstractmethod
    def shapes(self) -> Params:
        """Shapes and dtypes of the parameters, each a `jax.ShapeDtypeStruct`; nothing is allocated."""

    def calibrate(self, params: Params, x: Float[Array, "b r r 3"], keys: Key[Array, " b"]) -> Params:
        """Initialises parameters from data, such as those of actnorms, and leaves the others.

        Args:
          params: from `create`.
          x: images, prepared as in training.
          keys: one per image, for the random draws.
        """
        del x, keys
        return params

    def init(self, key: Key[Array, ""], x: Float[Array, "b r r 3"]) -> Params:
        """Fresh parameters, some of them initialised from images. Do not jit it: it compiles `calibrate` itself.

        Args:
          key: a typed key that is used only here.
          x: images; b is a multiple of `batch_unit`.
        """
        for_params, for_noise = jax.random.split(key)
        keys = jax.random.split(for_noise, x.shape[0])
        return jax.jit(self.calibrate)(self.create(for_params), x, keys)

    def prepare(self, params: Params) -> Params:
        """Computes what depends only on the parameters, such as matrix inverses. Idempotent.

        The methods below take raw or prepared parameters.
        """
        return params

    # Likelihood

    @abc.abstractmethod
    def objective(
        self,
        params: Params,
        x: Float[Array, "b r r 3"],
        keys: Key[Array, " b"],
        statistics: dict[str, Float[Array, ""]] | None = None,
    ) -> Objective:
        """Loss and likelihood of each image.

        Args:
          params: raw or prepared.
          x: dequantised images; b is a multiple of `batch_unit`, unless `statistics` are given.
          keys: one per image, for the model's own noise.
          statistics: from `batch_statistics`; they replace the statistics of the batch.
        """

    def mean_loss(
        self, params: Params, x: Float[Array, "b r r 3"], keys: Key[Array, " b"]
    ) -> tuple[Float[Array, ""], Objective]:
        """The mean of `objective`'s loss over the batch, (), bits, and the objective. Training differentiates it.

        A family may compute it in a way whose gradient needs less memory. The objective may come without gradients.

        Args:
          params: raw or prepared.
          x: dequantised images; b is a multiple of `batch_unit`.
          keys: one per image, for the model's own noise.
        """
        result = self.objective(params, x, keys)
        return jnp.mean(result.loss), result

    def batch_statistics(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, Float[Array, ""]]:
        """The statistics that images of a batch unit share in `objective`, averaged over the units of x.

        `objective` can take them instead of the statistics of the batch units. Then a single image has an objective.

        Returns:
          {name: ()}; empty if the model's batch unit is 1.
        """
        del params, x
        return {}

    # Latents

    @abc.abstractmethod
    def encode(self, params: Params, x: Float[Array, "b r r 3"]) -> tuple[ByLevel, ByLevel]:
        """Encodes images to latents, without noise.

        Returns:
          z by level, coarse to fine, and the log-determinant of each level's map to z, (b,), nats.
        """

    def encode_noisy(
        self,
        params: Params,
        x: Float[Array, "b r r 3"],
        keys: Key[Array, " b"],
        statistics: dict[str, Float[Array, ""]],
    ) -> tuple[ByLevel, ByLevel]:
        """`encode` with the noise of the encoder (Eq. 6).

        Different keys give different latents of an image. `decode` gives the image back for all of them.

        Args:
          params: raw or prepared.
          x: images.
          keys: one per image, for the noise.
          statistics: from `batch_statistics`: the scale of the noise.

        Raises:
          InputError: the encoder has no noise (`noisy_encoder` is False).
        """
        del params, x, keys, statistics
        raise InputError("the encoder of this model has no noise")

    def level_maps(self, params: Params, x: Float[Array, "b r r 3"]) -> dict[str, LevelMap]:
        """The bijection of each level at images x, with its conditioning held fixed.

        The measurement of exactness compares its autodiff Jacobian with the log-determinants of `encode`, level by
        level. You can call this method inside and outside of a jitted function.

        Returns:
          {level: its map}. {}, the default, if the model does not consist of one bijection per level. Then the map
          from the image to all latents is compared as a whole.
        """
        del params, x
        return {}

    @abc.abstractmethod
    def decode_coarse(self, params: Params, z: ByLevel, level: str) -> State:
        """Decodes the levels that are coarser than `level`.

        Args:
          params: raw or prepared.
          z: latents; those of `level` and of finer levels are not used and may be missing.
          level: the first level that is not decoded.

        Returns:
          The state that `decode_from` needs; a pytree.
        """

    @abc.abstractmethod
    def decode_from(self, params: Params, state: State, z: ByLevel, level: str) -> Float[Array, "b r r 3"]:
        """Decodes `level` and the finer ones, given the coarser ones.

        Args:
          params: raw or prepared.
          state: from `decode_coarse` with the same `level`.
          z: latents; those of coarser levels are not used and may be missing.
          level: the first level that is decoded.
        """

    def decode(self, params: Params, z: ByLevel) -> Float[Array, "b r r 3"]:
        """Decodes latents to images: the inverse of `encode`."""
        first = self.level_names[0]
        return self.decode_from(params, self.decode_coarse(params, z, first), z, first)

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], count: int, sigma: Sigma = 1.0) -> ByLevel:
        """Draws latents from the prior.

        Args:
          key: a typed key.
          count: the number of images.
          sigma: the standard deviation of the levels in `scaled_levels` (the others have 1), or a dict of standard
            deviations by level name (levels that are not named have 1).

        Raises:
          InputError: `sigma` names a level that the model does not have.
        """

    def sample(self, params: Params, key: Key[Array, ""], count: int, sigma: Sigma = 1.0) -> Float[Array, "b r r 3"]:
        """Samples images: `decode` of `draw`."""
        return self.decode(params, self.draw(key, count, sigma))

    @abc.abstractmethod
    def finest_score(self, params: Params, x: Float[Array, "b r r 3"], state: State) -> Float[Array, "b r r 3"]:
        """The gradient of log p(x | coarser levels) with respect to x, in nats.

        log p is the sum of the finest level's log-prior and log-determinant. For a flow over pixels, such as Glow, it
        is log p(x): nothing is held fixed.

        Args:
          params: raw or prepared.
          x: images.
          state: the state of the coarser levels, from `decode_coarse` with the finest level; held fixed.
        """

    def decode_denoised(self, params: Params, z: ByLevel, noise_std: float) -> Float[Array, "b r r 3"]:
        """Decodes latents, and removes the noise of the training images with one step: x + s^2 `finest_score`.

        The model has learned the density of images with Gaussian noise of standard deviation s. Given the noisy image
        x, the step computes the mean of the images without noise (Tweedie's formula), as in TarFlow (arXiv
        2412.06329). The coarser levels are held fixed. `encode` of a denoised image does not give z back.

        Args:
          params: raw or prepared.
          z: latents.
          noise_std: s, the standard deviation of the noise, in units of x.
        """
        finest = self.level_names[-1]
        state = self.decode_coarse(params, z, finest)
        x = self.decode_from(params, state, z, finest)
        return x + noise_std**2 * self.finest_score(params, x, state)

    def to_space(self, params: Params, z: ByLevel, space: str) -> ByLevel:
        """Converts some levels of the latents to a space other than "z"; see `spaces`.

        Returns:
          The values, in that space, of the levels that the space replaces.

        Raises:
          InputError: the model has no such space.
        """
        del params, z
        raise InputError(f"no space {space!r}; there are {', '.join(self.spaces)}")

    def from_space(self, params: Params, y: ByLevel, space: str) -> ByLevel:
        """The inverse of `to_space`. It raises the same errors."""
        del params, y
        raise InputError(f"no space {space!r}; there are {', '.join(self.spaces)}")

    # Monitoring

    def flow_params(self, prepared: Params) -> dict[str, Params]:
        """The prepared parameters of each level's flow, which a training run monitors; {}: it monitors nothing."""
        del prepared
        return {}


def level_error(name: str, names: tuple[str, ...]) -> str:
    """The error message for a level that a model does not have."""
    return f"no level {name!r}; there are {', '.join(names)}"
