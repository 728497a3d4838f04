"""Checks that the fields of a hierarchy's config fit together. `schema` has the rules for single fields."""

from ml_collections import ConfigDict

from hcflow_jax.config.fields import need

SPLITS = ("channel", "checker2", "checker4", "checker8")
COARSEST = 8


def check(config: ConfigDict) -> None:
    """Checks that the levels, the parts of the top and the batches fit together.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    _check_levels(config)
    _check_top(config.model.top)
    _check_loss(config)
    group = config.model.statistics_group
    batches = {
        "train.batch_size": config.train.batch_size,
        "train.init_images": config.train.init_images,
        "eval.batch_size": config.eval.batch_size,
    }
    for field, size in batches.items():
        need(field, size % group == 0, f"be a multiple of model.statistics_group={group}", size)


def _check_levels(config: ConfigDict) -> None:
    names = list(config.model.levels)
    need("model.levels", bool(names), "have a level a resolution, e.g. r32 and r8", names)
    for name in names:
        good = name[:1] == "r" and name[1:].isdecimal()
        need("model.levels", good, "be keyed r<resolution>, e.g. r32", name)
    resolutions = sorted((int(name[1:]) for name in names), reverse=True)
    need("model.levels", resolutions[-1] == COARSEST, f"end at {COARSEST} pixels", resolutions)
    for fine, coarse in zip(resolutions, resolutions[1:], strict=False):
        need("model.levels", fine in (2 * coarse, 4 * coarse), "fall by a ratio of 2 or 4", resolutions)
    finest, resolution = resolutions[0], config.data.resolution
    need("data.resolution", resolution == finest, f"be the finest level, {finest}", resolution)
    for resolution in resolutions:
        _check_level(config.model.levels[f"r{resolution}"], resolution, finest)


def _check_level(row: ConfigDict, resolution: int, finest: int) -> None:
    field = f"model.levels.r{resolution}"
    need(f"{field}.steps", len(row.steps) > 0, "name at least one step", row.steps)
    for split in row.steps:
        need(f"{field}.steps", split in SPLITS, f"be of {', '.join(SPLITS)}", split)
        if split == "channel":
            need(f"{field}.channels", row.channels >= 2, "be at least 2 for a channel split", row.channels)
        else:
            square = int(split.removeprefix("checker"))
            fits = resolution % (2 * square) == 0
            need(f"{field}.steps", fits, f"have squares that divide {resolution} pixels evenly", split)
            need(f"{field}.condition", row.condition >= 2, "be at least 2 for a U-Net", row.condition)
    if any(split != "channel" for split in row.steps):
        shrink = 2 ** (row.unet_scales * row.unet_halvings)
        fits = resolution % shrink == 0 and resolution // shrink >= 2
        need(f"{field}.unet_scales", fits, f"leave at least 2 pixels of {resolution}", row.unet_scales)
        need(f"{field}.unet_growth", row.unet_growth >= 1, "be at least 1", row.unet_growth)
    if resolution == finest:
        need(f"{field}.channels", row.channels == 3, "be 3 at the finest level: the image", row.channels)


def _check_loss(config: ConfigDict) -> None:
    """Checks the loss: the bound is defined only if all levels except the finest have flow noise."""
    levels, top = config.model.levels, config.model.top
    finest = f"r{config.data.resolution}"
    noisy = {f"levels.{name}": row.flow_noise for name, row in levels.items() if name != finest}
    noisy |= {"top.prior": top.prior.flow_noise, "top.y1": top.y1.flow_noise}
    for name, alpha in noisy.items():
        exists = config.model.loss != "bound" or alpha > 0
        need(
            "model.loss",
            exists,
            f"be weighted if model.{name}.flow_noise is 0 (there is no bound)",
            config.model.loss,
        )


def _check_top(top: ConfigDict) -> None:
    fits = 2 <= top.prior.dims <= top.dims - 2
    need("model.top.prior.dims", fits, f"be 2 to {top.dims - 2}, of model.top.dims={top.dims}", top.prior.dims)
    for name in ("style_masked", "base_masked"):
        masked = tuple(top[name])
        fits = len(masked) == 2 and all(isinstance(end, int) for end in masked)
        fits = fits and 0 <= masked[0] <= masked[1] <= top.dims
        need(f"model.top.{name}", fits, f"be a range [a, b) within {top.dims}", top[name])
