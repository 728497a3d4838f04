"""The bundled model `scenes`: illustrated landscapes at 32 px, trained from `portraits` for half an hour."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """The model `portraits`, trained further from its weights on pictures of another style, for 2,000 steps."""
    config = presets.config("portraits")
    config.data.style = "landscape"
    config.train.init_from = "portraits"
    config.train.num_steps = 2_000
    config.train.final_decay = 0.6
    return config
