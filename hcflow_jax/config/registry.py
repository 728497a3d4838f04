"""The families of models by name. The module of a family declares its fields and builds its models.

A module is imported when its family is first used, so reading a config does not import JAX. To add a family of your
own, write a module like `Family`, and call `register` in the config file that uses it:

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
    """The defaults of a rate group, which is a set of parameters that share a learning rate.

    Attributes:
      learning_rate: the default of `train.learning_rate.GROUP`.
      decay: the default of `train.decay.GROUP`, the factor at every even epoch above `train.decay_after`.
    """

    learning_rate: float
    decay: float = 1.0


class Family(Protocol):
    """The interface of a family's module.

    The module must be quick to import, because the defaults of a config are made from it: do not import JAX at the
    top, but inside `check` and `build`. It may also have a function `outline(model)`, which describes a model for
    people (see `models.outline`).

    Attributes:
      FIELDS: the fields of `config.model`, except `family`.
      RATES: the rate groups by name. The names are those in the model's `rate_groups`.
      DEFAULTS: other defaults for fields of `groups`, by path: {"train.optimizer": "adamax"}.
    """

    FIELDS: Tree
    RATES: Mapping[str, Rate]
    DEFAULTS: Mapping[str, Any]

    def check(self, config: ConfigDict) -> None:
        """Checks what the rules of single fields do not check, such as that two fields fit together.

        Args:
          config: the whole config. The rules of all fields have been checked.

        Raises:
          ConfigError: one line that names the field and says what it must be; see `fields.need`.
        """
        ...

    def build(self, config: ConfigDict) -> Any:
        """Makes the model of a config that has been checked, a `models.ImageModel`."""
        ...


def register(name: str, module: str) -> None:
    """Registers a family, so that `config.model.family` can be its name.

    Args:
      name: the name of the family.
      module: the import path of its module, which has the interface `Family`.

    Raises:
      ConfigError: the name is registered for another module.
    """
    if _modules.setdefault(name, module) != module:
        raise ConfigError(f"model.family {name!r} is already {_modules[name]}; choose another name")


def names() -> tuple[str, ...]:
    """The names of the registered families."""
    return tuple(sorted(_modules))


def load(name: str) -> Family:
    """The module of a family.

    Raises:
      ConfigError: no family of that name is registered.
    """
    if name not in _modules:
        raise ConfigError(f"model.family must be one of {', '.join(names())}, not {name!r}")
    return cast(Family, importlib.import_module(_modules[name]))
