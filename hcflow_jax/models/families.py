"""`build`: makes the model of a config, of the family `config.model.family`."""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config.fields import need
from hcflow_jax.models.base import ImageModel


def build(config: ConfigDict) -> ImageModel:
    """Checks a config and makes its model. Nothing is compiled.

    Raises:
      ConfigError: a value is not allowed; one line that names the field and says what it must be.
      ValueError: the family is faulty: its rate groups are not those of its model.
    """
    schema.check(config)
    model = schema.load(schema.family_of(config)).build(config)
    unit = model.batch_unit
    batches = {
        "train.batch_size": config.train.batch_size,
        "train.init_images": config.train.init_images,
        "eval.batch_size": config.eval.batch_size,
    }
    for field, size in batches.items():
        need(field, size % unit == 0, f"be a multiple of the model's batch unit, {unit}", size)
    groups, rates = {group for group, _ in model.rate_groups}, set(config.train.learning_rate)
    if groups != rates:
        raise ValueError(f"the model's rate groups are {sorted(groups)}, and its family declares {sorted(rates)}")
    return model
