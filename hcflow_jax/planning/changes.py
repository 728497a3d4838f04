"""Changes fields of a config, from text such as train.accumulate=2."""

import ast
from collections.abc import Iterable

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a list such as (1, 2)"}


def apply(config: ConfigDict, given: Iterable[tuple[str, str]]) -> ConfigDict:
    """A copy of a config with other values.

    Args:
      config: the config; it stays as it is.
      given: (path of a field, value as text) in order. A text is a Python value where it can be read as one.

    Returns:
      The copy, locked. `config.check` says whether its values are allowed.

    Raises:
      ConfigError: the config has no such field, or its value has another type.
    """
    made = ConfigDict(config.to_dict()).lock()
    for path, text in given:
        *groups, name = path.split(".")
        at = made
        for group in groups:
            at = at.get(group) if isinstance(at, ConfigDict) else None
        if isinstance(at, ConfigDict) and name in at and isinstance(at[name], ConfigDict):
            raise ConfigError(f"--set {path}: is a group of fields; set one of them, as {path}.NAME=VALUE")
        if not isinstance(at, ConfigDict) or name not in at:
            raise ConfigError(f"--set {path}: the config has no such field; docs/config.md lists all")
        try:
            at[name] = _value(text, at[name])
        except TypeError as error:
            kind = _KINDS.get(type(at[name]), type(at[name]).__name__)
            raise ConfigError(f"--set {path}={text}: must be {kind}") from error
    return made


def _value(text: str, old: object) -> object:
    if isinstance(old, str):
        return text
    if isinstance(old, bool) and text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
