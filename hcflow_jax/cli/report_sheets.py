"""The report's sheets and figures, from a run's newest checkpoint and its held-out pictures."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hcflow_jax import checkpoint, data, models, pictures
from hcflow_jax.data import preprocessing
from hcflow_jax.training import sharding
from hcflow_jax.training.metrics import Clock, say
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.samples import Sampler

PICTURES = 64  # held-out pictures that are encoded and decoded
SHOWN = 8  # of them on a sheet with rows
SCALE = 96  # pixels, about, that a picture is shown at

Images = UInt8[np.ndarray, "n r r 3"]


class Report:
    """A trained model with what its report needs."""

    def __init__(self, workdir: Path):
        found = checkpoint.load(workdir)
        self.workdir, self.folder, self.config = workdir, workdir / "report", found.config
        # What is encoded must decode to itself: a bfloat16 decoder is off by up to 0.1 of a float32 code's image.
        self.config.execution.dtype = "float32"
        self.model = models.build(self.config)
        self.mesh = sharding.make_mesh(self.config, self.model.batch_unit, ("eval",))
        self.params = jax.device_put(jax.jit(self.model.prepare)(found.arrays["ema"]), sharding.replicated(self.mesh))
        self.programs = Programs(Clock())
        self.sampler = Sampler(self.model, self.config, self.programs, self.mesh)
        self.scale = max(1, SCALE // self.config.data.resolution)
        source = data.open_source(self.config, "eval")
        self.images: Images = np.stack([source[i % len(source)] for i in range(PICTURES)])

    def write(self) -> list[Path]:
        """Makes every picture and prints every figure; returns the pictures' paths. Weights alone have no curve."""
        # First, so that what it needs and is not installed is said before anything is computed.
        curve = [self._curve()] if self._history() else []
        x = np.asarray(preprocessing.to_x(jnp.asarray(self.images)))
        z = self._encode(x)
        decoded = self.sampler.decode(self.params, z)
        error = float(np.abs(decoded - x).max())
        wrong = int((self.sampler.to_uint8(decoded) != self.images).sum())
        self._say_bound()
        say(f"encode -> decode, {PICTURES} held-out pictures: worst error {error:.1e}, {wrong} pixel values changed")
        paths = [
            self._save("samples", self._samples()),
            self._save("reconstructions", self._reconstructions(decoded)),
            self._save("zeroing", self._zeroing(z)),
            *curve,
        ]
        for path in paths:
            say(f"picture: {path}")
        result = {"worst_error": error, "changed_pixel_values": wrong, "pictures": [str(p) for p in paths]}
        (self.folder / "report.json").write_text(json.dumps(result, indent=2) + "\n")
        return paths

    def _encode(self, x: np.ndarray) -> dict[str, np.ndarray]:
        encode = jax.jit(self.model.encode)
        size = self.config.eval.batch_size
        parts = []
        for start in range(0, len(x), size):
            rows = np.arange(start, start + size) % len(x)
            batch = sharding.spread(self.mesh, x[rows])
            parts.append(jax.device_get(self.programs("the encoder", encode, self.params, batch)[0]))
        return {name: np.concatenate([part[name] for part in parts])[: len(x)] for name in parts[0]}

    def _save(self, name: str, sheet: pictures.Sheet) -> Path:
        path = self.folder / f"{name}.png"
        pictures.save_png(path, sheet)
        return path

    def _samples(self) -> pictures.Sheet:
        images = self.sampler.images(self.params)
        return pictures.grid(images, round(len(images) ** 0.5), scale=self.scale)

    def _reconstructions(self, decoded: np.ndarray) -> pictures.Sheet:
        shown = (self.images[:SHOWN], self.sampler.to_uint8(decoded[:SHOWN]))
        return pictures.rows(shown, ("original", "decoded"), scale=self.scale)

    def _zeroing(self, z: dict[str, np.ndarray]) -> pictures.Sheet:
        """Rows: the picture, then its finest latent at zero, the two finest, ...; the prior last of all."""
        rows, labels = [self.images[:SHOWN]], ["original"]
        names = list(self.model.level_names)
        for kept in range(len(names) - 1, -1, -1):
            # By name: jit sorts a dict's keys, so z itself is not coarse to fine.
            part = {n: z[n][:SHOWN] * (i < kept) for i, n in enumerate(names)}
            rows.append(self.sampler.to_uint8(self.sampler.decode(self.params, part)))
            labels.append("all = 0" if kept == 0 else f"z_{names[kept]} = 0" + (" too" if len(rows) > 2 else ""))
        return pictures.rows(rows, labels, scale=self.scale)

    def _history(self) -> list[dict[str, Any]]:
        file = self.workdir / "history.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _curve(self) -> Path:
        history = self._history()
        series = {}
        for kind, label in (("train", "training batch"), ("eval", "held out")):
            rows = [r for r in history if r["kind"] == kind and r.get("bits_per_dim") is not None]
            series[label] = ([r["step"] for r in rows], [r["bits_per_dim"] for r in rows])
        path = self.folder / "loss.png"
        pictures.curve(path, series, "Bound during training", "step", "bits/dim", points=["held out"])
        return path

    def _say_bound(self) -> None:
        rows = [r for r in self._history() if r["kind"] == "eval"]
        for row in rows[:1] + rows[1:][-1:]:
            bits = row.get("bits_per_dim")
            figure = "undefined" if bits is None else f"{bits:.3f}"
            say(f"held-out bits/dim at step {row['step']}: {figure} ({row['images']} pictures)")
