"""Two levels with the fewest convolutions that a model can have, for what compiles slowly."""

from typing import Any

from hcflow_jax import config as schema


def get_config():
    config = schema.default()
    small: Any = dict(hidden=8, condition=4, encoder=8, decoder=8)
    coarse = schema.level(channels=4, steps=("channel",), skip=4, flow_noise=0.05, decoder_noise=0.05, **small)
    config.model.levels = schema.levels({16: schema.level(channels=3, steps=("channel",), **small), 8: coarse})
    top = config.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 16, 16, 1, (0, 16)
    top.prior.steps = top.y1.steps = 1
    top.prior.hidden = top.y1.hidden = 8
    config.data.resolution = 16
    return config
