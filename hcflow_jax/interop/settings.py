"""Converts the authors' settings (the JSON of their presets and checkpoints) to our config."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import ConfigError

MOST_STEPS = 256  # the largest number of steps of a flow
WIDEST = 2**16  # the largest number of channels
FINEST = 4_096  # pixels: the largest resolution

_CHECKERS = {"blocks": "checker2", "lblocks": "checker4", "hblocks": "checker8"}


def to_config(settings: Mapping[str, Any]) -> ConfigDict:
    """Our config for the same model and training.

    Args:
      settings: {"GENERAL": ..., "MODEL_PARAMETERS": ..., ...} as in the release's preset files.

    Raises:
      ConfigError: a setting is missing, or this implementation does not have it (the message names it); or the
        settings do not have the form of the release's settings.
    """
    try:
        return _to_config(settings)
    except KeyError as error:
        raise ConfigError(f"the settings have no {error.args[0]}") from error
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"the settings do not have the form of the release's settings ({said})") from error


def _to_config(settings: Mapping[str, Any]) -> ConfigDict:
    model, general = settings["MODEL_PARAMETERS"], settings["GENERAL"]
    end = model["ENDBLOCK_SETTINGS"]
    config = schema.default()
    resolutions = [_count("RESOLUTIONS", r, FINEST) for r in model["RESOLUTIONS"]]
    config.model.levels = schema.levels({r: _level(model, i) for i, r in enumerate(resolutions)})
    config.data.resolution = resolutions[0]
    config.model.encoder_multiplier = float(model["ENCODER_LR_SCALE"])
    config.model.decoder_multiplier = float(model["DECODER_LR_SCALE"])
    group = config.model.statistics_group = general["BATCH_SIZE"]
    for holder, name in ((config.train, "init_images"), (config.eval, "batch_size")):
        holder[name] = max(1, holder[name] // group) * group
    top = config.model.top
    dims = _count("ENDBLOCK_TOT_CHANNELS", end["ENDBLOCK_TOT_CHANNELS"], WIDEST)
    prior = _count("CHANNELS", end["CHANNELS"][0], dims)
    _need("AUTOENCODER_CHANNELS", end["AUTOENCODER_CHANNELS"], dims)
    _need("GLOBAL_STATE_HIDDEN_CHANNELS", end["GLOBAL_STATE_HIDDEN_CHANNELS"], model["GLOBAL_NET_CHANNELS"])
    _need("ENDRES", end["ENDRES"], 1)
    top.dims = dims
    top.style_width = _count("GLOBAL_NET_CHANNELS", model["GLOBAL_NET_CHANNELS"], WIDEST)
    top.style_multiplier = float(end["MAPPING_NETWORK_LR_SCALE"])
    top.style_masked = tuple(end["MASK_FOR_STYLE_IND"])
    top.base_masked = tuple(end["MASK_FOR_BASE_IND"])
    top.mixing_multiplier = float(end["PERMUTE_SCALING"])
    top.orthogonal = bool(end["USE_UNITARY_PERMUTE"])
    top.prior.dims = prior
    top.y1.condition = _count("COND_OUTPUT_CHANNELS", end["COND_OUTPUT_CHANNELS"][1], WIDEST)
    for j, (part, own) in enumerate(((top.prior, prior), (top.y1, dims - prior))):
        part.steps = _count("LAYERS", end["LAYERS"][j], MOST_STEPS)
        part.hidden = _count("RNVP_CHANNELS", end["RNVP_CHANNELS"][j], WIDEST)
        part.flow_noise = float(end["STYLE_REL_NOISES"][j])
        part.decoder_noise = part.flow_noise * end["STYLE_REL_NOISE_SCALE"]
        part.weight = 1 / own  # the release's value; the paper prints 1/512 for both
    _training(config, general)
    return config


def _level(model: Mapping[str, Any], i: int) -> ConfigDict:
    kinds = model["AUGMENTATION_TYPES"][i].split("_")
    _need("ENCODER_DECODER_KERNELS", model["ENCODER_DECODER_KERNELS"][i], 3)
    _need("RNVP_KERNEL_SIZES", model["RNVP_KERNEL_SIZES"][i], 3)
    noise = dict.fromkeys(("flow_noise", "decoder_noise"), model["DECODER_REL_NOISE"][i - 1] if i else 0.0)
    pooling = model["POOLING_TYPE"][i]
    steps = _steps(model["FLOW_SPLIT_TYPES"][i], model["NUM_LAYERS"][i])
    if any(step != "channel" for step in steps) and not pooling.startswith("blocks_only_reduced"):
        raise ConfigError(f"POOLING_TYPE must be blocks_only_reduced or blocks_only_reduced_double, not {pooling!r}")
    no_style = "_NO_STYLE" in model["AUGMENTATION_TYPES"][i]
    no_norm = "_NO_NORM" in model["AUGMENTATION_TYPES"][i]
    return schema.level(
        channels=_count("CHANNELS", model["CHANNELS"][i], WIDEST),
        steps=steps,
        hidden=_count("RNVP_CHANNELS", model["RNVP_CHANNELS"][i], WIDEST),
        condition=_count("COND_OUT_C", model["COND_OUT_C"][i], WIDEST),
        encoder=_count("ENCODER_CHANNELS", model["ENCODER_CHANNELS"][i], WIDEST),
        decoder=_count("DECODER_CHANNELS", model["DECODER_CHANNELS"][i], WIDEST),
        unet_growth=float(model["UNET_C_MULT"][i]),
        unet_scales=_count("UNET_N_DOWNSCALES", model["UNET_N_DOWNSCALES"][i], 12),
        unet_halvings=2 if pooling.endswith("_double") else 1,
        skip=_count("SKIPS_CHANNELS", model["SKIPS_CHANNELS"][i - 1], WIDEST) if i else 0,
        end_unets="NOEUNET" not in kinds and model["RESOLUTIONS"][i] > 8,
        style=not no_style,
        norm=not no_norm,
        orthogonal=bool(model["USE_UNITARY_PERMUTE"][i]),
        mixing_multiplier=float(model["PERMUTE_SCALING"][i]),
        weight=float(model["LOSS_WEIGHTS"][i]),
        prior_std=float(model["PRIOR_STDS"][i]),
        **noise,
    )


def _steps(split_types: str, count: int) -> tuple[str, ...]:
    """The splits of our steps, from the data side. Their list counts from the latent side, in equal shares."""
    kinds = split_types.split("-")
    if _count("NUM_LAYERS", count, MOST_STEPS) % len(kinds):
        raise ConfigError(f"NUM_LAYERS={count} must be a multiple of the kinds in FLOW_SPLIT_TYPES={split_types!r}")
    for kind in kinds:
        if kind != "channels" and kind not in _CHECKERS:
            raise ConfigError(f"FLOW_SPLIT_TYPES must be of channels, {', '.join(_CHECKERS)}, not {kind!r}")
    share = count // len(kinds)
    return tuple(_CHECKERS.get(kind, "channel") for kind in reversed(kinds) for _ in range(share))


def _training(config: ConfigDict, general: Mapping[str, Any]) -> None:
    train = config.train
    train.batch_size = general["SAMPLES_PER_GRAD_EVAL"]
    rate = train.learning_rate
    rate.flows = general["LEARNING_RATE"]
    rate.decoder = general["LEARNING_RATE_DECODERS"]
    rate.encoder = general["LEARNING_RATE_ENCODERS"]
    train.decay.encoder = general["LEARNING_RATE_DECAY_ENCODERS"]
    train.decay.decoder = train.decay.flows = general["LEARNING_RATE_DECAY"]
    train.decay_after = general["LEARNING_RATE_DECAY_START"]
    train.freeze_epoch = general["LEARNING_RATE_CUT_ENCODERS"]
    train.clip_norm = general["GRAD_CLIP"]
    config.data.bits = general["DISCRETIZATION_BITS"]
    config.data.noise_std = general["ADDED_NOISE_STD"]


def _count(name: str, value: object, most: int) -> int:
    """Checks that a value is a whole number from 1 to `most`, before it is used as a number of steps or pixels."""
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(f"{name} must be whole numbers from 1 to {most}, not {str(value)[:40]}")
    return value


def _need(name: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise ConfigError(f"{name} must be {wanted!r} here, not {value!r}")
