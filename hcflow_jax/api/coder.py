"""Encodes images to latents, and decodes latents completely or from a level down."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from hcflow_jax.api import images as pixels
from hcflow_jax.api.arguments import are_latents, known_latents, known_level, known_seed, known_space, whole
from hcflow_jax.api.bits import as_arrays, noise_scale
from hcflow_jax.api.coarse import Coarse
from hcflow_jax.api.engine import Engine
from hcflow_jax.api.latents import Latents, between
from hcflow_jax.batches import Progress, cut, joined, length
from hcflow_jax.errors import InputError

Images = pixels.Images | pixels.Floats
LogDets = dict[str, Float[np.ndarray, " n"]]


class Coder(Engine):
    """The part of `Model` that encodes and decodes."""

    def encode(
        self,
        images: Images,
        log_dets: bool = False,
        progress: Progress | None = None,
        noise_seed: int | None = None,
    ) -> Any:
        """Encodes images to latents.

        Args:
          images: (n, R, R, 3).
          log_dets: whether to return also log|det dz/dy| of each level's flow, (n,), nats.
          progress: is called after every batch, with the images done and n.
          noise_seed: None: without noise. A seed: with the noise of the paper's stochastic encoder (Eq. 6), of the
            scale in `self.statistics`. An image's noise depends on the seed and on its number in `images`. `decode`
            gives the images back, with noise and without.

        Returns:
          Latents, or (Latents, {level: (n,)}).

        Raises:
          InputError: the images have another shape, dtype or range; or there is a noise seed, but the model's encoder
            has no noise or the model no statistics.

        >>> model = api.load("portraits")
        >>> images = model.sample(2)
        >>> latents = model.encode(images)
        >>> latents.names == model.level_names, len(latents)
        (True, 2)
        >>> other = model.encode(images, noise_seed=1)
        >>> bool((other["8"] == latents["8"]).any()), bool((model.decode(other) == images).all())
        (False, True)
        """
        array = pixels.check(images, self.resolution)
        if not log_dets:
            return joined(self.encode_batches(array, noise_seed), len(array), progress)
        z, by_level = joined(self._encoded([array], noise_seed, 0, log_dets=True), len(array), progress)
        return self._latents(z), {name: by_level[name] for name in self.level_names}

    def encode_batches(
        self, images: Images | Iterable[Images], noise_seed: int | None = None, first: int = 0
    ) -> Iterator[Latents]:
        """Like `encode`, but yields one batch after another, for more images than fit into memory.

        Args:
          images: (n, R, R, 3), or an iterable of such arrays, of any n. Each is read when it is needed.
          noise_seed: as in `encode`.
          first: the number of the first image, on which its noise depends.

        Yields:
          Latents of at most `batch_size` images each; each given array begins a new batch.

        >>> model = api.load("portraits")
        >>> pictures = (model.sample(3, seed=seed) for seed in range(2))
        >>> [len(latents) for latents in model.encode_batches(pictures)]
        [3, 3]
        """
        return map(self._latents, self._encoded(self._checked(images), noise_seed, first))

    def _encoded(
        self, arrays: Iterable[Any], noise_seed: int | None, first: int, log_dets: bool = False
    ) -> Iterator[Any]:
        """Yields latents of batches, by level; or pairs of these and the log-determinants."""
        programs = self._use("float32")
        if noise_seed is None:
            return self._stream(programs.encode_with_log_dets if log_dets else programs.encode, arrays)
        key, statistics = (
            known_seed(noise_seed, "noise_seed"),
            as_arrays(noise_scale(self.image_model, self.statistics)),
        )
        program = programs.encode_noisy_with_log_dets if log_dets else programs.encode_noisy
        return self._stream(program, _numbered(arrays, whole("first", first, 0, 2**32)), key, statistics)

    def _checked(self, images: Images | Iterable[Images]) -> Iterator[Any]:
        each: Any = [images] if hasattr(images, "shape") or not isinstance(images, Iterable) else images
        return (pixels.check(array, self.resolution) for array in each)

    def reconstruct_batches(
        self, images: Images | Iterable[Images], as_float: bool = False, dtype: str = "float32"
    ) -> Iterator[tuple[Images, np.ndarray]]:
        """Encodes images and decodes them again, one batch after another.

        Latents that are not finite are decoded, too, so that the result shows the fault of the model.

        Args:
          images: as in `encode_batches`.
          as_float, dtype: as in `decode`.

        Yields:
          At most `batch_size` given images and the decoded images, (b, R, R, 3) each.

        Raises:
          InputError: the images have another shape, dtype or range.

        >>> model = api.load("portraits")
        >>> pairs = model.reconstruct_batches(model.sample(3, seed=seed) for seed in range(2))
        >>> [bool((given == back).all()) for given, back in pairs]
        [True, True]
        """
        given, encoded = itertools.tee(cut(self._checked(images), self._largest()))
        latents = map(Latents.as_dict, self.encode_batches(encoded))
        return zip(given, self._decoded(latents, as_float, dtype), strict=True)

    def decode(
        self, latents: Latents, as_float: bool = False, dtype: str = "float32", progress: Progress | None = None
    ) -> Any:
        """Decodes latents to images: the inverse of `encode`.

        Args:
          latents: the latents of n images.
          as_float: give floats x + 0.5, not clipped to [0, 1], rather than 8-bit values.
          dtype: the dtype of the networks' arithmetic.
          progress: is called after every batch, with the images done and n.

        Returns:
          (n, R, R, 3), uint8 or float32.

        Raises:
          InputError: the latents are not this model's.

        >>> model = api.load("portraits")
        >>> images = model.sample(2)
        >>> bool((model.decode(model.encode(images)) == images).all())
        True
        """
        arrays = Latents(known_latents(self.image_model, latents))
        return joined(self.decode_batches(arrays, as_float, dtype), len(arrays), progress)

    def decode_batches(
        self, latents: Latents | Iterable[Latents], as_float: bool = False, dtype: str = "float32"
    ) -> Iterator[np.ndarray]:
        """Like `decode`, but yields one batch after another.

        Args:
          latents: the latents of n images, or an iterable of such latents; each is taken when it is needed.
          as_float, dtype: as in `decode`.

        Yields:
          At most `batch_size` images, (b, R, R, 3), uint8 or float32.

        >>> model = api.load("portraits")
        >>> latents = (model.draw(2, seed=seed) for seed in range(3))
        >>> [len(images) for images in model.decode_batches(latents)]
        [2, 2, 2]
        """
        each: Any = (
            latents if isinstance(latents, Iterable) and not isinstance(latents, Latents | dict) else [latents]
        )
        return self._decoded((known_latents(self.image_model, part) for part in each), as_float, dtype)

    def _decoded(self, arrays: Iterable[dict[str, Any]], as_float: bool, dtype: str) -> Iterator[np.ndarray]:
        """Yields the images of latents that need no check: arrays by level."""
        programs = self._use(dtype)
        return self._stream(programs.decode_floats if as_float else programs.decode, arrays)

    def decode_coarse(self, latents: Latents, level: str, dtype: str = "float32") -> Coarse:
        """Decodes the levels that are coarser than `level`, for `decode_from`.

        Args:
          latents: the latents of n images; those of `level` and of finer levels may be missing.
          level: the first level that is not decoded.
          dtype: the dtype of the networks' arithmetic, here and in `decode_from`.

        Raises:
          InputError: the level does not exist, or the latents are not this model's.
        """
        known_level(self.image_model, level)
        arrays = known_latents(self.image_model, latents, stop=level)
        program = self._use(dtype).decode_coarse[level]
        if not arrays:  # nothing is coarser
            return Coarse(level, dtype, program(self.prepared, {}), len(latents))
        return Coarse(level, dtype, joined(self._stream(program, [arrays]), len(latents)), len(latents))

    def decode_from(
        self, coarse: Coarse, latents: Latents, as_float: bool = False, progress: Progress | None = None
    ) -> Any:
        """Decodes a level and all finer ones, from coarser levels that are already decoded.

        Args:
          coarse: from `decode_coarse`: n images, or one image that all n share.
          latents: the latents of n images; those of coarser levels may be missing.
          as_float: give floats x + 0.5, not clipped to [0, 1], rather than 8-bit values.
          progress: is called after every batch, with the images done and n.

        Returns:
          (n, R, R, 3), uint8 or float32.

        Raises:
          InputError: the latents do not fit this model, or have another number of images.

        >>> model = api.load("portraits")
        >>> latents, finest = model.draw(2), model.level_names[-1]
        >>> coarse = model.decode_coarse(latents, finest)
        >>> bool((model.decode_from(coarse, latents) == model.decode(latents)).all())
        True
        """
        if not isinstance(coarse, Coarse):
            raise InputError(f"coarse is {type(coarse).__name__}: expected the result of decode_coarse")
        z, count = known_latents(self.image_model, latents, first=coarse.level), len(latents)
        if len(coarse) not in (1, count):
            raise InputError(
                f"coarse is of {len(coarse)} images and latents of {count}: give as many, or coarse of one"
            )
        programs = self._use(coarse.dtype)
        program = (programs.decode_floats_from if as_float else programs.decode_from)[coarse.level]
        state = coarse.state
        if len(coarse) != count:
            state = jax.tree.map(lambda a: np.broadcast_to(a, (count, *a.shape[1:])), state)
        return joined(self._stream(program, [(state, z)]), length(z), progress)

    def blend(
        self,
        a: Latents,
        b: Latents,
        weight: float = 0.5,
        how: Literal["linear", "spherical"] = "linear",
        space: str = "z",
    ) -> Latents:
        """Latents at a point between two images, for n pairs at once.

        This is the point of `Model.interpolate` at the given weight. The linear midpoint of two independent draws is
        shorter than the draws, by a factor of about 0.71, so its image looks like one drawn at a lower sigma. The
        spherical midpoint keeps the length.

        Args:
          a, b: latents of n images each.
          weight: 0 gives a, 1 gives b.
          how: "linear" or "spherical", for each level by itself.
          space: as in `Model.interpolate`.

        Raises:
          InputError: an argument is not allowed, or a and b have different numbers of images.

        >>> model = api.load("portraits")
        >>> a, b = model.draw(3, seed=1), model.draw(3, seed=2)
        >>> bool((model.blend(a, b, 0.0)["8"] == a["8"]).all())
        True
        """
        known_space(self.image_model, space)
        for name, end in (("a", a), ("b", b)):
            are_latents(end, name)
        if len(a) != len(b):
            raise InputError(f"a is of {len(a)} images and b of {len(b)}: give pairs")
        if not _is_weight(weight):
            raise InputError(f"weight is {weight!r}: expected a number from 0 to 1")
        ends = [known_latents(self.image_model, end) for end in (a, b)]
        programs, count = self._use("float32"), len(a)
        if space != "z":
            ends = [{**end, **joined(self._stream(programs.to_space[space], [end]), count)} for end in ends]
        at = np.array([weight], np.float64)
        points = {
            name: np.concatenate([between(*pair, at, how) for pair in zip(ends[0][name], ends[1][name], strict=True)])
            for name in self.level_names
        }
        if space != "z":
            points.update(joined(self._stream(programs.from_space[space], [points]), count))
        return Latents(points)


def _numbered(arrays: Iterable[Any], first: int) -> Iterator[tuple[Any, np.ndarray]]:
    """Yields arrays (n, ...) together with the numbers of what they hold, (n,) uint32."""
    for array in arrays:
        yield array, np.arange(first, first + len(array), dtype=np.uint32)
        first += len(array)


def _is_weight(weight: Any) -> bool:
    try:
        return not isinstance(weight, bool | str) and 0 <= float(weight) <= 1
    except (TypeError, ValueError):
        return False
