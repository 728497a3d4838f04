"""A run's report: sheets and figures of its newest checkpoint, made with its held-out pictures."""

import json
from pathlib import Path
from typing import Any

from hcflow_jax import api, pictures
from hcflow_jax.analysis.zeroing import cumulative_zeroing
from hcflow_jax.api.images import Floats
from hcflow_jax.evaluation import round_trip
from hcflow_jax.files import write

PICTURES = 64  # held-out pictures that are encoded and decoded
SHOWN = 8  # of them on a sheet with rows
SCALE = 96  # pixels, about, that a picture is shown at


class Report:
    """A trained model with what its report needs."""

    def __init__(self, workdir: Path, model: api.Model):
        """Args:
        workdir: of the run; the report goes to `report/` in it.
        model: from `api.load`.
        """
        self.workdir, self.folder, self.model = workdir, workdir / "report", model
        self.scale = max(1, SCALE // model.resolution)
        self.images = api.held_out(model.config, PICTURES)

    def write(self) -> list[Path]:
        """Makes every picture and prints every figure; returns the pictures' paths. Weights alone have no curve."""
        # First, so that what it needs and is not installed is said before anything is computed.
        curve = [self._curve()] if self._history() else []
        latents = self.model.encode(self.images)
        decoded = self.model.decode(latents, as_float=True)
        trip = round_trip.compare([(self.images, decoded)])
        self._say_bound()
        _say(
            f"encode -> decode, {trip.images} held-out pictures: worst error {trip.worst_error_text}, "
            f"{trip.changed_values} pixel values changed"
        )
        paths = [
            self._save("samples", self._samples()),
            self._save("reconstructions", self._reconstructions(decoded)),
            self._save("zeroing", self._zeroing(latents[:SHOWN])),
            *curve,
        ]
        for path in paths:
            _say(f"picture: {path}")
        result = {
            "worst_error": trip.worst_error,
            "changed_pixel_values": trip.changed_values,
            "pictures": [str(p) for p in paths],
        }
        text = json.dumps(result, indent=2) + "\n"
        write(self.folder / "report.json", lambda file: file.write(text.encode()))
        return paths

    def _save(self, name: str, sheet: pictures.Sheet) -> Path:
        path = self.folder / f"{name}.png"
        pictures.save_png(path, sheet)
        return path

    def _samples(self) -> pictures.Sheet:
        sample = self.model.config.sample
        images = self.model.sample(sample.count, seed=sample.seed, sigma=sample.sigma)
        return pictures.grid(images, round(len(images) ** 0.5), scale=self.scale)

    def _reconstructions(self, decoded: Floats) -> pictures.Sheet:
        shown = (self.images[:SHOWN], round_trip.to_values(decoded[:SHOWN]))
        return pictures.rows(shown, ("original", "decoded"), scale=self.scale)

    def _zeroing(self, latents: api.Latents) -> pictures.Sheet:
        """Rows: the picture, then its finest latent at zero, the two finest, ...; all of them last."""
        rows, labels = [self.images[:SHOWN]], ["original"]
        for label, images in cumulative_zeroing(self.model, latents):
            labels.append(label)
            rows.append(images)
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
            _say(f"held-out bits/dim at step {row['step']}: {figure} ({row['images']} pictures)")


def _say(line: str) -> None:
    print(line, flush=True)
