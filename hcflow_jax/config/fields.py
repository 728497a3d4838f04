"""`Field`: the declaration of a field of a config. Defaults, checks and the tables in the docs are made from it.

A tree of fields is a mapping whose values are fields, trees or `Rows`. It has the structure of the config.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.errors import InputError


class ConfigError(InputError):
    """A value of a config is not allowed. The message is one line that names the field."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """The allowed values of a field.

    Attributes:
      must: the end of the sentence "the field must ...", such as "be above 0".
      holds: a function that says whether a value is allowed.
    """

    must: str
    holds: Callable[[Any], bool]


def one_of(*choices: str) -> Rule:
    """The rule that a value must be one of `choices`."""
    return Rule(f"be one of {', '.join(choices)}", lambda value: value in choices)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


COUNT = Rule("be a whole number above 0", lambda value: _is_whole(value) and value > 0)
STEPS = Rule("be a whole number from 1 to 2,147,483,647", lambda value: _is_whole(value) and 0 < value < 2**31)
WHOLE = Rule("be a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
NOT_NEGATIVE = Rule("be 0 or more", lambda value: value >= 0 and math.isfinite(value))
POSITIVE = Rule("be above 0", lambda value: value > 0)

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      default: its value, unless a config sets it; `REQUIRED` if every config must set it.
      help: its description, one line.
      unit: the unit of its value, such as "steps".
      rule: the allowed values; None: any value of the default's type.
      resume: whether it may change when a run resumes, because it does not affect what is learned.
      path: whether its value is the path of a file or a folder, or "" for none.
      stores: the kinds of buckets in which that path may be (`paths.STORES`).
      before: its value in configs that were stored before the field existed, if that is not the default.
    """

    default: Any
    help: str
    unit: str = ""
    rule: Rule | None = None
    resume: bool = False
    path: bool = False
    stores: tuple[str, ...] = ()
    before: Any = REQUIRED

    @property
    def stored_default(self) -> Any:
        """The value for a stored config without the field; `REQUIRED` if there is none."""
        return self.default if self.before is REQUIRED else self.before


@dataclasses.dataclass(frozen=True)
class Rows:
    """A group of rows with the same fields. The config chooses the names of the rows; by default there are none.

    Attributes:
      row: the fields of each row.
      name: the name of a row in the tables of the docs, such as "r<resolution>".
      help: the description of a row, one line.
    """

    row: "Tree"
    name: str
    help: str


Tree = Mapping[str, "Field | Rows | Tree"]


def need(field: str, holds: bool, must: str, value: object) -> None:
    """Checks a condition on a field.

    Args:
      field: the path of the field.
      holds: the condition.
      must: the end of the sentence "the field must ...".
      value: the value of the field.

    Raises:
      ConfigError: `holds` is False.
    """
    if not holds:
        raise ConfigError(f"{field} must {must}, not {value!r}")


def defaults(tree: Tree) -> ConfigDict:
    """A config with the defaults, not locked. It does not have the required fields."""
    made = ConfigDict()
    for name, node in tree.items():
        if isinstance(node, Field):
            if node.default is not REQUIRED:
                made[name] = node.default
        else:
            made[name] = ConfigDict() if isinstance(node, Rows) else defaults(node)
    return made


def check(config: Mapping[str, Any] | ConfigDict, tree: Tree, prefix: str = "") -> None:
    """Checks that a config has every field, with an allowed value. Fields that are not in `tree` are ignored.

    Args:
      config: the config.
      tree: the fields.
      prefix: is put before the paths of fields in messages.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    for name, node in tree.items():
        path = f"{prefix}{name}"
        if name not in config:
            raise ConfigError(f"{path} is missing: make the config from hcflow_jax.config.default()")
        value = config[name]
        if isinstance(node, Field):
            if node.rule is not None:
                need(path, _holds(node.rule, value), node.rule.must, value)
            continue
        need(path, isinstance(value, Mapping | ConfigDict), "be a group of fields", value)
        if isinstance(node, Rows):
            for row, fields in value.items():
                check(fields, node.row, f"{path}.{row}.")
        else:
            check(value, node, f"{path}.")


def _holds(rule: Rule, value: Any) -> bool:
    """Whether a rule holds. It does not hold for a value of another type, such as None, which it cannot compare."""
    try:
        return rule.holds(value)
    except (AttributeError, TypeError, ValueError):
        return False


def find(tree: Tree, path: str) -> Field | None:
    """The field with a path, such as "train.num_steps" or "model.levels.r8.hidden"; None if there is none."""
    node: Field | Rows | Tree | None = tree
    for name in path.split("."):
        if isinstance(node, Rows):
            node = node.row
        elif isinstance(node, Mapping):
            node = node.get(name)
        else:
            return None
    return node if isinstance(node, Field) else None


def value(config: ConfigDict, path: str) -> Any:
    """The value of the field with a path; None if the config does not have it."""
    node: Any = config
    for name in path.split("."):
        node = node.get(name) if node else None
    return node


def replace_defaults(tree: Tree, new: Mapping[str, Any]) -> Tree:
    """A tree of fields with some defaults replaced.

    Args:
      tree: the fields.
      new: {path: default}, such as {"train.optimizer": "adamax"}.

    Raises:
      KeyError: there is no field with such a path.
    """
    made = dict(tree)
    for path, value in new.items():
        name, _, rest = path.partition(".")
        node = made[name]
        if isinstance(node, Field) and not rest:
            made[name] = dataclasses.replace(node, default=value)
        elif isinstance(node, Mapping) and rest:
            made[name] = replace_defaults(node, {rest: value})
        else:
            raise KeyError(path)
    return made


def complete(stored: Mapping[str, Any], tree: Tree, prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """Converts a stored config of any version to the fields of this version.

    Args:
      stored: the stored config, nested dicts.
      tree: the fields of this version.
      prefix: is put before the paths.

    Returns:
      The config: newer fields have the value that stands for the earlier behaviour (`Field.stored_default`). And the
      paths of stored fields that no longer exist; the config does not have them.
    """
    made: dict[str, Any] = {}
    dropped = [f"{prefix}{name}" for name in stored if name not in tree]
    for name, node in tree.items():
        path = f"{prefix}{name}"
        same_kind = name in stored and isinstance(stored[name], Mapping) != isinstance(node, Field)
        if name in stored and not same_kind:  # a group became a field, or a field became a group
            dropped.append(path)
        inner = stored[name] if same_kind else {}
        if isinstance(node, Field):
            value = stored[name] if same_kind else node.stored_default
            if value is not REQUIRED:
                made[name] = value
        elif isinstance(node, Rows):
            parts = {row: complete(fields, node.row, f"{path}.{row}.") for row, fields in inner.items()}
            made[name] = {row: part for row, (part, _) in parts.items()}
            dropped += [gone for _, names in parts.values() for gone in names]
        else:
            made[name], gone = complete(inner, node, f"{path}.")
            dropped += gone
    return made, dropped


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yields (path, field) of every field, in the order of declaration."""
    for name, node in tree.items():
        if isinstance(node, Field):
            yield f"{prefix}{name}", node
        elif isinstance(node, Rows):
            yield from leaves(node.row, f"{prefix}{name}.{node.name}.")
        else:
            yield from leaves(node, f"{prefix}{name}.")
