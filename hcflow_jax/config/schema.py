"""The whole schema: the general groups of fields, joined with those of a family of models."""

from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import fields, groups, registry
from hcflow_jax.config.fields import NOT_NEGATIVE, ConfigError, Field, Rule, Tree, need

_DECAY = Rule("be in (0, 1]", lambda value: 0 < value <= 1)
_DECAY_HELP = "factor on the learning rate at every even epoch above `train.decay_after`"


def tree(family: str) -> Tree:
    """Every field of a config of a family.

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
    """`config.model.family`; "hierarchy" for a config that was made before there were others."""
    return config.model.get("family", registry.DEFAULT)


def default(family: str = registry.DEFAULT) -> ConfigDict:
    """The default config of a family.

    Args:
      family: one of those that are registered. The paper's, "hierarchy", has the paper's values for CelebA-HQ, but
        no levels: set `config.model.levels` from `levels({256: level(...), ...})`.

    Returns:
      A locked ConfigDict.

    Raises:
      ConfigError: there is no such family.
    """
    return fields.defaults(tree(family)).lock()


def check(config: ConfigDict) -> None:
    """Checks a config: each field by itself, then what its family says of fields together.

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
    """Checks the fields that name files or folders, where they are not empty: to be done before any work.

    Raises:
      InputError: naming the field, see `paths.local`.
    """
    for name, field in fields.leaves(tree(family_of(config))):
        if field.path and (value := fields.value(config, name)):
            paths.local(value, name)


def _without_family(whole: Tree) -> Tree:
    """The fields that a config has to have: `model.family` may be missing."""
    model = whole["model"]
    assert isinstance(model, dict)
    return {**whole, "model": {name: node for name, node in model.items() if name != "family"}}


def may_change(config: ConfigDict, path: str) -> bool:
    """Whether a field may differ when a run resumes, because it does not affect what is learned.

    Args:
      config: the config of the run that resumes.
      path: such as "train.num_steps".
    """
    field = fields.find(tree(family_of(config)), path)
    return field is not None and field.resume


def with_defaults(row: Tree, given: dict[str, Any], what: str) -> ConfigDict:
    """A row of a `Rows` group: its defaults with those fields that are given.

    Raises:
      ConfigError: the row has no such field; the message lists those there are.
    """
    for name in given:
        if name not in row:
            raise ConfigError(f"{what} has no field {name!r}; it has {', '.join(sorted(row))}")
    made = fields.defaults(row)
    for name, value in given.items():
        made[name] = value
    return made.lock()
