"""Glow of the same size as a small hierarchy: `--config=configs/glow_small.py:demo`.

After the colon, give `demo`, `portraits` or `portraits64`. This config has the images, the number of steps and the
schedule of that config, and the same number of learnable parameters within 3 %: 1,476,144, 2,179,440 or 3,831,504. So
the two models can be compared at equal size, data and steps. The study (study.py, docs/study.md) trains the first for
equal time.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import ConfigError, presets

WIDTHS = {"demo": 120, "portraits": 164, "portraits64": 152}
LEVELS = {"portraits64": 4}  # 3 for the others: the coarsest is 4 pixels wide
ARGUMENTS = tuple(WIDTHS)


def get_config(like: str = "demo") -> ConfigDict:
    """Glow of the size of the config `like`, one of `WIDTHS`."""
    if like not in WIDTHS:
        raise ConfigError(f"glow_small.py:{like}: what follows the colon must be one of {', '.join(WIDTHS)}")
    other = presets.config(like)
    config = schema.default("glow")
    config.model.update(dict(levels=LEVELS.get(like, 3), steps=8, hidden=WIDTHS[like], coupling="affine"))
    for group in ("data", "eval", "sample"):
        config[group].update(other[group])
    own = ("learning_rate", "decay", "optimizer", "freeze_epoch")
    config.train.update({name: value for name, value in other.train.items() if name not in own})
    config.train.learning_rate.all = 5e-3  # as in Table 5
    return config
