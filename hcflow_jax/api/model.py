"""A trained model in use: encoding and decoding (`Coder`), samples, edits by level, the likelihood."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from hcflow_jax.api import arguments, bits, sampler_file
from hcflow_jax.api import images as pixels
from hcflow_jax.api import latents as between_images
from hcflow_jax.api.arguments import Levels, Sigma
from hcflow_jax.api.coder import Coder, Images
from hcflow_jax.api.latents import Latents
from hcflow_jax.api.samples import Samples
from hcflow_jax.batches import Progress, joined
from hcflow_jax.errors import InputError

_HELD_OUT = 1024  # the largest number of images that `measure_statistics` uses


class Model(Coder):
    """A model and its parameters, from `load`.

    Images are uint8 or floats in [0, 1], (n, R, R, 3), for any n. The result for an image does not depend on the
    other images. Programs are compiled when they are first needed, for batches of a few sizes. They run on all
    devices of the process. The attributes are those of `Engine`.
    """

    def draw(self, n: int, seed: int = 0, sigma: Sigma | None = None, first: int = 0) -> Latents:
        """Draws latents from the prior: those of `sample` with the same arguments.

        >>> model = api.load("portraits")
        >>> bool((model.decode(model.draw(2, seed=3)) == model.sample(2, seed=3)).all())
        True
        """
        numbers, sigmas = arguments.numbers(n, first), self._sigmas(sigma)
        key, draw = arguments.known_seed(seed), self._use("float32").draw
        return self._latents(joined(self._numbered(lambda _, i: draw(key, i, sigmas), numbers), n))

    def _sigmas(self, sigma: Sigma | None) -> np.ndarray:
        """The standard deviation of the latents of every level."""
        return arguments.sigmas(self.image_model, self.default_sigma if sigma is None else sigma)

    def sample(
        self,
        n: int,
        seed: int = 0,
        sigma: Sigma | None = None,
        first: int = 0,
        progress: Progress | None = None,
        denoise: bool = False,
    ) -> pixels.Images:
        """Samples images from the model.

        Args:
          n: how many.
          seed: 0 to 2^32 - 1. An image depends only on the seed and on its number: `sample(4)` gives the first four
            images of `sample(8)`, up to rounding (in batches of another size a few 8-bit values may differ by 1).
          sigma: std of the latents of the levels in `image_model.scaled_levels` (the others have 1), or by level name
            (those not named have 1). None: `self.default_sigma`.
          first: number of the first image.
          progress: is called after every batch, with the images done and n.
          denoise: whether to remove training noise with one step (`ImageModel.decode_denoised`), before rounding.

        Returns:
          (n, R, R, 3), uint8. Values that are not finite become 0 or 255, with a RuntimeWarning.

        Raises:
          InputError: an argument is not allowed; the message names it.

        >>> model = api.load("portraits")
        >>> images = model.sample(3, seed=3, sigma=0.7)
        >>> bool((images[1:] == model.sample(2, seed=3, sigma=0.7, first=1)).all())
        True
        """
        drawn = self.sample_batches(n, seed, sigma, first, denoise)
        images = joined(drawn, n, progress)
        drawn.warn()
        return images

    def sample_batches(
        self, n: int, seed: int = 0, sigma: Sigma | None = None, first: int = 0, denoise: bool = False
    ) -> Samples:
        """Like `sample`, but gives one batch after another, for more images than fit into memory.

        Returns:
          An iterator of at most `batch_size` images, (b, R, R, 3) uint8. Its `not_finite` counts images (`Samples`).

        >>> model = api.load("portraits")
        >>> sum(len(images) for images in model.sample_batches(3))
        3
        """
        numbers, sigmas = arguments.numbers(n, first), self._sigmas(sigma)
        key, programs = arguments.known_seed(seed), self._use(self.dtype)
        sample = programs.sample_denoised if arguments.known_denoise(self.config, denoise) else programs.sample
        return Samples(self._numbered(lambda params, i: sample(params, key, i, sigmas), numbers))

    def interpolate(
        self,
        a: Latents,
        b: Latents,
        n: int,
        how: Literal["linear", "spherical"] = "linear",
        space: str = "z",
        progress: Progress | None = None,
    ) -> pixels.Images:
        """Images that interpolate from one image to another, with both ends.

        Args:
          a, b: latents of one image each.
          n: how many images, at least 2.
          how: "linear", or "spherical": along arcs, with lengths between those of the ends.
          space: one of `image_model.spaces`. "z" interpolates latents. Another space replaces some levels by
            something else (the hierarchy's "y_top": by the 1x1 vector itself), and interpolates that.
          progress: is called after every batch, with the images done and n.

        Returns:
          (n, R, R, 3), uint8.

        Raises:
          InputError: an argument is not allowed; the message names it.

        >>> model = api.load("portraits")
        >>> a, b = model.draw(2)
        >>> len(model.interpolate(a, b, 3, how="spherical"))
        3
        """
        n = arguments.whole("n", n, 2, what="2 or more: an interpolation has its two ends")
        arguments.known_space(self.image_model, space)
        for name, end in (("a", a), ("b", b)):
            arguments.are_latents(end, name)
        ends = [arguments.known_latents(self.image_model, end) for end in (a, b)]
        if len(a) != 1 or len(b) != 1:
            raise InputError("a and b must be the latents of one image each: give latents[0]")
        programs, weights = self._use("float32"), np.linspace(0, 1, n)
        if space != "z":
            ends = [{**end, **joined(self._stream(programs.to_space[space], [end]), 1)} for end in ends]
        way = {m: between_images.between(ends[0][m][0], ends[1][m][0], weights, how) for m in self.level_names}
        if space != "z":
            way.update(joined(self._stream(programs.from_space[space], [way]), n))
        return self.decode(Latents(way), dtype=self.dtype, progress=progress)

    def resample(self, latents: Latents, levels: Levels, seed: int = 0, sigma: Sigma | None = None) -> Latents:
        """Latents with some levels resampled, separately for each image; the other levels stay.

        Raises:
          InputError: the model does not have the level, or seed or sigma is not allowed.

        >>> model = api.load("portraits")
        >>> latents, finest = model.draw(2), model.level_names[-1]
        >>> bool((model.resample(latents, finest, seed=1)[finest] == latents[finest]).any())
        False
        """
        names = arguments.known_levels(self.image_model, levels)
        drawn = self.draw(len(arguments.are_latents(latents)), seed, sigma)
        return latents.replace(**{name: drawn[name] for name in names})

    def zero(self, latents: Latents, levels: Levels) -> Latents:
        """Latents with some levels set to zero, the mean of the prior.

        Raises:
          InputError: the model does not have the level.

        >>> model = api.load("portraits")
        >>> finest = model.level_names[-1]
        >>> bool(model.zero(model.draw(2), finest)[finest].any())
        False
        """
        names = arguments.known_levels(self.image_model, levels)
        arguments.are_latents(latents)
        return latents.replace(**{name: np.zeros_like(latents[name]) for name in names})

    def vary(
        self, latents: Latents, level: str, n: int, seed: int = 0, sigma: Sigma | None = None, dtype: str = "float32"
    ) -> pixels.Images:
        """Images that share the coarser levels of one image: the same face with other details.

        The coarser levels are decoded once.

        Args:
          latents: the latents of one image; those of `level` and of finer levels may be missing.
          level: this level and all finer ones are resampled.
          n: how many images.
          seed, sigma: for the drawn levels, as in `draw`.
          dtype: the dtype of the networks' arithmetic.

        Returns:
          (n, R, R, 3), uint8.

        Raises:
          InputError: an argument is not allowed; the message names it.

        >>> model = api.load("portraits")
        >>> len(model.vary(model.draw(1), model.level_names[-1], 3))
        3
        """
        if len(arguments.are_latents(latents)) != 1:
            raise InputError(f"latents are of {len(latents)} images: give those of one, latents[0]")
        arguments.known_level(self.image_model, level)
        drawn = self.draw(n, seed, sigma)
        return self.decode_from(self.decode_coarse(latents, level, dtype), drawn)

    def bits_per_dim(
        self, images: Images, statistics: bits.Wanted = "auto", progress: Progress | None = None
    ) -> bits.Bits:
        """-log2 p of every image, or an upper bound on it, in bits per dimension.

        The noise of an image depends on its number in `images` and on `config.eval.seed`. In some models the images
        of a batch unit (`image_model.batch_unit`) share statistics, such as the scale of the hierarchy's noise.
        Units are formed in order. If the last unit is not full, it is filled with the images before it.

        Args:
          images: (n, R, R, 3); floats are first rounded to 8-bit values.
          statistics: "own": those of the units; "stored": `self.statistics`; "auto": the units' own, or the stored
            ones for fewer images than a unit.
          progress: is called after every batch, with the images done and the number of all that are computed.

        Returns:
          {"total": (n,), and each level's share, coarse to fine}. The total is the sum of the shares and `data.bits`.
          Its attribute `statistics` says which were used.

        Raises:
          InputError: there are fewer images than a unit and no statistics are stored, or the likelihood is undefined.

        >>> model = api.load("portraits")
        >>> bits = model.bits_per_dim(model.sample(4))
        >>> bits["total"].shape, bits.statistics
        ((4,), 'own groups')
        """
        array, unit = pixels.check(images, self.resolution), self.image_model.batch_unit
        used = bits.choose(self.image_model, len(array), statistics, self.statistics)
        if used == "own groups":
            order, program = bits.whole_units(len(array), unit), self._use("float32").bits
            shared: tuple[Any, ...] = (np.uint32(0),)
        else:
            order, unit = np.arange(len(array), dtype=np.int32), 1
            program, shared = self._use("float32").bits_given, (bits.as_arrays(self.statistics),)
        parts = self._stream(program, [(array[order], order)], *shared, unit=unit)
        found, once = joined(parts, len(order), progress), np.unique(order, return_index=True)[1]
        shares = {name: found[f"bits/{name}"][once] for name in self.level_names}
        return bits.Bits({"total": found["bits_per_dim"][once], **shares}, used)

    def batch_bound(self, params: Any, images: Any, indices: Any, draw: Any) -> dict[str, Any]:
        """The objective of each image of a batch, for `evaluation.bits_per_dim`.

        Args:
          params: `self.prepared`, or others of the model.
          images: (b, R, R, 3) uint8; b is a multiple of `image_model.batch_unit` on each device.
          indices: (b,) int32: the noise of an image depends on `config.eval.seed`, its index and `draw`.
          draw: () uint32, which draw of the noise.

        Returns:
          {"loss", "bits_per_dim", "bits/LEVEL": (b,)}, on the devices.
        """
        return self._use("float32").bits(params, (images, indices), draw)

    def measure_statistics(self, images: Images | None = None, progress: Progress | None = None) -> dict[str, float]:
        """Measures the statistics that images of a batch unit share in the likelihood; sets `self.statistics`.

        Args:
          images: (n, R, R, 3); those of whole units are used. None: at most 1,024 held-out images of the
            data in the config.
          progress: is called after every batch, with the units done and the number of all.

        Returns:
          {name: mean over the units}; {} for a model whose images share nothing.

        Raises:
          InputError: there are fewer images than a unit.
          DataError: None was given, and the data is not where the config says.

        >>> model = api.load("portraits")
        >>> statistics = model.measure_statistics(model.sample(8))
        >>> model.bits_per_dim(model.sample(2)).statistics
        'stored'
        """
        unit = self.image_model.batch_unit
        if unit == 1:
            return self.statistics
        array = pixels.held_out(self.config, _HELD_OUT) if images is None else images
        units = bits.in_units(pixels.check(array, self.resolution), unit)
        parts = self._stream(self._use("float32").statistics, [units])
        found = joined(parts, len(units[0]), progress)
        self.statistics = {name: float(np.mean(values, dtype=np.float64)) for name, values in found.items()}
        return self.statistics

    def export_sampler(self, path: str | Path, n: int = 16, denoise: bool = False) -> None:
        """Writes the sampler to a file that jax loads and runs, on CPU, GPU and TPU: see `sampler_file`.

        Args:
          path: the path of the file.
          n: images per call.
          denoise: as in `sample`.

        Raises:
          InputError: n is below 1, or there is no noise to remove.
          OSError: the file cannot be written.
        """
        sampler_file.write(path, self.config, self.prepared, self.dtype, n, denoise)
