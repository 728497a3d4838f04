"""The whole schema of a config: the general groups of fields, together with the fields of a family."""

from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import fields, groups, registry
from hcflow_jax.config.fields import NOT_NEGATIVE, ConfigError, Field, Rule, Tree, need

_DECAY = Rule("be in (0, 1]", lambda value: 0 < value <= 1)
_DECAY_HELP = "factor on the learning rate at every even epoch above `train.decay_after`"


def tree(family: str) -> Tree:
    """All fields of a config of a family.

    Raises:
      ConfigError: there is no such family.
    """
    own = registry.load(family)
    rates = {
        name: Field(r.learning_rate, "learning rate of this rate group", rule=NOT_NEGATIVE)
        for name, r in own.RATES.items()
    }
    decays = {name: Field(r.decay, _DECAY_HELP, rule=_DECAY) for name, r in own.RATES.items()}
    whole: Tree = {
        "seed": groups.SEED,
        "model": {"family": Field(family, "the family of models, which declares the fields below"), **own.FIELDS},
        "data": groups.DATA,
        "train": {**groups.TRAIN, "learning_rate": rates, "decay": decays},
        "eval": groups.EVAL,
        "sample": groups.SAMPLE,
        "execution": groups.EXECUTION,
    }
    return fields.replace_defaults(whole, own.DEFAULTS)


def family_of(config: ConfigDict) -> str:
    """`config.model.family`. A config that was made before this field existed is of the family "hierarchy"."""
    return config.model.get("family", registry.DEFAULT)


def default(family: str = registry.DEFAULT) -> ConfigDict:
    """The default config of a family.

    Args:
      family: the name of a registered family. The defaults of "hierarchy" are the paper's values for CelebA-HQ, but
        without levels: set `config.model.levels = levels({256: level(...), ...})`.

    Returns:
      A locked ConfigDict.

    Raises:
      ConfigError: there is no such family.
    """
    return fields.defaults(tree(family)).lock()


def check(config: ConfigDict) -> None:
    """Checks a config: first each field by its rule, and then with the `check` of its family.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    name = family_of(config)
    fields.check(config, _without_family(tree(name)))
    train = config.train
    both = train.warmup_steps > 0 and train.warmup_images > 0
    need("train.warmup_images", not both, "be 0 where train.warmup_steps is set", train.warmup_images)
    registry.load(name).check(config)


def check_paths(config: ConfigDict) -> None:
    """Checks the fields that are paths and not empty. Call it before any work is done.

    Raises:
      InputError: a path is not allowed (see `paths.place`); the message names the field.
    """
    for name, field in fields.leaves(tree(family_of(config))):
        if field.path and not name.startswith("data.") and (value := fields.value(config, name)):
            paths.place(value, name, field.stores)
    check_data_paths(config.data)


def check_data_paths(data: ConfigDict) -> None:
    """Checks where the images are. Only prepared sets may be in a bucket.

    Args:
      data: the group of the config.

    Raises:
      InputError: a path is not allowed (see `paths.place`); the message names the field.
    """
    for name in ("path", "eval_path"):
        if not data[name]:
            continue
        if paths.is_remote(data[name]) and data.source in ("folder", "zip", "lsun", "tfds"):
            raise ConfigError(
                f"data.{name} {data[name]}: data.source = {data.source!r} cannot be read from a bucket; prepare the "
                "images (python -m hcflow_jax.data.prepare --source ... --out gs://...), and set data.source to "
                "'prepared' and data.path to that directory"
            )
        if data.source == "prepared":
            paths.place(data[name], f"data.{name}", tuple(paths.STORES))
        else:
            paths.local(data[name], f"data.{name}")


def _without_family(whole: Tree) -> Tree:
    """The fields that a config must have: all except `model.family`."""
    model = whole["model"]
    assert isinstance(model, dict)
    return {**whole, "model": {name: node for name, node in model.items() if name != "family"}}


def may_change(config: ConfigDict, path: str) -> bool:
    """Whether a field may differ when a run resumes, because it does not affect what is learned.

    Args:
      config: the config of the run that resumes.
      path: the path of the field, such as "train.num_steps".
    """
    field = fields.find(tree(family_of(config)), path)
    return field is not None and field.resume


def is_path(config: ConfigDict, path: str) -> bool:
    """Whether the value of a field is the path of a file or a folder.

    Args:
      config: the config that has the field.
      path: the path of the field in the config, such as "data.path".
    """
    field = fields.find(tree(family_of(config)), path)
    return field is not None and field.path


def with_defaults(row: Tree, given: dict[str, Any], what: str) -> ConfigDict:
    """A row of a `Rows` group: its defaults, with some values replaced.

    Args:
      row: the fields of the row.
      given: {field: value}.
      what: what the row is, for messages.

    Returns:
      The row, locked.

    Raises:
      ConfigError: the row does not have a given field; the message lists its fields.
    """
    for name in given:
        if name not in row:
            raise ConfigError(f"{what} has no field {name!r}; it has {', '.join(sorted(row))}")
    made = fields.defaults(row)
    for name, value in given.items():
        made[name] = value
    return made.lock()
