"""Fields of a config, each declared once: `Field`. Defaults, checks and the table in the docs are made from that.

A tree of fields is a mapping whose values are fields, trees, or `Rows`. It has the shape of the config.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.errors import InputError


class ConfigError(InputError):
    """A config whose values cannot make a model or a run; the message names the field in one line."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the values of a field must be.

    Attributes:
      must: completes "the field must ...", such as "be above 0".
      holds: whether a value is allowed.
    """

    must: str
    holds: Callable[[Any], bool]


def one_of(*choices: str) -> Rule:
    """A value among `choices`."""
    return Rule(f"be one of {', '.join(choices)}", lambda value: value in choices)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


COUNT = Rule("be a whole number above 0", lambda value: _is_whole(value) and value > 0)
WHOLE = Rule("be a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
NOT_NEGATIVE = Rule("be 0 or more", lambda value: value >= 0 and math.isfinite(value))
POSITIVE = Rule("be above 0", lambda value: value > 0)

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a config.

    Attributes:
      default: its value unless a config says otherwise; `REQUIRED` if a config has to say.
      help: what it is, in one line.
      unit: the unit of its value, such as "steps".
      rule: which values are allowed; None: any of the default's type.
      resume: whether it may change when a run resumes: it does not affect what is learned.
      path: whether it names a file or a folder; empty: none.
      before: what a config means that was stored before the field existed, where that is not the default.
    """

    default: Any
    help: str
    unit: str = ""
    rule: Rule | None = None
    resume: bool = False
    path: bool = False
    before: Any = REQUIRED

    @property
    def stored_default(self) -> Any:
        """The value of a stored config that lacks the field; `REQUIRED` if there is none."""
        return self.default if self.before is REQUIRED else self.before


@dataclasses.dataclass(frozen=True)
class Rows:
    """A group whose names the config chooses, each with the same fields; empty unless a config says otherwise.

    Attributes:
      row: the fields of each.
      name: how the table calls one, such as "r<resolution>".
      help: what one is, in one line.
    """

    row: "Tree"
    name: str
    help: str


Tree = Mapping[str, "Field | Rows | Tree"]


def need(field: str, holds: bool, must: str, value: object) -> None:
    """Raises a ConfigError that names the field unless `holds`."""
    if not holds:
        raise ConfigError(f"{field} must {must}, not {value!r}")


def defaults(tree: Tree) -> ConfigDict:
    """A config of the defaults, not locked; fields that are required are not in it."""
    made = ConfigDict()
    for name, node in tree.items():
        if isinstance(node, Field):
            if node.default is not REQUIRED:
                made[name] = node.default
        else:
            made[name] = ConfigDict() if isinstance(node, Rows) else defaults(node)
    return made


def check(config: Mapping[str, Any] | ConfigDict, tree: Tree, prefix: str = "") -> None:
    """Checks that every field is there and has an allowed value. Fields that `tree` lacks are not looked at.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    for name, node in tree.items():
        path = f"{prefix}{name}"
        if name not in config:
            raise ConfigError(f"{path} is missing: make the config from hcflow_jax.config.default()")
        value = config[name]
        if isinstance(node, Field):
            need(path, node.rule is None or node.rule.holds(value), node.rule.must if node.rule else "", value)
        elif isinstance(node, Rows):
            for row, fields in value.items():
                check(fields, node.row, f"{path}.{row}.")
        else:
            check(value, node, f"{path}.")


def find(tree: Tree, path: str) -> Field | None:
    """The field of a path such as "train.num_steps" or "model.levels.r8.hidden"; None if there is none."""
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
    """The value of a field; None where the config lacks it."""
    node: Any = config
    for name in path.split("."):
        node = node.get(name) if node else None
    return node


def replace_defaults(tree: Tree, new: Mapping[str, Any]) -> Tree:
    """The tree with other defaults.

    Args:
      tree: fields.
      new: {path: default}, such as {"train.optimizer": "adamax"}.

    Raises:
      KeyError: a path names no field.
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
    """A stored config with the fields that there are now.

    Args:
      stored: nested dicts.
      tree: the fields of today.
      prefix: put before the paths.

    Returns:
      The config, in which a field that came since has what held before it existed (`Field.stored_default`); and the
      paths of stored fields that exist no more, which are left out.
    """
    made: dict[str, Any] = {}
    dropped = [f"{prefix}{name}" for name in stored if name not in tree]
    for name, node in tree.items():
        path = f"{prefix}{name}"
        same_kind = name in stored and isinstance(stored[name], Mapping) != isinstance(node, Field)
        if name in stored and not same_kind:  # a group that became a field, or the other way round
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
    """(path, field) of every field, in the order of their declaration."""
    for name, node in tree.items():
        if isinstance(node, Field):
            yield f"{prefix}{name}", node
        elif isinstance(node, Rows):
            yield from leaves(node.row, f"{prefix}{name}.{node.name}.")
        else:
            yield from leaves(node, f"{prefix}{name}.")
