"""Measures the EMA of a run: distances, neighbours and exactness, but not the bound."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import api
from hcflow_jax.api.arguments import Sigma
from hcflow_jax.evaluation import measure, measured_set
from hcflow_jax.evaluation.measure import Measured, Tell
from hcflow_jax.training import sharding


class Measuring:
    """Measures the EMA. The programs are compiled only once."""

    def __init__(self, config: ConfigDict, sigma: Sigma | None = None):
        """Does not compile or read anything yet.

        Args:
          config: the whole config; `eval` defines the metrics.
          sigma: the tuned sigma of the model (`api.sampling_file`); None: the config's `sample.sigma`.

        Raises:
          ConfigError: `eval.metrics` has an unknown metric, or none.
        """
        self._config, self._sigma = config, sigma
        self.metrics, self._options, self._extractor = measure.wanted(config)

    @cached_property
    def _shell(self) -> api.Model:
        """The model without parameters."""
        return api.Model(self._config, {})

    @cached_property
    def _loaded(self) -> Any:
        return self._extractor()

    def __call__(self, ema: Any, tell: Tell = lambda what, done, of: None) -> Measured:
        """Measures `eval.metrics` except the bound, which a run evaluates separately.

        Args:
          ema: the EMA parameters, on any devices, the same in all processes.
          tell: is called as the work proceeds. If it raises an exception, the measurement ends.
        """
        held_out = measured_set.open_data(self._config, None, None)
        split = self._options.protocol.split
        model = self._shell.with_params(sharding.fetch(ema))
        model.sigma = self._sigma
        return measure.measure(
            model,
            held_out,
            tuple(name for name in self.metrics if name != "bits"),
            self._options,
            extractor=lambda: self._loaded,
            reals=lambda: held_out if split == "eval" else measured_set.open_data(self._config, None, split),
            tell=tell,
        )


def scalars(values: Mapping[str, Any]) -> dict[str, float | int]:
    """Selects the numbers from measured values, for histories and TensorBoard: {"kid": ..., "pixels/memorised": ...}.

    Args:
      values: by metric, from `Measured.values`. Numbers in a "protocol" are not selected.
    """
    found: dict[str, float | int] = {}
    for metric in values.values():
        inner = {name: part for name, part in metric.items() if isinstance(part, Mapping) and name != "protocol"}
        numbers = dict(metric)
        for name, part in inner.items():
            numbers |= {f"{name}/{key}": value for key, value in part.items()}
        found |= {name: value for name, value in numbers.items() if isinstance(value, int | float)}
    return found
