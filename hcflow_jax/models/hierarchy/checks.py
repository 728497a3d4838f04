"""What a config may say. Each check names the field in one line, before anything compiles."""

import math
import numbers

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.flows.reversible import BACKWARD
from hcflow_jax.nets import resample
from hcflow_jax.nets.convolution import IMPLEMENTATIONS

SPLITS = ("channel", "checker2", "checker4", "checker8")
COARSEST = 8


def check(config: ConfigDict) -> None:
    """Checks everything that a model and a run are made from.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    _check_levels(config)
    _check_top(config.model.top)
    _check_training(config)
    _check_execution(config.execution)


def need(field: str, holds: bool, must: str, value: object) -> None:
    """Raises a ConfigError that names the field unless `holds`."""
    if not holds:
        raise ConfigError(f"{field} must {must}, not {value!r}")


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
    finest = resolutions[0]
    need(
        "data.resolution",
        config.data.resolution == finest,
        f"be the finest level, {finest}",
        config.data.resolution,
    )
    for resolution in resolutions:
        _check_level(config, resolution, finest)


def _check_level(config: ConfigDict, resolution: int, finest: int) -> None:
    field = f"model.levels.r{resolution}"
    row = config.model.levels[f"r{resolution}"]
    for name in ("channels", "hidden", "condition", "encoder", "decoder", "unet_scales", "unet_halvings"):
        _need_count(f"{field}.{name}", row[name])
    need(f"{field}.skip", isinstance(row.skip, int) and row.skip >= 0, "be a count or 0", row.skip)
    need(f"{field}.hidden", row.hidden % 2 == 0, "be even", row.hidden)
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
    for name in ("flow_noise", "decoder_noise", "weight"):
        need(f"{field}.{name}", row[name] >= 0, "be 0 or more", row[name])
    for name in ("prior_std", "mixing_multiplier"):
        need(f"{field}.{name}", row[name] > 0, "be above 0", row[name])
    if resolution == finest:
        need(f"{field}.channels", row.channels == 3, "be 3 at the finest level: the image", row.channels)


def _check_top(top: ConfigDict) -> None:
    for name in ("dims", "style_width", "style_layers"):
        _need_count(f"model.top.{name}", top[name])
    need("model.top.prior.dims", 2 <= top.prior.dims <= top.dims - 2, "leave 2 dims a part", top.prior.dims)
    for part in ("prior", "y1"):
        row, field = top[part], f"model.top.{part}"
        _need_count(f"{field}.steps", row.steps)
        need(f"{field}.hidden", row.hidden > 0 and row.hidden % 2 == 0, "be even", row.hidden)
        for name in ("flow_noise", "decoder_noise", "weight"):
            need(f"{field}.{name}", row[name] >= 0, "be 0 or more", row[name])
    _need_count("model.top.y1.condition", top.y1.condition)
    for name in ("style_masked", "base_masked"):
        a, b = tuple(top[name])
        need(f"model.top.{name}", 0 <= a <= b <= top.dims, f"be a range within {top.dims}", top[name])


def _check_training(config: ConfigDict) -> None:
    group = config.model.statistics_group
    need("model.statistics_group", isinstance(group, int) and group >= 2, "be 2 or more", group)
    train = config.train
    for name in ("batch_size", "init_images"):
        value = train[name]
        _need_count(f"train.{name}", value)
        good = value % group == 0
        need(f"train.{name}", good, f"be a multiple of model.statistics_group={group}", value)
    size = config.eval.batch_size
    _need_count("eval.batch_size", size)
    need("eval.batch_size", size % group == 0, f"be a multiple of model.statistics_group={group}", size)
    for name in ("accumulate", "num_steps", "log_every", "checkpoint_every", "keep_checkpoints"):
        _need_count(f"train.{name}", train[name])
    for name in (
        "images_per_epoch",
        "decay_after",
        "freeze_epoch",
        "warmup_steps",
        "eval_every",
        "sample_every",
        "keep_every",
        "max_skipped",
    ):
        need(f"train.{name}", train[name] >= 0, "be 0 or more", train[name])
    need("train.clip_norm", train.clip_norm > 0, "be above 0", train.clip_norm)
    need("train.final_decay", 0 <= train.final_decay <= 1, "be a fraction in [0, 1]", train.final_decay)
    need("train.ema_decay", 0 <= train.ema_decay < 1, "be in [0, 1)", train.ema_decay)
    for group_name in ("encoder", "decoder", "flows"):
        rate, decay = train.learning_rate[group_name], train.decay[group_name]
        need(f"train.learning_rate.{group_name}", rate >= 0 and math.isfinite(rate), "be 0 or more", rate)
        need(f"train.decay.{group_name}", 0 < decay <= 1, "be in (0, 1]", decay)
    need("data.bits", config.data.bits in range(1, 9), "be 1 to 8", config.data.bits)
    need("data.noise_std", config.data.noise_std >= 0, "be 0 or more", config.data.noise_std)
    _need_count("sample.count", config.sample.count)
    need("sample.sigma", config.sample.sigma >= 0, "be 0 or more", config.sample.sigma)


def _check_execution(execution: ConfigDict) -> None:
    choices = {
        "preset": ("auto", "cpu", "gpu", "tpu"),
        "dtype": ("auto", "float32", "bfloat16"),
        "encoder_dtype": ("auto", "float32", "bfloat16"),
        "loop": ("auto", "scan", "unroll"),
        "conv": ("auto", *IMPLEMENTATIONS),
        "resample": ("auto", *resample.IMPLEMENTATIONS),
        "gain": ("auto", "weights", "result"),
        "halves": ("auto", "one", "each"),
        "backward": BACKWARD,
    }
    for name, allowed in choices.items():
        value = execution[name]
        need(f"execution.{name}", value in allowed, f"be one of {', '.join(allowed)}", value)


def _need_count(field: str, value: object) -> None:
    good = isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0
    need(field, good, "be a whole number above 0", value)
