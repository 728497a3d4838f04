"""The families of models by name: where the module is that declares a family's fields and builds its models.

A module is imported when its family is first asked for, so that reading a config needs no JAX. A family of one's own
is a module like `Family`, made known with `register` in the config file that uses it:

    from hcflow_jax import config as schema
    schema.register("my_flow", "my_package.my_flow")

    def get_config():
        return schema.default(family="my_flow")
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from ml_collections import ConfigDict

from hcflow_jax.config.fields import ConfigError, Tree

DEFAULT = "hierarchy"

_modules = {DEFAULT: "hcflow_jax.models.hierarchy.family", "glow": "hcflow_jax.models.glow.family"}


@dataclasses.dataclass(frozen=True)
class Rate:
    """The defaults of a rate group: parameters that share a learning rate.

    Attributes:
      learning_rate: default of `train.learning_rate.GROUP`.
      decay: default of `train.decay.GROUP`, the factor at every even epoch above `train.decay_after`.
    """

    learning_rate: float
    decay: float = 1.0


class Family(Protocol):
    """What the module of a family of models has.

    Keep it quick to import: the defaults of a config are made from it. `check` and `build` may import JAX inside.
    It may also have `outline(model)`, which describes a model for people: see `models.outline`.

    Attributes:
      FIELDS: the fields of `config.model`, without `family`, which every model has.
      RATES: the rate groups by name, the same names as in the model's `rate_groups`.
      DEFAULTS: other defaults for the fields of `groups`, by path: {"train.optimizer": "adamax"}.
    """

    FIELDS: Tree
    RATES: Mapping[str, Rate]
    DEFAULTS: Mapping[str, Any]

    def check(self, config: ConfigDict) -> None:
        """Checks what one field by itself does not say, such as that two fit together.

        Args:
          config: the whole config; the rule of every field holds already.

        Raises:
          ConfigError: one line that names the field and says what it must be; see `fields.need`.
        """
        ...

    def build(self, config: ConfigDict) -> Any:
        """The config's model, a `models.ImageModel`. The config was checked."""
        ...


def register(name: str, module: str) -> None:
    """Makes a family known as `config.model.family`.

    Args:
      name: what configs call it.
      module: the path of the module to import, which has what `Family` has.

    Raises:
      ConfigError: another module has the name.
    """
    if _modules.setdefault(name, module) != module:
        raise ConfigError(f"model.family {name!r} is already {_modules[name]}; choose another name")


def names() -> tuple[str, ...]:
    """The families that are known."""
    return tuple(sorted(_modules))


def load(name: str) -> Family:
    """The module of a family.

    Raises:
      ConfigError: there is none of that name.
    """
    if name not in _modules:
        raise ConfigError(f"model.family must be one of {', '.join(names())}, not {name!r}")
    return cast(Family, importlib.import_module(_modules[name]))
