"""Converts configs to the form in checkpoints and weights files, and back. Later versions read it, too."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import fields, registry, schema

_log = logging.getLogger(__name__)
_told: set[str] = set()


def config_to_plain(config: ConfigDict) -> dict[str, Any]:
    """Converts a config to types of JSON."""
    return json.loads(config.to_json())


def config_from_plain(plain: Mapping[str, Any]) -> ConfigDict:
    """The locked config from the result of `config_to_plain`, which this or an earlier version made.

    Fields that did not exist then get the value that stands for the earlier behaviour. Stored fields that no longer
    exist are ignored; the log names each once.

    Raises:
      ConfigError: the family of models is not registered.
    """
    model = plain.get("model", {})
    family = model.get("family", registry.DEFAULT)
    complete, dropped = fields.complete(_tuples(plain), schema.tree(family))
    for name in dropped:
        if name not in _told:
            _told.add(name)
            _log.warning("a stored config has the field %s, which no longer exists; it is ignored", name)
    return ConfigDict(complete).lock()


def differences(a: ConfigDict, b: ConfigDict) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configs differ.

    Returns:
      {path: (value in a, value in b)}, in alphabetical order, with types of JSON. The value is None if a config does
      not have the field.
    """
    flat_a, flat_b = flat(a), flat(b)
    pairs = {name: (flat_a.get(name), flat_b.get(name)) for name in sorted(flat_a.keys() | flat_b.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def flat(config: ConfigDict) -> dict[str, Any]:
    """The fields of a config by path, such as "train.num_steps", in the config's order; JSON's own types."""
    return _flat(config_to_plain(config))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{name}" if prefix else name)
    return flat


def _tuples(value: Any) -> Any:
    """Converts lists to tuples: JSON has no tuples, and a config has no lists."""
    if isinstance(value, Mapping):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value
