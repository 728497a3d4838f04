"""A model of plain arithmetic with the real one's methods: tests of the command compile nothing.

y1 is an image's mean colour, "4" its means over squares of 2 pixels less that, "8" what is left.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from hcflow_jax import api
from hcflow_jax.api.samples import Samples
from hcflow_jax.cli import command
from hcflow_jax.errors import InputError

SIZE = 8
LEVELS = ("prior", "y1", "4", "8")
SHAPES = {"prior": (2,), "y1": (3,), "4": (4, 4, 3), "8": (8, 8, 3)}


def _larger(a: np.ndarray, times: int) -> np.ndarray:
    return a.repeat(times, 1).repeat(times, 2)


class Model:
    """Remembers what it was asked in `calls`."""

    resolution, level_names, batch_size = SIZE, LEVELS, 3
    latent_shapes, fingerprint = SHAPES, "plain arithmetic"
    finite = True  # whether samples count as finite
    config: Any = None
    sigma: Any = None

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.noise: tuple[int | None, int] = None, 0

    @property
    def default_sigma(self) -> Any:
        """The stored sigma, or else the config's."""
        return self.config.sample.sigma if self.sigma is None else self.sigma

    def encode(self, images: Any, progress: Any = None) -> api.Latents:
        """Exact."""
        self.calls.append(("encode", len(images)))
        x = (np.asarray(images, np.float32) + 0.5) / 256
        y1 = x.mean((1, 2))
        x = x - y1[:, None, None]
        coarse = x.reshape(len(x), 4, 2, 4, 2, 3).mean((2, 4))
        z = {"prior": np.zeros((len(x), 2), np.float32), "y1": y1, "4": coarse, "8": x - _larger(coarse, 2)}
        return api.Latents(z)

    def decode(
        self, latents: api.Latents, as_float: bool = False, dtype: str = "float32", progress: Any = None
    ) -> Any:
        """Undoes it."""
        for name, shape in SHAPES.items():
            if latents[name].shape[1:] != shape:
                raise InputError(f"latents of level {name} have shape {latents[name].shape}")
        self.calls.append(("decode", len(latents), dtype))
        x = latents["y1"][:, None, None] + _larger(latents["4"], 2) + latents["8"]
        return x if as_float else np.clip(np.floor(256 * x), 0, 255).astype(np.uint8)

    def draw(self, n: int, seed: int = 0, sigma: Any = 0.7, first: int = 0) -> api.Latents:
        """By seed and number."""
        self.calls.append(("draw", n, seed, sigma))
        each = []
        for i in range(first, first + n):
            rng = np.random.default_rng([seed, i])
            each.append({name: 0.1 * rng.standard_normal(shape).astype("f") for name, shape in SHAPES.items()})
        return api.Latents({name: np.stack([z[name] for z in each]) + 0.5 * (name == "y1") for name in LEVELS})

    def sample(self, n: int, seed: int = 0, sigma: Any = 0.7, first: int = 0) -> Any:
        """Images of `draw`."""
        return self.decode(self.draw(n, seed, sigma, first))

    def sample_batches(self, n: int, seed: int = 0, sigma: Any = 0.7, first: int = 0, denoise: bool = False) -> Any:
        """Images of `draw`, a few at a time."""
        self.calls.append(("denoise", denoise))
        starts = range(first, first + n, self.batch_size)
        batches = (self.sample(min(self.batch_size, first + n - i), seed, sigma, i) for i in starts)
        return Samples((images, np.full(len(images), self.finite)) for images in batches)

    def encode_batches(self, images: Any, noise_seed: int | None = None, first: int = 0) -> Any:
        """`encode` of each; `noise` keeps what was asked."""
        self.noise = noise_seed, first
        return map(self.encode, images)

    def decode_batches(self, latents: Any, as_float: bool = False, dtype: str = "float32") -> Any:
        """`decode` of each, which is asked for before the result of the one before is given, as in the real one."""
        pending = None
        for part in latents:
            decoded = self.decode(part, as_float=as_float, dtype=dtype)
            if pending is not None:
                yield pending
            pending = decoded
        if pending is not None:
            yield pending

    def reconstruct_batches(self, images: Any, as_float: bool = False) -> Any:
        """Pairs of originals and what comes back."""
        for part in images:
            yield part, self.decode(self.encode(part), as_float=as_float)

    def interpolate(self, a: api.Latents, b: api.Latents, n: int, how: str, space: str, progress: Any) -> Any:
        """On a line."""
        self.calls.append(("interpolate", n, how, space))
        progress(n, n)
        way = {m: np.concatenate([(1 - t) * a[m] + t * b[m] for t in np.linspace(0, 1, n)]) for m in LEVELS}
        return self.decode(api.Latents(way))

    def resample(self, latents: api.Latents, levels: Any, seed: int = 0, sigma: Any = 0.7) -> api.Latents:
        """Some levels anew."""
        drawn = self.draw(len(latents), seed, sigma)
        return latents.replace(**{name: drawn[name] for name in levels})

    def zero(self, latents: api.Latents, levels: Any) -> api.Latents:
        """Some levels at zero."""
        return latents.replace(**{name: 0 * latents[name] for name in levels})


def running(tmp_path: Path, capsys: Any, monkeypatch: Any) -> Iterator[Any]:
    """For a fixture: runs the command in a folder of its own; gives its status and the lines of stdout and stderr."""
    model = Model()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda *_, **__: model)
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments: Any) -> tuple[int, list[str], list[str]]:
        status = command.main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out.splitlines(), out.err.splitlines()

    run.model = model  # pyright: ignore[reportFunctionMemberAccess]
    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def pictures(folder: Path, count: int, size: tuple[int, int] = (SIZE, SIZE)) -> list[Path]:
    """Writes PNGs, width and height in pixels."""
    rng, paths = np.random.default_rng(count), [folder / f"picture{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)
    return paths


def read(path: Path) -> np.ndarray:
    """A picture's values."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))
