"""`shrink`: a config made so small that it trains one step in seconds, with every kind of part that it had."""

from pathlib import Path

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.checkpoint import config_from_plain, config_to_plain

WIDTHS = dict(hidden=4, condition=2, encoder=4, decoder=4, unet_scales=1, unet_halvings=1)


def shrink(config: ConfigDict, images: Path) -> ConfigDict:
    """The config with least widths, at 16 pixels, with two levels of one step each.

    What makes another program stays: the parts of the levels, statistics groups, bits, and where there is noise. What
    makes only other numbers (rates, epochs, weights) is the same for all, so that configs share programs.

    Args:
      config: any of `configs/`.
      images: a folder of at least 16 pictures, or a zip file of them.
    """
    small = config_from_plain(config_to_plain(config))
    family = schema.family_of(config)
    with small.unlocked():
        group = 2 if family == "glow" else small.model.statistics_group
        if family == "glow":
            small.model.update(dict(levels=2, steps=1, hidden=4))
        else:
            _shrink_hierarchy(small.model)
        data = {"bits": small.data.bits, "noise_std": 0.005 * (small.data.noise_std > 0)}
        for name, kept in (("data", data), ("train", {}), ("eval", {}), ("execution", {})):
            small[name].update({**schema.default(family)[name], **kept})
        small.data.update(
            dict(source="folder", path=str(images), name="", eval_path="", resolution=16, eval_images=8)
        )
        small.train.update(dict(batch_size=group, init_images=group, num_steps=1, log_every=1, init_from=""))
        small.eval.update(dict(images=group, batch_size=group))
        small.sample.update(dict(count=1, sigma=0.7))
    return small


def _shrink_hierarchy(model: ConfigDict) -> None:
    """Level 16 with a checkerboard step, level 8 with a channel step, and a small top."""
    rows = sorted(model.levels.items(), key=lambda item: -int(item[0][1:]))
    *finer, (_, coarse) = rows
    fine = finer[0][1]
    fine.end_unets = any(row.end_unets for _, row in finer)
    for row in (fine, coarse):
        row.update(WIDTHS)
        row.skip = min(row.skip, 2)
        row.weight = 1.0
    fine.steps = tuple(split for split in fine.steps if split != "channel")[:1] or ("channel",)
    coarse.steps, coarse.channels = coarse.steps[:1], 4
    model.levels = schema.levels({16: fine, 8: coarse})
    top = model.top
    top.update(dict(dims=8, style_width=8, style_layers=2, style_masked=(0, 4), base_masked=(0, 8)))
    top.prior.update(dict(dims=4, steps=1, hidden=4, weight=0.1))
    top.y1.update(dict(steps=1, hidden=4, condition=2, weight=0.1))
    for part in (fine, coarse, top.prior, top.y1):
        part.flow_noise, part.decoder_noise = (0.05 * (a > 0) for a in (part.flow_noise, part.decoder_noise))
