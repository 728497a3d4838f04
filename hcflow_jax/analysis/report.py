"""The report of a run: pictures and numbers of its newest checkpoint, made with its held-out pictures."""

import hashlib
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from hcflow_jax import api, pictures
from hcflow_jax.analysis import histories
from hcflow_jax.analysis.zeroing import cumulative_zeroing
from hcflow_jax.api.images import Floats
from hcflow_jax.errors import MissingExtraError
from hcflow_jax.evaluation import round_trip
from hcflow_jax.files import write
from hcflow_jax.layout import HISTORY, REPORT
from hcflow_jax.paths import Place, own_names

PICTURES = 64  # held-out pictures that are encoded and decoded
SHOWN = 8  # held-out pictures on a sheet with rows
SCALE = 96  # approximate size of a picture on a sheet, pixels


class Report:
    """The report of a trained model."""

    def __init__(self, workdir: Place, model: api.Model, folder: Path | None = None):
        """Reads the held-out pictures.

        Args:
          workdir: the workdir of the run.
          model: from `api.load`.
          folder: the folder that gets the report; None: `report/` in the workdir, which must not be in a bucket.
        """
        self.workdir, self.folder, self.model = workdir, folder or Path(workdir) / REPORT, model
        self.scale = max(1, SCALE // model.resolution)
        self.images = api.held_out(model.config, PICTURES)

    def write(self) -> list[Path]:
        """Makes all pictures and prints all numbers.

        A picture is written as soon as it is made. A picture that was made earlier from the same parameters and the
        same held-out pictures is kept. Only the curve is always drawn again, because the run continues. There is no
        curve if the workdir has no history, or if matplotlib is not installed; a note then says how to install it.

        Returns:
          The paths of the pictures.

        Raises:
          OSError: a file cannot be written.
        """
        self._say_bound()
        figures = self._figures()
        _say(
            f"encode -> decode, {len(self.images)} held-out pictures: worst error {figures['worst_error_text']}, "
            f"{figures['changed_pixel_values']} pixel values changed"
        )
        sheets = {"samples": self._samples, "reconstructions": self._reconstructions, "zeroing": self._zeroing}
        paths = []
        for name, make in sheets.items():
            path, about = self.folder / f"{name}.png", f"{name} {self._about}"
            kept = pictures.text_of(path) == about
            if not kept:
                make(path, about)
            paths.append(path)
            _say(f"picture: {own_names(str(path))}{' (finished before)' if kept else ''}")
        if self._history():
            paths += self._curves()
        self._note({**figures, "pictures": [own_names(str(p)) for p in paths]})
        return paths

    @cached_property
    def _about(self) -> str:
        """A digest of everything that the pictures depend on."""
        sample, sigma = self.model.config.sample, json.dumps(self.model.default_sigma, sort_keys=True)
        given = f"{self.model.fingerprint} {sample.count} {sample.seed} {sigma} {self.images.shape}"
        return hashlib.sha256(given.encode() + self.images.tobytes()).hexdigest()

    def _figures(self) -> dict[str, Any]:
        """How exactly decoding inverts encoding: read from the report's file if it is of the same model."""
        try:
            found = json.loads((self.folder / "report.json").read_text())
        except (OSError, ValueError):
            found = None
        names = "made_of", "worst_error", "worst_error_text", "changed_pixel_values"
        if isinstance(found, dict) and found.get("made_of") == self._about and set(names) <= set(found):
            return {name: found[name] for name in names}
        trip = round_trip.summary(*round_trip.differences(self.images, self._decoded), self.images[0].size)
        made = self._about, trip.worst_error, trip.worst_error_text, trip.changed_values
        figures: dict[str, Any] = dict(zip(names, made, strict=True))
        self._note(figures)
        return figures

    def _note(self, result: dict[str, Any]) -> None:
        text = json.dumps(result, indent=2) + "\n"
        write(self.folder / "report.json", lambda file: file.write(text.encode()))

    @cached_property
    def _latents(self) -> api.Latents:
        return self.model.encode(self.images)

    @cached_property
    def _decoded(self) -> Floats:
        return self.model.decode(self._latents, as_float=True)

    def _samples(self, path: Path, about: str) -> None:
        sample = self.model.config.sample
        drawn = self.model.sample_batches(sample.count, seed=sample.seed, sigma=self.model.default_sigma)
        pictures.save_grid(path, drawn, sample.count, round(sample.count**0.5), self.scale, about)

    def _reconstructions(self, path: Path, about: str) -> None:
        shown = (self.images[:SHOWN], round_trip.to_values(self._decoded[:SHOWN]))
        pictures.save_png(path, pictures.rows(shown, ("original", "decoded"), scale=self.scale), about)

    def _zeroing(self, path: Path, about: str) -> None:
        """A sheet with the pictures in the first row, and more levels at zero in each further row."""
        rows, labels = [self.images[:SHOWN]], ["original"]
        for label, images in cumulative_zeroing(self.model, self._latents[:SHOWN]):
            labels.append(label)
            rows.append(images)
        pictures.save_png(path, pictures.rows(rows, labels, scale=self.scale), about)

    def _history(self) -> list[dict[str, Any]]:
        file = self.workdir / HISTORY
        return list(histories.rows(file, ("step",))) if file.exists() else []

    def _curves(self) -> list[Path]:
        try:
            path = self._curve()
        except MissingExtraError as error:
            print(f"note: no curve: {error}", file=sys.stderr, flush=True)
            return []
        _say(f"picture: {own_names(str(path))}")
        return [path]

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
