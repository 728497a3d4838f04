"""clu's metric writers without TensorFlow.

`clu.metric_writers` imports TensorFlow in one module, the one that writes TensorBoard's files. That module is
replaced here, before clu is imported, by one over tensorboardX; clu's own writers and `periodic_actions` then
work. Import clu's writers from this module, never before it.
"""

import sys
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_REPLACED = "clu.metric_writers.summary_writer"


def _summary_writer(logdir: str) -> "TensorBoardWriter":
    return TensorBoardWriter(logdir)


if _REPLACED not in sys.modules:
    _module = types.ModuleType(_REPLACED, __doc__)
    _module.SummaryWriter = _summary_writer  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules[_REPLACED] = _module

from clu import metric_writers  # noqa: E402


class TensorBoardWriter(metric_writers.MetricWriter):
    """Writes TensorBoard's files. Argument names are clu's: its asynchronous writer calls by keyword."""

    def __init__(self, logdir: str, purge_step: int | None = None):
        """Args:
        logdir: where the event files go.
        purge_step: what an earlier run wrote from this step on is to be forgotten.
        """
        import tensorboardX

        self._writer = tensorboardX.SummaryWriter(logdir, purge_step=purge_step)

    def write_summaries(
        self, step: int, values: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Not possible through tensorboardX."""
        raise NotImplementedError("raw summaries cannot be written through tensorboardX")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, float(value), step)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes (H, W, C) or (N, H, W, C) images."""
        for name, value in images.items():
            value = np.asarray(value)
            self._writer.add_images(name, value if value.ndim == 4 else value[None], step, dataformats="NHWC")

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:
        """Not possible without an encoder of its own."""
        raise NotImplementedError("videos go to files (hcflow_jax.pictures), not to TensorBoard")

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        """Writes (N, T, C) sounds."""
        for name, value in audios.items():
            self._writer.add_audio(name, np.asarray(value)[0], step, sample_rate=sample_rate)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts."""
        for name, value in texts.items():
            self._writer.add_text(name, value, step)

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Writes histograms."""
        for name, value in arrays.items():
            bins = (num_buckets or {}).get(name, 30)
            self._writer.add_histogram(name, np.asarray(value), step, bins=bins)  # pyright: ignore

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes hyperparameters as a text."""
        self._writer.add_text("hparams", "\n".join(f"    {name}: {value}" for name, value in hparams.items()), 0)

    def flush(self) -> None:
        """Writes out what is cached."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


def make_writer(logdir: str, purge_step: int | None = None) -> metric_writers.MetricWriter:
    """A writer that does its work in a thread, so that the training loop does not wait for the disk.

    Of several processes the first writes.
    """
    if jax.process_index() > 0:
        return metric_writers.MultiWriter(())
    return metric_writers.AsyncWriter(TensorBoardWriter(logdir, purge_step))
