"""A trained model for use: images to latents and back, samples, edits by level, the bound."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from hcflow_jax.api import images as pixels
from hcflow_jax.api import latents as between_images
from hcflow_jax.api import sampler_file
from hcflow_jax.api.latents import Latents
from hcflow_jax.api.programs import DTYPES, Programs, in_batches, largest_batch

Images = pixels.Images | pixels.Floats
Sigma = float | Mapping[str, float]
LogDets = dict[str, Float[np.ndarray, " n"]]

SIGMA = 0.7  # the paper's in Figures 4 and 11


class Model:
    """A model and its parameters, from `load`.

    Images go in as uint8 or as floats in [0, 1], (n, R, R, 3), any n; what is computed for an image does not depend
    on how many it comes with. Programs are compiled when they are first wanted, for batches of a few sizes.

    Attributes:
      config: the config it was trained with, locked.
      dtype: of the networks' arithmetic in sampling and interpolating, "float32" or "bfloat16". Encoding is always in
        float32, and so is decoding unless it is said otherwise: another arithmetic does not undo it.
      resolution: R, pixels.
      level_names: coarse to fine: "prior" and "y1", the parts of the 1x1 vector, then "8", ..., the finest.
      batch_size: images that are computed at once, at most.
    """

    def __init__(self, config: ConfigDict, params: Any, dtype: str = "float32"):
        """Args:
        config: the whole config.
        params: as trained (the EMA's); on a device or not.
        dtype: "float32" or "bfloat16".

        Raises:
          ValueError: for another dtype.
          ConfigError: the config makes no model.
        """
        self._programs = {name: Programs(config, name) for name in ("float32", _known_dtype(dtype))}
        self._model = self._programs["float32"].model
        self._raw = params
        self.config, self.dtype = config, dtype
        self.resolution: int = self._model.image_shape[0]
        self.level_names: tuple[str, ...] = self._model.level_names
        self.batch_size = largest_batch(self.resolution)

    @cached_property
    def params(self) -> Any:
        """The parameters with every mixing's kernel, inverse and log-det computed, on the device."""
        return self._use("float32").prepare(self._raw)

    def encode(self, images: Images, log_dets: bool = False) -> Any:
        """Latents of images, without noise.

        Args:
          images: (n, R, R, 3).
          log_dets: also give log|det dz/dy| of each level's flow, (n,), nats.

        Returns:
          Latents, or (Latents, {level: (n,)}).

        Raises:
          ValueError: the images have another shape, dtype or range.
        """
        array = pixels.check(images, self.resolution)
        programs = self._use("float32")
        if not log_dets:
            return self._latents(self._run(programs.encode, array))
        z, by_level = self._run(programs.encode_with_log_dets, array)
        return self._latents(z), {name: by_level[name] for name in self.level_names}

    def decode(self, latents: Latents, as_float: bool = False, dtype: str = "float32") -> Any:
        """Images of latents: the inverse of `encode`.

        Args:
          latents: of n images.
          as_float: give floats x + 0.5, not clipped to [0, 1], rather than 8-bit values.
          dtype: of the networks' arithmetic.

        Returns:
          (n, R, R, 3), uint8 or float32.

        Raises:
          ValueError: the latents are not this model's.
        """
        programs = self._use(dtype)
        program = programs.decode_floats if as_float else programs.decode
        return self._run(program, self._checked(latents))

    def draw(self, n: int, seed: int = 0, sigma: Sigma = SIGMA, first: int = 0) -> Latents:
        """Latents from the prior: those of `sample` with the same arguments."""
        indices, sigmas = self._indices(n, first), self._sigmas(sigma)
        draw = self._use("float32").draw
        return self._latents(in_batches(lambda i: draw(_seed(seed), i, sigmas), self.batch_size, indices))

    def sample(self, n: int, seed: int = 0, sigma: Sigma = SIGMA, first: int = 0) -> pixels.Images:
        """Images of the model's own making.

        Args:
          n: how many.
          seed: whose images they are. Each depends on it and on its number alone: the first four of eight are those
            of four.
          sigma: std of the latents above 1x1 (the 1x1 vector's is always 1), or by level name (those not named: 1).
          first: number of the first image.

        Returns:
          (n, R, R, 3), uint8.

        Raises:
          ValueError: naming the argument that will not do.
        """
        indices, sigmas = self._indices(n, first), self._sigmas(sigma)
        sample = self._use(self.dtype).sample
        return in_batches(lambda i: sample(self.params, _seed(seed), i, sigmas), self.batch_size, indices)

    def interpolate(
        self,
        a: Latents,
        b: Latents,
        n: int,
        how: Literal["linear", "spherical"] = "linear",
        space: Literal["z", "y_top"] = "z",
    ) -> pixels.Images:
        """Images on the way from one to another, both included.

        Args:
          a, b: latents of one image each.
          n: how many images, at least 2.
          how: "linear", or "spherical": along arcs, at the ends' length.
          space: what is interpolated of the 1x1 vector: its latents "z", or the vector "y_top" itself. Levels above
            it are in their latents.

        Returns:
          (n, R, R, 3), uint8.

        Raises:
          ValueError: naming the argument that will not do.
        """
        if n < 2:
            raise ValueError(f"n is {n}: an interpolation has at least its two ends")
        if space not in ("z", "y_top"):
            raise ValueError(f"space is z or y_top, not {space!r}")
        ends = [self._checked(end) for end in (a, b)]
        if any(len(end["prior"]) != 1 for end in ends):
            raise ValueError("a and b must be the latents of one image each: give latents[0]")
        programs = self._use("float32")
        if space == "y_top":
            ends = [{**end, **self._run(programs.to_y_top, end)} for end in ends]
        weights = np.linspace(0, 1, n)
        way = {m: between_images.between(ends[0][m][0], ends[1][m][0], weights, how) for m in self.level_names}
        if space == "y_top":
            way.update(self._run(programs.from_y_top, way))
        return self._run(self._use(self.dtype).decode, way)

    def resample(self, latents: Latents, levels: str | Iterable[str], seed: int = 0, sigma: Sigma = SIGMA) -> Latents:
        """Latents with some levels drawn anew, of every image for itself.

        Raises:
          ValueError: for a level that there is not, or a sigma that will not do.
        """
        drawn = self.draw(len(latents), seed, sigma)
        return latents.replace(**{name: drawn[name] for name in self._known(levels)})

    def zero(self, latents: Latents, levels: str | Iterable[str]) -> Latents:
        """Latents with some levels at zero, the prior's mean.

        Raises:
          ValueError: for a level that there is not.
        """
        return latents.replace(**{name: np.zeros_like(latents[name]) for name in self._known(levels)})

    def bits_per_dim(self, images: Images) -> dict[str, Float[np.ndarray, " n"]]:
        """The bound on -log2 p of every image, bits per dimension of the image, with noise that its number draws.

        The noise's scale is taken over statistics groups, runs of `model.statistics_group` images; images that are
        left over share a group with those before them.

        Args:
          images: (n, R, R, 3); floats are made 8-bit values first.

        Returns:
          {"total": (n,), and each level's share, coarse to fine}: the shares and the data's bits sum to the total.

        Raises:
          ValueError: there are fewer images than a statistics group, or the model's code has no density.
        """
        array = pixels.check(images, self.resolution)
        group, count = self._model.batch_unit, len(array)
        if count < group:
            raise ValueError(f"the bound needs at least {group} images, one statistics group; there are {count}")
        if self._model.likelihood == "undefined":
            raise ValueError("bits per dimension are undefined for this model: a level of it has no noise")
        whole, left = np.arange(count // group * group), np.arange(count - group, count) if count % group else ()
        order = np.concatenate([whole, left]).astype(np.int32)
        given = (array[order], order)
        largest = max(group, self.batch_size // group * group)
        bits = in_batches(lambda a: self._use("float32").bits(self.params, *a), largest, given, at_least=group)
        once = np.unique(order, return_index=True)[1]
        shares = {name: bits[f"bits/{name}"][once] for name in self.level_names}
        return {"total": bits["bits_per_dim"][once], **shares}

    def export_sampler(self, path: str | Path, n: int = 16) -> None:
        """Writes the sampler to a file that jax loads and runs, on CPU, GPU and TPU: see `sampler_file`.

        Args:
          path: of the file.
          n: images a call.
        """
        sampler_file.write(path, self.config, self.params, self.dtype, n)

    # Arguments and programs

    def _use(self, dtype: str) -> Programs:
        if dtype not in self._programs:
            self._programs[dtype] = Programs(self.config, _known_dtype(dtype))
        return self._programs[dtype]

    def _run(self, program: Any, arrays: Any) -> Any:
        return in_batches(lambda batch: program(self.params, batch), self.batch_size, arrays)

    def _latents(self, z: Mapping[str, Any]) -> Latents:
        # jit sorts a dict's keys
        return Latents({name: z[name] for name in self.level_names})

    def _checked(self, latents: Latents) -> dict[str, np.ndarray]:
        if set(latents.names) != set(self.level_names):
            have, takes = (", ".join(names) for names in (latents.names, self.level_names))
            raise ValueError(f"latents have levels {have}; the model takes {takes}")
        arrays = {name: np.asarray(latents[name], np.float32) for name in self.level_names}
        for name, array in arrays.items():
            shape = (len(arrays["prior"]), *self._model.latent_shapes[name])
            if array.shape != shape or not len(array):
                raise ValueError(f"latents of level {name} have shape {array.shape}; the model takes {shape}")
        return arrays

    def _known(self, levels: str | Iterable[str]) -> tuple[str, ...]:
        names = (levels,) if isinstance(levels, str) else tuple(levels)
        for name in names:
            if name not in self.level_names:
                raise ValueError(f"no level {name!r}; there are {', '.join(self.level_names)}")
        return names

    def _indices(self, n: int, first: int) -> np.ndarray:
        if n < 1 or first < 0:
            raise ValueError(f"n is {n} and first {first}: at least one image, numbered from 0")
        return np.arange(first, first + n, dtype=np.uint32)

    def _sigmas(self, sigma: Sigma) -> np.ndarray:
        above = self.level_names[2:]
        named = dict(sigma) if isinstance(sigma, Mapping) else dict.fromkeys(above, sigma)
        self._known(named)
        values = np.array([named.get(name, 1.0) for name in self.level_names], np.float32)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"sigma is {sigma}: a number that is not negative, or one by level")
        return values


def _known_dtype(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {' or '.join(DTYPES)}, not {dtype!r}")
    return dtype


def _seed(seed: int) -> Any:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}: expected 0 to {2**32 - 1}")
    return jax.numpy.uint32(seed)
