"""A config of two levels of the least widths, for what has to train or be timed as a user would."""

from typing import Any

from hcflow_jax import config as schema


def get_config():
    config = schema.default()
    small: Any = dict(hidden=8, condition=4, encoder=8, decoder=8)
    noisy: Any = dict(skip=4, style=True, norm=True, flow_noise=0.05, decoder_noise=0.05)
    fine = schema.level(channels=3, steps=("channel", "checker2"), **small)
    config.model.levels = schema.levels({16: fine, 8: schema.level(channels=4, steps=("channel",), **small, **noisy)})
    top = config.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 16, 16, 2, (0, 16)
    top.prior.steps = top.y1.steps = 2
    top.prior.hidden = top.y1.hidden = 8
    config.data.resolution = 16
    return config
